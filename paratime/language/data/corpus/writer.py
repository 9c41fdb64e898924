"""Writes the shards of a split, such that a later process can continue."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from paratime.language.data.corpus.encoding import Encoded
from paratime.language.data.corpus.shards import digest_of

_EMPTY: dict[str, Any] = {
    **dict.fromkeys(("documents", "tokens", "bytes", "corrections", "altered"), 0),
    "example": "",
}


class SplitWriter:
    """Appends documents to a split's shards, to its index, and to the corrections of its bytes.

    Args:
        folder: The corpus's folder.
        split: The split's name.
        dtype: Type of the ids.
        limit: Tokens per shard.
        state: The state of an earlier writer, to continue after what it had written.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        dtype: np.dtype[Any],
        limit: int,
        state: dict[str, Any] | None,
    ) -> None:
        self._folder, self._split, self._dtype, self._limit = folder, split, dtype, limit
        self._state = state or _EMPTY | {"shards": []}
        self._index = _at(self._path("index"), 8 * self._state["documents"])
        self._bytes = _at(self._path("bytes"), 16 * self._state["corrections"])
        self._shard = self._open()

    def add(self, part: Encoded) -> None:
        """Append tokens."""
        s, ids = self._state, part.ids
        self._index.write((part.starts + s["tokens"]).astype("<u8").tobytes())
        placed = part.corrections + np.array([s["tokens"], 0])
        self._bytes.write(placed.astype("<i8").tobytes())
        s["documents"] += len(part.starts)
        s["bytes"] += part.num_bytes
        s["corrections"] += len(part.corrections)
        s["altered"] += part.altered
        s["example"] = s["example"] or part.example
        while len(ids):
            room = self._limit - s["tokens"] % self._limit
            self._shard.write(ids[:room].tobytes())
            s["tokens"] += len(ids[:room])
            ids = ids[room:]
            if s["tokens"] % self._limit == 0:
                self._close()
                self._shard = self._open()

    def flush(self) -> dict[str, Any]:
        """Write everything to disk; return the state from which another writer can continue."""
        for file in (self._index, self._bytes, self._shard):
            file.flush()
            os.fsync(file.fileno())
        return self._state

    def finish(self) -> dict[str, Any]:
        """Complete the last shard; return the split's entry in the manifest."""
        if self._state["tokens"] % self._limit:
            self._close()
        else:
            self.close()
            self._path(_number(len(self._state["shards"]))).unlink()
        self._index.close()
        self._bytes.close()
        files = {kind: self._path(kind) for kind in ("index", "bytes")}
        entries = {k: {"file": x.name, "sha256": digest_of(x)} for k, x in files.items()}
        return self._state | {"index": entries["index"], "corrected": entries["bytes"]}

    def close(self) -> None:
        """Close the files."""
        self._index.close()
        self._bytes.close()
        self._shard.close()

    def _open(self) -> Any:
        shard, filled = divmod(self._state["tokens"], self._limit)
        return _at(self._path(_number(shard)), filled * self._dtype.itemsize)

    def _close(self) -> None:
        """Complete a shard, and record its checksum."""
        self._shard.close()
        path = Path(self._shard.name)
        tokens = path.stat().st_size // self._dtype.itemsize
        entry = {"file": path.name, "tokens": tokens, "sha256": digest_of(path)}
        self._state["shards"].append(entry)

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._split}{'' if kind[0] == '-' else '.'}{kind}"


def _number(shard: int) -> str:
    return f"-{shard:05}.bin"


def _at(path: Path, size: int) -> Any:
    """Open a file for writing after its first ``size`` bytes; drop the rest."""
    file = open(path, "r+b" if size else "wb")  # noqa: SIM115 (closed by the writer)
    file.truncate(size)
    file.seek(size)
    return file
