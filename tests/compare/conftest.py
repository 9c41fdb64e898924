from pathlib import Path

import pytest
from compare.small import prepare


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def compare(paratime):
    """Run the command with ``compare.yaml``; return its status and output."""

    def run(*options: object) -> tuple[int, str]:
        status, out, err = paratime("compare", "-c", "compare.yaml", *options)
        assert status < 2, err
        return status, out

    return run
