"""The progress bar of training."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class TrainingProgress(TQDMProgressBar):
    """Lightning's bar with short names and readable numbers, for terminals of 80 columns.

    Args:
        refresh_rate: Batches between updates.
    """

    BAR_FORMAT = "{desc} |{bar:8}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the figures to show: ``train/`` dropped, rates in whole numbers."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {_short(name): _readable(name, value) for name, value in metrics.items()}


def _short(name: str) -> str:
    return name.removeprefix("train/").replace("_per_", "/").replace("tokens", "tok")


def _readable(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:,.0f}" if name.endswith("_per_s") else f"{value:.2f}"
