"""Causal scaling: against a loop in numpy, and what no step may see."""

import numpy as np
import pytest
import torch

from paratime.forecast.model.scaling import FLOOR, Scaling, trailing

SCALING = Scaling(window=7, season=3)
STARTS = (0, 40, 41, 60)


def series(steps: int = 90, missing: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.randn(1, steps, 2, dtype=torch.float64).cumsum(1)
    target[torch.rand(target.shape) < missing] = torch.nan
    reset = torch.zeros(1, steps, dtype=torch.bool)
    reset[0, list(STARTS)] = True
    return target, reset


def by_loop(values: np.ndarray) -> tuple[float, float]:
    """Location and scale from the past of one channel, the newest last; NaN if unknown."""
    window, season = SCALING.window, SCALING.season
    recent = values[-window:]
    if np.isnan(recent).all():
        return np.nan, np.nan
    differences = [
        abs(values[i] - values[i - season])
        for i in range(max(season, len(values) - window), len(values))
    ]
    known = [x for x in differences if not np.isnan(x)]
    share = min(1.0, len(known) / season)
    seasonal = np.mean(known) if known else 0.0
    scale = (1 - share) * np.nanstd(recent) + share * seasonal
    scale += FLOOR * np.nanmean(np.abs(recent))
    return np.nanmean(recent), scale if scale > 0 else np.nan


def test_statistics_are_those_of_a_loop_over_the_past():
    target, reset = series()
    found = trailing(target, reset, SCALING)
    for channel in range(2):
        for first, end in zip(STARTS, (*STARTS[1:], 90), strict=True):
            loc, scale = np.nan, np.nan
            for t in range(first, end):
                now = by_loop(target[0, first : t + 1, channel].numpy())
                loc, scale = (
                    y if np.isnan(x) else x for x, y in zip(now, (loc, scale), strict=True)
                )
                assert found.loc[0, t, channel].item() == pytest.approx(np.nan_to_num(loc))
                assert found.scale[0, t, channel].item() == pytest.approx(
                    1.0 if np.isnan(scale) else scale
                )
                assert found.position[0, t] == t - first


def test_no_step_sees_its_future():
    target, reset = series()
    changed = target.clone()
    changed[:, 50:] = 1e9 * torch.randn_like(changed[:, 50:])
    found, after = (trailing(x, reset, SCALING) for x in (target, changed))
    assert torch.equal(found.loc[:, :50], after.loc[:, :50])
    assert torch.equal(found.scale[:, :50], after.scale[:, :50])


def test_pieces_of_windows_change_nothing(monkeypatch):
    target, reset = series()
    whole = trailing(target, reset, SCALING)
    monkeypatch.setattr("paratime.forecast.model.scaling.PIECE", 100)
    pieces = trailing(target, reset, SCALING)
    assert torch.equal(whole.loc, pieces.loc) and torch.equal(whole.scale, pieces.scale)


def test_a_scale_follows_units_and_not_levels():
    target, reset = series(missing=0.0)
    found = trailing(target, reset, SCALING)
    times = trailing(1e6 * target, reset, SCALING)
    torch.testing.assert_close(times.loc, 1e6 * found.loc)
    torch.testing.assert_close(times.scale[:, 1:], 1e6 * found.scale[:, 1:])


@pytest.mark.parametrize("value", (0.0, 5.0, torch.nan))
def test_constant_zero_and_empty_series_have_a_scale(value):
    target = torch.full((1, 20, 1), value)
    found = trailing(target, torch.zeros(1, 20, dtype=torch.bool), SCALING)
    assert (found.scale > 0).all() and found.loc.isfinite().all()


def test_the_last_scale_stays_where_only_zeros_are_observed():
    target = torch.zeros(1, 60, 1)
    target[:, :10] = torch.randn(1, 10, 1)
    found = trailing(target, torch.zeros(1, 60, dtype=torch.bool), SCALING)
    assert (found.loc[0, 25:] == 0).all()
    assert (found.scale[0, 25:] == found.scale[0, 25]).all() and found.scale[0, 25] != 1
