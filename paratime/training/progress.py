"""The progress bar of training, and what is trained on."""

import sys
from time import monotonic
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

SECONDS = 1.0
"""Longest time between updates, if steps end."""

MINUTE = 60.0
"""Time between lines where a bar would fill a log."""


class DataSummary(Callback):
    """Prints the size of each split when training starts, where the data module knows it."""

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Print it, in one of the processes."""
        data: Any = getattr(trainer, "datamodule", None)
        summary = getattr(data, "summary", None)
        text = summary(trainer.num_training_batches) if summary is not None else ""
        if text and trainer.is_global_zero:
            print(text)


class TrainingProgress(TQDMProgressBar):
    """Lightning's bar with short names and readable values, for terminals of 80 columns.

    A run with ``max_steps`` has one bar, a run of epochs one for each. Where the output is no
    terminal, a line a minute and one at the end stand for it.

    Args:
        refresh_rate: Batches between updates; fewer where they are slow.
        label: What the bar says in front.
    """

    BAR_FORMAT = "{desc} |{bar:8}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"

    def __init__(self, refresh_rate: int = 10, label: str = "Training") -> None:
        super().__init__(refresh_rate=refresh_rate)
        self._label = label
        self._updated = 0.0
        self._lines = not in_terminal()

    @property
    def train_description(self) -> str:
        """The text in front."""
        return self._label

    @property
    def is_enabled(self) -> bool:
        """Whether bars are drawn."""
        return super().is_enabled and not self._lines

    def on_train_start(self, trainer: Trainer, *arguments: Any) -> None:
        """Begin the bar of the run, which may resume within an epoch."""
        super().on_train_start(trainer, *arguments)
        self._updated = monotonic()
        if trainer.max_steps > 0:
            self.train_progress_bar.reset(trainer.max_steps)
            self.train_progress_bar.initial = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, *arguments: Any) -> None:
        """Begin the bar of an epoch."""
        if trainer.max_steps < 1:
            super().on_train_epoch_start(trainer, *arguments)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        bar = self.train_progress_bar
        if self._lines and monotonic() - self._updated >= MINUTE:
            self._print_line(trainer, pl_module)
        if trainer.max_steps < 1:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        elif self._should_update(trainer.global_step, bar.total):
            bar.n = trainer.global_step
            bar.set_postfix(self.get_metrics(trainer, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar."""
        super().on_train_end(trainer, pl_module)
        if self._lines:
            self._print_line(trainer, pl_module)

    def _print_line(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._updated = monotonic()
        if trainer.is_global_zero and super().is_enabled:
            steps = f"{trainer.global_step:,} steps"
            metrics = self.get_metrics(trainer, pl_module)
            print(", ".join([steps, *(f"{k} {v}" for k, v in metrics.items())]), flush=True)

    def _should_update(self, current: int, total: int) -> bool:
        due = self.is_enabled and monotonic() - self._updated >= SECONDS
        if not due and not super()._should_update(current, total):
            return False
        self._updated = monotonic()
        return True

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the figures to show, readable: ``train/`` dropped, rates in whole numbers."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {_short(name): _readable(name, value) for name, value in metrics.items()}


def in_terminal() -> bool:
    """Return whether somebody looks at the output while it is written."""
    return sys.stdout.isatty()


def _short(name: str) -> str:
    return name.removeprefix("train/").replace("_per_", "/").replace("tokens", "tok")


def _readable(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:,.0f}" if name.endswith("_per_s") else readable(value, 2)


def readable(value: float, decimals: int) -> str:
    """Return a value with some decimals, or with as many digits where those would be zero."""
    small = 0 < abs(value) < 10 ** (1 - decimals)
    return f"{value:.{decimals}g}" if small else f"{value:.{decimals}f}"
