"""The next-token loss, without the logits of a whole batch in memory.

Logits are by far the largest tensor of a language model: 2048 tokens with a vocabulary of 50432
take 413 MB in float32, several times over. Here they exist for a few rows at a time. Their gradient
is computed at the same time and added to those of the hidden states and of the weight, so that the
backward pass need not recompute logits.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.ops.operator import without_autocast

CPU_LOGITS = 2**23
"""Logits that are held at a time on a CPU; more of them would not fit in its cache."""

DEVICE_LOGITS = 2**27
"""The same on other devices, which need thousands of rows to be busy."""


def next_token_loss(
    x: Tensor, weight: Tensor, targets: Tensor, z_loss: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the mean loss of next tokens, and the cross-entropy of each.

        loss = mean(nats + z_loss * logsumexp(logits)^2),  nats = logsumexp(logits) - logits[target]

    with logits = x weight^T. Products use the precision of autocast, sums float32 or better.

    Args:
        x: Hidden states, (N, width).
        weight: Weight of the head, (vocab_size, width).
        targets: Ids, int64 (N,).
        z_loss: Weight of the squared log partition function.

    Returns:
        The loss, and nats (N,), which carry no gradient.
    """
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    with without_autocast(x.device):
        loss, nats = _ChunkedLoss.apply(x, weight, targets, z_loss)
    return loss, nats


def next_token_loss_reference(
    x: Tensor, weight: Tensor, targets: Tensor, z_loss: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute ``next_token_loss`` from all logits at once, with automatic gradients."""
    logits = functional.linear(x, weight)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    nats = functional.cross_entropy(logits, targets, reduction="none")
    return (nats + z_loss * logits.logsumexp(-1).square()).mean(), nats.detach()


class _ChunkedLoss(torch.autograd.Function):
    """The loss and its gradients, a few rows at a time."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, z_loss: float
    ) -> tuple[Tensor, Tensor]:
        precise = torch.float64 if x.dtype == torch.float64 else torch.float32
        learning = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        low, count = weight.detach().to(x.dtype), len(x)
        nats, squares = x.new_empty(count, dtype=precise), x.new_zeros((), dtype=precise)
        d_x = torch.empty_like(x) if learning else None
        d_weight = torch.zeros_like(low, dtype=precise) if learning else None
        held = CPU_LOGITS if x.device.type == "cpu" else DEVICE_LOGITS
        size = max(1, held // len(weight))
        for begin in range(0, count, size):
            rows = slice(begin, begin + size)
            inputs, target = x[rows], targets[rows].unsqueeze(-1)
            logits = functional.linear(inputs, low).to(precise)
            total = logits.logsumexp(-1, keepdim=True)
            nats[rows] = (total - logits.gather(-1, target)).squeeze(-1)
            squares += total.square().sum()
            if d_x is not None and d_weight is not None:
                slope = logits.sub_(total).exp_().mul_((1 + 2 * z_loss * total) / count)
                slope.scatter_(-1, target, slope.gather(-1, target) - 1 / count)
                slope = slope.to(x.dtype)
                d_x[rows] = slope @ low
                d_weight += slope.T @ inputs
        ctx.mark_non_differentiable(nats)
        ctx.save_for_backward(d_x, d_weight)
        ctx.dtype = weight.dtype
        return nats.mean() + z_loss * squares / count, nats

    @staticmethod
    def backward(ctx: Any, d_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "second derivatives of next_token_loss: expected first derivatives only, got "
                "create_graph=True; use next_token_loss_reference"
            )
        d_x, d_weight = ctx.saved_tensors
        return d_x * d_loss.to(d_x.dtype), (d_weight * d_loss).to(ctx.dtype), None, None
