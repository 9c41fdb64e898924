"""What tasks learn of their data, and when."""

import json
from pathlib import Path

import pytest
import torch

from paratime import Encoder
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.sources.competitions import Competition
from paratime.forecast.data.spec import SeriesSpec
from paratime.language.data.corpus.builder import CorpusBuilder
from paratime.language.data.sources.bundled import Quickstart
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.main import build
from paratime.world.data.sources.gym import Gym
from paratime.world.data.spec import Moments, TrajectorySpec

CONFIGS = Path(__file__).parent.parent.parent / "configs"
SLICES = {
    "language/quickstart.yaml": (Quickstart, "documents", TokenSpec),
    "forecast/quickstart.yaml": (Competition, "read", SeriesSpec),
    "world/pendulum_dynamics.yaml": (Gym, "read", TrajectorySpec),
}


@pytest.fixture(params=SLICES)
def config(request, tmp_path, monkeypatch) -> Path:
    """A config whose data cannot be read, and an empty folder with the cache in it."""
    source, method, _ = SLICES[request.param]

    def refuse(*_):
        raise AssertionError("the source is read")

    monkeypatch.setattr(source, method, refuse)
    monkeypatch.setattr(CorpusBuilder, "tokenizer", refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    return CONFIGS / request.param


def test_printing_a_config_reads_and_writes_nothing(config, paratime, tmp_path):
    status, out, err = paratime("fit", "-c", config, "--print_config")
    assert status == 0 and "class_path" in out and "spec" not in out, err
    assert not any(tmp_path.iterdir())


def test_instantiation_reads_and_writes_nothing(config, tmp_path):
    cli = build(["-c", str(config)])
    assert not cli.model.is_built and not any(tmp_path.iterdir())
    with pytest.raises(AssertionError, match="the source is read"):
        cli.datamodule.spec  # noqa: B018


def test_a_dry_run_writes_the_corpus_alone(paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    config = CONFIGS / "language" / "quickstart.yaml"
    status, _, err = paratime("fit", "-c", config, "--trainer.fast_dev_run", 1)
    assert status == 0, err
    (folder,) = (tmp_path / "cache" / "language").iterdir()
    assert (folder / "manifest.json").is_file()
    assert [*(tmp_path / "cache").iterdir()] == [folder.parent]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", SLICES)
def test_a_spec_is_plain_values_and_back(name, tmp_path):
    kind = SLICES[name][-1]
    spec = {
        TokenSpec: lambda: TokenSpec(257, {"name": "bytes"}),
        SeriesSpec: lambda: SeriesData(Competition("M3", "other")).spec,
        TrajectorySpec: lambda: TrajectorySpec(
            Moments(([0.0], [1.0]), ([0.0], [1.0]), ([0.0], [1.0]), [0.0], [1.0], [0.0], [1.0]),
            {"observation": [1]},
            1,
        ),
    }[kind]()
    torch.save(spec.plain(), tmp_path / "spec.pt")
    assert kind.of(spec) is spec
    assert kind.of(torch.load(tmp_path / "spec.pt", weights_only=True)) == spec
    assert kind.of(json.loads(json.dumps(spec.plain()))) == spec
    assert kind.saved_in({"spec": spec.plain()}) == spec and kind.saved_in({"lr": 1.0}) is None


def test_hyper_parameters_of_the_version_before():
    tokens = {"vocab_size": 257, "tokenizer": {"name": "bytes"}, "z_loss": 1e-4}
    assert TokenSpec.saved_in(tokens) == TokenSpec(257, {"name": "bytes"})
    spec = SeriesData(Competition("M3", "other")).spec
    assert SeriesSpec.saved_in({"series": spec.plain()}) == spec


@pytest.mark.parametrize("spec", (256, "256", [], {}, {"tokenizer": None}), ids=repr)
def test_what_is_no_spec_is_refused_in_one_line(spec):
    message = r"spec: expected a TokenSpec, or a dictionary with vocab_size, got .*; pass the spec"
    with pytest.raises(InputError, match=message):
        LanguageTask(Encoder(8, 1), spec)
