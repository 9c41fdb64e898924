"""What the config of a comparison accepts."""

import importlib

import pytest

from paratime.compare.command import check_code
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
    assert grids[0] == grids[2] == grids[4] and not grids[0].code
    assert grids[1] == grids[5] != grids[3]
    assert [*grids[1].code] == ["own_mixer.Own"]
    check_code(folder, grids[3], grids[1])  # no run is finished yet
    path = grids[1].runs()[1].path(folder)
    path.parent.mkdir(parents=True)
    path.touch()
    check_code(folder, grids[5], grids[1])
    with pytest.raises(InputError, match=r"code of own_mixer\.Own: expected what it was for the"):
        check_code(folder, grids[3], grids[1])
