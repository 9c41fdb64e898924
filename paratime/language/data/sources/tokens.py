"""Documents that are already tokenised: files of ids, and the folders of litdata."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError, one_line
from paratime.io.paths import expanded
from paratime.io.saved.trust import inside
from paratime.language.data.sources.base import Document, Source
from paratime.language.data.sources.files import FileSource, decode_utf8

BLOCK_IDS = 2**22
"""Ids that are searched for document starts at once."""

LITDATA_TENSORS = {11: "u1", 12: "i1", 13: "i2", 14: "i2", 15: "i4", 16: "i4", 17: "i8"}
LITDATA_TENSORS |= {18: "i8", 20: "u2"}
LITDATA_ARRAYS = dict(enumerate(("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")))
"""Types of one-dimensional items by the codes that litdata assigns to them."""


@dataclass(frozen=True)
class TokenFiles(FileSource):
    """Files of ids and nothing else, as nanoGPT prepares them: ``train.bin``, ``val.bin``.

    Args:
        paths: Files, folders, or glob patterns.
        start: The id that separates documents, before or after each, such as GPT-2's 50256. By
            default each file is one document.
        dtype: Type of the ids, little-endian.
    """

    suffixes = (".bin",)
    start: int | None = None
    dtype: Literal["uint16", "uint32"] = "uint16"

    def documents(self) -> Iterator[Document]:
        """Yield the documents, memory-mapped, files in order of their paths.

        Raises:
            InputError: A file has another size, or no file has the start (at the end).
        """
        starts = _Starts(self.start)
        for name, path in self.named_files():
            size, total = np.dtype(self.dtype).itemsize, Path(path).stat().st_size
            if total % size:
                raise InputError(
                    path, f"ids of {size} bytes", f"{total} bytes", "name its dtype, or copy again"
                )
            if total:
                ids = np.memmap(path, np.dtype(self.dtype).newbyteorder("<"), mode="r")
                yield from starts.documents(name, ids)
        starts.check()

    def size(self) -> None:
        """Return None: the size of the text is unknown."""


@dataclass(frozen=True)
class LitData(Source):
    """A folder that ``litdata.optimize`` wrote, of tokens or of texts, read without litdata.

    Each item is a document: a one-dimensional tensor or array of ids (as its ``TokensLoader``
    reads), or a string. Compressed and encrypted folders are refused.

    Args:
        path: The folder with ``index.json``.
        start: An id that separates documents within an item, or begins or ends them.
    """

    path: str
    start: int | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the items in order of their chunks."""
        folder, starts = Path(expanded(self.path)), _Starts(self.start)
        index = folder / "index.json"
        try:
            about = json.loads(index.read_text())
            chunks, config = about["chunks"], about["config"]
            formats = list(config["data_format"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                str(index), "litdata's index", one_line(error), "name a folder of litdata.optimize"
            ) from None
        packed = [key for key in ("compression", "encryption") if config.get(key)]
        dtype = _dtype(formats)
        if packed or (dtype is None and formats != ["str"]):
            raise InputError(
                self.path,
                expected="items that are strings or plain ids",
                got=f"{packed[0]} {config[packed[0]]}" if packed else ", ".join(formats),
                remedy="write it so, or as JSON Lines",
            )
        for chunk in chunks:
            yield from self._items(inside(folder, chunk["filename"]), chunk, dtype, starts)
        starts.check()

    def files(self) -> list[Path]:
        """Return the index and the chunks."""
        folder = Path(expanded(self.path))
        return [*sorted(folder.glob("*.bin")), folder / "index.json"]

    def _items(
        self, path: Path, chunk: dict[str, Any], dtype: str | None, starts: "_Starts"
    ) -> Iterator[Document]:
        """Yield the documents of a chunk, which holds a count, offsets, and the items' bytes.

        An item begins with the sizes of its fields, unless the chunk has a ``dim``: then its items
        are the ids of one long array, without sizes.
        """
        size = 4 if chunk.get("dim") is None else 0
        try:
            content = np.memmap(path, np.uint8, mode="r")
            count = int(content[:4].view("<u4")[0])
            ends = content[4 : 8 + 4 * count].view("<u4").astype(np.int64)
            if len(ends) != count + 1 or ends[-1] != len(content):
                raise ValueError(f"{len(content)} bytes")
        except (OSError, ValueError, IndexError) as error:
            raise InputError(str(path), "a whole chunk", one_line(error), "copy it again") from None
        for number in range(count):
            name, item = f"{path}[{number}]", content[ends[number] + size : ends[number + 1]]
            if dtype is None:
                yield Document(name, decode_utf8(item.tobytes(), name))
            else:
                yield from starts.documents(name, np.frombuffer(item.tobytes(), dtype))


def _dtype(formats: list[str]) -> str | None:
    """Return the type of the ids, or None if items are something else."""
    kind, _, number = formats[0].partition(":")
    types = {"no_header_tensor": LITDATA_TENSORS, "no_header_numpy": LITDATA_ARRAYS}
    return types.get(kind, {}).get(int(number or -1)) if len(formats) == 1 else None


class _Starts:
    """Cuts ids at document starts.

    Args:
        start: The id that separates documents, if there is one.
    """

    def __init__(self, start: int | None) -> None:
        self._start = start
        self._found = self._read = False

    def documents(self, name: str, ids: NDArray[Any]) -> Iterator[Document]:
        """Yield the ids between starts as documents; skip empty ones."""
        begun = number = 0
        for end in self._ends(ids):
            if end > begun:
                yield Document(f"{name}:{number}", tokens=ids[begun:end])
                number += 1
            begun = end + 1

    def check(self) -> None:
        """Refuse a start that none of the ids was.

        Raises:
            InputError: There were ids, and none of them was the start.
        """
        if self._start is not None and self._read and not self._found:
            raise InputError(
                "start",
                expected="an id between documents",
                got=f"{self._start}, which none of the ids is",
                remedy="correct it, or leave it out",
            )

    def _ends(self, ids: NDArray[Any]) -> Iterator[int]:
        """Yield the positions of the start id, then the end."""
        self._read = True
        if self._start is not None:
            for block in range(0, len(ids), BLOCK_IDS):
                found = np.flatnonzero(ids[block : block + BLOCK_IDS] == self._start) + block
                self._found |= len(found) > 0
                yield from found.tolist()
        yield len(ids)
