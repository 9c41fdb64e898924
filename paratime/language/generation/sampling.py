"""Draws the next tokens from logits."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paratime.errors import InputError, check_at_least

DRAWS_AHEAD = 256
"""Random numbers that each sequence draws at a time."""


@dataclass(frozen=True)
class Sampling:
    """How a text continues, and when it ends. Filters are applied in the order of this list.

    Args:
        max_new_tokens: Maximum number of tokens to generate.
        repetition_penalty: Divides positive logits of tokens that occurred, and multiplies negative
            ones (arXiv 1909.05858); 1 has no effect.
        repetition_window: Number of last tokens, including the prompt's, that count as having
            occurred; all by default.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Sample among the k most likely tokens, including ties with the k-th; all by default.
        top_p: Sample among the fewest most likely tokens whose probabilities add up to this
            (arXiv 1904.09751); all by default.
        min_p: Sample among tokens at least this times as likely as the most likely one
            (arXiv 2407.01082); all by default.
        stop: Texts before which generation ends.
        ignore_eos: Whether the model may not end a text: the start of the next document is never
            drawn.
        seed: Seed of the samples; by default each call gives another text. Each sequence has its
            own random numbers, derived from the seed, its prompt and the number of the sample.
            Hence its text is the same alone and in a batch, up to the rounding of logits.

    Raises:
        InputError: A value out of range.
    """

    max_new_tokens: int = 500
    repetition_penalty: float = 1.0
    repetition_window: int | None = None
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        check_at_least(1, max_new_tokens=self.max_new_tokens)
        optional = {"repetition_window": self.repetition_window, "top_k": self.top_k}
        check_at_least(1, **{name: x for name, x in optional.items() if x is not None})
        _check("repetition_penalty", self.repetition_penalty, "above 0", "1 has no effect", above=0)
        _check("temperature", self.temperature, "at least 0", "0 is greedy", least=0)
        remedy = "leave it out to sample from all"
        _check("top_p", self.top_p, "above 0 and at most 1", remedy, above=0, most=1)
        _check("min_p", self.min_p, "0 to 1", remedy, least=0, most=1)
        if isinstance(self.stop, str) or not all(self.stop):
            raise InputError(
                "stop", "texts that are not empty", repr(self.stop), "give a tuple of them"
            )


class Sampler:
    """Draws the next token of each sequence of a batch, in torch.

    Args:
        sampling: How tokens are drawn.
        seeds: Seed of each sequence's random numbers; see ``sequence_seed``.
        prompts: Tokens of each prompt, which count as having occurred.
        vocab_size: Number of token ids.
        start: Id that starts the next document, and ends a text.

    Attributes:
        sampling: How tokens are drawn.
        never: The id that is not drawn, if there is one.
        occurred: Counts for the repetition penalty, if there is one.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        prompts: Sequence[Sequence[int]],
        vocab_size: int,
        start: int | None = None,
    ) -> None:
        self.sampling = sampling
        self.never = start if sampling.ignore_eos else None
        self._generators = [torch.Generator().manual_seed(x) for x in seeds]
        self._ahead = torch.empty(len(seeds), 0, dtype=torch.float64)
        self._turn = 0
        self.occurred = None
        if sampling.repetition_penalty != 1:
            window, longest = sampling.repetition_window, max(map(len, prompts))
            if window is not None and window >= longest + sampling.max_new_tokens:
                window = None  # there are never that many tokens
            self.occurred = Occurred(prompts, vocab_size, window)

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the next tokens, int64 (B,), from logits (B, V)."""
        column = self._turn % DRAWS_AHEAD
        if column == 0:
            self._ahead = self.uniform()
        self._turn += 1
        logits = self.without_never(logits)
        return next_tokens(logits, self.sampling, self._ahead[:, column], self.occurred)

    def without_never(self, logits: Tensor) -> Tensor:
        """Return logits, (B, V) or (V,), with the id that is not drawn as unlikely as can be."""
        if self.never is None:
            return logits
        least = torch.finfo(logits.dtype).min / 4
        return logits.index_fill(-1, torch.tensor([self.never]), least)

    def uniform(self) -> Tensor:
        """Return the next random numbers of each sequence, float64 (B, DRAWS_AHEAD) in [0, 1)."""
        drawn = [
            torch.rand(DRAWS_AHEAD, generator=g, dtype=torch.float64) for g in self._generators
        ]
        return torch.stack(drawn)

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with some of the sequences."""
        self._generators = [self._generators[i] for i in rows]
        self._ahead = self._ahead[list(rows)]
        if self.occurred is not None:
            self.occurred.keep(rows)


class Occurred:
    """How often each token occurred in a sequence, or among its last tokens.

    Args:
        prompts: Tokens at the beginning of each sequence.
        vocab_size: Number of token ids V.
        window: Number of last tokens that count; all if None.
    """

    def __init__(
        self, prompts: Sequence[Sequence[int]], vocab_size: int, window: int | None
    ) -> None:
        self.counts = torch.zeros(len(prompts), vocab_size + 1, dtype=torch.long)
        self.window = None
        if window is not None:  # a ring buffer; V marks places without a token
            self.window = torch.full((len(prompts), window), vocab_size)
        self._turn = 0
        for row, prompt in enumerate(prompts):
            last = torch.tensor(prompt[-(window or len(prompt)) :], dtype=torch.long)
            self.counts[row] += last.bincount(minlength=vocab_size + 1)
            if self.window is not None and len(last):
                self.window[row, -len(last) :] = last

    def penalised(self, logits: Tensor, penalty: float) -> Tensor:
        """Return logits (B, V) with the penalty applied to tokens that occurred."""
        seen = self.counts[:, :-1] > 0
        return logits.where(~seen, torch.where(logits > 0, logits / penalty, logits * penalty))

    def add(self, tokens: Tensor) -> None:
        """Count the next token of each sequence; drop the one that leaves the window."""
        rows = torch.arange(len(tokens))
        self.counts[rows, tokens] += 1
        if self.window is not None:
            column = self._turn % self.window.shape[1]
            self.counts[rows, self.window[:, column]] -= 1
            self.window[:, column] = tokens
        self._turn += 1

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with some of the sequences."""
        self.counts = self.counts[list(rows)]
        if self.window is not None:
            self.window = self.window[list(rows)]


def sequence_seed(seed: int, prompt: str, sample: int) -> int:
    """Return the seed of a sequence's random numbers."""
    text = f"{seed} {sample} {prompt}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def fresh_seed(sampling: Sampling) -> int:
    """Return the seed, or a random one if there is none."""
    return secrets.randbits(63) if sampling.seed is None else sampling.seed


def next_tokens(
    logits: Tensor, sampling: Sampling, uniform: Tensor, occurred: Occurred | None
) -> Tensor:
    """Return the next tokens, int64 (B,), and count them; -1 where logits are infinite or NaN.

    A penalty close to 0 can make logits infinite.

    Args:
        logits: (B, V).
        sampling: How tokens are drawn.
        uniform: A random number for each sequence, float64 (B,) in [0, 1).
        occurred: Counts for the repetition penalty, if there is one.
    """
    logits = logits.double()
    if occurred is not None:
        logits = occurred.penalised(logits, sampling.repetition_penalty)
    finite = logits.isfinite().all(-1)
    logits = logits.where(finite.unsqueeze(-1), 0)
    if sampling.temperature == 0:
        tokens = logits.argmax(-1)
    else:
        tokens = sample_from(probabilities(logits, sampling), uniform)
    if occurred is not None:
        occurred.add(tokens)
    return tokens.where(finite, -1)


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return unnormalised probabilities of the tokens (B, V), at a temperature above 0."""
    logits = (logits - logits.amax(-1, keepdim=True)) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    p = logits.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, tokens = p.sort(descending=True, stable=True)
        more_likely = ordered.cumsum(-1) - ordered
        p = torch.zeros_like(p).scatter(-1, tokens, ordered * (more_likely < sampling.top_p))
    if sampling.min_p is not None:
        p = p * (p >= sampling.min_p * p.amax(-1, keepdim=True))
    return p


def sample_from(p: Tensor, uniform: Tensor) -> Tensor:
    """Return tokens (B,) with unnormalised probabilities p (B, V), by inverse transform."""
    cumulated = p.cumsum(-1)
    share = uniform.unsqueeze(-1) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, share, right=True).squeeze(-1)


def _check(
    name: str,
    value: float | None,
    expected: str,
    remedy: str,
    *,
    above: float = -torch.inf,
    least: float = -torch.inf,
    most: float = torch.inf,
) -> None:
    """Refuse a value out of range, or NaN."""
    if value is not None and not (value > above and least <= value <= most and value != torch.inf):
        raise InputError(name, expected, str(value), remedy)
