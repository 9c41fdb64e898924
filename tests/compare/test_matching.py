"""Models of all mixers have the same size."""

from pathlib import Path

import pytest
import yaml
from compare.small import TASKS

from paratime.compare.config import DomainConfig
from paratime.compare.matching import TOLERANCE, matched
from paratime.layers.mixer import count_parameters
from paratime.main import build

ROOT = Path(__file__).parents[2]
QUICK, FULL = (ROOT / "configs/compare" / f"{name}.yaml" for name in ("quick", "full"))


@pytest.mark.parametrize("domain", TASKS)
@pytest.mark.parametrize("path", (QUICK, pytest.param(FULL, marks=pytest.mark.slow)))
def test_all_mixers_have_as_many_parameters(path, domain, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load(path.read_text())
    sizes, mixers = DomainConfig(**config["domains"][domain]), config["mixers"]
    found = matched(domain, sizes, mixers, build)
    size, target = found[mixers[0]]
    assert size == sizes.mlp_size and len(found) == 8
    for _, parameters in found.values():
        assert abs(parameters - target) <= TOLERANCE * target
    size, parameters = found["Mamba2"]
    assert size != sizes.mlp_size
    run = build(sizes.options("Mamba2", size, seed=1))
    run.model.specify(run.datamodule.spec)
    assert count_parameters(run.model) == parameters
