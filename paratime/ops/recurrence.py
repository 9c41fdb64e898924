"""Fused recurrences h[t] = step(u[t], h[t-1]) over whole sequences, as torch operators.

Schemas, fakes and gradient are declared here, once; ``fused.py`` has the operators. On a CPU the
compiled kernels run; a loop in torch is their truth, and runs where there is no kernel.

A state (B, rows, C) has K numbers of memory (the LSTM's cell) or none, and K numbers of output,
on each of C channels. The other shapes:

- u (B, T, 3 K, C), drives in float32, float64 or bfloat16, and outputs y (B, T, K, C) like them;
- weights (W, C), states and memory (B, T, rows - K, C), in float64 for drives in float64, else
  float32;
- ``reset``, bool (B, T), which makes the state before a step zero, and ``lengths``, int64 (B,),
  how many steps of a sequence are valid: beyond them y is zero.

An operator returns y, the memory and the state after the last valid step. Gradients flow through
y and that state, not through the memory, which is there for the backward pass.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from paratime.errors import InputError
from paratime.ops import native

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The state (B, rows, C) after a step from u (B, 3 K, C), weights (W, C) and the state before."""

PullBack = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""The gradients of <lam, step(u, weight, h)> for u, weight (B, W, C) and h, from those and lam."""

_INPUTS = "Tensor u, Tensor weight, Tensor h0, Tensor? reset, Tensor? lengths"
_FORWARD = f"({_INPUTS}) -> (Tensor, Tensor, Tensor)"
_INTO = f"(Tensor(a!) y, {_INPUTS}) -> Tensor"
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
        self.forward.register_fake(_outputs)
        self.forward.register_autograd(self._gradient, setup_context=_save)
        self.into = self._mutating(f"paratime::{name}_into")
        self.backward = custom_op(
            f"paratime::{name}_backward", self._loop_backward, mutates_args=(), schema=_BACKWARD
        )
        self.backward.register_kernel("cpu", self._native_backward)
        self.backward.register_fake(lambda g, g_final, y, memory, *inputs: _gradients(*inputs))
        self.backward.register_autograd(_refuse)

    def _mutating(self, name: str) -> Callable[..., Tensor]:
        """Define the operator that writes y; custom_op would take 0.1 ms a call to mark it so."""
        torch.library.define(name, _INTO)
        torch.library.impl(name, "default", self._loop_into)
        torch.library.impl(name, "cpu", self._native_into)
        torch.library.register_fake(name, lambda y, *inputs: _outputs(*inputs)[2])
        operator: Callable[..., Tensor] = getattr(torch.ops.paratime, name.split("::")[1]).default
        return operator

    def runs_on(self, device: torch.device, block_size: int) -> bool:
        """Return whether a device has a kernel for K = ``block_size``."""
        return device.type == "cpu" and native.has(f"{self.name}{block_size}_forward_float32")

    def __call__(self, *inputs: Any, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y and the final state.

        Args:
            *inputs: u, weight, h0, ``reset`` and ``lengths``; the shapes are those of this module.
            out: Where to write y, without gradients.

        Raises:
            NotImplementedError: Forward-mode derivatives, which torch would drop in silence, and
                transforms of torch.func.
        """
        native.refuse_transforms(*inputs[:3])
        if out is not None:
            return out, self.into(out, *inputs)
        y, _, final = self.forward(*inputs)
        return y, final

    def _loop(self, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        u, weight, h, reset, lengths = _complete(inputs)
        y, memory, _ = _outputs(u, weight, h)
        for t in range(u.shape[1]):
            before = torch.where(reset[:, t], 0, h)
            now = self.step(u[:, t].to(h.dtype), weight, before)
            h = torch.where(t < lengths, now, h)
            now = torch.where(t < lengths, now, 0)
            memory[:, t], y[:, t] = now.tensor_split([memory.shape[2]], dim=1)
        return y, memory, h.clone()

    def _loop_into(self, y: Tensor, *inputs: Any) -> Tensor:
        result, _, final = self._loop(*inputs)
        y.copy_(result)
        return final

    def _loop_backward(
        self,
        g: Tensor | None,
        g_final: Tensor | None,
        y: Tensor,
        memory: Tensor,
        *inputs: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        u, weight, h0, reset, lengths = _complete(inputs)
        du, d_weight, _ = _gradients(u, weight, h0)
        d_weight.zero_()
        states = torch.cat([memory, y.to(h0.dtype)], dim=2)
        lam = torch.zeros_like(h0) if g_final is None else g_final
        for t in reversed(range(u.shape[1])):
            before = torch.where(reset[:, t], 0, states[:, t - 1] if t else h0)
            arriving = lam.clone()
            if g is not None:
                arriving[:, memory.shape[2] :] += g[:, t]
            arriving = torch.where(t < lengths, arriving, 0)
            du[:, t], of_each, d_before = self.pull_back(
                u[:, t].to(h0.dtype), weight, before, arriving
            )
            d_weight += of_each.sum(0)
            lam = torch.where(t < lengths, torch.where(reset[:, t], 0, d_before), lam)
        return du, d_weight, lam.clone()

    def _native(self, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        kernel = self._kernel("forward", inputs)
        if kernel is None:
            return self._loop(*inputs)
        y, memory, final = _outputs(*inputs)
        _call(kernel, inputs, y, y.stride(0), memory, final)
        return y, memory, final

    def _native_into(self, y: Tensor, *inputs: Any) -> Tensor:
        kernel = self._kernel("forward", inputs)
        if kernel is None:
            return self._loop_into(y, *inputs)
        batch = y.shape[0]
        _fits("y", y, _shapes(inputs[0], inputs[2])[0], inputs[0].dtype)
        apart = batch < 2 or y.stride(0) >= y[0].numel()
        if batch and not (apart and y[0].is_contiguous()):
            remedy = "slice the batch or time only"
            raise InputError("y", "steps one after another", f"strides {y.stride()}", remedy)
        final = inputs[2].new_empty(inputs[2].shape)
        _call(kernel, inputs, y, y.stride(0), None, final)
        return final

    def _native_backward(
        self,
        g: Tensor | None,
        g_final: Tensor | None,
        y: Tensor,
        memory: Tensor,
        *inputs: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        kernel = self._kernel("backward", inputs)
        if kernel is None:
            return self._loop_backward(g, g_final, y, memory, *inputs)
        du, d_weight, d_h0 = _gradients(*inputs)
        of_each = d_weight.new_empty(du.shape[0], *d_weight.shape)
        u, _, h0 = inputs[:3]
        y_shape, memory_shape = _shapes(u, h0)
        _fits("y", y, y_shape, u.dtype)
        _fits("g", g, y_shape, u.dtype)
        _fits("memory", memory, memory_shape, h0.dtype)
        _fits("g_final", g_final, tuple(h0.shape), h0.dtype)
        saved = map(_contiguous, (y, memory, g, g_final))
        _call(kernel, inputs, *saved, du, of_each, d_weight, d_h0)
        return du, d_weight, d_h0

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
        batch, steps, rows, channels = u.shape
        state, weights = self.sizes(rows // 3)
        exact = torch.float64 if u.dtype == torch.float64 else torch.float32
        _fits("weight", weight, (weights, channels), exact)
        _fits("h0", h0, (batch, state, channels), exact)
        _fits("reset", reset, (batch, steps), torch.bool)
        _fits("lengths", lengths, (batch,), torch.int64)

    def _gradient(
        self, ctx: Any, g: Tensor | None, g_memory: Tensor | None, g_final: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return *self.backward(g, g_final, *ctx.saved_tensors), None, None


def _fits(name: str, x: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if x is not None and (tuple(x.shape) != shape or x.dtype != dtype):
        got = f"{x.dtype} {tuple(x.shape)}"
        raise InputError(name, f"{dtype} {shape}", got, "make it fit u")


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*output[:2], *inputs)


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise NotImplementedError(
        "second derivatives through a fused recurrence: expected first derivatives only, got a "
        "second backward pass; use solver=Sequential()"
    )


def _outputs(
    u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised y, memory and final states."""
    y, memory = _shapes(u, h0)
    return u.new_empty(y), h0.new_empty(memory), h0.new_empty(h0.shape)


def _shapes(u: Tensor, h0: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of y and memory."""
    batch, steps, rows, channels = u.shape
    k = rows // 3
    return (batch, steps, k, channels), (batch, steps, h0.shape[1] - k, channels)


def _gradients(
    u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised gradients of u, weight and h0."""
    return u.new_empty(u.shape), weight.new_empty(weight.shape), h0.new_empty(h0.shape)


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
    native.call(kernel, *sizes, *map(_contiguous, inputs), *rest)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()
