"""The data module of forecasting: series, split by time, as batches."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from paratime.errors import InputError, check_at_least
from paratime.forecast.data.features import check_ahead
from paratime.forecast.data.labels import amount, shorten
from paratime.forecast.data.series import Collection, channels_with_values, until
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import CovariateScaler, SeriesTensors, to_tensors, with_origins
from paratime.training.base import DataModule
from paratime.training.batches.loading import ResumableLoader
from paratime.training.batches.samplers import EpochSampler, share_of
from paratime.training.batches.sharing import evaluation_loader

SPACING = 32
"""Steps of a long series for each origin drawn from it."""

SHORTEST = 2
"""Fewest steps of a series in training."""

Example = tuple[SeriesTensors, Tensor]


class SeriesData(DataModule):
    """Series, split by time: the last windows are for testing, those before them for validation.

    Training lays whole series end to end and draws origins from each of them, without cutting or
    padding. A split leaves out the series that are too short for it.

    Args:
        source: Where the series come from.
        prediction_length: Steps of a forecast; the data's official horizon by default.
        batch_size: Series a batch.
        origins: Origins drawn from a series at a time; more from long ones.
        validation_windows: Forecasts of each series that are held out for validation.
        test_windows: Likewise for testing, at the end of each series.
        seed: Seed of the order of series and of the origins.
        num_workers: Processes that load batches.
        season: Steps of a season, 1 for none; that of the data, or of its calendar, by default.

    Raises:
        InputError: The series are unreadable or all too short (when the data is set up).
    """

    def __init__(
        self,
        source: Source,
        prediction_length: int | None = None,
        batch_size: int = 32,
        origins: int = 48,
        validation_windows: int = 1,
        test_windows: int = 1,
        seed: int = 0,
        num_workers: int = 0,
        season: int | None = None,
    ) -> None:
        super().__init__()
        given = 1 if season is None else season
        check_at_least(1, batch_size=batch_size, origins=origins, season=given)
        check_at_least(0, validation_windows=validation_windows, test_windows=test_windows)
        self.source, self.batch_size, self.origins = source, batch_size, origins
        self.validation_windows, self.test_windows = validation_windows, test_windows
        self.seed, self.num_workers = seed, num_workers
        self._prediction_length, self.season = prediction_length, season

    @cached_property
    def collection(self) -> Collection:
        """The series, read once a process."""
        read = self.source.read()
        return read if self.season is None else replace(read, season=self.season)

    @property
    def prediction_length(self) -> int:
        """Steps of a forecast."""
        given, official = self._prediction_length, self.collection.prediction_length
        length = official if given is None else given
        if length is None or length < 1:
            hint = "give another" if given is not None else "give it: no horizon is official here"
            raise InputError("prediction_length", "at least 1", str(length), hint)
        return length

    @cached_property
    def spec(self) -> SeriesSpec:
        """What the task must know of the series."""
        data, length = self.collection, self.prediction_length
        standard = CovariateScaler.of(self.training_part(), data.dated)
        return SeriesSpec.describe(data, length, standard, self._held_out)

    @property
    def left_out(self) -> str:
        """A note on the series that training leaves out, and why; empty if it has all."""
        held, entries = self._held_out, self.collection.entries
        cut = [until(e, e["target"].shape[-1] - held) for e in entries]
        short = [e["item_id"] for e in cut if e["target"].shape[-1] < SHORTEST]
        long = [e for e in cut if e["target"].shape[-1] >= SHORTEST]
        empty = [e["item_id"] for e in long if not _has_values(e)]
        limit, where = f"fewer than {held + SHORTEST} steps", "no value"
        if held:
            limit += f", {held:,} of them held out"
            where += f" before the {amount(held, 'step')} held out"
        found = ((short, limit), (empty, where))
        parts = [f"{len(names)} with {why} ({shorten(names)})" for names, why in found if names]
        left = len(entries) - len(short) - len(empty)
        return f"trains on {left} of {len(entries)} series, not on {', '.join(parts)}" * bool(parts)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of whole series with origins, in an order that is f(seed, epoch)."""
        series = TrainingSeries(self._tensors(self.training_part()), self.origins)
        return ResumableLoader(
            series,
            batch_size=self.batch_size,
            sampler=share_of(
                ShuffledSeries(len(series), self.seed), self.batch_size, "series", self.trainer
            ),
            collate_fn=self._collate,
            num_workers=self.num_workers,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation windows."""
        return self._windows(self.validation_windows, self.test_windows)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test windows."""
        return self._windows(self.test_windows, 0)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the ends of all series: the data does not hold what follows."""
        check_ahead(self.collection.entries, self.prediction_length)
        empty = [e["item_id"] for e in self.collection.entries if not e["target"].size]
        if empty:
            text = f"{len(empty)} series without history are left out ({shorten(empty)})"
            warnings.warn(f"{text}; paratime forecast predict forecasts them", stacklevel=2)
        series = self._prepared(0)
        return self._loader([(x, torch.tensor([len(x.target) - 1])) for x in series])

    def _windows(self, windows: int, after: int) -> DataLoader[Any]:
        series = self._prepared(after * self.prediction_length)
        examples = last_windows(series, self.prediction_length, windows)
        if windows and not examples:
            steps = f"one of more than {amount(self.prediction_length, 'step')}"
            raise InputError("series", steps, "none", "give longer series")
        return self._loader(examples)

    def _loader(self, examples: list[Example]) -> DataLoader[Any]:
        return evaluation_loader(
            Windows(examples),
            range(len(examples)),
            without_targets,
            self.trainer,
            batch_size=self.batch_size,
            collate_fn=self._collate,
            num_workers=self.num_workers,
        )

    def _collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        series, origins = zip(*examples, strict=True)
        return with_origins(series, origins, self.prediction_length)

    def _prepared(self, held_out: int) -> list[SeriesTensors]:
        return self._tensors(self._cut(held_out))

    def _tensors(self, entries: list[dict[str, Any]]) -> list[SeriesTensors]:
        standard, length = self.spec.standard, self.prediction_length
        return [to_tensors(x, standard, length) for x in entries]

    @property
    def _held_out(self) -> int:
        return self.prediction_length * (self.validation_windows + self.test_windows)

    def training_part(self) -> list[dict[str, Any]]:
        """Return the series of the training, checked to have values in every channel."""
        self._check_values(self.collection.entries, "")
        cut, held = self._cut(self._held_out), self._held_out
        self._check_values(cut, f" before the {amount(held, 'step')} held out" * bool(held))
        return [entry for entry in cut if _has_values(entry)]

    def _check_values(self, entries: list[dict[str, Any]], where: str) -> None:
        """Refuse a channel without any value."""
        names = self.collection.channel_names
        for name, some in zip(names, channels_with_values(entries), strict=True):
            if not some:
                label = f"target, channel {name!r}" if len(names) > 1 else "target"
                raise InputError(
                    label,
                    expected="values",
                    got=f"none in {len(entries)} series{where}",
                    remedy="check its column",
                )

    def _cut(self, held_out: int) -> list[dict[str, Any]]:
        """Return the longer series, without their last steps."""
        cut = [until(e, e["target"].shape[-1] - held_out) for e in self.collection.entries]
        known = [entry for entry in cut if entry["target"].size]
        if not known:
            raise InputError(
                "series",
                f"more than {amount(held_out, 'step')}",
                "none",
                "give longer ones, or hold out fewer",
            )
        return known


def without_targets(example: Example) -> Example:
    """Return an example that has nothing to forecast: its only origin is its last step."""
    series, _ = example
    return series, torch.tensor([len(series.target) - 1])


def last_windows(
    series: Sequence[SeriesTensors], prediction_length: int, windows: int
) -> list[Example]:
    """Return the series longer than a window, with the origins of their last windows."""
    back = prediction_length * torch.arange(windows, 0, -1)
    last = [(x, len(x.target) - 1 - back) for x in series]
    return [(x, origins[origins >= 0]) for x, origins in last if (origins >= 0).any()]


class Windows(Dataset[Example]):
    """Series with given origins, indexed by number."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]

    def item_id(self, index: int) -> str:
        """Return the name of a series."""
        return self._examples[index][0].item_id


class TrainingSeries(Dataset[Example]):
    """Series with random origins, indexed by (series, seed).

    Args:
        series: The series; those of fewer than ``SHORTEST`` steps are left out.
        origins: Origins of a series, or one in ``SPACING`` steps if that is more.
    """

    def __init__(self, series: Sequence[SeriesTensors], origins: int) -> None:
        self._series = [x for x in series if len(x.target) >= SHORTEST]
        self._origins = origins
        if not self._series:
            raise InputError("series", "some of at least 2 steps", "none", "give longer series")

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, index: tuple[int, int]) -> Example:
        series, seed = self._series[index[0]], index[1]
        steps = len(series.target)
        generator = torch.Generator().manual_seed(seed)
        return series, torch.randperm(steps - 1, generator=generator)[: self._count(steps)]

    def describe(self, index: tuple[int, int]) -> str:
        """Return the name of a series."""
        return f"series {self._series[index[0]].item_id!r}"

    def largest(self, batch_size: int) -> tuple[int, int]:
        """Return the steps and the origins of the largest batch."""
        longest = sorted((len(x.target) for x in self._series), reverse=True)[:batch_size]
        return sum(longest), sum(map(self._count, longest))

    def _count(self, steps: int) -> int:
        return min(steps - 1, max(self._origins, (steps - 1) // SPACING))


class ShuffledSeries(EpochSampler):
    """Each series once an epoch, with a seed for its origins; all is f(seed, epoch)."""

    def __iter__(self) -> Iterator[Any]:
        random, count = self.random(), len(self)
        seeds = random.integers(2**63, size=count)
        for index in random.permutation(count):
            yield int(index), int(seeds[index])


def _has_values(entry: dict[str, Any]) -> bool:
    return not np.isnan(entry["target"]).all()
