"""Text that continues prompts."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from paratime.errors import InputError, check_at_least, check_finite
from paratime.language.generation.sampling import Sampler, Sampling, fresh_seed, sequence_seed
from paratime.language.generation.stepping import prefill, stepper
from paratime.language.model.network import LanguageNetwork, tokenizer_of
from paratime.language.tokenizers.base import Tokenizer
from paratime.layers.state import select

PROMPT = 40
"""Most characters of a prompt in a message."""

_log = logging.getLogger(__name__)


class Stops:
    """Passes text on up to the first stop, holding back what may be the beginning of one.

    The output does not depend on how the text is cut into pieces. The stop that is complete first
    counts, and the longest one of several that end at the same place.

    Args:
        texts: The stops.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self._longest = max(map(len, texts), default=0)
        self._held = ""

    def __call__(self, piece: str) -> tuple[str, bool]:
        """Return the text before any possible stop, and whether a stop is complete after it."""
        if not self._texts:
            return piece, False
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._texts if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)[1]], True
        kept = len(text) - self._beginning(text)
        self._held = text[kept:]
        return text[:kept], False

    def rest(self) -> str:
        """Return the text that is still held back, at the end."""
        return self._held

    def _beginning(self, text: str) -> int:
        """Return the number of characters at the end of a text that begin a stop."""
        sizes = range(min(len(text), self._longest - 1), 0, -1)
        return next((n for n in sizes if any(s.startswith(text[-n:]) for s in self._texts)), 0)


Reason = Literal["document", "stop", "length"]
"""Why a text ended: a new document began, a stop occurred, or the token limit was reached."""


@dataclass(frozen=True)
class Completion:
    """A text that a model wrote.

    Attributes:
        prompt: The text that it continues.
        sample: Its index among the samples of the prompt.
        text: The generated text.
        reason: Why it ended.
        tokens: Number of generated tokens, including those of a stop.
    """

    prompt: str
    sample: int
    text: str
    reason: Reason
    tokens: int


def generate(
    task: LanguageNetwork,
    prompt: str = "",
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
) -> Iterator[str]:
    """Return an iterator over the text that continues a prompt, as it is generated.

    The prompt is read in parallel over time. Then each token is one step from the carried state:
    its time and memory do not depend on the position, except for attention without a window.
    Generation stops where the model begins a new document.

    Args:
        task: The model.
        prompt: Text to continue, as the beginning of a document.
        sampling: How tokens are drawn, and when the text ends.

    Raises:
        InputError: The model has no tokenizer, or its logits are infinite or NaN; the prompt is not
            valid Unicode, or cannot be encoded.
    """
    text = _Text(tokenizer_of(task), prompt, sampling)
    pieces = _pieces(task, [text], sampling, fresh_seed(sampling))
    return (piece for _, piece in pieces)


def complete(
    task: LanguageNetwork,
    prompts: Sequence[str],
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    *,
    samples: int = 1,
    batch_size: int = 16,
) -> Iterator[Completion]:
    """Yield continuations of many prompts of any lengths, in their order.

    Args:
        task: The model.
        prompts: Texts to continue, each as the beginning of a document. Equal ones get different
            texts, also with a seed.
        sampling: As for ``generate``, which gives the same texts one by one.
        samples: Number of texts for each prompt.
        batch_size: Number of texts that are generated at a time.

    Raises:
        InputError: As for ``generate``; or ``samples`` or ``batch_size`` is below 1.
    """
    check_at_least(1, samples=samples, batch_size=batch_size)
    tokenizer, seed = tokenizer_of(task), fresh_seed(sampling)
    asked: Counter[str] = Counter()  # equal prompts continue the samples of the first one
    wanted = []
    for prompt in prompts:
        wanted += [(prompt, sample, asked[prompt] + sample) for sample in range(samples)]
        asked[prompt] += samples
    for begin in range(0, len(wanted), batch_size):
        batch = wanted[begin : begin + batch_size]
        texts = [
            _Text(tokenizer, prompt, sampling, sample=sample, number=number)
            for prompt, sample, number in batch
        ]
        pieces: list[list[str]] = [[] for _ in texts]
        for i, piece in _pieces(task, texts, sampling, seed):
            pieces[i].append(piece)
        yield from (x.completion("".join(parts)) for x, parts in zip(texts, pieces, strict=True))


class _Text:
    """A text in progress: turns tokens into final text, and detects its end.

    Args:
        tokenizer: Text to ids and back.
        prompt: The text that it continues.
        sampling: When it ends.
        sample: Its index among the samples of the prompt.
        number: Its index among all texts of equal prompts, from which its seed follows.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: str,
        sampling: Sampling,
        *,
        sample: int = 0,
        number: int = 0,
    ) -> None:
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise InputError("prompt", "valid Unicode", ascii(prompt), "correct its encoding")
        self.prompt, self.sample, self.number = prompt, sample, number
        self.ids: list[int] = _prompt_ids(tokenizer, prompt)
        self.tokens = 0
        self.reason: Reason | None = None
        self._start, self._decode = tokenizer.start, tokenizer.decoder()
        self._stops, self._most = Stops(sampling.stop), sampling.max_new_tokens

    def add(self, tokens: list[int]) -> str:
        """Return the text that tokens complete; ignore tokens after the end."""
        if min(tokens) < 0:
            number = self.tokens + 1 + [token < 0 for token in tokens].index(True)
            name = f"token {number} after prompt {self.prompt[:PROMPT]!r}"
            check_finite("logits", [(name, False)])
        return "".join(self._add(token) for token in tokens if self.reason is None)

    def completion(self, text: str) -> Completion:
        """Return the finished text."""
        assert self.reason is not None
        return Completion(self.prompt, self.sample, text, self.reason, self.tokens)

    def _add(self, token: int) -> str:
        if token == self._start:
            return self._end("document")
        self.tokens += 1
        piece, stopped = self._stops(self._decode(token))
        if stopped:
            self.reason = "stop"
        elif self.tokens == self._most:
            piece += self._end("length")
        return piece

    def _end(self, reason: Reason) -> str:
        """Return what was held back: an incomplete character, and the beginning of a stop."""
        piece, stopped = self._stops(self._decode(self._start))
        self.reason = "stop" if stopped else reason
        return piece + self._stops.rest()


def _prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the tokens of a prompt; say if they stand for another text."""
    try:
        found = tokenizer.measured(prompt)
    except InputError as error:
        what, *others = error.args
        raise InputError(f"prompt: {what}", *others) from None
    if found.altered:
        _log.warning("the tokenizer changes the prompt: %s", found.altered)
    ids: list[int] = found.ids.tolist()
    return ids


def _pieces(
    task: LanguageNetwork, texts: list[_Text], sampling: Sampling, seed: int
) -> Iterator[tuple[int, str]]:
    """Yield pairs (index of the text, piece) until all texts have ended."""
    training = task.training
    task.eval()
    try:
        yield from _write(task, texts, sampling, seed)
    finally:
        task.train(training)


def _write(
    task: LanguageNetwork, texts: list[_Text], sampling: Sampling, seed: int
) -> Iterator[tuple[int, str]]:
    start = tokenizer_of(task).start
    prompts = {x.prompt: x.ids for x in texts}
    logits, state = prefill(task, [[start, *ids] for ids in prompts.values()])
    numbers = {prompt: i for i, prompt in enumerate(prompts)}
    rows = torch.tensor([numbers[x.prompt] for x in texts])
    logits, state = logits[rows], select(state, rows.to(task.device))
    seeds = [sequence_seed(seed, x.prompt, x.number) for x in texts]
    ids = [x.ids for x in texts]
    sampler = Sampler(sampling, seeds=seeds, prompts=ids, vocab_size=logits.shape[1], start=start)
    steps, active = stepper(task, sampler, logits=logits, state=state), list(range(len(texts)))
    while active:
        written = steps.write()
        for i, tokens in zip(active, written, strict=True):
            if piece := texts[i].add(tokens):
                yield i, piece
        staying = [row for row, i in enumerate(active) if texts[i].reason is None]
        if staying and len(staying) < len(active):
            steps.keep(staying)
        active = [active[row] for row in staying]
