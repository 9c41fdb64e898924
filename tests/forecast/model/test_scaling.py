"""Causal scaling: against a loop in numpy, and what no step may see."""

from functools import partial

import numpy as np
import pytest
import torch

from paratime.forecast.model.scaling import FLOOR, FLOOR_OF_LEVEL, Scaling, Trailing, trailing

SCALING = Scaling(window=7, season=3)
STARTS = (0, 40, 41, 60)


def series(steps: int = 90, missing: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.randn(1, steps, 2, dtype=torch.float64).cumsum(1)
    target[torch.rand(target.shape) < missing] = torch.nan
    reset = torch.zeros(1, steps, dtype=torch.bool)
    reset[0, list(STARTS)] = True
    return target, reset


def same(found: Trailing, other: Trailing, steps: slice = slice(None)) -> bool:
    pairs = (found.loc, other.loc), (found.scale, other.scale)
    return all(np.array_equal(a[:, steps], b[:, steps], equal_nan=True) for a, b in pairs)


def by_loop(values: np.ndarray, level_free: bool) -> tuple[float, float]:
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
    far = values[-window - season :] - np.nanmean(recent) if level_free else recent
    scale += (FLOOR if level_free else FLOOR_OF_LEVEL) * np.nanmean(np.abs(far))
    return np.nanmean(recent), scale if scale > 1e-12 else np.nan


@pytest.mark.parametrize("level_free", (True, False))
def test_statistics_are_those_of_a_loop_over_the_past(level_free):
    target, reset = series()
    found = trailing(target, reset, Scaling(7, 3, variation=float(level_free)))
    for channel in range(2):
        for first, end in zip(STARTS, (*STARTS[1:], 90), strict=True):
            loc, scale = np.nan, np.nan
            for t in range(first, end):
                now = by_loop(target[0, first : t + 1, channel].numpy(), level_free)
                loc, scale = (
                    y if np.isnan(x) else x for x, y in zip(now, (loc, scale), strict=True)
                )
                assert found.loc[0, t, channel].item() == pytest.approx(loc, nan_ok=True)
                assert found.scale[0, t, channel].item() == pytest.approx(scale, nan_ok=True)
                assert found.position[0, t] == t - first


def test_no_step_sees_its_future():
    target, reset = series()
    changed = target.clone()
    changed[:, 50:] = 1e9 * torch.randn_like(changed[:, 50:])
    found, after = (trailing(x, reset, SCALING) for x in (target, changed))
    assert same(found, after, slice(50))


def test_pieces_of_windows_change_nothing(monkeypatch):
    target, reset = series()
    whole = trailing(target, reset, SCALING)
    monkeypatch.setattr("paratime.forecast.model.scaling.PIECE", 100)
    pieces = trailing(target, reset, SCALING)
    assert same(whole, pieces)


def test_a_scale_follows_units_and_not_levels():
    target, reset = series(missing=0.0)
    found = trailing(target, reset, SCALING)
    times = trailing(1e6 * target, reset, SCALING)
    moved = trailing(1e6 + target, reset, SCALING)
    close = partial(torch.testing.assert_close, equal_nan=True)
    close(times.loc, 1e6 * found.loc)
    close(times.scale, 1e6 * found.scale)
    close(moved.loc, 1e6 + found.loc)
    close(moved.scale, found.scale, rtol=1e-9, atol=0.0)
    assert found.scale[0, 39].isfinite().all(), "of a series that has varied"


@pytest.mark.parametrize("level", (0.0, 1e3, 1e9, -1e12))
def test_calm_stretches_and_equal_values_have_no_scale_of_their_own(level):
    target = level + torch.tensor([0.0, 2, 0, 2, *[1.0] * 30, 3.0], dtype=torch.float64)
    found = trailing(target[None, :, None], torch.zeros(1, 35, dtype=torch.bool), SCALING)
    assert (found.scale[0, 1:] > 0).all() and (found.scale[0, 20:34] == found.scale[0, 20]).all()


@pytest.mark.parametrize("value", (0.0, 5.0, torch.nan))
def test_constant_zero_and_empty_series_have_a_scale(value):
    target = torch.full((1, 20, 1), value)
    found = trailing(target, torch.zeros(1, 20, dtype=torch.bool), SCALING)
    loc, scale = SCALING.usable(found.loc, found.scale)
    assert (scale > 0).all() and loc.isfinite().all()


def test_the_last_scale_stays_where_only_zeros_are_observed():
    target = torch.zeros(1, 60, 1)
    target[:, :10] = torch.randn(1, 10, 1)
    found = trailing(target, torch.zeros(1, 60, dtype=torch.bool), SCALING)
    assert (found.loc[0, 25:] == 0).all()
    assert (found.scale[0, 25:] == found.scale[0, 25]).all() and found.scale[0, 25] != 1
