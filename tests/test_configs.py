"""Every config, through the real command line, for one batch of each kind."""

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
LARGE = [CONFIGS / "language" / f"{name}.yaml" for name in ("400m", "1b", "2.9b", "7b")]
"""Too large to run here: they are parsed, and built without memory in test_footprint.py."""

COMPARISONS = sorted((CONFIGS / "compare").glob("*.yaml"))
"""Of another command: tests/compare runs the like of them."""

WORLDS = sorted((CONFIGS / "world").glob("*.yaml"))


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p not in LARGE + COMPARISONS],
    ids=lambda p: str(p.relative_to(CONFIGS)),
)
def test_a_config_runs(path, paratime, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = paratime("fit", "-c", path, "--trainer.fast_dev_run", 1)
    assert status == 0, err
    assert "val/loss" in out


@pytest.mark.parametrize("path", LARGE, ids=lambda p: p.stem)
def test_a_large_config_is_understood(path, paratime):
    status, out, err = paratime("fit", "-c", path, "--print_config")
    assert status == 0, err
    assert "max_recurrent: 0.5" in out


@pytest.mark.parametrize("path", WORLDS, ids=lambda p: p.stem)
def test_the_mixer_of_a_world_model_is_an_argument(path, paratime, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    mixer = ("--model.encoder.mixer", "MinGRU")
    status, _, err = paratime("fit", "-c", path, *mixer, "--trainer.fast_dev_run", 1)
    assert status == 0, err


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_a_config_begins_with_its_command_and_is_short(path):
    lines = path.read_text().splitlines()
    assert lines[0].endswith(f"-c configs/{path.relative_to(CONFIGS)}")
    assert len(lines) <= 35
