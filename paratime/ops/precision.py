"""What is exact in a model of any precision: sums, scores and statistics."""

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn

from paratime.ops.operator import precise_dtype


def precise(x: Tensor) -> Tensor:
    """Return x in float32, or in float64 if it is."""
    return x.to(precise_dtype(x))


class KeepsPrecision(nn.Module):
    """A module whose buffers, and sums if it is a metric, never lose precision.

    ``.to``, ``.half`` and the like, and a trainer in half precision, move them to another device
    and round parameters alone: a sum in bfloat16 stops at 256 where ones are added, and a mean of
    10,001 becomes 9,984.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], *given: Any, **options: Any) -> Self:
        weights = {id(x) for p in self.parameters() for x in (p, p.grad)}

        def moved(x: Tensor) -> Tensor:
            found = fn(x)
            kept = id(x) not in weights and found.itemsize < x.itemsize
            return x.to(found.device) if kept else found

        return super()._apply(moved, *given, **options)
