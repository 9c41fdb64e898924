"""Attention against a loop over queries with complex rotations, and what its cache holds."""

import pytest
import torch
from torch import Tensor

from paratime.baselines.attention import Attention
from paratime.errors import InputError
from paratime.testing import TOLERANCE, relative_error

WIDTH, HEADS = 12, 3
WINDOWS = {"all": None, "1": 1, "4": 4, "long": 100}


def naive(layer: Attention, x: Tensor, reset: Tensor) -> Tensor:
    """Attend query by query; a pair of numbers is one complex number to turn."""
    q, k, v = layer.project_in(x).unflatten(-1, (HEADS, -1)).unbind(2)
    half = WIDTH // HEADS // 2
    speed = layer.base ** (-torch.arange(half, dtype=x.dtype) / half)
    outputs = []
    for b in range(len(x)):
        begin, row = 0, []
        for t in range(x.shape[1]):
            begin = t if reset[b, t] else begin
            oldest = begin if layer.window is None else max(begin, t - layer.window + 1)
            past = torch.arange(oldest, t + 1)
            turn = torch.polar(torch.ones(1, dtype=x.dtype), (t - past)[:, None, None] * speed)
            pairs = (
                torch.complex(*q[b, t].chunk(2, -1))
                * torch.complex(*k[b, past].chunk(2, -1)).conj()
            )
            weight = ((pairs * turn).real.sum(-1) / (2 * half) ** 0.5).softmax(0)
            row.append((weight.unsqueeze(-1) * v[b, past]).sum(0).flatten())
        outputs.append(torch.stack(row))
    return layer.project_out(torch.stack(outputs))


@pytest.mark.parametrize("share", (0.0, 0.15))
@pytest.mark.parametrize("window", WINDOWS)
def test_it_equals_the_loop(window, share):
    layer = Attention(WIDTH, heads=HEADS, window=WINDOWS[window]).double()
    x = torch.randn(2, 23, WIDTH, dtype=torch.float64, requires_grad=True)
    reset = torch.rand(2, 23) < share
    leaves = (x, *layer.parameters())
    y, truth = layer(x, reset=reset if share else None)[0], naive(layer, x, reset)
    assert (y - truth).abs().max() <= TOLERANCE[x.dtype].value
    gradients = [torch.autograd.grad(v.square().sum(), leaves) for v in (y, truth)]
    for a, b in zip(*gradients, strict=True):
        assert relative_error(a, b) <= TOLERANCE[x.dtype].gradient


def test_a_window_bounds_the_cache_and_its_shape_is_constant():
    layer, state = Attention(WIDTH, heads=HEADS, window=5), None
    for t in range(8):
        _, state = layer.step(torch.randn(2, WIDTH), state)
        assert state[0].shape == (2, 4, 2, WIDTH)
        assert state[1].tolist() == [min(t + 1, 4)] * 2
    grown = Attention(WIDTH, heads=HEADS)(torch.randn(2, 8, WIDTH))[1]
    assert grown[0].shape == (2, 8, 2, WIDTH)


def test_zeros_are_the_initial_state():
    layer, x = Attention(WIDTH, heads=HEADS, window=5), torch.randn(2, 8, WIDTH)
    zeros = tuple(map(torch.zeros_like, layer(x)[1]))
    assert (layer(x, zeros)[0] - layer(x)[0]).abs().max() <= TOLERANCE[x.dtype].value


def test_the_cache_forgets_what_a_reset_cut_off():
    layer, reset = Attention(WIDTH, heads=HEADS), torch.zeros(1, 8, dtype=torch.bool)
    reset[0, 6] = True
    cache, known = layer(torch.randn(1, 8, WIDTH), reset=reset)[1]
    assert known.tolist() == [2] and not cache[0, :-2].any() and cache[0, -2:].any()


def test_a_stream_does_not_lose_precision_with_its_length():
    layer, x = Attention(WIDTH, heads=HEADS, window=5), torch.randn(1, 3000, WIDTH)
    alone = layer(x[:, -5:])[0][:, -1]
    assert (layer(x)[0][:, -1] - alone).abs().max() <= TOLERANCE[x.dtype].value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4}, r"heads: expected a divisor of hidden_size / 2 = 6, got 4"),
        ({"heads": 0}, "heads: expected a divisor"),
        ({"heads": 3, "window": 0}, "window: expected at least 1, got 0"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit(options, message):
    with pytest.raises(InputError, match=message):
        Attention(WIDTH, **options)


def test_states_that_do_not_fit():
    layer, x = Attention(WIDTH, heads=HEADS, window=5), torch.zeros(2, 3, WIDTH)
    with pytest.raises(InputError, match="h0: expected a tuple of cache, counts, got Tensor"):
        layer(x, torch.zeros(2, 4))
    with pytest.raises(InputError, match=r"h0: expected \(2, 1, 2, 12\), got NoneType"):
        Attention(WIDTH, heads=HEADS)(x, (None, None))
    with pytest.raises(InputError, match=r"h0: expected \(2, 1, 2, 12\), got \(2,\)"):
        Attention(WIDTH, heads=HEADS)(x, (torch.zeros(2), torch.zeros(2)))
    _, state = layer(x[:1])
    with pytest.raises(InputError, match=r"h0: expected \(2, 4, 2, 12\), got \(1, 4, 2, 12\)"):
        layer(x, state)
