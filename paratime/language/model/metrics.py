"""Metrics of language models."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from paratime.ops.precision import KeepsPrecision


class LanguageScores(KeepsPrecision, Metric):
    """Cross-entropy (nats per token), perplexity and bits per byte over all tokens seen.

    Bits per byte, total nats / ln 2 / UTF-8 bytes, are comparable between tokenizers.
    """

    full_state_update = False
    nats: Tensor
    tokens: Tensor
    bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("nats", "tokens", "bytes"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, nats: Tensor, num_bytes: Tensor) -> None:
        """Add a batch: the nats of each target, and the bytes of each window."""
        self.nats += nats.double().sum()
        self.tokens += nats.numel()
        self.bytes += num_bytes.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return loss, perplexity and bits_per_byte."""
        loss = (self.nats / self.tokens).float()
        bits = (self.nats / math.log(2) / self.bytes).float()
        return {"loss": loss, "perplexity": loss.exp(), "bits_per_byte": bits}
