"""Warnings of precisions that a processor is slow in."""

import logging

import pytest
import torch

from paratime.training import throughput
from paratime.training.throughput import warn_if_slow


@pytest.mark.parametrize("precision", ("bf16-mixed", "bf16-true", "16-true", "16-mixed"))
@pytest.mark.parametrize("times", (0.5, 1.9, 10.0))
def test_a_slow_half_precision_is_reported(precision, times, caplog, monkeypatch):
    monkeypatch.setattr(throughput, "_slowdown", lambda dtype: times)
    warn_if_slow(torch.device("cpu"), precision)
    expected = f"precision {precision}: a product takes this CPU 10 times as long as in float32"
    assert caplog.messages == [f"{expected}; use --trainer.precision 32-true"] * (times > 2)


@pytest.mark.parametrize(
    "where, precision", (("cpu", "32-true"), ("cpu", "64-true"), ("cuda", "16"))
)
def test_other_precisions_and_devices_are_not_timed(where, precision, caplog, monkeypatch):
    monkeypatch.setattr(throughput, "_slowdown", lambda dtype: pytest.fail("was timed"))
    warn_if_slow(torch.device(where), precision)
    assert not caplog.messages


def test_the_figure_is_a_ratio_of_times(caplog, monkeypatch):
    """Products in float32 by float32, whatever the machine's speed."""
    seconds = {torch.float32: 2.0, torch.float16: 30.0}
    monkeypatch.setattr(throughput, "_seconds", lambda dtype, size: seconds[dtype])
    throughput._slowdown.cache_clear()
    with caplog.at_level(logging.WARNING, "paratime"):
        warn_if_slow(torch.device("cpu"), "16-true")
    throughput._slowdown.cache_clear()
    assert "15 times" in caplog.text
