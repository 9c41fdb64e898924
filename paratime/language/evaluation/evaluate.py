"""Scores of a language model over texts: by document, in total, and by position."""

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

from paratime.errors import InputError, check_at_least
from paratime.language.data.sources.catalog import Document
from paratime.language.evaluation.contexts import Carried, Context, Piece
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import Tokenizer, from_spec


@dataclass(frozen=True)
class Score:
    """Scores of a text: of every token behind the document start; its end is not scored.

    Args:
        name: Of the document.
        tokens: Number of tokens.
        bytes: Number of UTF-8 bytes.
        nats: Negative log-likelihood of the text.
        greedy: Number of tokens that none was more likely than.
    """

    name: str
    tokens: int
    bytes: int
    nats: float
    greedy: int

    @property
    def loss(self) -> float:
        """Cross-entropy, in nats a token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """The exponential of the loss; infinite where that is too large for a number."""
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """What an ideal coder would need, which compares models with different tokenizers."""
        return self.nats / math.log(2) / self.bytes

    @property
    def accuracy(self) -> float:
        """Share of tokens that none was more likely than."""
        return self.greedy / self.tokens


@dataclass(frozen=True)
class Position:
    """Scores of the tokens at some positions of all documents, which count from 1.

    Args:
        first: The first of these positions.
        last: The last one.
        documents: Number of documents that reach them.
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
    def loss(self) -> float:
        """Cross-entropy, in nats a token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return perplexity(self.loss)

    @property
    def error(self) -> float:
        """Standard error of the loss, as if tokens were independent."""
        return math.sqrt(max(0.0, self.squares / self.tokens - self.loss**2) / self.tokens)


@dataclass(frozen=True)
class Evaluation:
    """Scores of documents, in their order, and by position, in bins that double."""

    documents: list[Score]
    positions: list[Position]

    @property
    def total(self) -> Score:
        """The scores of all documents together."""
        sums = (sum(column) for column in zip(*map(_numbers, self.documents), strict=True))
        return Score("total", *sums)

    def documents_table(self) -> pd.DataFrame:
        """Return a row for each document, and one for all."""
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
    task: LanguageTask,
    documents: Iterable[Document],
    context: Context = Carried(),  # noqa: B008 (frozen)
    *,
    batch_size: int = 16,
) -> Evaluation:
    """Score documents, each from its beginning; empty ones are left out.

    Args:
        task: The model.
        documents: The texts.
        context: What is read before each token.
        batch_size: Most sequences at a time.

    Raises:
        InputError: There is no text, the model does not know its tokenizer, or its logits are
            infinite or NaN.
    """
    check_at_least(1, batch_size=batch_size)
    tokenizer = tokenizer_of(task)
    texts = [document for document in documents if len(document)]
    if not texts:
        remedy = "check the paths and that the files are not empty"
        raise InputError("data", "at least one document with text", "none", remedy)
    ids = [_begun(tokenizer, document.ids(tokenizer)) for document in texts]
    totals, bins = _scored(task, ids, context, batch_size)
    if not np.isfinite(totals).all():
        remedy = "the model has diverged: use an earlier checkpoint"
        raise InputError("logits", "finite numbers", "infinite ones or NaN", remedy)
    scores = [
        Score(text.name, len(x) - 1, int(tokenizer.byte_counts[x].sum()), nats, int(hits))
        for text, x, (nats, hits) in zip(texts, ids, totals.tolist(), strict=True)
    ]
    positions = [
        Position(2**k, 2 ** (k + 1) - 1, sum(s.tokens >= 2**k for s in scores), int(count), *sums)
        for k, (count, *sums) in enumerate(bins.T.tolist())
        if count
    ]
    return Evaluation(scores, positions)


@torch.inference_mode()
def log_likelihoods(
    task: LanguageTask,
    documents: Sequence[Tensor],
    context: Context = Carried(),  # noqa: B008 (frozen)
    *,
    batch_size: int = 16,
    desc: str | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Return log-likelihoods in nats, and whether tokens were the most likely ones, both (N - 1,).

    Args:
        task: The model.
        documents: Ids of each, int64 (N,), at least two.
        context: What is read before each token.
        batch_size: Most sequences at a time.
        desc: Name of the progress bar; without one by default.
    """
    found: list[list[Piece]] = [[] for _ in documents]
    for piece in _pieces(task, documents, context, batch_size, desc):
        found[piece.document].append(piece)
    ordered = [sorted(pieces, key=lambda piece: piece.begin) for pieces in found]
    return [
        (torch.cat([p.log_likelihood for p in ps]), torch.cat([p.greedy for p in ps]))
        for ps in ordered
    ]


def tokenizer_of(task: LanguageTask) -> Tokenizer:
    """Return a model's tokenizer.

    Raises:
        InputError: The model does not know it.
    """
    if task.tokenizer is None:
        remedy = "pass tokenizer=ByteTokenizer().spec() to LanguageTask"
        raise InputError("tokenizer", "a model that knows its tokenizer", "None", remedy)
    return from_spec(task.tokenizer)


def encode(tokenizer: Tokenizer, text: str) -> Tensor:
    """Return the ids of a whole document, int64 (N,), the document start first."""
    return _begun(tokenizer, tokenizer.encode(text))


def _begun(tokenizer: Tokenizer, ids: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate([[tokenizer.start], ids]).astype(np.int64))


def perplexity(loss: float) -> float:
    """Return the exponential of a loss in nats; infinite where that is too large for a number."""
    return math.exp(loss) if loss < math.log(np.finfo(np.float64).max) else math.inf


def _scored(
    task: LanguageTask, ids: Sequence[Tensor], context: Context, batch_size: int
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
    task: LanguageTask,
    ids: Sequence[Tensor],
    context: Context,
    batch_size: int,
    desc: str | None,
) -> Iterator[Piece]:
    """Yield the scores of all tokens, under a bar unless it has no name."""
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


def _numbers(score: Score) -> tuple[float, ...]:
    return score.tokens, score.bytes, score.nats, score.greedy
