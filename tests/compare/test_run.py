"""One run of a comparison, and what may go wrong in it."""

import math
from pathlib import Path

import pytest
import yaml
from compare.small import change, only, results

from paratime.compare.config import Comparison, DomainConfig
from paratime.compare.matching import jobs_of
from paratime.compare.run import Job, measure
from paratime.errors import InputError
from paratime.main import build

DIVERGED = """\
from paratime import MinGRU

class Diverged(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        y, state = super().forward(x, h0, reset=reset, lengths=lengths)
        return y * float("nan"), state

    def step(self, x, state=None, reset=None):
        y, state = super().step(x, state, reset)
        return y * float("nan"), state
"""


def test_a_model_that_diverged_fails_and_leaves_the_others_alone(folder, compare, monkeypatch):
    (folder / "diverged.py").write_text(DIVERGED)
    monkeypatch.syspath_prepend(folder)
    status, out = compare("--mixers", "[diverged.Diverged, MinGRU]")
    assert status != 0 and "expected finite losses and gradients" in out
    found = {(run["mixer"], run["domain"]): run for run in results(Path("out")).values()}
    assert {mixer for mixer, _ in found} == {"MinGRU"} and len(found) == 3
    assert not any(math.isnan(x) for run in found.values() for x in run["quality"].values())


def first_job(folder: Path) -> Job:
    """Return the first job of ``compare.yaml``."""
    config = yaml.safe_load((folder / "compare.yaml").read_text())
    domains = {name: DomainConfig(**values) for name, values in config.pop("domains").items()}
    comparison = Comparison(**config, domains=domains)
    return jobs_of(comparison, comparison.grid().runs()[:1], build)[0]


def test_a_config_that_was_edited_since_is_not_used(folder):
    only(folder, "trajectories")
    job, path = first_job(folder), folder / "trajectories.yaml"
    path.write_text(path.read_text() + "# edited\n")
    with pytest.raises(InputError, match=r"config trajectories.yaml: expected what it was"):
        measure(job, build, lambda step, loss: None)


def test_a_run_that_ends_before_its_last_step_is_none(folder):
    only(folder, "trajectories")
    config = yaml.safe_load((folder / "compare.yaml").read_text())
    sooner = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 2}
    config["domains"]["trajectories"]["overrides"] = sooner
    change(folder, domains=config["domains"])
    with pytest.raises(InputError, match=r"steps: expected 4, got 2; .*trainer.max_epochs"):
        measure(first_job(folder), build, lambda step, loss: None)
