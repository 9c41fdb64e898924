"""Tests in parallel processes: what passes, fails, crashes, hangs, or is not reached."""

import json
from pathlib import Path

import parity
import pytest

TESTS = """
import os, time, pytest
def test_right(): pass
@pytest.mark.parametrize("n", range(6))
def test_also_right(n): pass
@pytest.mark.skip(reason="no device")
def test_without(): pass
def test_wrong(): assert 1 == 2, "not so"
@pytest.fixture
def broken(): raise ValueError("no fixture\\nmore")
def test_with_it(broken): pass
"""
LAST = """
def test_last(): {}
def test_after(): pass
"""


def run(folder: Path, text: str, processes: int = 2, limit: float = 60.0) -> parity.Parity:
    path = folder / "test_made_up.py"
    path.write_text(text)
    return parity.run_tests(folder / "parity", [str(path)], processes, limit)


@pytest.mark.parametrize("processes", (1, 2, 5))
def test_outcomes_are_those_of_one_process(processes, tmp_path):
    found = run(tmp_path, TESTS, processes)
    assert found.passed == 7 and not found.missing and not found.holds
    name = f"{tmp_path.name}/test_made_up.py::test_"
    short = {key[key.index("::test_") + 7 :]: value for key, value in found.failed.items()}
    assert set(short) == {"wrong", "with_it"}, name
    assert short["with_it"] == "ValueError: no fixture"
    assert short["wrong"].startswith("AssertionError: not so")
    assert list(found.skipped.values()) == ["Skipped: no device"]
    assert json.loads((tmp_path / "parity" / "parity.json").read_text())["passed"] == 7
    assert "7 passed, 2 failed, 1 skipped" in found.text() and "FAILED" in found.text()


def test_all_right(tmp_path):
    found = run(tmp_path, "def test_right(): pass\n")
    assert found.holds and found.text().startswith("Parity: 1 passed, in ")


def test_a_process_that_crashes_names_its_test(tmp_path):
    found = run(tmp_path, TESTS.replace("1 == 2", "True") + LAST.format("os._exit(11)"), 1)
    (crashed,) = [x for x in found.failed if x.endswith("test_last")]
    assert "ended with status 11" in found.failed[crashed]
    assert found.missing == 1 and not found.holds


def test_a_test_that_hangs_is_named_and_its_process_killed(tmp_path):
    found = run(tmp_path, TESTS + LAST.format("time.sleep(600)"), 1, limit=15)
    (hung,) = [x for x in found.failed if x.endswith("test_last")]
    assert "had not ended" in found.failed[hung]
    assert found.missing == 1 and found.seconds < 60 and not found.holds


def test_a_file_that_cannot_be_collected_is_a_failure(tmp_path):
    found = run(tmp_path, "import no_such_package\n", 1)
    assert not found.holds
    assert any("No module named 'no_such_package'" in said for said in found.failed.values())


def test_no_test_at_all_does_not_hold(tmp_path):
    assert not run(tmp_path, "").holds
