"""torch's layers in pieces against a loop over time, which knows nothing of pieces."""

import pytest
import torch
from torch import Tensor

from paratime.baselines.pieces import Pieces
from paratime.baselines.rnn import TorchGRU, TorchLSTM, TorchRNN
from paratime.errors import InputError
from paratime.testing import TOLERANCE, relative_error

INPUT, HIDDEN = 3, 5
LAYERS = {"GRU": TorchGRU, "LSTM": TorchLSTM}
RESETS = {"none": 0.0, "some": 0.1, "half": 0.5, "all": 1.0}


def start(layer: TorchRNN, batch: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    count = 2 if isinstance(layer, TorchLSTM) else 1
    return tuple(torch.randn(batch, HIDDEN, dtype=dtype, requires_grad=True) for _ in range(count))


def loop(layer: TorchRNN, x: Tensor, parts: tuple[Tensor, ...], reset: Tensor, lengths: Tensor):
    """Run torch's layer one step after another, and stop each sequence where it ends."""
    outputs = []
    for t in range(x.shape[1]):
        before = tuple(part * ~reset[:, t, None] for part in parts)
        held = tuple(part.unsqueeze(0) for part in before)
        y, after = layer.rnn(x[:, t : t + 1], held if len(held) > 1 else held[0])
        going = (t < lengths).unsqueeze(-1)
        after = after if isinstance(after, tuple) else (after,)
        parts = tuple(torch.where(going, a[0], p) for a, p in zip(after, parts, strict=True))
        outputs.append(y[:, 0] * going)
    return torch.stack(outputs, dim=1), parts


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("share", RESETS)
@pytest.mark.parametrize("steps", (1, 2, 63))
@pytest.mark.parametrize("name", LAYERS)
def test_pieces_equal_the_loop(name, steps, share, dtype):
    layer = LAYERS[name](INPUT, HIDDEN).to(dtype)
    x = torch.randn(5, steps, INPUT, dtype=dtype, requires_grad=True)
    h0, reset = start(layer, 5, dtype), torch.rand(5, steps) < RESETS[share]
    lengths = torch.tensor([steps, 0, steps // 2, steps - 1, 1])
    y, end = layer(x, h0 if len(h0) > 1 else h0[0], reset=reset, lengths=lengths)
    fast = (y, *(end if isinstance(end, tuple) else (end,)))
    truth, parts = loop(layer, x, h0, reset, lengths)
    slow, leaves = (truth, *parts), (x, *h0, *layer.parameters())
    for a, b in zip(fast, slow, strict=True):
        assert (a - b).abs().max() <= TOLERANCE[dtype].value
    gradients = [torch.autograd.grad(sum(map(weighed, run)), leaves) for run in (fast, slow)]
    for a, b in zip(*gradients, strict=True):
        assert relative_error(a, b) <= TOLERANCE[dtype].gradient


def weighed(x: Tensor) -> Tensor:
    return (x * torch.linspace(-1, 2, x.numel(), dtype=x.dtype).view_as(x)).sum()


def test_stages_run_every_valid_step_once_and_in_order():
    reset, lengths = torch.rand(7, 100) < 0.05, torch.tensor([100, 0, 37, 1, 99, 64, 63])
    pieces = Pieces.of(reset, lengths, 7, 100)
    seen: list[list[int]] = [[] for _ in pieces.row]
    stages = [*pieces.stages()]
    for chosen, where in stages:
        for piece, steps in zip(chosen.tolist(), where.tolist(), strict=True):
            seen[piece] += steps
    for piece, begin, length in zip(seen, pieces.begin, pieces.length, strict=True):
        assert piece == [*range(int(begin), int(begin + length))]
    assert sum(map(len, seen)) == lengths.sum()
    assert sum(where.shape[1] for _, where in stages) < 2 * pieces.length.max()
    assert len(stages) <= 7


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_torchs_layer(name):
    layer, x = LAYERS[name](INPUT, HIDDEN), torch.randn(2, 9, INPUT)
    assert torch.equal(layer(x)[0], layer.rnn(x)[0])


def test_no_state_of_another_layer():
    x, h = torch.zeros(2, 4, INPUT), torch.zeros(2, HIDDEN)
    with pytest.raises(InputError, match="h0: expected a tuple of h, c, got Tensor"):
        TorchLSTM(INPUT, HIDDEN)(x, h)
    with pytest.raises(InputError, match=r"hidden_size\) = \(2, 5\), got tuple"):
        TorchGRU(INPUT, HIDDEN)(x, (h, h))
    with pytest.raises(InputError, match="x: expected 3 channels, got 4"):
        TorchGRU(INPUT, HIDDEN).step(torch.zeros(2, 4))
