"""Digests of code change with everything that a module runs, and with nothing else."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paratime.io.code import code_digest, versions

FILES = {
    "mine.py": "from near import scale\nimport part.inner\n\nGAIN = 1\n\n\nclass Thing:\n"
    "    def step(self):\n        import late\n        return GAIN * scale() in {'a', 'b'}\n",
    "near.py": "def scale():\n    return 2\n",
    "late.py": "SHIFT = 0\n",
    "part/__init__.py": "",
    "part/inner.py": "from . import sister\n",
    "part/sister.py": "LIMIT = 6\n",
    "other.py": "UNUSED = 1\n",
}


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that writes the files, loads them as a new process does, and digests."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    monkeypatch.syspath_prepend(tmp_path)

    def digest(**edits: str) -> str:
        for name, text in (FILES | edits).items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            sys.modules.pop(name.removesuffix(".py").replace("/", "."), None)
        sys.modules.pop("part", None)
        importlib.invalidate_caches()
        importlib.import_module("mine")
        return code_digest(["mine"])

    return digest


@pytest.mark.parametrize("name", [x for x in FILES if x != "other.py"])
def test_every_file_that_is_imported_counts(name, loaded):
    first = loaded()
    assert loaded() == first
    assert loaded(**{name: FILES[name] + "MORE = 1\n"}) != first
    assert loaded() == first


def test_files_that_are_not_imported_do_not_count(loaded):
    assert loaded() == loaded(**{"other.py": "UNUSED = 2\n"})


def test_code_that_was_edited_after_it_was_loaded_is_neither_text(loaded, tmp_path):
    first = loaded()
    edited = FILES["near.py"].replace("2", "3")
    (tmp_path / "near.py").write_text(edited)
    stale = code_digest(["mine"])
    assert len({first, stale, loaded(**{"near.py": edited})}) == 3


def test_versions_are_those_of_packages_in_use():
    import gymnasium.envs.classic_control.pendulum as pendulum

    found = versions([pendulum.__name__])
    assert {"gymnasium", "numpy"} <= found.keys() and "math" not in found
    assert found["numpy"] == importlib.metadata.version("numpy")
