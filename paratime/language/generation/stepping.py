"""Generation token by token, after the prompts were read in parallel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paratime.language.generation.sampling import DRAWS_AHEAD, Sampler
from paratime.language.model.network import LanguageNetwork
from paratime.layers.capture import capture
from paratime.layers.state import leaves, select
from paratime.ops.program import CaptureError, Program

PREFILL = 4096
"""Tokens of prompts that are read in one pass, so that memory does not grow with their lengths."""

LARGEST = 2**28
"""Most parameters of a model that is stepped by a program, which holds a copy of its weights."""

SMALL = 2**22
"""Most parameters of a model that writes ``TURNS`` tokens per call; a larger one writes one."""

TURNS = 16
"""Between calls, the weights have displaced Python's data from the caches, so that its part takes
several times as long; a few tokens per call amortise that."""


class Stepper(ABC):
    """Sequences of a batch, each with its state and the logits of its next token."""

    @abstractmethod
    def write(self) -> list[list[int]]:
        """Return the next tokens of each sequence, one or more, equally many for all.

        A token is -1 where logits are infinite or NaN.
        """

    @abstractmethod
    def keep(self, rows: Sequence[int]) -> None:
        """Continue with some of the sequences."""


@torch.inference_mode()
def prefill(task: LanguageNetwork, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Any]:
    """Read prompts in parallel over time, many steps at a time.

    Args:
        task: The model.
        prompts: The tokens of each sequence, at least one.

    Returns:
        Logits of the next tokens (B, V), and the state after each prompt.
    """
    lengths = torch.tensor([len(ids) for ids in prompts])
    longest = int(lengths.max())
    padded = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, ids in enumerate(prompts):
        padded[row, : len(ids)] = torch.tensor(ids)
    state, last = None, torch.empty(len(prompts), task.encoder.width)
    size = max(1, PREFILL // len(prompts))
    for begin in range(0, longest, size):
        now = padded[:, begin : begin + size]
        left = (lengths - begin).clamp(0, now.shape[1])
        ragged = None if bool((left == now.shape[1]).all()) else left.to(task.device)
        y, state = task.encoder(task.embedding(now.to(task.device)), state, lengths=ragged)
        ends = ((lengths > begin) & (lengths <= begin + size)).nonzero().squeeze(-1)
        last = last.to(y)
        last[ends] = y[ends, left[ends] - 1]
    return task.head(last).cpu(), state


def stepper(task: LanguageNetwork, sampler: Sampler, *, logits: Tensor, state: Any) -> Stepper:
    """Return the fastest stepper that continues from logits (B, V) and states of prompts."""
    try:
        return NativeStepper(task, sampler, logits=logits, state=state)
    except CaptureError:
        return TorchStepper(task, sampler, logits=logits, state=state)


class TorchStepper(Stepper):
    """Steps in torch."""

    def __init__(
        self, task: LanguageNetwork, sampler: Sampler, *, logits: Tensor, state: Any
    ) -> None:
        self._task, self._sampler, self._logits, self._state = task, sampler, logits, state
        self._tokens: Tensor | None = None

    @torch.inference_mode()
    def write(self) -> list[list[int]]:
        """Return one token of each sequence."""
        if self._tokens is not None:
            tokens = self._tokens.to(self._task.device)
            self._logits, self._state = self._task.step(tokens, self._state)
        self._tokens = self._sampler(self._logits.cpu())
        return self._tokens.unsqueeze(1).tolist()

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Select the states of some sequences."""
        self._sampler.keep(rows)
        assert self._tokens is not None
        self._tokens = self._tokens[list(rows)]
        self._state = select(self._state, torch.tensor(rows, device=self._task.device))


class NativeStepper(Stepper):
    """Steps of a small model on a CPU, several in one call of native code.

    Raises:
        CaptureError: The model has no program, is large, or is not on a CPU.
    """

    @torch.inference_mode()
    def __init__(
        self, task: LanguageNetwork, sampler: Sampler, *, logits: Tensor, state: Any
    ) -> None:
        table = task.embedding.weight
        size = sum(p.numel() for p in task.parameters())
        elsewhere = table.device.type != "cpu" or torch.is_autocast_enabled("cpu")
        if elsewhere or size > LARGEST:
            raise CaptureError("not a small model on a CPU")
        self._program = Program(len(logits), table.dtype)
        self._sampler, self._logits = sampler, sampler.without_never(logits).clone()
        self._turn, self._turns = 0, TURNS if size <= SMALL else 1
        self._uniform = torch.zeros(len(logits), DRAWS_AHEAD, dtype=torch.float64)
        self._history = torch.zeros(len(logits), DRAWS_AHEAD, dtype=torch.long)
        tokens = torch.zeros(len(logits), dtype=torch.long)
        drawing = self._draw(tokens)
        y, buffers = capture(task.encoder, self._program, self._program.embed(tokens, table))
        head: Tensor = task.head.weight
        bias: Tensor | None = task.head.bias
        if sampler.never is not None:
            bias = head.new_zeros(len(head)) if bias is None else bias
            bias = sampler.without_never(bias)
        self._program.linear(y, head, bias, out=self._logits)
        for buffer, value in zip(leaves(buffers), leaves(state), strict=True):
            buffer.copy_(value)
        self._carried = [*leaves(buffers), *drawing, self._logits, self._uniform]

    def _draw(self, tokens: Tensor) -> list[Tensor]:
        """Record how tokens are drawn; return the tensors that drawing updates."""
        how, occurred = self._sampler.sampling, self._sampler.occurred
        counts, window = (None, None) if occurred is None else (occurred.counts, occurred.window)
        top_p, min_p = 1.0 if how.top_p is None else how.top_p, how.min_p or 0.0
        self._program.draw(
            self._logits,
            self._uniform,
            tokens,
            self._history,
            counts,
            window,
            top_k=how.top_k or self._logits.shape[1],
            numbers=(how.repetition_penalty, how.temperature, top_p, min_p),
        )
        return [x for x in (counts, window) if x is not None]

    @torch.inference_mode()
    def write(self) -> list[list[int]]:
        """Return a few tokens of each sequence."""
        begin, rows = self._turn % DRAWS_AHEAD, self._program.rows
        if begin == 0:
            self._uniform[:rows] = self._sampler.uniform()
        self._program.run(self._turn, self._turn + self._turns)
        self._turn += self._turns
        return self._history[:rows, begin : begin + self._turns].tolist()

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Move the states of some sequences to the front of the buffers."""
        self._sampler.keep(rows)
        for buffer in self._carried:
            buffer[: len(rows)] = buffer[list(rows)]
        self._program.rows = len(rows)
