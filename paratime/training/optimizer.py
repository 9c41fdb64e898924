"""AdamW with its schedule, as typed options, and its groups of parameters."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from paratime.cells.base import Cell
from paratime.cells.projection import Projection
from paratime.errors import InputError

ENDLESS = 1000
"""Steps whose share ``warmup`` is, in a run without an end."""

RECURRENT = ("weight_hh", "peephole")
"""Names of the parameters of a cell that multiply its state."""

LARGEST = 1e30
"""Largest rate: torch computes with ten times as much in single precision."""


class Decay(ABC):
    """How the learning rate falls after the warm-up."""

    @abstractmethod
    def share(self, progress: float) -> float:
        """Return the remaining share of the fall, from 1 at progress 0 to 0 at progress 1."""


@dataclass(frozen=True)
class Cosine(Decay):
    """Half a cosine (arXiv 1608.03983)."""

    def share(self, progress: float) -> float:
        """Return (1 + cos(pi progress)) / 2."""
        return (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class StableDecay(Decay):
    """The peak rate, then a fall as 1 - sqrt in the last steps (arXiv 2404.06395, 2405.18392).

    A longer run may continue from a checkpoint before the fall, since the rate there does not
    depend on the number of steps.

    Args:
        cooldown: Share of the steps after the warm-up in which the rate falls.

    Raises:
        InputError: A share that is not above 0 and at most 1.
    """

    cooldown: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.cooldown <= 1:
            raise InputError(
                "cooldown",
                expected="above 0, at most 1",
                got=str(self.cooldown),
                remedy="correct it",
            )

    def share(self, progress: float) -> float:
        """Return 1 before the fall, and 1 - sqrt of its progress in it."""
        return 1 - math.sqrt(max(0.0, 1 - (1 - progress) / self.cooldown))


@dataclass(frozen=True)
class AdamW:
    """AdamW with a linear warm-up and a decay, over the steps or the time of the run.

    Args:
        lr: Peak learning rate.
        weight_decay: Decay of matrices that multiply inputs; recurrent weights, embeddings,
            norms, scales and biases are never decayed.
        betas: Decay rates of the moments.
        warmup: Share of the run over which the rate rises from 0; of ``ENDLESS`` steps if the run
            has no end, and the rate then stays at its peak.
        final: Rate at the end, as a share of the peak.
        decay: How the rate falls from its peak to ``final``.
        max_recurrent: Bound that recurrent weights are clamped to after each step; ParaRNN uses
            0.5 for language models. None for no bound.

    Raises:
        InputError: A rate that no step can have, or a bound that is not positive.
    """

    lr: float = 3e-4
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: float = 0.1
    final: float = 0.0
    decay: Decay = Cosine()
    max_recurrent: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.lr * max(1.0, self.weight_decay) <= LARGEST:
            raise InputError(
                "lr",
                expected=f"0 to {LARGEST:g}, also as a product with weight_decay",
                got=str(self.lr),
                remedy="the default is a good start",
            )
        if self.max_recurrent is not None and not self.max_recurrent > 0:
            raise InputError(
                "max_recurrent",
                expected="above 0",
                got=str(self.max_recurrent),
                remedy="leave it out for no bound",
            )

    def rate(self, step: int, total: float, passed: float = 0.0) -> float:
        """Return the learning rate of a step as a share of the peak.

        Args:
            step: The step, from 0.
            total: Steps of the run, ``math.inf`` if only its time is limited, or nothing.
            passed: Share of the time of the run that has passed; 0 if it is not limited.
        """
        if passed > step / total:
            rising = passed / self.warmup if self.warmup else 1.0
            return rising if rising < 1 else self._fallen(passed - self.warmup, 1 - self.warmup)
        warmup = max(1, round(self.warmup * (ENDLESS if total == math.inf else total)))
        if step < warmup:
            return (step + 1) / warmup
        return 1.0 if total == math.inf else self._fallen(step - warmup, max(1, total - warmup))

    def _fallen(self, since: float, span: float) -> float:
        progress = min(1.0, since / span) if span > 0 else 1.0
        return self.final + (1 - self.final) * self.decay.share(progress)

    def describe(self, total: float, seconds: float | None) -> str:
        """Return a line on a schedule that does not follow the steps alone, else nothing.

        Args:
            total: Steps of the run, ``math.inf`` if they are not limited.
            seconds: Its time, None if it is not limited.
        """
        if seconds is not None:
            time, first = timedelta(seconds=seconds), ""
            if total < math.inf:
                first = f", or its {total:,.0f} steps if they end first"
            return f"the learning rate follows the time of the run, {time}{first}"
        if total == math.inf:
            steps = max(1, round(self.warmup * ENDLESS))
            return (
                f"the run has no end: the learning rate rises for {steps} steps and stays; "
                "for a decay, limit max_steps, max_epochs or max_time"
            )
        return ""

    def options(self) -> dict[str, Any]:
        """Return all options as plain values, as a config gives them."""
        decay = {"class_path": type(self.decay).__name__, "init_args": dict(vars(self.decay))}
        return vars(self) | {"betas": [*self.betas], "decay": decay}

    def build(self, module: nn.Module, groups: list[dict[str, Any]]) -> torch.optim.AdamW:
        """Return torch's optimiser of a module's parameters, in their groups."""
        optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=self.betas)
        if (bound := self.max_recurrent) is not None:
            weights = recurrent_weights(module)
            optimizer.register_step_post_hook(lambda *_: clip_(weights, bound))
        return optimizer


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into input matrices, which are decayed, and all others, which are not.

    A matrix that an embedding shares counts as an embedding.
    """
    matrices = {id(m.weight) for m in module.modules() if isinstance(m, nn.Linear | Projection)}
    matrices -= {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]


def recurrent_weights(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all cells that multiply their states."""
    cells = [m for m in module.modules() if isinstance(m, Cell)]
    return [p for m in cells for name, p in m.named_parameters(recurse=False) if name in RECURRENT]


@torch.no_grad()
def clip_(weights: list[nn.Parameter], bound: float) -> None:
    """Clamp weights to [-bound, bound]."""
    for weight in weights:
        weight.clamp_(-bound, bound)
