"""How long rollouts are valid, and distances of climates, of data where both are known."""

import numpy as np
import pytest
import torch
from measures import climate, hellinger, valid_steps, wasserstein
from scipy import stats


def test_the_valid_time_of_a_known_error_curve():
    """An error of 0.01 e^t, sampled ten times by time, is 0.5 at t = ln 50."""
    t = torch.arange(100) / 10
    found = valid_steps(torch.stack([0.01 * t.exp(), 0 * t, 0.6 + t]))
    assert found.tolist() == [int(10 * np.log(50)) + 1, 100, 0]


def test_a_rollout_that_comes_back_is_valid_until_it_left():
    errors = torch.tensor([[0.1, 0.5, 0.6, 0.1], [0.1, torch.inf, 0.0, 0.0]])
    assert valid_steps(errors).tolist() == [2, 1]


def waves(seed: int = 0, count: int = 8, steps: int = 512) -> torch.Tensor:
    """Return noise that a filter has coloured, (count, steps, 2)."""
    x = torch.randn(count, steps + 1, 2, generator=torch.Generator().manual_seed(seed))
    return x[:, 1:] + x[:, :-1]


def test_identical_data_has_the_same_climate():
    x = waves()
    assert climate(x, x) == pytest.approx(
        {"mean": 0, "variance": 1, "histogram": 0, "spectrum": 0}, abs=1e-6
    )


def test_a_shift_by_a_deviation_is_a_distance_of_one():
    x = waves()
    found = climate(x + x.flatten(0, 1).std(0), x)
    expected = {"mean": 1, "variance": 1, "histogram": 1, "spectrum": 0}
    assert found == pytest.approx(expected, abs=1e-5)


def test_twice_the_amplitude_is_four_times_the_variance():
    """Of normal numbers, the distance of 2 z from z is the mean of |z|, the root of 2 / pi."""
    found = climate(2 * waves(), waves())
    assert found["variance"] == pytest.approx(4, rel=1e-5)
    assert found["histogram"] == pytest.approx((2 / np.pi) ** 0.5, rel=0.05)
    assert found["spectrum"] == pytest.approx(0, abs=1e-6)


def test_values_in_another_order_have_the_same_histogram_and_another_spectrum():
    x = waves()
    found = climate(x[:, torch.randperm(x.shape[1])], x)
    assert found["histogram"] == pytest.approx(0, abs=1e-6)
    assert found["spectrum"] > 0.2


def test_the_wasserstein_distance_is_that_of_scipy():
    x, y = waves(0), waves(1) ** 3
    expected = [stats.wasserstein_distance(x[..., i].ravel(), y[..., i].ravel()) for i in (0, 1)]
    np.testing.assert_allclose(wasserstein(x, y), expected, rtol=1e-5)


def test_spectra_without_a_frequency_in_common_are_a_distance_of_one():
    t = torch.arange(512, dtype=torch.float64) / 512
    slow, fast = (torch.sin(2 * torch.pi * n * t).view(1, -1, 1) for n in (4, 32))
    assert float(hellinger(slow, fast)) == pytest.approx(1, abs=1e-6)
