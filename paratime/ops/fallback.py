"""The gradient of an operator by torch's own path: for second derivatives, and without kernels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def differentiate(
    reference: Callable[..., Any], inputs: Sequence[Any], count: int, grads: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the first ``count`` inputs, to be differentiated if grad is enabled.

    The inputs are views of those given: these may depend on each other, and a gradient of one must
    not hold what reaches it through another, which autograd adds by itself.

    Args:
        reference: What the operator computes, in torch.
        inputs: Of the operator.
        count: How many of them, the first ones, are tensors, or None.
        grads: Gradients of what ``reference`` returns.

    Returns:
        None for each input that needs no gradient, or has none.
    """
    needed = [x is not None and x.requires_grad for x in inputs[:count]]
    with torch.enable_grad():
        views = [x.view_as(x) if need else x for x, need in zip(inputs, needed, strict=False)]
        outputs = reference(*views, *inputs[count:])
    wanted = [x for x, need in zip(views, needed, strict=True) if need]
    again = {"create_graph": torch.is_grad_enabled(), "allow_unused": True}
    found = iter(torch.autograd.grad(outputs, wanted, grads, **again))
    return tuple(next(found) if need else None for need in needed)
