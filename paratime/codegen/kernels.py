"""The kernel of a cell: its text, compiled once, as a torch operator with gradients."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from paratime.codegen.functor import KernelPlan
from paratime.codegen.printing import print_functor
from paratime.ops.native import library
from paratime.ops.operator import check_tensor, precise_dtype

Kernel = Callable[..., None]

ELEMENTS = {"float32": ("float", "float"), "float64": ("double", "double")}
ELEMENTS["bfloat16"] = ("float", "paratime::BFloat16")


@dataclass(frozen=True)
class Compiled:
    """A kernel that is loaded.

    Attributes:
        text: What it is compiled from.
        title: Whose it is.
        drives: Rows of a drive.
        memory: Rows of a state that are no output.
        state: Rows of a state.
        weights: Rows of weights.
        format: The format of the drive.
    """

    text: str
    title: str
    drives: int
    memory: int
    state: int
    weights: int
    format: str

    def symbol(self, direction: str) -> Kernel | None:
        """Return the kernel of a direction, compiled if need be."""
        name = f"cell_{direction}_{self.format}"
        return library.generated_symbol(self.text, self.title, name)


_compiled: dict[str, Compiled] = {}
"""By the hash of the text."""


def compiled(plan: KernelPlan, title: str, dtype: torch.dtype) -> str | None:
    """Return the key of the kernel for a plan and a format of drives; None where there is none."""
    format = library.FORMATS.get(dtype)
    if format not in ELEMENTS:
        return None
    functor, memory = plan.functor, plan.memory or 0
    text = text_of(plan, format)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    sizes = len(functor.of_drive), memory, len(functor.next), len(functor.of_weights)
    kernel = _compiled.setdefault(key, Compiled(text, title, *sizes, format))
    return None if kernel.symbol("forward") is None else key


def text_of(plan: KernelPlan, format: str) -> str:
    """Return the source of the kernel in a format."""
    functor = print_functor(plan.functor, plan.memory or 0)
    element, drive = ELEMENTS[format]
    return (
        '#include "cpu/interface.h"\n#include "functions.h"\n\n'
        f"namespace paratime {{\n{functor}}}\n\n"
        f"PARATIME_RECURRENCE(cell, Generated, {format}, {element}, {drive})\n"
    )


_INPUTS = "str key, Tensor u, Tensor weight, Tensor h0, Tensor? reset, Tensor? lengths"


@custom_op(
    "paratime::recurrence",
    mutates_args=(),
    schema=f"({_INPUTS}) -> (Tensor, Tensor, Tensor)",
)
def recurrence(
    key: str,
    u: Tensor,
    weight: Tensor,
    h0: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the kernel of a cell over whole sequences.

    Args:
        key: Which kernel: what ``compiled`` returns.
        u: Drives, (B, T, drives, C).
        weight: Weights, (weights, C), in float64 for drives in float64, else float32.
        h0: The state before the first step, (B, state, C), in that precision.
        reset: Where the state before a step is zero, bool (B, T).
        lengths: How many steps of a sequence are valid, int64 (B,).

    Returns:
        Outputs (B, T, outputs, C) like u, memory (B, T, memory, C), and the final state.
    """
    kernel = _compiled[key]
    inputs = _checked(kernel, u, weight, h0, reset, lengths)
    results = _empty(key, u, weight, h0)
    forward = kernel.symbol("forward")
    assert forward is not None
    y, memory, final = results
    batch, steps, _, channels = u.shape
    library.call(forward, batch, steps, channels, *inputs, y, y.stride(0), memory, final)
    return results


def _checked(kernel: Compiled, u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None) -> Any:
    """Return contiguous inputs; refuse what the kernel would read beyond."""
    batch, steps, _, channels = u.shape
    exact = precise_dtype(u)
    check_tensor("u", u, (batch, steps, kernel.drives, channels), u.dtype, u.device)
    check_tensor("weight", weight, (kernel.weights, channels), exact, u.device)
    check_tensor("h0", h0, (batch, kernel.state, channels), exact, u.device)
    return tuple(None if x is None else x.contiguous() for x in (u, weight, h0, *masks))


@recurrence.register_fake
def _empty(
    key: str, u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    kernel = _compiled[key]
    batch, steps, _, channels = u.shape
    y = u.new_empty(batch, steps, kernel.state - kernel.memory, channels)
    memory = h0.new_empty(batch, steps, kernel.memory, channels)
    return y, memory, h0.new_empty(h0.shape)


@custom_op(
    "paratime::recurrence_backward",
    mutates_args=(),
    schema=f"(Tensor? g, Tensor? g_final, Tensor y, Tensor memory, {_INPUTS}) "
    "-> (Tensor, Tensor, Tensor)",
)
def recurrence_backward(
    g: Tensor | None,
    g_final: Tensor | None,
    y: Tensor,
    memory: Tensor,
    key: str,
    u: Tensor,
    weight: Tensor,
    h0: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of u, weight and h0, from those of outputs and final state."""
    backward = _compiled[key].symbol("backward")
    assert backward is not None
    inputs = _checked(_compiled[key], u, weight, h0, reset, lengths)
    saved = tuple(None if x is None else x.contiguous() for x in (y, memory, g, g_final))
    d_u, d_weight, d_h0 = (torch.empty_like(x) for x in inputs[:3])
    of_each = weight.new_empty(u.shape[0], *weight.shape)
    batch, steps, _, channels = u.shape
    given = (batch, steps, channels, *inputs, *saved, d_u, of_each, d_weight, d_h0)
    library.call(backward, *given)
    return d_u, d_weight, d_h0


@recurrence_backward.register_fake
def _empty_gradients(
    g: Tensor | None,
    g_final: Tensor | None,
    y: Tensor,
    memory: Tensor,
    key: str,
    u: Tensor,
    weight: Tensor,
    h0: Tensor,
    *masks: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return u.new_empty(u.shape), weight.new_empty(weight.shape), h0.new_empty(h0.shape)


def _refuse(ctx: Any, *gradients: Tensor | None) -> None:
    raise NotImplementedError(
        "second derivatives through a fused recurrence: expected first derivatives only, got a "
        "second backward pass; use solver=Sequential()"
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.key = inputs[0]
    ctx.save_for_backward(*output[:2], *inputs[1:])


def _gradient(
    ctx: Any, g: Tensor | None, g_memory: Tensor | None, g_final: Tensor | None
) -> tuple[Tensor | None, ...]:
    y, memory, *inputs = ctx.saved_tensors
    return None, *recurrence_backward(g, g_final, y, memory, ctx.key, *inputs), None, None


recurrence.register_autograd(_gradient, setup_context=_save)
recurrence_backward.register_autograd(_refuse)
