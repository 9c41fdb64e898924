"""Hyper-parameters that transfer between widths."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paratime.errors import check_at_least
from paratime.training.optimizer import recurrent_weights


@dataclass(frozen=True)
class WidthTransfer:
    """Maximal update parametrisation for Adam (muP, arXiv 2203.03466, table 3).

    With m = width / ``base_width``, the learning rates of matrices are divided by m, and their
    weight decay is multiplied by m, so that a step decays as much as before. The head is
    initialised m times smaller than at the base width; embeddings and recurrent weights, which are
    not summed over the width, are initialised as there. At the base width nothing changes: tune the
    rate there, because a rate finder tries one rate for all weights.

    Args:
        base_width: Width at which the rate was tuned.

    Raises:
        InputError: The width is not positive.
    """

    base_width: int

    def __post_init__(self) -> None:
        check_at_least(1, base_width=self.base_width)

    @torch.no_grad()
    def initialise_(self, network: nn.Module, embedding: nn.Embedding, head: nn.Linear) -> None:
        """Scale weights that were initialised with a deviation of 1 / sqrt(width)."""
        root = (head.in_features / self.base_width) ** 0.5
        head.weight.div_(root)
        for weight in (embedding.weight, *recurrent_weights(network)):
            weight.mul_(root)

    def groups(self, groups: list[dict[str, Any]], width: int, lr: float) -> list[dict[str, Any]]:
        """Set rate and decay of the optimiser's group of matrices, which is the first."""
        matrices, others = groups
        m = width / self.base_width
        return [matrices | {"lr": lr / m, "weight_decay": matrices["weight_decay"] * m}, others]
