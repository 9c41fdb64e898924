"""Documents to tokens, in several processes, keeping the order of the documents."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.io.processes import end_with_parent
from paratime.language.data.sources.base import Document
from paratime.language.data.split import Part
from paratime.language.tokenizers.base import Encoding, Tokenizer
from paratime.language.tokenizers.catalog import tokenizer_from_spec

BATCH = 2**20
"""Characters that are encoded at once, or ids of a tokenised document that are copied at once."""


@dataclass(frozen=True)
class Encoded:
    """Consecutive tokens of one split.

    Attributes:
        split: The split.
        ids: Tokens (N,).
        starts: Positions of document starts in them.
        corrections: Where tokens stand for another number of bytes than their pieces have:
            positions in them and differences, (M, 2).
        num_bytes: Number of UTF-8 bytes of the texts that they stand for.
        altered: Number of texts that do not come back from their tokens.
        example: What does not come back of the first one.
        finished: Number of documents that they complete.
        remaining: Number of further parts of the same batch. Only after the last one are the
            finished documents a prefix of all documents.
    """

    split: str
    ids: NDArray[Any]
    starts: NDArray[np.int64]
    corrections: NDArray[np.int64]
    num_bytes: int
    altered: int
    example: str
    finished: int
    remaining: int


def encode_documents(
    parts: Iterable[Part], tokenizer: Tokenizer, processes: int
) -> Iterator[Encoded]:
    """Yield the tokens of documents; within a split, in the order of the documents.

    Args:
        parts: Splits and documents.
        tokenizer: Text to ids.
        processes: Number of processes that encode; with 1, this process does.

    Raises:
        InputError: A document cannot be encoded.
        BrokenProcessPool: A process was killed.
    """
    here = partial(encode_batch, tokenizer=tokenizer)
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


def encode_batch(batch: list[Part], tokenizer: Tokenizer) -> Iterator[Encoded]:
    """Yield the tokens of documents, split by split; a long document comes in parts."""
    if _is_long(batch[0][1]):
        yield from _copied(*batch[0], tokenizer)
        return
    by_split: dict[str, list[Encoding]] = {}
    for split, document in batch:
        by_split.setdefault(split, []).append(document.encoded(tokenizer))
    start = tokenizer.counted(np.array([tokenizer.start]))
    for number, (split, documents) in enumerate(by_split.items(), 1):
        ends = np.cumsum([1 + len(document.ids) for document in documents])
        yield _joined(
            [part for document in documents for part in (start, document)],
            tokenizer,
            split=split,
            starts=np.concatenate([[0], ends[:-1]]),
            finished=len(documents),
            remaining=len(by_split) - number,
        )


def dtype_of(tokenizer: Tokenizer) -> np.dtype[Any]:
    """Return the smallest little-endian type that holds all ids."""
    return np.dtype("<u2" if tokenizer.vocab_size <= 2**16 else "<u4")


def _joined(parts: list[Encoding], tokenizer: Tokenizer, **about: Any) -> Encoded:
    """Return the tokens of several texts, one after another."""
    ids, counts = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    more = counts - tokenizer.byte_counts[ids]
    where = np.flatnonzero(more)
    examples = [part.altered for part in parts if part.altered]
    return Encoded(
        ids=ids.astype(dtype_of(tokenizer)),
        corrections=np.stack([where, more[where]], axis=1),
        num_bytes=int(counts.sum()),
        altered=len(examples),
        example=examples[0] if examples else "",
        **about,
    )


def _is_long(document: Document) -> bool:
    return document.tokens is not None and len(document) > BATCH


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield documents in groups of bounded size; long tokenised documents come alone."""
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
    """Yield a long tokenised document, which need not fit in memory."""
    first = [tokenizer.counted(np.array([tokenizer.start]))]
    for begun in range(0, len(document), BATCH):
        tokens = document.part(begun, begun + BATCH).encoded(tokenizer)
        remaining = (len(document) - 1) // BATCH - begun // BATCH
        yield _joined(
            [*first, tokens],
            tokenizer,
            split=split,
            starts=np.arange(len(first)),
            finished=int(not remaining),
            remaining=remaining,
        )
        first = []


_tokenizer: list[Tokenizer] = []
"""The tokenizer of a process that encodes, set once."""


def _begin(spec: dict[str, Any]) -> None:
    """Set up a process that encodes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _tokenizer.append(tokenizer_from_spec(spec))


def _encode_there(batch: list[Part]) -> list[Encoded]:
    return list(encode_batch(batch, _tokenizer[0]))
