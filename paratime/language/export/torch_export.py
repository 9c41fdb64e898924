"""A model's step as a program of ``torch.export``, which runs without the model's code.

The program ``step.pt2`` maps ids (B,) and a state to logits (B, vocab_size) and the next state, for
any B. ``state.pt`` holds the state of one sequence before its first token.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_map

from paratime.errors import InputError, describe_error
from paratime.io.saved.archives import read_archive
from paratime.io.saved.writing import save
from paratime.language.export.program import StepProgram
from paratime.language.model.task import LanguageTask
from paratime.layers.mixer import State
from paratime.layers.state import leaves, select, unflatten

PROGRAM, STATE = "step.pt2", "state.pt"


class ExportedStep:
    """A program that was loaded: ``LanguageTask.step`` without a task.

    Args:
        program: Maps ids (B,) and the tensors of a state to logits and those of the next state.
        initial: The state of one sequence before its first token.
    """

    def __init__(self, program: StepProgram, initial: State) -> None:
        self._program, self._initial = program, initial

    def step(self, token: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map ids (B,) to logits (B, vocab_size) of the next ids and the new state."""
        if state is None:
            state = select(self._initial, token.new_zeros(token.shape[0]))
        with torch.no_grad():
            logits, *parts = self._program([token, *leaves(state)])
        return logits, unflatten(parts, self._initial)


def export_step(task: LanguageTask, folder: Path) -> None:
    """Write the program of a model's step, and the initial state, into an existing folder.

    Raises:
        InputError: ``torch.export`` cannot trace the model's code.
    """
    task = task.eval()
    with torch.inference_mode(False), torch.no_grad():
        token = torch.zeros(2, 1, dtype=torch.long, device=task.device)
        initial = task(token, lengths=token[:, 0])[1]
        state = task.step(token[:, 0], initial)[1]
        shapes = tree_map(_any_size, (token[:, 0], state))
        try:
            with warnings.catch_warnings(action="ignore"):  # by torch, of the weights of its RNNs
                program = torch.export.export(
                    _Step(task), (token[:, 0], state), dynamic_shapes=shapes
                )
        except Exception as error:  # torch has no common class for what it cannot trace
            raise InputError(
                "step", "code that torch.export follows", describe_error(error), "leave --step out"
            ) from error
    with (folder / PROGRAM).open("wb", buffering=0) as file:
        torch.export.save(program, file)
    save(select(initial, token[:1, 0]), folder / STATE)


def load_step(folder: str | Path) -> ExportedStep:
    """Load the program that ``paratime language export --step true`` wrote into a folder.

    Raises:
        InputError: The folder has none, or files that are damaged or would run other code.
    """
    folder = Path(folder)
    for name in (PROGRAM, STATE):
        if not (folder / name).is_file():
            raise InputError(
                str(folder / name), "a file", "none", "export the model with --step true"
            )
    return ExportedStep(StepProgram(folder / PROGRAM), read_archive(folder / STATE))


def _any_size(x: Tensor) -> dict[int, Any]:
    """Let every axis vary that the code does not fix; a cache grows along its second axis."""
    return {axis: Dim.AUTO for axis, size in enumerate(x.shape) if size > 1}


class _Step(nn.Module):
    """A module whose forward is the step, as ``torch.export`` requires."""

    def __init__(self, task: LanguageTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.task.step(token, state)
