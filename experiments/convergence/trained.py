"""Every cell inside a trained model: at initialisation, in the middle, and at the end.

An encoder of one block and 32 channels is trained by Lightning on the data of three configs:
``configs/language/quickstart.yaml``, ``configs/forecast/quickstart.yaml`` and
``configs/world/pendulum_dynamics.yaml``. The cells have their own initialisation and are solved by
``Newton()``. What is measured are the solves of the training batches, anew in float64.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from solves import Problem, count, default, slopes
from zoo import ZOO

from paratime import Encoder, Newton, Recurrent
from paratime.forecast import Competition, ForecastTask, SeriesData
from paratime.language import LanguageTask, Quickstart, TokenData
from paratime.training import AdamW, DataModule, Task, quieten
from paratime.world import DynamicsTask, Gym, TrajectoryData

WIDTH, STEPS, ROWS = 32, 100, 4
WATCHED = (0, STEPS // 2, STEPS - 1)
Row = dict[str, object]


@dataclass(frozen=True)
class Domain:
    """A kind of data, with the task that is trained on it."""

    data: Callable[[], DataModule]
    task: Callable[..., Task]
    optimizer: AdamW


DOMAINS = {
    "tokens": Domain(
        lambda: TokenData(Quickstart(), context_length=256, batch_size=8),
        LanguageTask,
        AdamW(lr=4e-3),
    ),
    "series": Domain(
        lambda: SeriesData(Competition("M3", "monthly"), batch_size=8),
        ForecastTask,
        AdamW(lr=3e-3, weight_decay=1.0),
    ),
    "trajectories": Domain(
        lambda: TrajectoryData(Gym("Pendulum-v1"), sequence_length=256, batch_size=8),
        DynamicsTask,
        AdamW(lr=3e-3, weight_decay=0.01),
    ),
}


@cache
def data_of(domain: str) -> DataModule:
    """Return the data of a domain, read once."""
    data = DOMAINS[domain].data()
    data.prepare_data()
    data.setup("fit")
    return data


class Watch(Callback):
    """Measures a layer's solves on the batches of some steps, before the weights change.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: Recurrent) -> None:
        self.layer, self.rows = layer, list[Row]()
        layer.register_forward_pre_hook(self._keep, with_kwargs=True)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Measure, if it is time."""
        if trainer.global_step in WATCHED:
            loss = float(trainer.callback_metrics["train/loss"])
            self.rows.append({"step": trainer.global_step, "loss": loss} | self._measure())

    def _keep(self, layer: Recurrent, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.x, self.reset = args[0].detach(), options.get("reset")

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        cell = copy.deepcopy(self.layer.cell).double()
        reset = None if self.reset is None else self.reset[:ROWS]
        p = Problem.of(cell, cell.drive(self.x[:ROWS].double()), reset)
        solution = self.layer.solution
        assert solution is not None
        return {
            "steps": p.u.shape[1],
            "iterations_1": count(p, 1)["iterations"],
            **count(p, p.default_chunk),
            **default(p),
            "float32_iterations": solution.iterations,
            "float32_loop_share": solution.loop_share,
            **slopes(p),
        }


def train(domain: str, name: str) -> Iterator[Row]:
    """Train a cell in a domain; yield a row for each of ``WATCHED``."""
    quieten()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    seed_everything(0, verbose=False)
    of, data = DOMAINS[domain], data_of(domain)

    def mixer(width: int) -> Recurrent:
        return Recurrent(ZOO[name].kind(width, width), Newton())

    task = of.task(Encoder(WIDTH, 1, mixer, mlp_size=64), spec=data.spec, optimizer=of.optimizer)
    watch = Watch(next(m for m in task.modules() if isinstance(m, Recurrent)))
    Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        gradient_clip_val=1.0,
        limit_val_batches=0,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(task, data)
    for row in watch.rows:
        yield {"cell": name, "domain": domain} | row


TRAININGS = {domain: (partial(train, domain), [(name,) for name in ZOO]) for domain in DOMAINS}
"""By name: what yields rows, and for which arguments."""
