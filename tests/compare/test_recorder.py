"""What is recorded of a run."""

from paratime.compare.recorder import machine


def test_the_machine_is_named_in_one_line():
    assert "torch 2" in machine() and "cores" in machine() and "\n" not in machine()
