"""Scores of a language model on texts: by document, in total, and by position."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from paratime.errors import InputError, check_at_least, check_finite
from paratime.language.data.sources.base import Document
from paratime.language.evaluation.contexts import Context, Piece, default_context
from paratime.language.model.network import LanguageNetwork, tokenizer_of
from paratime.language.tokenizers.base import Tokenizer, warn_of_altered


class _Loss:
    """What follows from the negative log-likelihood of some tokens."""

    tokens: int
    nats: float

    @property
    def loss(self) -> float:
        """Cross-entropy, in nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """The exponential of the loss; infinite where that overflows."""
        return perplexity(self.loss)


@dataclass(frozen=True)
class Score(_Loss):
    """Scores of a text: of every token after the document start; its end is not scored.

    Args:
        name: Name of the document.
        tokens: Number of tokens.
        bytes: Number of UTF-8 bytes.
        nats: Negative log-likelihood of the text.
        greedy: Number of tokens that were the most likely ones.
    """

    name: str
    tokens: int
    bytes: int
    nats: float
    greedy: int

    @property
    def bits_per_byte(self) -> float:
        """The size of an ideal compression, comparable between tokenizers."""
        return self.nats / math.log(2) / self.bytes

    @property
    def accuracy(self) -> float:
        """Share of tokens that were the most likely ones."""
        return self.greedy / self.tokens


@dataclass(frozen=True)
class Position(_Loss):
    """Scores of the tokens at a range of positions, counted from 1, in all documents.

    Args:
        first: The first of these positions.
        last: The last one.
        documents: Number of documents that reach the first position.
        tokens: Number of tokens.
        nats: Negative log-likelihood of these tokens.
        squares: Sum of the squares of each token's nats.
    """

    first: int
    last: int
    documents: int
    tokens: int
    nats: float
    squares: float

    @property
    def error(self) -> float:
        """Standard error of the loss, as if tokens were independent."""
        return math.sqrt(max(0.0, self.squares / self.tokens - self.loss**2) / self.tokens)


@dataclass(frozen=True)
class Evaluation:
    """Scores by document, in their order, and by position, in bins of doubling width."""

    documents: list[Score]
    positions: list[Position]

    @property
    def total(self) -> Score:
        """The scores of all documents together."""
        names = ("tokens", "bytes", "nats", "greedy")
        return Score("total", **{k: sum(getattr(s, k) for s in self.documents) for k in names})

    def documents_table(self) -> pd.DataFrame:
        """Return a row for each document, and one for the total."""
        names = ("tokens", "bytes", "loss", "perplexity", "bits_per_byte", "accuracy")
        scores = [*self.documents, self.total]
        return pd.DataFrame(
            {"document": [s.name for s in scores]}
            | {name: [getattr(s, name) for s in scores] for name in names}
        )

    def positions_table(self) -> pd.DataFrame:
        """Return a row for each bin of positions."""
        names = ("first", "last", "documents", "tokens", "loss", "error", "perplexity")
        return pd.DataFrame({name: [getattr(p, name) for p in self.positions] for name in names})


def evaluate(
    task: LanguageNetwork,
    documents: Iterable[Document],
    context: Context | None = None,
    *,
    batch_size: int = 16,
) -> Evaluation:
    """Score documents, each from its beginning; skip empty ones.

    Args:
        task: The model.
        documents: The texts.
        context: What is read before each token; see ``default_context``.
        batch_size: Maximum number of sequences at a time.

    Raises:
        InputError: There is no text, the model has no tokenizer, or its logits are infinite or NaN.
    """
    check_at_least(1, batch_size=batch_size)
    tokenizer = tokenizer_of(task)
    texts = [document for document in documents if len(document)]
    if not texts:
        raise InputError(
            "data", "at least one document with text", "none", "check the paths and the files"
        )
    encoded = [document.encoded(tokenizer) for document in texts]
    warn_of_altered(
        sum(bool(x.altered) for x in encoded),
        len(encoded),
        next((x.altered for x in encoded if x.altered), ""),
    )
    ids = [_begun(tokenizer, x.ids) for x in encoded]
    totals, bins = _scored(task, ids, context or default_context(task), batch_size)
    finite = zip(texts, np.isfinite(totals), strict=True)
    check_finite("logits", ((f"document {x.name!r}", bool(good.all())) for x, good in finite))
    scores = []
    for text, x, (nats, hits) in zip(texts, encoded, totals.tolist(), strict=True):
        sizes = len(x.ids), int(x.num_bytes.sum())
        scores.append(Score(text.name, *sizes, nats=nats, greedy=int(hits)))
    positions = []
    for k, (count, nats, squares) in enumerate(bins.T.tolist()):
        first, last, reached = 2**k, 2 ** (k + 1) - 1, sum(s.tokens >= 2**k for s in scores)
        sums = {"tokens": int(count), "nats": nats, "squares": squares}
        positions += [Position(first, last, reached, **sums)] if count else []
    return Evaluation(scores, positions)


@torch.inference_mode()
def log_likelihoods(
    task: LanguageNetwork,
    documents: Sequence[Tensor],
    context: Context | None = None,
    *,
    batch_size: int = 16,
    desc: str | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Return log-likelihoods in nats, and whether tokens were the most likely ones, both (N - 1,).

    Args:
        task: The model.
        documents: Ids of each document, int64 (N,), at least two.
        context: What is read before each token; see ``default_context``.
        batch_size: Maximum number of sequences at a time.
        desc: Name of the progress bar; no bar by default.

    Raises:
        NotFinite: Logits are infinite or NaN.
    """
    found: list[list[Piece]] = [[] for _ in documents]
    for piece in _pieces(task, documents, context or default_context(task), batch_size, desc):
        found[piece.document].append(piece)
    ordered = [sorted(pieces, key=lambda piece: piece.begin) for pieces in found]
    scores = [
        (torch.cat([p.log_likelihood for p in ps]), torch.cat([p.greedy for p in ps]))
        for ps in ordered
    ]
    finite = (bool(values.isfinite().all()) for values, _ in scores)
    check_finite("logits", ((f"document {i}", good) for i, good in enumerate(finite)))
    return scores


def document_ids(tokenizer: Tokenizer, text: str) -> Tensor:
    """Return the ids of a document, int64 (N,), including the document start."""
    return _begun(tokenizer, tokenizer.encode(text))


def _begun(tokenizer: Tokenizer, ids: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate([[tokenizer.start], ids]).astype(np.int64))


def perplexity(loss: float) -> float:
    """Return the exponential of a loss in nats; infinite where that overflows."""
    return math.exp(loss) if loss < math.log(np.finfo(np.float64).max) else math.inf


def _scored(
    task: LanguageNetwork, ids: Sequence[Tensor], context: Context, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nats and hits by document, (D, 2); counts, nats and squares by position, (3, 64)."""
    sums, bins = np.zeros((len(ids), 2)), np.zeros((3, 64))
    for piece in _pieces(task, ids, context, batch_size, "evaluating"):
        nats = -piece.log_likelihood.double().numpy()
        sums[piece.document] += nats.sum(), piece.greedy.sum()
        where = np.log2(np.arange(piece.begin, piece.begin + len(nats)) + 1).astype(int)
        for row, values in zip(bins, (np.ones_like(nats), nats, nats**2), strict=True):
            row += np.bincount(where, values, minlength=64)
    return sums, bins


@torch.inference_mode()
def _pieces(
    task: LanguageNetwork,
    ids: Sequence[Tensor],
    context: Context,
    batch_size: int,
    desc: str | None,
) -> Iterator[Piece]:
    """Yield the scores of all tokens, with a progress bar if it has a name."""
    training = task.training
    task.eval()
    try:
        total = sum(len(x) - 1 for x in ids)
        with tqdm(total=total, desc=desc, unit="tok", unit_scale=True, disable=desc is None) as bar:
            for piece in context.score(task, ids, batch_size):
                yield piece
                bar.update(len(piece.greedy))
    finally:
        task.train(training)
