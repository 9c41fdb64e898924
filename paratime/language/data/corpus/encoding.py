"""Documents to tokens, in several processes, in the order of the documents."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.language.data.sources.base import Document
from paratime.language.data.split import Part
from paratime.language.tokenizers.base import Tokenizer

BATCH = 2**20
"""Characters that are encoded at once, and ids of a document of tokens that are copied at once."""


@dataclass(frozen=True)
class Encoded:
    """Tokens of one split that follow one another.

    Attributes:
        split: The split.
        ids: Tokens (N,).
        starts: Where documents begin in them.
        num_bytes: UTF-8 bytes that they stand for.
        finished: How many documents end with them.
        remaining: How many more come of the same batch; only behind the last one are the documents
            that were finished the first of all.
    """

    split: str
    ids: NDArray[Any]
    starts: NDArray[np.int64]
    num_bytes: int
    finished: int
    remaining: int


def encoded(parts: Iterable[Part], tokenizer: Tokenizer, processes: int) -> Iterator[Encoded]:
    """Yield the tokens of documents; each split's in the order of its documents.

    Args:
        parts: Splits and documents.
        tokenizer: Text to ids.
        processes: How many encode; with one, it is this process.

    Raises:
        InputError: A document that cannot be encoded.
        BrokenProcessPool: A process was ended from outside.
    """
    here = partial(encode, tokenizer=tokenizer)
    if processes == 1:
        for batch in _batches(parts):
            yield from here(batch)
        return
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _begin, (tokenizer.spec(),)
    )
    waiting: deque[Callable[[], Iterable[Encoded]]] = deque()
    try:
        for batch in _batches(parts):
            alone = _is_long(batch[0][1])
            job = partial(here, batch) if alone else pool.submit(_encode_there, batch).result
            waiting.append(job)
            if len(waiting) > 3 * processes:
                yield from waiting.popleft()()
        while waiting:
            yield from waiting.popleft()()
    finally:
        pool.shutdown(cancel_futures=True)


def encode(batch: list[Part], tokenizer: Tokenizer) -> Iterator[Encoded]:
    """Yield the tokens of some documents, split by split; those of long ones bit by bit."""
    if _is_long(batch[0][1]):
        yield from _copied(*batch[0], tokenizer)
        return
    dtype = dtype_of(tokenizer)
    by_split: dict[str, list[NDArray[Any]]] = {}
    for split, document in batch:
        by_split.setdefault(split, []).append(document.ids(tokenizer).astype(dtype))
    start = np.array([tokenizer.start], dtype)
    for number, (split, documents) in enumerate(by_split.items(), 1):
        ids = np.concatenate([part for ids in documents for part in (start, ids)])
        ends = np.cumsum([1 + len(ids) for ids in documents])
        starts = np.concatenate([[0], ends[:-1]])
        num_bytes = int(tokenizer.byte_counts[ids].sum())
        remaining = len(by_split) - number
        yield Encoded(split, ids, starts, num_bytes, len(documents), remaining)


def dtype_of(tokenizer: Tokenizer) -> np.dtype[Any]:
    """Return the smallest type that has room for all ids, little-endian."""
    return np.dtype("<u2" if tokenizer.vocab_size <= 2**16 else "<u4")


def _is_long(document: Document) -> bool:
    return document.tokens is not None and len(document) > BATCH


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield documents together up to so many characters, and long ones of tokens alone."""
    batch: list[Part] = []
    size = 0
    for part in parts:
        if batch and (size + len(part[1]) > BATCH or _is_long(part[1])):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part[1]) + 1
    if batch:
        yield batch


def _copied(split: str, document: Document, tokenizer: Tokenizer) -> Iterator[Encoded]:
    """Yield a long document of tokens, which need not fit into memory."""
    dtype, first = dtype_of(tokenizer), np.array([tokenizer.start])
    for begun in range(0, len(document), BATCH):
        tokens = document.part(begun, begun + BATCH).ids(tokenizer)
        ids = np.concatenate([first, tokens]).astype(dtype)
        num_bytes = int(tokenizer.byte_counts[ids].sum())
        starts, first = np.arange(len(first)), first[:0]
        remaining = (len(document) - 1) // BATCH - begun // BATCH
        yield Encoded(split, ids, starts, num_bytes, int(not remaining), remaining)


_tokenizer: list[Tokenizer] = []
"""Of a process that encodes."""


def _begin(spec: dict[str, Any]) -> None:
    """Make the tokenizer of a process, which ends when the one that began it does."""
    from paratime.language.tokenizers.characters import from_spec

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tokenizer.append(from_spec(spec))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _encode_there(batch: list[Part]) -> list[Encoded]:
    return list(encode(batch, _tokenizer[0]))
