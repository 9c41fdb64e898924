"""Outputs of a forecast: proper losses, quantiles that do not cross, and distributions."""

import math

import pytest
import torch

from paratime.errors import InputError
from paratime.forecast.model.outputs import (
    Gaussian,
    Mixture,
    NegativeBinomial,
    Output,
    Quantiles,
    StudentT,
)

OUTPUTS = {
    "quantiles": Quantiles(),
    "squashed": Quantiles(squash=True),
    "tails": Quantiles(levels=(0.025, 0.1, 0.5, 0.9, 0.975)),
    "student": StudentT(),
    "gaussian": Gaussian(),
    "counts": NegativeBinomial(),
    "mixture": Mixture(),
}
LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


def numbers(output: Output, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    raw = torch.randn(*shape, output.size)
    return raw, 5 + torch.rand(shape), 0.5 + torch.rand(shape)


@pytest.mark.parametrize("name", OUTPUTS)
def test_quantiles_never_cross(name):
    raw, loc, scale = numbers(OUTPUTS[name], 50, 4)
    raw = 5 * raw
    quantiles = OUTPUTS[name].quantiles(raw, loc, scale, LEVELS)
    assert quantiles.shape == (50, 4, len(LEVELS))
    assert (quantiles.diff(dim=-1) >= 0).all() and quantiles.isfinite().all()


@pytest.mark.parametrize("far", (0, 1e3, 1e6))
@pytest.mark.parametrize("size", (1, 10, 100, 1e4))
@pytest.mark.parametrize("name", OUTPUTS)
def test_extreme_parameters_and_targets_leave_all_finite(name, size, far):
    output = OUTPUTS[name]
    raw, loc, scale = numbers(output, 50, 4)
    raw = (size * raw).requires_grad_()
    target = (loc + far * scale * torch.randn(50, 4)).abs().round()
    loss = output.loss(raw, target, loc, scale)
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    known = raw.detach(), loc, scale
    values = output.quantiles(*known, (0.1, 0.5, 0.9)), output.mean(*known), output.sample(*known)
    for x in (loss, gradient, *values):
        assert x.isfinite().all()


@pytest.mark.parametrize("name", OUTPUTS)
def test_samples_have_the_quantiles_that_are_said(name):
    raw, loc, scale = (x.expand(20000, *x.shape[1:]) for x in numbers(OUTPUTS[name], 1, 2))
    samples = OUTPUTS[name].sample(raw, loc, scale)
    said = OUTPUTS[name].quantiles(raw[:1], loc[:1], scale[:1], (0.25, 0.5, 0.75))[0]
    for i, level in enumerate((0.25, 0.5, 0.75)):
        below = (samples < said[:, i]).double().mean(0)
        up_to = (samples <= said[:, i]).double().mean(0)
        assert (below <= level + 0.02).all() and (up_to >= level - 0.02).all()


@pytest.mark.parametrize("name", sorted(set(OUTPUTS) - {"counts"}))
def test_the_loss_is_least_at_the_truth(name):
    """Descending the loss on samples of a normal distribution finds its quartiles."""
    output = OUTPUTS[name]
    target = 10 + 2 * torch.randn(4000)
    loc, scale = torch.full_like(target, 9.0), torch.full_like(target, 1.5)
    raw = torch.zeros(output.size, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        output.loss(raw.expand(4000, -1), target, loc, scale).mean().backward()
        optimizer.step()
    found = output.quantiles(raw.detach()[None], loc[:1], scale[:1], (0.1, 0.5, 0.9))[0]
    expected = torch.tensor([10 - 2 * 1.2816, 10.0, 10 + 2 * 1.2816])
    assert (found - expected).abs().max() < 0.35


@pytest.mark.parametrize("name", ("student", "gaussian", "mixture"))
def test_likelihoods_do_not_depend_on_units(name):
    output = OUTPUTS[name]
    raw, loc, scale = numbers(output, 9)
    target = loc + scale * torch.randn(9)
    loss = output.loss(raw, target, loc, scale)
    torch.testing.assert_close(output.loss(raw, 1000 * target, 1000 * loc, 1000 * scale), loss)


def test_gaussian_likelihood():
    raw = torch.tensor([[0.3, -0.2]])
    spread = math.log1p(math.exp(-0.2))
    expected = 0.5 * ((1.7 - 0.3) / spread) ** 2 + math.log(spread) + 0.5 * math.log(2 * math.pi)
    loss = Gaussian().loss(
        raw, torch.tensor([5 + 2 * 1.7]), torch.tensor([5.0]), torch.tensor([2.0])
    )
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_levels_in_between_and_beyond():
    output = Quantiles()
    raw, loc, scale = numbers(output, 3)
    low, a, middle, b, high = output.quantiles(
        raw, loc, scale, (0.05, 0.1, 0.15, 0.2, 0.95)
    ).unbind(-1)
    torch.testing.assert_close(middle, (a + b) / 2)
    assert (low < a).all() and (high > output.quantiles(raw, loc, scale, (0.9,))[..., 0]).all()


def test_what_cannot_be_negative_is_not():
    free, bound = Quantiles(), Quantiles(nonnegative=True)
    raw, loc, scale = numbers(free, 50, 4)
    loc, levels = loc - 5, (*LEVELS, 0.999)
    found, bounded = (x.quantiles(raw, loc, scale, levels) for x in (free, bound))
    assert (found < 0).any() and torch.equal(bounded, found.clamp(min=0))
    assert (bound.sample(raw, loc, scale) >= 0).all() and (bound.mean(raw, loc, scale) >= 0).all()


def test_outliers_pull_gently_when_squashed():
    raw, loc, scale = torch.zeros(1, 9), torch.zeros(1), torch.ones(1)
    spike = torch.tensor([1e6])
    assert Quantiles(squash=True).loss(raw, spike, loc, scale) < 20
    assert Quantiles().loss(raw, spike, loc, scale) > 1e5


@pytest.mark.parametrize("levels", ((0.5, 0.1), (0.1, 0.9), (0.0, 0.5), (0.5, 0.5), ()))
def test_levels_that_are_none(levels):
    with pytest.raises(InputError, match=r"levels.*rising numbers between 0 and 1"):
        Quantiles(levels=levels)


def test_large_counts_are_as_exact_as_small_ones():
    raw = torch.randn(50, 2)
    loc, scale = torch.full((50,), 3e7), torch.full((50,), 1e7)
    target = (loc + scale * torch.randn(50)).round()
    output = NegativeBinomial()
    exact = output.loss(raw.double(), target.double(), loc.double(), scale.double())
    assert torch.allclose(output.loss(raw, target, loc, scale).double(), exact, rtol=1e-4)
    found = output.quantiles(raw, loc, scale, (0.1, 0.5, 0.9))
    assert found.isfinite().all() and (found.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("value", [0.5, -1.0])
def test_what_is_no_count_is_refused(value):
    ones = torch.ones(3)
    target = torch.tensor([2.0, value, 1.0])
    with pytest.raises(InputError, match=f"target: expected counts, got {value:g}; choose"):
        NegativeBinomial().loss(torch.zeros(3, 2), target, ones, ones)


@pytest.mark.parametrize("name", sorted(set(OUTPUTS) - {"squashed"}))
def test_the_mean_is_that_of_many_samples(name):
    output = OUTPUTS[name]
    raw, loc, scale = (x.double() for x in numbers(output, 1, 3))
    many = (x.expand(40000, *x.shape[1:]) for x in (raw, loc, scale))
    samples, mean = output.sample(*many), output.mean(raw, loc, scale)[0]
    error = samples.std(0) / 40000**0.5
    allowed = 6 * error + 0.02 * samples.std(0)  # samples of quantiles end at 0.5 and 99.5 %
    assert ((samples.mean(0) - mean).abs() <= allowed).all()


def test_the_mean_of_skewed_quantiles_is_not_their_median():
    """Against the integral over a fine grid of levels."""
    skewed = Quantiles(levels=(0.05, 0.5, 0.8))
    for output in (Quantiles(), Quantiles(nonnegative=True), skewed):
        raw = 0.5 * torch.randn(20, output.size, dtype=torch.float64)
        loc, scale = torch.zeros(20, dtype=torch.float64), torch.ones(20, dtype=torch.float64)
        grid = tuple((i + 0.5) / 5000 for i in range(5000))
        whole = output.quantiles(raw, loc, scale, grid).mean(-1)
        torch.testing.assert_close(output.mean(raw, loc, scale), whole, rtol=0.0, atol=0.005)
        assert (whole - output.quantiles(raw, loc, scale, (0.5,))[..., 0]).abs().max() > 0.05


@pytest.mark.parametrize("level", (0.0, 1e6, 1e9))
def test_counts_on_a_high_level_have_their_mean(level):
    raw = torch.tensor([[0.5, -1.0]])
    loc, scale = torch.tensor([[level + 3.0], [2.0]], dtype=torch.float64)
    expected = level + 3.0 + 1.0 if level else 2 * math.log1p(math.exp(2.0))
    assert NegativeBinomial().mean(raw, loc, scale).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", OUTPUTS)
def test_quantiles_of_half_precision(name):
    raw, loc, scale = numbers(OUTPUTS[name], 5, 4)
    half = raw.bfloat16()
    found, exact = (OUTPUTS[name].quantiles(x, loc, scale, LEVELS) for x in (half, half.float()))
    assert torch.equal(found, exact)
