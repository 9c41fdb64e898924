"""What the config of a comparison accepts."""

import importlib

import pytest

from paratime.compare.config import Comparison, DomainConfig
from paratime.errors import InputError


def test_overrides_are_of_what_a_comparison_does_not_set(folder):
    with pytest.raises(InputError, match=r"overrides: expected .*got 'model.encoder.width'"):
        DomainConfig("tokens.yaml", 1, 8, 1, 8, {"model.encoder.width": 16})


def test_runs_of_a_mixer_that_was_edited_are_of_another_comparison(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    grids = []
    for text in ("SIZE = 1", "SIZE = 2", "SIZE = 1"):
        (folder / "own_mixer.py").write_text(text)
        importlib.invalidate_caches()
        for mixers in (["ParaGRU"], ["ParaGRU", "own_mixer.Own"]):
            domains = {"tokens": DomainConfig("tokens.yaml", 1, 8, 1, 8)}
            grids.append(Comparison("t", "out", domains, mixers, [0]).grid())
    assert grids[0] == grids[2] == grids[4]
    assert grids[1] == grids[5] != grids[3]
