"""What is particular to a kind of data: how a trained model of it is measured, and shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from lightning.pytorch.cli import LightningCLI

from paratime.training.base import Task

Build = Callable[[list[str]], LightningCLI]
"""Builds trainer, task and data from the options of ``paratime fit``; the command line's own."""

Found = tuple[dict[str, float], list[dict[str, Any]]]
"""Metrics by name, lower is better, the headline first; and pictures as plain data."""


class Kind(ABC):
    """A kind of data.

    Attributes:
        task: The task that its configs have.
        headline: Name of its first metric.
        unit: What its throughput counts.
        what: One sentence on the metrics.
    """

    task: type[Task]
    headline: str
    unit: str
    what: str

    @abstractmethod
    def read(self, task: Any, batch: Any) -> None:
        """Run the task's network over a training batch."""

    @abstractmethod
    def evaluate(self, trained: LightningCLI) -> Found:
        """Measure a trained model on the test data, and show what it does there."""
