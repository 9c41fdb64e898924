"""Every config, through the real command line, for one batch of each kind."""

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
NEEDS = {"world/halfcheetah_dynamics.yaml": "mujoco"}
"""Packages that some configs need, and ``make`` does not install."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_a_config_runs(path, paratime, monkeypatch, tmp_path):
    needed = NEEDS.get(str(path.relative_to(CONFIGS)))
    if needed:
        pytest.importorskip(needed, reason=f"it needs pip install 'paratime[{needed}]'")
    monkeypatch.chdir(tmp_path)
    status, out, err = paratime("fit", "-c", path, "--trainer.fast_dev_run", 1)
    assert status == 0, err
    assert "val/loss" in out


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_a_config_begins_with_its_command_and_is_short(path):
    lines = path.read_text().splitlines()
    assert lines[0].endswith(f"-c configs/{path.relative_to(CONFIGS)}")
    assert len(lines) <= 35
