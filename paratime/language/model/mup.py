"""Hyper-parameters that hold at other widths."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paratime.errors import InputError
from paratime.training.optimizer import recurrent_weights


@dataclass(frozen=True)
class WidthTransfer:
    """Maximal update parametrisation for Adam (muP, arXiv 2203.03466, table 3).

    With m = width / ``base_width``: rates of matrices are divided by m, and their decay is
    multiplied by it, so that a step decays as much; the head is drawn m times as small as at the
    base width; embeddings and recurrent weights, which no sum over the width follows, are drawn as
    there. At the base width nothing changes; find rates there, since a rate finder tries one rate
    for all.

    Args:
        base_width: Width at which rates were found.

    Raises:
        InputError: It is not positive.
    """

    base_width: int

    def __post_init__(self) -> None:
        if self.base_width < 1:
            raise InputError("base_width", "at least 1", str(self.base_width), "raise it")

    @torch.no_grad()
    def initialise_(self, network: nn.Module, embedding: nn.Embedding, head: nn.Linear) -> None:
        """Scale what was drawn with a deviation of 1 / sqrt(width)."""
        root = (head.in_features / self.base_width) ** 0.5
        head.weight.div_(root)
        for weight in (embedding.weight, *recurrent_weights(network)):
            weight.mul_(root)

    def groups(self, groups: list[dict[str, Any]], width: int, lr: float) -> list[dict[str, Any]]:
        """Return the groups of an optimiser, matrices first, with rate and decay of these."""
        matrices, others = groups
        m = width / self.base_width
        return [matrices | {"lr": lr / m, "weight_decay": matrices["weight_decay"] * m}, others]
