"""Fused recurrences h[t] = step(u[t], h[t-1]) over whole sequences, as torch operators.

``paratime::gru`` and ``paratime::lstm`` run compiled kernels on a CPU, and on CUDA
(``native/device.py``); a loop in torch is their truth, and runs where there is no kernel.

A state (B, rows, C) has K units of memory (the LSTM's cell) or none, and K units of output, on each
of C channels. The other shapes:

- u (B, T, 3 K, C), drives in any floating format, and outputs y (B, T, K, C) like them;
- weights (W, C), states and memory (B, T, rows - K, C), in float64 for drives in float64, else
  float32: the rows of ``weight_hh`` (3, K, K, C), then those of the LSTM's peepholes;
- ``reset``, bool (B, T), which makes the state before a step zero, and ``lengths``, int64 (B,),
  how many steps of a sequence are valid: beyond them y is zero.

An operator returns y, the memory, the state after the last valid step, and a report: int32 (3,),
Newton iterations, the bits of a float32, the largest last correction, zeros where no iteration ran,
and 1 where the loop in torch ran. Gradients flow through y and that state; the memory is for the
backward pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from paratime.errors import InputError
from paratime.ops import gated
from paratime.ops.native import device as cuda
from paratime.ops.native import library
from paratime.ops.operator import check_tensor, precise_dtype

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The state (B, rows, C) after a step from u (B, 3 K, C), weights (W, C) and the state before."""

StepVJP = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""The gradients of <lam, step(u, weight, h)> for u, weight (B, W, C) and h, from those and lam."""

Inputs = tuple[Any, ...]
"""u, weight, h0, ``reset`` and ``lengths``."""

Saved = tuple[Tensor | None, ...]
"""y, memory, and the gradients of y and of the final state."""

Gradients = tuple[Tensor, Tensor, Tensor]
"""Of u, weight and h0."""

_INPUTS = "Tensor u, Tensor weight, Tensor h0, Tensor? reset, Tensor? lengths"
_FORWARD = f"({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)"
_INTO = f"(Tensor(a!) y, {_INPUTS}) -> (Tensor, Tensor)"
_BACKWARD = (
    f"(Tensor? g, Tensor? g_final, Tensor y, Tensor memory, {_INPUTS}) -> (Tensor, Tensor, Tensor)"
)


class _Backend(ABC):
    """Runs a recurrence on contiguous inputs; a method returns False where it has no kernel."""

    @abstractmethod
    def forward(
        self, inputs: Inputs, y: Tensor, memory: Tensor | None, final: Tensor, report: Tensor
    ) -> bool:
        """Write the outputs, the memory unless it is None, the final state, and the report."""

    @abstractmethod
    def backward(self, inputs: Inputs, saved: Saved, gradients: Gradients) -> bool:
        """Write the gradients."""


class _TorchLoop(_Backend):
    """One step after another, in torch: the truth of the kernels."""

    def __init__(self, step: Step, vjp: StepVJP) -> None:
        self.step = step
        self.vjp = vjp

    def forward(
        self, inputs: Inputs, y: Tensor, memory: Tensor | None, final: Tensor, report: Tensor
    ) -> bool:
        u, weight, h, reset, lengths = _complete(inputs)
        for t in range(u.shape[1]):
            before = torch.where(reset[:, t], 0, h)
            now = self.step(u[:, t].to(h.dtype), weight, before)
            h = torch.where(t < lengths, now, h)
            kept, y[:, t] = torch.where(t < lengths, now, 0).split(_rows(y, h), dim=1)
            if memory is not None:
                memory[:, t] = kept
        final.copy_(h)
        report[2] = 1
        return True

    def backward(self, inputs: Inputs, saved: Saved, gradients: Gradients) -> bool:
        u, weight, h0, reset, lengths = _complete(inputs)
        (y, memory, g, g_final), (du, d_weight, d_h0) = saved, gradients
        assert y is not None and memory is not None
        d_weight.zero_()
        states = torch.cat([memory, y.to(h0.dtype)], dim=2)
        lam = torch.zeros_like(h0) if g_final is None else g_final
        for t in reversed(range(u.shape[1])):
            before = torch.where(reset[:, t], 0, states[:, t - 1] if t else h0)
            arriving = lam.clone()
            if g is not None:
                arriving[:, memory.shape[2] :] += g[:, t]
            arriving = torch.where(t < lengths, arriving, 0)
            now = self.vjp(u[:, t].to(h0.dtype), weight, before, arriving)
            du[:, t], of_each, d_before = (torch.where(t < lengths, x, 0) for x in now)
            d_weight += of_each.sum(0)
            lam = torch.where(t < lengths, torch.where(reset[:, t], 0, d_before), lam)
        d_h0.copy_(lam)
        return True


class _CPUKernels(_Backend):
    """The compiled kernels for a CPU, vectorised over channels.

    No kernel reads float16, which few CPUs compute in: those for float32 run on copies.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(
        self, inputs: Inputs, y: Tensor, memory: Tensor | None, final: Tensor, report: Tensor
    ) -> bool:
        if y.dtype == torch.float16:
            wide = y.new_empty(y.shape, dtype=torch.float32)
            found = self.forward(_widened(inputs), wide, memory, final, report)
            y.copy_(wide)
            return found
        return self._call("forward", inputs, y, y.stride(0), memory, final)

    def backward(self, inputs: Inputs, saved: Saved, gradients: Gradients) -> bool:
        du, d_weight, d_h0 = gradients
        if du.dtype == torch.float16:
            wide = du.new_empty(du.shape, dtype=torch.float32)
            found = self.backward(_widened(inputs), _widened(saved), (wide, d_weight, d_h0))
            du.copy_(wide)
            return found
        of_each = d_weight.new_empty(du.shape[0], *d_weight.shape)
        return self._call("backward", inputs, *saved, du, of_each, d_weight, d_h0)

    def _call(self, direction: str, inputs: Inputs, *rest: Tensor | int | None) -> bool:
        batch, steps, rows, channels = inputs[0].shape
        format = library.FORMATS.get(inputs[0].dtype)
        kernel = library.symbol(f"{self.name}{rows // 3}_{direction}_{format}")
        if kernel is not None:
            library.call(kernel, batch, steps, channels, *inputs, *rest)
        return kernel is not None


class _CUDAKernels(_Backend):
    """The compiled kernels for CUDA, sequential or parallel in time; see ``native/device.py``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(
        self, inputs: Inputs, y: Tensor, memory: Tensor | None, final: Tensor, report: Tensor
    ) -> bool:
        return cuda.launch_forward(self.name, inputs, y, memory, final, report)

    def backward(self, inputs: Inputs, saved: Saved, gradients: Gradients) -> bool:
        return cuda.launch_backward(self.name, inputs, saved, gradients)


class Recurrence:
    """A fused recurrence: ``paratime::<name>``, ``<name>_into`` and ``<name>_backward``.

    Args:
        name: What the operators and their kernels are called.
        step: One step in torch, from which the reference follows.
        vjp: The gradients of a step in torch.
        sizes: The rows of a state, and W, by K.
    """

    def __init__(
        self, name: str, step: Step, vjp: StepVJP, sizes: Callable[[int], tuple[int, int]]
    ) -> None:
        self.name = name
        self.sizes = sizes
        self._loop = _TorchLoop(step, vjp)
        self._cpu, self._cuda = _CPUKernels(name), _CUDAKernels(name)
        self.forward = custom_op(
            f"paratime::{name}", self._forward, mutates_args=(), schema=_FORWARD
        )
        self.forward.register_fake(_empty_outputs)
        self.forward.register_autograd(self._gradient, setup_context=_save)
        self.into = self._mutating(f"{name}_into")
        self.backward = custom_op(
            f"paratime::{name}_backward", self._backward, mutates_args=(), schema=_BACKWARD
        )
        self.backward.register_fake(
            lambda g, g_final, y, memory, *inputs: _empty_gradients(*inputs)
        )
        self.backward.register_autograd(_refuse)

    def _mutating(self, name: str) -> Callable[..., tuple[Tensor, Tensor]]:
        """Define the operator that writes y; custom_op would take 0.1 ms a call to mark it so."""
        torch.library.define(f"paratime::{name}", _INTO)
        torch.library.impl(f"paratime::{name}", "default", self._into)
        torch.library.register_fake(f"paratime::{name}", lambda y, *inputs: _empty_ends(*inputs))
        operator: Callable[..., Any] = getattr(torch.ops.paratime, name).default
        return operator

    def runs_on(self, device: torch.device, block_size: int) -> bool:
        """Return whether a device has a kernel for K = ``block_size``."""
        return _runs_on(self.name, device, block_size)

    def __call__(self, *inputs: Any, out: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, the final state and the report.

        Args:
            *inputs: u, weight, h0, ``reset`` and ``lengths``; the shapes are those of this module.
            out: Where to write y, without gradients.

        Raises:
            NotImplementedError: Forward-mode derivatives, which torch would drop in silence, and
                transforms of torch.func.
        """
        library.refuse_transforms(*inputs[:3])
        if out is not None:
            return out, *self.into(out, *inputs)
        y, _, final, report = self.forward(*inputs)
        return y, final, report

    def _kernels(self, device: torch.device) -> _Backend:
        on_cpu = device.type == "cpu" and not library.emulates()
        return self._cpu if on_cpu else self._cuda

    def _forward(self, *inputs: Any) -> tuple[Tensor, ...]:
        inputs = self._checked(inputs)
        results = _empty_outputs(*inputs)
        if not self._kernels(inputs[0].device).forward(inputs, *results):
            self._loop.forward(inputs, *results)
        return results

    def _into(self, y: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
        inputs = self._checked(inputs)
        _check_steps(y, inputs)
        results = _empty_ends(*inputs)
        if not self._kernels(y.device).forward(inputs, y, None, *results):
            self._loop.forward(inputs, y, None, *results)
        return results

    def _backward(
        self,
        g: Tensor | None,
        g_final: Tensor | None,
        y: Tensor,
        memory: Tensor,
        *inputs: Any,
    ) -> Gradients:
        inputs = self._checked(inputs)
        saved = _checked_saved(g, g_final, y, memory, inputs)
        gradients = _empty_gradients(*inputs)
        if not self._kernels(y.device).backward(inputs, saved, gradients):
            self._loop.backward(inputs, saved, gradients)
        return gradients

    def _checked(self, inputs: Inputs) -> Inputs:
        """Return contiguous inputs; refuse what a kernel would read beyond."""
        u, weight, h0, reset, lengths = inputs
        if u.dim() != 4 or u.shape[2] % 3:
            raise InputError("u", "(B, T, 3 K, C)", str(tuple(u.shape)), "reshape u")
        if u.dtype not in library.FORMATS or weight is None or h0 is None:
            raise InputError(
                "u",
                expected=f"{', '.join(library.FORMATS.values())}, with weight and h0",
                got=str(u.dtype),
                remedy="cast u, and pass both",
            )
        batch, steps, rows, channels = u.shape
        state, weights = self.sizes(rows // 3)
        exact = precise_dtype(u)
        fits = partial(check_tensor, device=u.device)
        fits("weight", weight, (weights, channels), exact)
        fits("h0", h0, (batch, state, channels), exact)
        fits("reset", reset, (batch, steps), torch.bool)
        fits("lengths", lengths, (batch,), torch.int64)
        return tuple(map(_contiguous, inputs))

    def _gradient(
        self,
        ctx: Any,
        g: Tensor | None,
        g_memory: Tensor | None,
        g_final: Tensor | None,
        g_report: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        return *self.backward(g, g_final, *ctx.saved_tensors), None, None


def _runs_on(name: str, device: torch.device, block_size: int) -> bool:
    """Return whether there is a kernel; its library is compiled first, if need be."""
    if device.type == "cuda" or library.emulates():
        return cuda.has_kernel(name, block_size, device)
    return library.symbol(f"{name}{block_size}_forward_float32") is not None


# torch.compiler.assume_constant_result does no more than this, after importing the compiler
_runs_on._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1], output[3])
    ctx.save_for_backward(*output[:2], *inputs)


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise NotImplementedError(
        "second derivatives through a fused recurrence: expected first derivatives only, got a "
        "second backward pass; use solver=Sequential()"
    )


def _complete(inputs: Inputs) -> tuple[Tensor, ...]:
    """Fill in masks that change nothing, in shapes that broadcast against states."""
    u, weight, h0, reset, lengths = inputs
    batch, steps = u.shape[:2]
    reset = u.new_zeros(batch, steps, dtype=torch.bool) if reset is None else reset
    lengths = u.new_full((batch,), steps, dtype=torch.int64) if lengths is None else lengths
    return u, weight, h0, reset.view(batch, steps, 1, 1), lengths.view(batch, 1, 1)


def _rows(y: Tensor, h: Tensor) -> list[int]:
    """Return the rows of memory and of output in a state."""
    return [h.shape[1] - y.shape[2], y.shape[2]]


def _widened(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return float16 tensors in float32, and all others as they are."""
    return tuple(x.float() if x is not None and x.dtype == torch.float16 else x for x in tensors)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _shapes(u: Tensor, h0: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of y and memory."""
    batch, steps, rows, channels = u.shape
    k = rows // 3
    return (batch, steps, k, channels), (batch, steps, h0.shape[1] - k, channels)


def _empty_outputs(
    u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return uninitialised y, memory and final states, and an empty report."""
    y, memory = _shapes(u, h0)
    return u.new_empty(y), h0.new_empty(memory), *_empty_ends(u, weight, h0)


def _empty_ends(
    u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return uninitialised final states, and an empty report."""
    return h0.new_empty(h0.shape), u.new_zeros(3, dtype=torch.int32)


def _empty_gradients(u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None) -> Gradients:
    return u.new_empty(u.shape), weight.new_empty(weight.shape), h0.new_empty(h0.shape)


def _check_steps(y: Tensor, inputs: Inputs) -> None:
    """Refuse a y that a kernel could not write: it knows of no strides but between sequences."""
    u, _, h0 = inputs[:3]
    check_tensor("y", y, _shapes(u, h0)[0], u.dtype, u.device)
    apart = y.shape[0] < 2 or y.stride(0) >= y[0].numel()
    if y.shape[0] and not (apart and y[0].is_contiguous()):
        raise InputError(
            "y",
            expected="steps one after another",
            got=f"strides {y.stride()}",
            remedy="slice the batch or time only",
        )


def _checked_saved(
    g: Tensor | None, g_final: Tensor | None, y: Tensor, memory: Tensor, inputs: Inputs
) -> Saved:
    u, _, h0 = inputs[:3]
    y_shape, memory_shape = _shapes(u, h0)
    fits = partial(check_tensor, device=u.device)
    fits("y", y, y_shape, u.dtype)
    fits("g", g, y_shape, u.dtype)
    fits("memory", memory, memory_shape, h0.dtype)
    fits("g_final", g_final, tuple(h0.shape), h0.dtype)
    return tuple(map(_contiguous, (y, memory, g, g_final)))


def _gru_step(u: Tensor, weight: Tensor, h: Tensor) -> Tensor:
    return gated.gru_step(*_gates_of(u, weight), h)


def _gru_vjp(u: Tensor, weight: Tensor, h: Tensor, lam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    du, da, dh = gated.gru_vjp(*_gates_of(u, weight), h, lam)
    return du.flatten(-3, -2), da.flatten(-4, -2), dh


def _lstm_step(u: Tensor, weight: Tensor, state: Tensor) -> Tensor:
    a, p = _without_peepholes(u, weight)
    return gated.lstm_step(*_gates_of(u, a), p, state)


def _lstm_vjp(
    u: Tensor, weight: Tensor, state: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    a, p = _without_peepholes(u, weight)
    du, da, dp, d_state = gated.lstm_vjp(*_gates_of(u, a), p, state, lam)
    return du.flatten(-3, -2), torch.cat([da.flatten(-4, -2), dp.flatten(-3, -2)], -2), d_state


def _gates_of(u: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    k = u.shape[-2] // 3
    return u.unflatten(-2, (3, k)), a.unflatten(0, (3, k, k))


def _without_peepholes(u: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    k = u.shape[-2] // 3
    a, p = weight.split([3 * k * k, 2 * k])
    return a, p.unflatten(0, (2, k))


gru = Recurrence("gru", _gru_step, _gru_vjp, lambda k: (k, 3 * k * k))
lstm = Recurrence("lstm", _lstm_step, _lstm_vjp, lambda k: (2 * k, 3 * k * k + 2 * k))
