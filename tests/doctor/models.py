"""Small models made sick on purpose."""

import math
from collections.abc import Callable
from typing import Any

import torch
from language.models import BYTES
from torch import Tensor, nn

from paratime import Encoder
from paratime.cells.base import Cell
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.layers.recurrent import Recurrent
from paratime.training.optimizer import recurrent_weights


class Linear(Cell):
    """h' = A h + u: slopes are A, and the exponent is the log of its spectral radius."""

    def __init__(self, weight: Tensor) -> None:
        block = weight.dim() == 3
        size = weight.shape[-1] * (weight.shape[0] if block else 1)
        super().__init__(size, (weight.shape[0], weight.shape[-1]) if block else None)
        self.input_size = size
        self.weight_hh = nn.Parameter(weight)

    def drive(self, x: Tensor) -> Tensor:
        return x

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        if self.weight_hh.dim() == 1:
            return self.weight_hh * h + u
        return torch.einsum("ijd,...jd->...id", self.weight_hh, h) + u.view_as(h)


def explode(task: nn.Module) -> None:
    for weight in recurrent_weights(task):
        weight.data.normal_().mul_(12)


def saturate(task: nn.Module) -> None:
    for layer in _layers(task):
        layer.cell.projection.bias.data.fill_(30.0)


def kill(task: nn.Module) -> None:
    """Give three channels of the first layer no input and no recurrence."""
    cell = _layers(task)[0].cell
    weight = cell.projection.weight.data
    assert weight.shape[-2] == cell.hidden_size or weight.shape[-1] == cell.hidden_size
    axis = -2 if weight.shape[-2] == cell.hidden_size else -1
    weight.narrow(axis, 0, 3).zero_()
    cell.projection.bias.data[..., :3] = 0
    cell.weight_hh.data[..., :3] = 0


def spoil(task: nn.Module) -> None:
    _layers(task)[1].cell.weight_hh.data.view(-1)[:2] = torch.tensor([math.nan, math.inf])


SICK: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "exploding": (explode, "chaotic, differences grow"),
    "saturated": (saturate, "of gate values are saturated"),
    "dead": (kill, "3 of 16 channels are dead"),
    "nan": (spoil, "2 weights are infinite or NaN"),
}


def _layers(task: nn.Module) -> list[Any]:
    return [x for x in task.modules() if isinstance(x, Recurrent)]


def language(mixer: Any, width: int = 16) -> LanguageTask:
    torch.manual_seed(0)
    spec = TokenSpec(BYTES.vocab_size, BYTES.spec())
    return LanguageTask(Encoder(width, 2, mixer, mlp_size=16), spec).eval()


def batch_of(task: LanguageTask) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(256, (4, 65), generator=generator)
    reset = torch.zeros(4, 64, dtype=torch.bool)
    reset[1, 20] = True
    inputs = {"inputs": ids[:, :-1], "targets": ids[:, 1:], "reset": reset}
    return inputs | {"num_bytes": torch.full((4,), 64)}
