"""Normalisation."""

from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm (arXiv 1910.07467) in the precision of its input under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x over its last axes."""
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
