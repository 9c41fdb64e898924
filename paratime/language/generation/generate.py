"""Text from a language model, token by token, at a constant cost a token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from paratime.errors import InputError, check_at_least
from paratime.language.generation.sampling import Sampler, Sampling, fresh_seed, stream
from paratime.language.generation.states import select
from paratime.language.generation.stepping import prefill, stepper
from paratime.language.generation.stops import Stops
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import Tokenizer, from_spec

Reason = Literal["document", "stop", "length"]
"""Why a text ended: the model began a new document, a stop, or the most tokens."""


@dataclass(frozen=True)
class Completion:
    """A text that a model wrote.

    Attributes:
        prompt: What it goes on from.
        sample: Its number among those of the prompt, from 0.
        text: What the model wrote.
        reason: Why it ended.
        tokens: How many tokens were generated, with those of a stop.
    """

    prompt: str
    sample: int
    text: str
    reason: Reason
    tokens: int


def generate(
    task: LanguageTask,
    prompt: str = "",
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
) -> Iterator[str]:
    """Return text that continues a prompt, piece by piece as it is generated.

    The prompt is read in parallel over time; then each token is one step from the carried state, so
    that cost and memory a token do not depend on the position (but for attention without a window,
    which keeps all it has read). Generation stops where the model begins a new document.

    Args:
        task: The model.
        prompt: Text to continue, as the beginning of a document.
        sampling: How tokens are drawn, and when the text ends.

    Raises:
        InputError: A model without a tokenizer, or one whose logits are infinite or NaN; a prompt
            that is no text in UTF-8, or that the tokenizer cannot encode.
    """
    text = _Text(_tokenizer(task), prompt, 0, sampling)
    pieces = _pieces(task, [text], sampling, fresh_seed(sampling))
    return (piece for _, piece in pieces)


def complete(
    task: LanguageTask,
    prompts: Sequence[str],
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    *,
    samples: int = 1,
    batch_size: int = 16,
) -> Iterator[Completion]:
    """Yield what continues each of many prompts, of any lengths, in their order.

    Args:
        task: The model.
        prompts: Texts to continue, each as the beginning of a document.
        sampling: As for ``generate``, which gives the same texts one by one.
        samples: Texts for each prompt.
        batch_size: Texts that are generated at a time.

    Raises:
        InputError: As for ``generate``, or a number below 1.
    """
    check_at_least(1, samples=samples, batch_size=batch_size)
    tokenizer, seed = _tokenizer(task), fresh_seed(sampling)
    wanted = [(prompt, sample) for prompt in prompts for sample in range(samples)]
    for begin in range(0, len(wanted), batch_size):
        batch = wanted[begin : begin + batch_size]
        texts = [_Text(tokenizer, prompt, sample, sampling) for prompt, sample in batch]
        pieces: list[list[str]] = [[] for _ in texts]
        for i, piece in _pieces(task, texts, sampling, seed):
            pieces[i].append(piece)
        yield from (x.completion("".join(parts)) for x, parts in zip(texts, pieces, strict=True))


class _Text:
    """A text under way: it takes tokens, gives what is sure of the text, and knows when it ends."""

    def __init__(self, tokenizer: Tokenizer, prompt: str, sample: int, sampling: Sampling) -> None:
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            remedy = "correct its encoding"
            raise InputError("prompt", "text that UTF-8 can say", ascii(prompt), remedy)
        self.prompt, self.sample = prompt, sample
        self.ids: list[int] = tokenizer.encode(prompt).tolist()
        self.tokens = 0
        self.reason: Reason | None = None
        self._start, self._decode = tokenizer.start, tokenizer.decoder()
        self._stops, self._most = Stops(sampling.stop), sampling.max_new_tokens

    def add(self, tokens: list[int]) -> str:
        """Return the text that tokens complete; those behind the end count for nothing."""
        if min(tokens) < 0:
            remedy = "the model has diverged: use an earlier checkpoint"
            raise InputError("logits", "finite numbers", "infinite ones or NaN", remedy)
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
        """Return what was held back: bytes of an unfinished character, and beginnings of stops."""
        piece, stopped = self._stops(self._decode(self._start))
        self.reason = "stop" if stopped else reason
        return piece + self._stops.rest()


def _pieces(
    task: LanguageTask, texts: list[_Text], sampling: Sampling, seed: int
) -> Iterator[tuple[int, str]]:
    """Yield pieces of texts, each with the number of its text, until all have ended."""
    training = task.training
    task.eval()
    try:
        yield from _write(task, texts, sampling, seed)
    finally:
        task.train(training)


def _write(
    task: LanguageTask, texts: list[_Text], sampling: Sampling, seed: int
) -> Iterator[tuple[int, str]]:
    start = _tokenizer(task).start
    prompts = {x.prompt: x.ids for x in texts}
    logits, state = prefill(task, [[start, *ids] for ids in prompts.values()])
    numbers = {prompt: i for i, prompt in enumerate(prompts)}
    rows = torch.tensor([numbers[x.prompt] for x in texts])
    logits, state = logits[rows], select(state, rows.to(task.device))
    streams = [stream(seed, x.prompt, x.sample) for x in texts]
    sampler = Sampler(sampling, streams, [x.ids for x in texts], logits.shape[1])
    steps, active = stepper(task, sampler, logits, state), list(range(len(texts)))
    while active:
        written = steps.write()
        for i, tokens in zip(active, written, strict=True):
            if piece := texts[i].add(tokens):
                yield i, piece
        staying = [row for row, i in enumerate(active) if texts[i].reason is None]
        if staying and len(staying) < len(active):
            steps.keep(staying)
        active = [active[row] for row in staying]


def _tokenizer(task: LanguageTask) -> Tokenizer:
    if task.tokenizer is None:
        remedy = "pass tokenizer=ByteTokenizer().spec() to LanguageTask"
        raise InputError("tokenizer", "a model that knows its tokenizer", "None", remedy)
    return from_spec(task.tokenizer)
