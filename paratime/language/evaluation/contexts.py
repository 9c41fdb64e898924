"""How much of a document a model reads before each token that is scored."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from paratime.errors import InputError, check_at_least
from paratime.layers.state import leaves, select

if TYPE_CHECKING:
    from paratime.language.model.network import LanguageNetwork

_log = logging.getLogger(__name__)

TOKENS, LOGITS = 2**12, 2**27
"""Limits of what is computed at a time: tokens, so that they fit in a CPU's caches, and logits
(512 MiB in float32) for large vocabularies."""


class Piece(NamedTuple):
    """Scores of consecutive tokens of a document.

    Attributes:
        document: Index of the document.
        begin: Index of the first of these tokens among the scored ones.
        log_likelihood: Log-likelihood of each token, in nats, (N,).
        greedy: Whether no other token is more likely, bool (N,).
    """

    document: int
    begin: int
    log_likelihood: Tensor
    greedy: Tensor


class Context(ABC):
    """A way to score documents: what is read before each token."""

    @abstractmethod
    def score(
        self, task: "LanguageNetwork", documents: Sequence[Tensor], batch_size: int
    ) -> Iterator[Piece]:
        """Yield the scores of all tokens except each document's first, which is only read.

        Args:
            task: The model, in evaluation mode.
            documents: Ids of each, int64 (N,), at least two.
            batch_size: Maximum number of sequences at a time.
        """


@dataclass(frozen=True)
class Carried(Context):
    """The whole document so far: the state is carried through it.

    Documents of similar length are processed together, and leave the batch at their ends. Memory
    does not depend on their length.

    Args:
        chunk: Tokens of each document at a time; see ``TOKENS`` for the default.
    """

    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.chunk is not None:
            check_at_least(1, chunk=self.chunk)

    def score(
        self, task: "LanguageNetwork", documents: Sequence[Tensor], batch_size: int
    ) -> Iterator[Piece]:
        """Yield the scores of chunks; see ``Context.score``."""
        order = sorted(range(len(documents)), key=lambda i: len(documents[i]), reverse=True)
        for first in range(0, len(order), batch_size):
            yield from self._score(task, documents, order[first : first + batch_size])

    def _score(
        self, task: "LanguageNetwork", documents: Sequence[Tensor], rows: list[int]
    ) -> Iterator[Piece]:
        """Score a batch of documents, the longest first."""
        begin, state = 0, None
        while rows:
            size = self.chunk or max(1, _tokens(task) // len(rows))
            parts = [documents[i][begin : begin + size + 1] for i in rows]
            scores, state = score_batch(task, parts, state)
            for i, (values, greedy) in zip(rows, scores, strict=True):
                yield Piece(i, begin, values, greedy)
            begin += size
            rows = [i for i in rows if len(documents[i]) > begin + 1]
            state = select(state, slice(len(rows)))


@dataclass(frozen=True)
class Sliding(Context):
    """At most the last ``length`` tokens: overlapping windows, each from the initial state.

    The first window of a document scores all its tokens, later ones only their last ``stride``.
    Thus every token is scored once, after at least ``length - stride`` others. Models without a
    state are compared in this way. A small stride costs time, a large one context.

    Args:
        length: Tokens that a window reads.
        stride: Tokens from one window to the next.
    """

    length: int = 256
    stride: int = 128

    def __post_init__(self) -> None:
        check_at_least(1, length=self.length, stride=self.stride)
        if self.stride > self.length:
            raise InputError(
                "stride", f"at most the length, {self.length}", str(self.stride), "lower it"
            )

    def score(
        self, task: "LanguageNetwork", documents: Sequence[Tensor], batch_size: int
    ) -> Iterator[Piece]:
        """Yield the scores of windows; see ``Context.score``."""
        windows = [
            (i, begin) for i, ids in enumerate(documents) for begin in self._begins(len(ids) - 1)
        ]
        windows.sort(key=lambda window: len(documents[window[0]]) - window[1], reverse=True)
        size = max(1, min(batch_size, _tokens(task) // self.length))
        for first in range(0, len(windows), size):
            batch = windows[first : first + size]
            parts = [documents[i][begin : begin + self.length + 1] for i, begin in batch]
            scores, _ = score_batch(task, parts, None)
            for (i, begin), (values, greedy) in zip(batch, scores, strict=True):
                known = self.length - self.stride if begin else 0
                yield Piece(i, begin + known, values[known:], greedy[known:])

    def _begins(self, tokens: int) -> range:
        """Return where windows begin; the last one is the first that reaches the end."""
        return range(0, max(1, tokens - self.length + self.stride), self.stride)


def default_context(task: "LanguageNetwork") -> Context:
    """Return how a model is scored by default; a line says so where it is not ``Carried``.

    A state of bounded size is carried through whole documents. One that grows, as the cache of
    attention without a window, has only served as many tokens as the windows of training: longer
    documents are scored by sliding windows of that length.
    """
    if not _grows(task):
        return Carried()
    length = task.spec.context_length
    if length is None:
        _log.warning(
            "the model reads whole documents, perhaps far beyond the windows that it was trained"
            " on, which it does not know; give --context Sliding --context.length N"
        )
        return Carried()
    context = Sliding(length, max(1, length // 2))
    _log.warning(
        "the model was trained on %s tokens at a time: it is scored by windows of that length,"
        " every %s tokens; --context Carried reads whole documents",
        *(f"{context.length:,}", f"{context.stride:,}"),
    )
    return context


@torch.inference_mode()
def _grows(task: "LanguageNetwork") -> bool:
    """Return whether the state after more tokens is larger."""
    training = task.training
    task.eval()
    x = task.embedding(torch.zeros(1, 4, dtype=torch.long, device=task.device))
    few, more = (sum(x.numel() for x in leaves(task.encoder(x[:, :n])[1])) for n in (2, 4))
    task.train(training)
    return few < more


def score_batch(
    task: "LanguageNetwork", parts: Sequence[Tensor], state: Any
) -> tuple[list[tuple[Tensor, Tensor]], Any]:
    """Score all tokens except the first of each sequence; return (nats, greedy) and the states.

    Args:
        task: The model.
        parts: Ids of each sequence, int64 (N,), at least two.
        state: States before the first id.
    """
    ids = pad_sequence(list(parts), batch_first=True).to(task.device)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    counts = torch.tensor([len(part) - 1 for part in parts], device=task.device)
    alike = min(map(len, parts)) == ids.shape[1]
    logits, state = task(inputs, state, lengths=None if alike else counts)
    logits = (logits if logits.dtype == torch.float64 else logits.float()).flatten(0, 1)
    nats = functional.cross_entropy(logits, targets.flatten(), reduction="none")
    chosen = logits.gather(1, targets.reshape(-1, 1)).squeeze(1)
    greedy = chosen == logits.amax(1)  # several times faster than argmax
    rows = zip(nats.view_as(targets).cpu(), greedy.view_as(targets).cpu(), counts, strict=True)
    return [(-nats[:count], greedy[:count]) for nats, greedy, count in rows], state


def _tokens(task: "LanguageNetwork") -> int:
    """Return the number of tokens to compute at a time."""
    return min(TOKENS, LOGITS // task.head.out_features)
