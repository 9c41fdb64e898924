"""A model's step as a program of ``torch.export``, which runs without the model's code.

The program is ``step.pt2``: ids (B,) and a state to logits (B, vocab_size) and the next state, for
any B. The state before the first token, of one sequence, is ``state.pt``.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_map

from paratime.errors import InputError, one_line
from paratime.language.generation.states import select
from paratime.language.model.task import LanguageTask
from paratime.layers.mixer import State

PROGRAM, STATE = "step.pt2", "state.pt"


class ExportedStep:
    """A program that was loaded: ``LanguageTask.step`` without a task.

    Args:
        program: Of ids (B,) and a state.
        initial: The state before the first token, of one sequence.
    """

    def __init__(self, program: Callable[..., tuple[Tensor, State]], initial: State) -> None:
        self._program, self._initial = program, initial

    def step(self, token: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map ids (B,) to logits (B, vocab_size) of the next ids, and the state."""
        if state is None:
            state = select(self._initial, token.new_zeros(token.shape[0]))
        return self._program(token, state)


def export_step(task: LanguageTask, folder: Path) -> None:
    """Write the program of a model's step, and the initial state, into a folder that is there.

    Raises:
        InputError: The model's code is nothing that ``torch.export`` can follow.
    """
    task = task.eval()
    with torch.inference_mode(False), torch.no_grad():
        token = torch.zeros(2, 1, dtype=torch.long, device=task.device)
        initial = task(token, lengths=token[:, 0])[1]
        state = task.step(token[:, 0], initial)[1]
        shapes = tree_map(_any_size, (token[:, 0], state))
        try:
            with warnings.catch_warnings(action="ignore"):  # torch's, of its own RNNs' weights
                program = torch.export.export(
                    _Step(task), (token[:, 0], state), dynamic_shapes=shapes
                )
        except Exception as error:  # torch names no common class for what it cannot follow
            got, remedy = f"{type(error).__name__}: {one_line(error)[:200]}", "leave --step out"
            raise InputError("step", "code that torch.export follows", got, remedy) from error
    torch.export.save(program, folder / PROGRAM)
    torch.save(select(initial, token[:1, 0]), folder / STATE)


def load_step(folder: str | Path) -> ExportedStep:
    """Return the program of a folder that ``paratime language export --step true`` wrote.

    Raises:
        InputError: There is none.
    """
    folder = Path(folder)
    for name in (PROGRAM, STATE):
        if not (folder / name).is_file():
            remedy = "export the model with --step true"
            raise InputError(str(folder / name), "a file", "none", remedy)
    program = torch.export.load(folder / PROGRAM).module()
    return ExportedStep(program, torch.load(folder / STATE, weights_only=True))


def _any_size(x: Tensor) -> dict[int, Any]:
    """Let any axis vary that the code does not fix; a cache grows by its second one."""
    return {axis: Dim.AUTO for axis, size in enumerate(x.shape) if size > 1}


class _Step(nn.Module):
    """A module whose forward is the step, as ``torch.export`` asks for."""

    def __init__(self, task: LanguageTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.task.step(token, state)
