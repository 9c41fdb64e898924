"""Normalisation."""

import torch
from torch import Tensor, nn

from paratime.ops.norm import rms_norm
from paratime.ops.operator import precise_dtype


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm (arXiv 1910.07467) in the precision of its input under autocast."""

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Normalise x over its last axis, and multiply by silu(gate) if there is one."""
        eps = torch.finfo(precise_dtype(x)).eps if self.eps is None else self.eps
        return rms_norm(x, self.weight, gate, eps=eps)
