"""States of many series in stacked tensors: one row a series, and capacity that doubles."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import SeriesTensors, pack_series, placed
from paratime.forecast.model.network import MEMORY_TENSORS, ForecastNetwork, Memory
from paratime.io.atomic import replacing
from paratime.io.saved.archives import read_archive
from paratime.io.saved.writing import save
from paratime.layers.state import leaves, map_state, unflatten


class Slots:
    """Named tables with a row for each series.

    Args:
        first: The initial row (1, ...) of a series in each table.
    """

    def __init__(self, first: dict[str, Tensor]) -> None:
        self._first = first
        self.tables = {name: row[:0] for name, row in first.items()}
        self.count = 0

    def add(self) -> int:
        """Take a new row, and return its index."""
        room = len(next(iter(self.tables.values())))
        if self.count == room:
            for name, row in self._first.items():
                more = row.expand(max(1, room), *row.shape[1:])
                self.tables[name] = torch.cat([self.tables[name], more])
        self.count += 1
        return self.count - 1

    def get(self, rows: Tensor) -> dict[str, Tensor]:
        """Return some rows (N,) of all tables."""
        return {name: table.index_select(0, rows) for name, table in self.tables.items()}

    def put(self, rows: Tensor, values: dict[str, Tensor]) -> None:
        """Write some rows (N,) of some tables."""
        for name, value in values.items():
            self.tables[name].index_copy_(0, rows, value)

    def content(self) -> dict[str, Tensor]:
        """Return a copy of the rows in use."""
        return {name: table[: self.count].clone() for name, table in self.tables.items()}

    def fill(self, content: dict[str, Tensor]) -> None:
        """Take what ``content`` returned."""
        self.tables = {name: x.to(self._first[name]) for name, x in content.items()}
        self.count = len(next(iter(content.values())))


def blank(network: ForecastNetwork) -> Memory:
    """Return the memory of one series before its first step, with a zero state.

    Raises:
        InputError: The state grows with time.
    """
    x = network.skip.new_zeros(1, network.encoder.width)
    _, state = network.encoder.step(x)
    _, later = network.encoder.step(x, state)
    if [part.shape for part in leaves(state)] != [part.shape for part in leaves(later)]:
        raise InputError(
            "encoder", "a state of constant size to stream", "one that grows", "train with a window"
        )
    return replace(network.start(1), state=map_state(torch.zeros_like, state))


def table_rows(memory: Memory) -> dict[str, Tensor]:
    """Return a memory as rows of tables."""
    named = {f"state.{i}": part for i, part in enumerate(leaves(memory.state))}
    return {name: getattr(memory, name) for name in MEMORY_TENSORS} | named


def memory_of(rows: dict[str, Tensor], like: Any) -> Memory:
    """Return rows as a memory, with its state in the structure of ``like``."""
    parts = [rows[f"state.{i}"] for i in range(len(leaves(like)))]
    return Memory(**{name: rows[name] for name in MEMORY_TENSORS}, state=unflatten(parts, like))


CONSTANT = ("static_real", "static_cat")


class SeriesStates:
    """One row a series; all methods run without gradients.

    Args:
        network: The network, on its device.
    """

    def __init__(self, network: ForecastNetwork) -> None:
        self._network, self._blank = network, blank(network)
        shape, like = network.shape, network.skip
        own = {
            "target": like.new_full((1, shape.target), torch.nan, dtype=torch.float64),
            "past": like.new_zeros(1, shape.past),
            "static_real": like.new_zeros(1, shape.static_real),
            "static_cat": like.new_full((1, len(shape.cardinality)), -1, dtype=torch.long),
        }
        self.slots = Slots(own | table_rows(self._blank))

    @torch.inference_mode()
    def begin(self, static_real: Any, static_cat: Any) -> int:
        """Add a series with static values (1, R) and codes (1, L), and return its row."""
        row = self.slots.add()
        values = map(self.tensor, (static_real, static_cat))
        self.slots.put(self.index([row]), dict(zip(CONSTANT, values, strict=True)))
        return row

    @torch.inference_mode()
    def wait(self, rows: Sequence[int], target: Any, past: Any) -> None:
        """Make observations pending: target (N, C) and past (N, P)."""
        values = {"target": torch.as_tensor(target), "past": torch.as_tensor(past)}
        self.slots.put(self.index(rows), placed(values, self._network.skip))

    @torch.inference_mode()
    def commit(self, rows: Sequence[int], known: Tensor) -> None:
        """Move the pending observations into the states, and make missing ones pending.

        Args:
            rows: Rows of N series.
            known: Covariates (N, F) of the step after the pending one.
        """
        after = self.after(rows, known)
        missing = torch.full_like(after.loc, torch.nan)
        self.slots.put(self.index(rows), table_rows(after) | {"target": missing})

    @torch.inference_mode()
    def after(self, rows: Sequence[int], known: Tensor) -> Memory:
        """Return the memory after the pending observations, as ``commit`` would write it."""
        index = self.index(rows)
        now = self.slots.get(index)
        step = {"target": now["target"], "past": now["past"], "known": known, "series": index}
        constant = {name: self.slots.tables[name] for name in CONSTANT}
        return self._network.step(step | constant, memory_of(now, self._blank.state))

    @torch.inference_mode()
    def read(self, row: int, series: SeriesTensors) -> None:
        """Read the history of a series in one pass; its last step stays pending."""
        if len(series.target) > 1:
            packed = pack_series([series]).items()
            batch = {name: x if name in CONSTANT else x[:, :-1] for name, x in packed}
            memory = self._network.memory(placed(batch, self._network.skip))
            self.slots.put(self.index([row]), table_rows(memory))
        self.wait([row], series.target[-1:], series.past[-1:])

    def index(self, rows: Sequence[int]) -> Tensor:
        """Return row indices as a tensor."""
        return torch.tensor(rows, device=self._network.skip.device)

    def tensor(self, values: Any) -> Tensor:
        """Return values on the network's device, and floats in its precision."""
        like, x = self._network.skip, torch.as_tensor(values)
        return x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)


MAGIC = "paratime states 1"
WRITTEN = "a file that Forecaster.save wrote"
LATER = ("variation", "nonnegative", "roles")
"""Facts that models of version 0.1, and so their hashes, lack."""


def model_fingerprint(network: ForecastNetwork, spec: SeriesSpec) -> str:
    """Return a hash of all that a state depends on: weights, settings and the data's spec."""
    settings = (network.lags, str(network.scaling), network.squash, str(network.output))
    facts = {name: x for name, x in spec.plain().items() if name not in LATER or x}
    text = json.dumps([facts, settings], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def store_states(path: str | Path, model: str, content: dict[str, Any]) -> None:
    """Write states to a file, whole or not at all."""
    with replacing(path) as draft:
        save({"magic": MAGIC, "model": model} | content, draft)


def load_states(path: str | Path, model: str, device: torch.device) -> dict[str, Any]:
    """Read what ``store_states`` wrote for the same model.

    Raises:
        InputError: The file is missing or unreadable, or belongs to another model.
    """
    if not Path(path).is_file():
        raise InputError(str(path), WRITTEN, "none there", "check the path")
    try:
        content = read_archive(path, device)
    except InputError as error:
        raise InputError(
            str(path), WRITTEN, f"one that cannot be read ({error.args[2]})", "save it again"
        ) from None
    if not isinstance(content, dict) or content.get("magic") != MAGIC:
        raise InputError(str(path), WRITTEN, "another kind of file", "save it again")
    if content["model"] != model:
        raise InputError(
            str(path), "states of this model", "those of another one", "restore with its task"
        )
    return content
