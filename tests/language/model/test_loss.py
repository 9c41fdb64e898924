"""The loss in chunks equals the plain one, with gradients, and holds less."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from paratime.language.model import loss
from paratime.language.model.loss import next_token_loss, next_token_loss_reference
from paratime.testing import TOLERANCE

VOCABULARY, WIDTH = 37, 8


def problem(rows: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    x, weight = torch.randn(rows, WIDTH, dtype=dtype), torch.randn(VOCABULARY, WIDTH, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_(), torch.randint(VOCABULARY, (rows,))


def results(function, x, weight, targets, z_loss) -> list[torch.Tensor]:
    value, nats = function(x, weight, targets, z_loss)
    return [value, nats, *torch.autograd.grad(3 * value, (x, weight))]


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("z_loss", (0.0, 0.1), ids=lambda z: f"z {z}")
@pytest.mark.parametrize("rows", (1, 5, 50, 101))
def test_chunks_equal_the_whole(rows, z_loss, dtype, monkeypatch):
    monkeypatch.setattr(loss, "CPU_LOGITS", 5 * VOCABULARY)
    x, weight, targets = problem(rows, dtype)
    own = results(next_token_loss, x, weight, targets, z_loss)
    truth = results(next_token_loss_reference, x, weight, targets, z_loss)
    for a, b in zip(own, truth, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() <= TOLERANCE[dtype].value


def test_a_row_is_the_least_chunk(monkeypatch):
    monkeypatch.setattr(loss, "CPU_LOGITS", 1)
    x, weight, targets = problem(4)
    own = results(next_token_loss, x, weight, targets, 0.1)
    truth = results(next_token_loss_reference, x, weight, targets, 0.1)
    torch.testing.assert_close(own, truth)


def test_gradients_by_differences():
    x, weight, targets = problem(6)
    assert torch.autograd.gradcheck(lambda *a: next_token_loss(*a, targets, 0.1)[0], (x, weight))


def test_second_derivatives_are_refused():
    x, weight, targets = problem(3)
    value, _ = next_token_loss(x, weight, targets)
    with pytest.raises(NotImplementedError, match="use next_token_loss_reference"):
        torch.autograd.grad(value, x, create_graph=True)


def test_autocast_keeps_sums_and_gradients_of_the_weight_in_float32():
    x, weight, targets = problem(64, torch.float32)
    truth = [y.detach() for y in results(next_token_loss_reference, x, weight, targets, 1e-4)]
    with torch.autocast("cpu", torch.bfloat16):
        own = results(next_token_loss, x, weight, targets, 1e-4)
    for a, b in zip(own, truth, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05 * float(b.abs().max()))


class Largest(TorchDispatchMode):
    """Notes the most numbers that any operator returned."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.numbers = max(self.numbers, out.numel())
        return out


def test_nothing_is_as_large_as_all_logits(monkeypatch):
    monkeypatch.setattr(loss, "CPU_LOGITS", 5 * VOCABULARY)
    x, weight, targets = problem(100)
    with Largest() as plain:
        next_token_loss_reference(x, weight, targets)[0].backward()
    with Largest() as chunked:
        next_token_loss(x, weight, targets)[0].backward()
    assert plain.numbers == 100 * VOCABULARY
    assert chunked.numbers == 100 * WIDTH  # the gradient of x
