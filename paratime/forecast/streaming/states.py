"""What a network carries of many series: states, and observations that are still pending."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paratime.forecast.data.windows import Prepared, packed
from paratime.forecast.model.network import ForecastNetwork, Memory
from paratime.forecast.streaming.slots import Slots, blank, memory_of, table_rows

CONSTANT = ("static_real", "static_cat")


class States:
    """One row a series; all methods run without gradients.

    Args:
        network: The network, on its device.
    """

    def __init__(self, network: ForecastNetwork) -> None:
        self._network, self._blank = network, blank(network)
        shape, like = network.shape, network.skip
        own = {
            "target": like.new_full((1, shape.target), torch.nan),
            "past": like.new_zeros(1, shape.past),
            "static_real": like.new_zeros(1, shape.static_real),
            "static_cat": like.new_full((1, len(shape.cardinality)), -1, dtype=torch.long),
        }
        self.slots = Slots(own | table_rows(self._blank))

    @torch.inference_mode()
    def begin(self, static_real: Any, static_cat: Any) -> int:
        """Take a row for a series with numbers (1, R) and codes (1, L), and return which."""
        row = self.slots.add()
        values = map(self.tensor, (static_real, static_cat))
        self.slots.put(self.index([row]), dict(zip(CONSTANT, values, strict=True)))
        return row

    @torch.inference_mode()
    def wait(self, rows: Sequence[int], target: Any, past: Any) -> None:
        """Make observations pending: target (N, C) and past (N, P)."""
        values = {"target": self.tensor(target), "past": self.tensor(past)}
        self.slots.put(self.index(rows), values)

    @torch.inference_mode()
    def commit(self, rows: Sequence[int], known: Tensor) -> None:
        """Make the pending observations part of the states, and missing ones pending.

        Args:
            rows: Which series, N.
            known: Covariates (N, F) of the step behind the pending one.
        """
        after = self.after(rows, known)
        missing = torch.full_like(after.loc, torch.nan)
        self.slots.put(self.index(rows), table_rows(after) | {"target": missing})

    @torch.inference_mode()
    def after(self, rows: Sequence[int], known: Tensor) -> Memory:
        """Return the memory behind the pending observations, as ``commit`` would write it."""
        index = self.index(rows)
        now = self.slots.get(index)
        step = {"target": now["target"], "past": now["past"], "known": known, "series": index}
        constant = {name: self.slots.tables[name] for name in CONSTANT}
        return self._network.step(step | constant, memory_of(now, self._blank.state))

    @torch.inference_mode()
    def read(self, row: int, series: Prepared) -> None:
        """Read the history of a series in one pass; its last step stays pending."""
        if len(series.target) > 1:
            batch = {
                name: self.tensor(x if name in CONSTANT else x[:, :-1])
                for name, x in packed([series]).items()
            }
            self.slots.put(self.index([row]), table_rows(self._network.memory(batch)))
        self.wait([row], series.target[-1:], series.past[-1:])

    def index(self, rows: Sequence[int]) -> Tensor:
        """Return row numbers as a tensor."""
        return torch.tensor(rows, device=self._network.skip.device)

    def tensor(self, values: Any) -> Tensor:
        """Return values on the network's device, and floats in its precision."""
        like, x = self._network.skip, torch.as_tensor(values)
        return x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)
