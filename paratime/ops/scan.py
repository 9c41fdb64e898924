"""The linear recurrence h[t] = a[t] h[t-1] + b[t], as a torch operator.

The compiled kernels of ``paratime::scan`` run on a CPU, and on CUDA (``native/device.py``). A
parallel scan in torch runs where there are none, and the loop, ``scan_loop``, is the truth of both.

A zero in a transition passes on nothing, not even infinity or NaN, so a transition of zero is a
reset: what follows equals a sequence of its own. The same holds for gradients: they cross no zero
on their way back, and a transition gets none from a state that it forgot and that is not finite.
Only an exact zero forgets; products of small transitions that vanish do not.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops import blocks
from paratime.ops.native import device, library
from paratime.ops.operator import check_tensor, without_autocast


def scan(a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Solve the linear recurrence h[t] = a[t] h[t-1] + b[t] for all t.

    Args:
        a: Transitions, (B, T, D), or blocks (B, T, K, K, D).
        b: Inputs, (B, T, D), or (B, T, K, D) for blocks; float32 or float64, like ``a``.
        h0: State before the first step, (B, D) or (B, K, D); zero by default.
        reverse: Run from the last step to the first: h[t] = a[t] h[t+1] + b[t].

    Returns:
        All states, in the shape of ``b``.

    Raises:
        InputError: Shapes or dtypes do not fit.
        NotImplementedError: Forward-mode derivatives, or a transform of torch.func.
    """
    _check(a, b, h0)
    library.refuse_transforms(a, b, h0)
    return _scan(a, b, h0, reverse)


def _check(a: Tensor, b: Tensor, h0: Tensor | None) -> None:
    if b.dim() not in (3, 4):
        raise InputError("b", "(B, T, D) or (B, T, K, D)", str(tuple(b.shape)), "reshape b")
    if b.dtype not in (torch.float32, torch.float64):
        raise InputError(
            "b",
            expected="float32 or float64",
            got=str(b.dtype),
            remedy="cast it, states keep full precision",
        )
    batch, steps, *state = b.shape
    if steps == 0:
        raise InputError("b", "at least one step", "T = 0", "drop empty sequences")
    fits = partial(check_tensor, dtype=b.dtype, device=b.device, like="b")
    fits("a", a, tuple(b.shape) if len(state) == 1 else (batch, steps, state[0], *state))
    fits("h0", h0, (batch, *state))


def _parallel(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    return scan_safe(a, b.contiguous(), h0, reverse=reverse).contiguous()


_scan = torch.library.custom_op(
    "paratime::scan",
    _parallel,
    mutates_args=(),
    schema="(Tensor a, Tensor b, Tensor? h0, bool reverse) -> Tensor",
)


@_scan.register_kernel("cpu")
def _native(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    if library.emulates():
        return _device(a, b, h0, reverse)
    _check(a, b, h0)
    kernel = library.symbol(f"scan_{library.FORMATS[b.dtype]}")
    if kernel is None:
        return _parallel(a, b, h0, reverse)
    size, channels = (1, b.shape[2]) if b.dim() == 3 else b.shape[2:]
    start = torch.zeros_like(b[:, 0]) if h0 is None else h0
    a, b, start, h = a.contiguous(), b.contiguous(), start.contiguous(), b.new_empty(b.shape)
    library.call(kernel, b.shape[0], b.shape[1], size, channels, int(reverse), a, b, start, h)
    return h


@_scan.register_kernel("cuda")
def _device(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    _check(a, b, h0)
    start = torch.zeros_like(b[:, 0]) if h0 is None else h0
    h = b.new_empty(b.shape)
    a, b, start = a.contiguous(), b.contiguous(), start.contiguous()
    rows = b if b.dim() == 4 else b.unsqueeze(-2)
    return h if device.launch_scan(a, rows, start, h, reverse) else _parallel(a, b, h0, reverse)


@_scan.register_fake
def _(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    return b.new_empty(b.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, h0, ctx.reverse = inputs
    ctx.save_for_backward(a, h0, output)


def _gradient(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
    """Solve the adjoint lam[t] = g[t] + a[t+1]^T lam[t+1]: the same operator, in reverse."""
    a, h0, h = ctx.saved_tensors
    with without_autocast(g.device):
        return *_adjoint(ctx, a, h0, h, g), None


def _adjoint(
    ctx: Any, a: Tensor, h0: Tensor | None, h: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    block = a.dim() > h.dim()
    a_t = blocks.transpose(a) if block else a
    lam = _scan(_shift(a_t, None, not ctx.reverse), g, None, not ctx.reverse)
    previous = _shift(h, h0, ctx.reverse)
    grad_a = blocks.outer(lam, previous) if block else lam * previous
    if not _known_finite(previous):
        grad_a = grad_a.masked_fill(_forgotten(a, previous.unsqueeze(-3) if block else previous), 0)
    first = -1 if ctx.reverse else 0
    grad_h0 = None if h0 is None else transfer(a_t[:, first], lam[:, first])
    return grad_a, lam, grad_h0


def _shift(x: Tensor, first: Tensor | None, reverse: bool) -> Tensor:
    """Return x[t-1] (x[t+1] in reverse), with ``first``, or zero, where there is none."""
    if reverse:
        edge = torch.zeros_like(x[:, -1]) if first is None else first
        return torch.cat([x[:, 1:], edge.unsqueeze(1)], dim=1)
    edge = torch.zeros_like(x[:, 0]) if first is None else first
    return torch.cat([edge.unsqueeze(1), x[:, :-1]], dim=1)


_scan.register_autograd(_gradient, setup_context=_save)


def scan_loop(a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Run h[t] = a[t] h[t-1] + b[t] one step after another: the truth of every other scan."""
    h = torch.zeros_like(b[:, 0]) if h0 is None else h0
    states = [h] * b.shape[1]
    order = range(b.shape[1])
    for t in reversed(order) if reverse else order:
        h = transfer(a[:, t], h) + b[:, t]
        states[t] = h
    return torch.stack(states, dim=1)


def transfer(a: Tensor, h: Tensor) -> Tensor:
    """Apply transitions a to states h, where a zero passes on nothing, finite or not.

    Args:
        a: Transitions, (..., D), or blocks (..., K, K, D).
        h: States, (..., D) or (..., K, D).
    """
    if a.dim() == h.dim():
        return a * h.masked_fill(_forgotten(a, h), 0)
    finite = h.isfinite()
    others = h.masked_fill(finite, 0).unsqueeze(-3)
    passed = (a * others).masked_fill((a == 0) | finite.unsqueeze(-3), 0).sum(-2)
    return blocks.apply(a, h.masked_fill(~finite, 0)) + passed


def _known_finite(x: Tensor) -> bool:
    """Return whether x is finite where that is cheap to learn: on a GPU one would wait."""
    eager = type(x) is Tensor and not torch.compiler.is_compiling()
    return eager and x.device.type == "cpu" and bool(x.detach().sum().isfinite())


def _forgotten(a: Tensor, h: Tensor) -> Tensor:
    """Return where a zero transition meets a state that is not finite."""
    return (a == 0) & ~h.isfinite()


def scan_odd_even(
    a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False
) -> Tensor:
    """Run the same recurrence in 2 log2(T) parallel steps and about five times the loop's work.

    Odd-even (cyclic) reduction. Two neighbouring steps make one:

        h[2i+1] = (a[2i+1] a[2i]) h[2i-1] + (a[2i+1] b[2i] + b[2i+1]),

    a recurrence of half the length over the odd states. Once that is solved, each even state
    follows from the odd state before it.
    """
    if reverse:
        return scan_odd_even(a.flip(1), b.flip(1), h0).flip(1)
    if h0 is not None:
        first = blocks.apply(a[:, 0], h0) + b[:, 0]
        b = torch.cat([first.unsqueeze(1), b[:, 1:]], dim=1)
    return _reduce(a, b)


def scan_safe(a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Run the parallel scan; where a product of transitions overflowed, run the loop.

    The loop multiplies a transition with the state it meets, which may be zero; the parallel scan
    multiplies transitions with each other first, and infinity times zero is not a number.
    """
    h = scan_odd_even(a, b, h0, reverse=reverse)
    if not torch.isfinite(h).all():
        return scan_loop(a, b, h0, reverse=reverse)
    return h.clone() if h is b else h


def _reduce(a: Tensor, b: Tensor) -> Tensor:
    """Solve with zero initial state; a[:, 0] is never used."""
    steps = b.shape[1]
    if steps <= 1:
        return b
    pairs = steps // 2
    a_even, b_even = a[:, 0 : 2 * pairs : 2], b[:, 0 : 2 * pairs : 2]
    a_odd, b_odd = a[:, 1::2], b[:, 1::2]
    compose = blocks.matmul if a.dim() > b.dim() else torch.mul
    odd = _reduce(compose(a_odd, a_even), blocks.apply(a_odd, b_even) + b_odd)
    h = torch.empty_like(b)
    h[:, 0] = b[:, 0]
    h[:, 1::2] = odd
    h[:, 2::2] = blocks.apply(a[:, 2::2], odd[:, : (steps - 1) // 2]) + b[:, 2::2]
    return h
