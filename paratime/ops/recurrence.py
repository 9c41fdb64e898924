"""Fused recurrences h[t] = step(u[t], h[t-1]) over whole sequences, as torch operators.

Schemas, fakes and gradient are declared here, once; ``fused.py`` has the operators. The compiled
kernels run on a CPU, and on CUDA (``device.py``); a loop in torch is their truth, and runs where
there is no kernel.

A state (B, rows, C) has K numbers of memory (the LSTM's cell) or none, and K numbers of output,
on each of C channels. The other shapes:

- u (B, T, 3 K, C), drives in any floating format, and outputs y (B, T, K, C) like them;
- weights (W, C), states and memory (B, T, rows - K, C), in float64 for drives in float64, else
  float32;
- ``reset``, bool (B, T), which makes the state before a step zero, and ``lengths``, int64 (B,),
  how many steps of a sequence are valid: beyond them y is zero.

An operator returns y, the memory, the state after the last valid step, and a report: int32 (2,),
Newton iterations and the bits of a float32, the largest last correction; zeros where there were
none. Gradients flow through y and that state; the memory is there for the backward pass.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from paratime.errors import InputError
from paratime.ops import device as cuda
from paratime.ops import native, shapes

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The state (B, rows, C) after a step from u (B, 3 K, C), weights (W, C) and the state before."""

PullBack = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""The gradients of <lam, step(u, weight, h)> for u, weight (B, W, C) and h, from those and lam."""

_INPUTS = "Tensor u, Tensor weight, Tensor h0, Tensor? reset, Tensor? lengths"
_FORWARD = f"({_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)"
_INTO = f"(Tensor(a!) y, {_INPUTS}) -> (Tensor, Tensor)"
_BACKWARD = (
    f"(Tensor? g, Tensor? g_final, Tensor y, Tensor memory, {_INPUTS}) -> (Tensor, Tensor, Tensor)"
)


class Recurrence:
    """A fused recurrence: ``paratime::<name>``, ``<name>_into`` and ``<name>_backward``.

    Args:
        name: What the operators and their kernels are called.
        step: One step in torch, from which the reference follows.
        pull_back: The gradients of a step in torch.
        sizes: The rows of a state, and W, by K.
    """

    def __init__(
        self, name: str, step: Step, pull_back: PullBack, sizes: Callable[[int], tuple[int, int]]
    ) -> None:
        self.name = name
        self.step = step
        self.pull_back = pull_back
        self.sizes = sizes
        self.forward = custom_op(f"paratime::{name}", self._loop, mutates_args=(), schema=_FORWARD)
        self.forward.register_kernel("cpu", self._native)
        self.forward.register_kernel("cuda", self._device)
        self.forward.register_fake(shapes.outputs)
        self.forward.register_autograd(self._gradient, setup_context=_save)
        self.into = self._mutating(f"paratime::{name}_into")
        self.backward = custom_op(
            f"paratime::{name}_backward", self._loop_backward, mutates_args=(), schema=_BACKWARD
        )
        self.backward.register_kernel("cpu", self._native_backward)
        self.backward.register_kernel("cuda", self._device_backward)
        self.backward.register_fake(
            lambda g, g_final, y, memory, *inputs: shapes.gradients(*inputs)
        )
        self.backward.register_autograd(_refuse)

    def _mutating(self, name: str) -> Callable[..., tuple[Tensor, Tensor]]:
        """Define the operator that writes y; custom_op would take 0.1 ms a call to mark it so."""
        torch.library.define(name, _INTO)
        torch.library.impl(name, "default", self._loop_into)
        torch.library.impl(name, "cpu", self._native_into)
        torch.library.impl(name, "cuda", self._device_into)
        torch.library.register_fake(name, lambda y, *inputs: shapes.ends(*inputs))
        operator: Callable[..., Any] = getattr(torch.ops.paratime, name.split("::")[1]).default
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
        native.refuse_transforms(*inputs[:3])
        if out is not None:
            return out, *self.into(out, *inputs)
        y, _, final, report = self.forward(*inputs)
        return y, final, report

    def _loop(self, *inputs: Any) -> tuple[Tensor, ...]:
        u, weight, h, reset, lengths = _complete(inputs)
        y, memory, _, report = shapes.outputs(u, weight, h)
        for t in range(u.shape[1]):
            before = torch.where(reset[:, t], 0, h)
            now = self.step(u[:, t].to(h.dtype), weight, before)
            h = torch.where(t < lengths, now, h)
            now = torch.where(t < lengths, now, 0)
            memory[:, t], y[:, t] = now.tensor_split([memory.shape[2]], dim=1)
        return y, memory, h.clone(), report

    def _loop_into(self, y: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
        result, _, final, report = self._loop(*inputs)
        y.copy_(result)
        return final, report

    def _loop_backward(
        self,
        g: Tensor | None,
        g_final: Tensor | None,
        y: Tensor,
        memory: Tensor,
        *inputs: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        u, weight, h0, reset, lengths = _complete(inputs)
        du, d_weight, _ = shapes.gradients(u, weight, h0)
        d_weight.zero_()
        states = torch.cat([memory, y.to(h0.dtype)], dim=2)
        lam = torch.zeros_like(h0) if g_final is None else g_final
        for t in reversed(range(u.shape[1])):
            before = torch.where(reset[:, t], 0, states[:, t - 1] if t else h0)
            arriving = lam.clone()
            if g is not None:
                arriving[:, memory.shape[2] :] += g[:, t]
            arriving = torch.where(t < lengths, arriving, 0)
            now = self.pull_back(u[:, t].to(h0.dtype), weight, before, arriving)
            du[:, t], of_each, d_before = (torch.where(t < lengths, x, 0) for x in now)
            d_weight += of_each.sum(0)
            lam = torch.where(t < lengths, torch.where(reset[:, t], 0, d_before), lam)
        return du, d_weight, lam.clone()

    def _native(self, *inputs: Any) -> tuple[Tensor, ...]:
        if native.emulates():
            return self._device(*inputs)
        kernel = self._kernel("forward", inputs)
        if kernel is None:
            return self._loop(*inputs)
        y, memory, final, report = shapes.outputs(*inputs)
        _call(kernel, inputs, y, y.stride(0), memory, final)
        return y, memory, final, report

    def _native_into(self, y: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
        if native.emulates():
            return self._device_into(y, *inputs)
        kernel = self._kernel("forward", inputs)
        if kernel is None:
            return self._loop_into(y, *inputs)
        shapes.check_steps(y, inputs)
        final, report = shapes.ends(*inputs)
        _call(kernel, inputs, y, y.stride(0), None, final)
        return final, report

    def _native_backward(self, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        if native.emulates():
            return self._device_backward(*arguments)
        saved, inputs = self._saved(*arguments)
        kernel = self._kernel("backward", inputs)
        if kernel is None:
            return self._loop_backward(*arguments)
        du, d_weight, d_h0 = shapes.gradients(*inputs)
        of_each = d_weight.new_empty(du.shape[0], *d_weight.shape)
        _call(kernel, inputs, *saved, du, of_each, d_weight, d_h0)
        return du, d_weight, d_h0

    def _device(self, *inputs: Any) -> tuple[Tensor, ...]:
        self._check(*inputs)
        results = shapes.outputs(*inputs)
        ready = tuple(map(shapes.contiguous, inputs))
        return results if cuda.forward(self.name, ready, *results) else self._loop(*inputs)

    def _device_into(self, y: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
        self._check(*inputs)
        shapes.check_steps(y, inputs)
        results = shapes.ends(*inputs)
        ready = tuple(map(shapes.contiguous, inputs))
        done = cuda.forward(self.name, ready, y, None, *results)
        return results if done else self._loop_into(y, *inputs)

    def _device_backward(self, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        saved, inputs = self._saved(*arguments)
        gradients = shapes.gradients(*inputs)
        done = cuda.backward(self.name, tuple(map(shapes.contiguous, inputs)), saved, gradients)
        return gradients if done else self._loop_backward(*arguments)

    def _saved(
        self,
        g: Tensor | None,
        g_final: Tensor | None,
        y: Tensor,
        memory: Tensor,
        *inputs: Any,
    ) -> tuple[tuple[Tensor | None, ...], tuple[Any, ...]]:
        """Check the arguments of a backward pass; return y, memory, g and g_final, and inputs."""
        self._check(*inputs)
        u, _, h0 = inputs[:3]
        y_shape, memory_shape = shapes.of(u, h0)
        shapes.fits("y", y, y_shape, u.dtype, u.device)
        shapes.fits("g", g, y_shape, u.dtype, u.device)
        shapes.fits("memory", memory, memory_shape, h0.dtype, u.device)
        shapes.fits("g_final", g_final, tuple(h0.shape), h0.dtype, u.device)
        return tuple(map(shapes.contiguous, (y, memory, g, g_final))), inputs

    def _kernel(self, direction: str, inputs: tuple[Any, ...]) -> Callable[..., None] | None:
        self._check(*inputs)
        block_size, dtype = inputs[0].shape[2] // 3, native.FORMATS.get(inputs[0].dtype)
        return native.function(f"{self.name}{block_size}_{direction}_{dtype}")

    def _check(
        self, u: Tensor, weight: Tensor, h0: Tensor, reset: Tensor | None, lengths: Tensor | None
    ) -> None:
        """Refuse what a kernel would read beyond; it sees nothing but pointers."""
        if u.dim() != 4 or u.shape[2] % 3:
            raise InputError("u", "(B, T, 3 K, C)", str(tuple(u.shape)), "reshape u")
        if u.dtype not in native.FORMATS or weight is None or h0 is None:
            expected = f"{', '.join(native.FORMATS.values())}, with weight and h0"
            raise InputError("u", expected, str(u.dtype), "cast u, and pass both")
        batch, steps, rows, channels = u.shape
        state, weights = self.sizes(rows // 3)
        exact = torch.float64 if u.dtype == torch.float64 else torch.float32
        shapes.fits("weight", weight, (weights, channels), exact, u.device)
        shapes.fits("h0", h0, (batch, state, channels), exact, u.device)
        shapes.fits("reset", reset, (batch, steps), torch.bool, u.device)
        shapes.fits("lengths", lengths, (batch,), torch.int64, u.device)

    def _gradient(
        self,
        ctx: Any,
        g: Tensor | None,
        g_memory: Tensor | None,
        g_final: Tensor | None,
        g_report: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        return *self.backward(g, g_final, *ctx.saved_tensors), None, None


@torch.compiler.assume_constant_result
def _runs_on(name: str, device: torch.device, block_size: int) -> bool:
    """Return whether there is a kernel; its library is compiled first, if need be."""
    if device.type == "cuda" or native.emulates():
        return cuda.has(name, block_size, device)
    return native.function(f"{name}{block_size}_forward_float32") is not None


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1], output[3])
    ctx.save_for_backward(*output[:2], *inputs)


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise NotImplementedError(
        "second derivatives through a fused recurrence: expected first derivatives only, got a "
        "second backward pass; use solver=Sequential()"
    )


def _complete(inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Fill in masks that change nothing, in shapes that broadcast against states."""
    u, weight, h0, reset, lengths = inputs
    batch, steps = u.shape[:2]
    reset = u.new_zeros(batch, steps, dtype=torch.bool) if reset is None else reset
    lengths = u.new_full((batch,), steps, dtype=torch.int64) if lengths is None else lengths
    return u, weight, h0, reset.view(batch, steps, 1, 1), lengths.view(batch, 1, 1)


def _call(kernel: Callable[..., None], inputs: tuple[Any, ...], *rest: Tensor | int | None) -> None:
    u = inputs[0]
    sizes = u.shape[0], u.shape[1], u.shape[3]
    native.call(kernel, *sizes, *map(shapes.contiguous, inputs), *rest)
