"""Forecasts of series that go on: a new observation costs the same however long they are.

The network reads, with the value of a step, the covariates that are known of the *next* one. So the
last observation of a series is pending until the covariates of the step behind it are there, and
only then becomes part of the series' state: at the next update for good, and in a forecast, whose
future begins with them, on a copy. What is streamed equals what one pass over the history gives.
"""

import copy
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import QuantileForecast
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.data.features import matched
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.windows import Floats, prepare
from paratime.forecast.inference.forecast_type import REPORTED, AsQuantiles
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.clock import Clock
from paratime.forecast.streaming.reader import EMPTY, Covariates, Observation, Reader
from paratime.forecast.streaming.states import States
from paratime.forecast.streaming.stored import fingerprint, load, store


class Forecaster:
    """Series that go on step by step, and their forecasts by a trained model.

    It works with a copy of the model as it is now, on its device. A series begins with ``add``,
    whose history is read in one pass; with ``start``, for what is constant in it; or with its first
    ``update``, where the model needs no constant numbers (its labels count as never seen then).

    Args:
        task: The trained task: ``task`` of a predictor.

    Raises:
        InputError: It is none.
    """

    def __init__(self, task: ForecastTask) -> None:
        if not isinstance(task, ForecastTask):
            got = type(task).__name__
            raise InputError("task", "a ForecastTask", got, "pass the predictor's task")
        self._network = copy.deepcopy(task.network).eval().requires_grad_(False)
        self._facts = task.series
        self._clock, self._reader = Clock(task.series["freq"]), Reader.of(task.series)
        self._states = States(self._network)
        self._rows: dict[str, int] = {}
        self._last: list[int | None] = []
        self.late: Counter[str] = Counter()
        """How many observations of each series came too late, or twice, and were ignored."""

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows

    def start(
        self,
        item_id: str,
        static_real: Sequence[float] | None = None,
        static_cat: Sequence[str] | None = None,
    ) -> None:
        """Begin a series without observations.

        Args:
            item_id: Its name.
            static_real: Its numbers, in the user's units.
            static_cat: Its categories; those that training has not seen are all alike.

        Raises:
            InputError: It is there already, or the numbers are not those of the model.
        """
        item_id = str(item_id)
        self._check_new(item_id)
        where = f"series {item_id!r}"
        self._begin(item_id, *self._reader.statics(static_real, static_cat, lambda: where))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Begin a series with its history, in one pass that equals ``update`` at every step.

        Args:
            entry: A GluonTS data entry, whose ``static_cat`` has the codes of the training data.
                Covariates beyond the history are left to ``predict``.

        Raises:
            InputError: The entry is unusable, does not fit the model, or its series is there
                already: states go on by ``update`` alone. Nothing has changed then.
        """
        self._add(from_gluonts([dict(entry)], self._clock.freq).entries)

    def observe(self, collection: Collection) -> None:
        """Begin all series of a collection with their histories, as ``add``; labels go by name.

        Raises:
            InputError: As ``add``, or frequency or covariates are not those of the training.
        """
        self._add(matched(collection, self._facts))

    def update(
        self, item_id: str, timestamp: Any, value: Any, covariates: Covariates | None = None
    ) -> int:
        """Observe one step of a series.

        Args:
            item_id: The series.
            timestamp: A period, or the beginning or the last day of one, as date or text; one with
                a time zone is converted to UTC, unless it is a midnight and steps are days or
                longer. Local times without a zone repeat or skip an hour in summer time.
            value: A number, or one a channel; nan or None if it is missing.
            covariates: Values of this step in the user's units, ``{"known": [...], "past": [...]}``
                or the pair of them; needed if the model has any.

        Returns:
            Steps advanced: 1, or more where steps were skipped, whose values are then missing (and
            each of which costs as much as an observed one); 0 if this step or a later one was
            observed before. A state cannot be rewound, so such an observation is ignored, and
            counted in ``late``.

        Raises:
            InputError: Unusable values, a timestamp off the grid, or a gap that is too long, or
                that has no covariates though the model needs them. Nothing has changed then.
        """
        return self.update_many([(item_id, timestamp, value, covariates)])[0]

    def update_many(self, rows: Iterable[Sequence[Any]]) -> list[int]:
        """Observe a step of each of several series at once; rows are arguments of ``update``.

        Raises:
            InputError: As ``update``, or a series is there twice. Nothing has changed then.
        """
        read = [self._read(*row) for row in rows]
        ((name, count),) = Counter(x.item_id for x in read).most_common(1) or [("", 0)]
        if count > 1:
            remedy = "call update_many once a step"
            raise InputError("rows", "one of each series", f"{count} of {name!r}", remedy)
        self.late.update(x.item_id for x in read if not x.steps)
        self._advance([x for x in read if x.steps])
        return [x.steps for x in read]

    def predict(
        self, item_id: str, future: Any = None, levels: Sequence[float] = REPORTED
    ) -> QuantileForecast:
        """Forecast the steps behind the last one observed.

        Args:
            item_id: The series.
            future: Known covariates (H or more, F) of these steps in the user's units; needed if
                the model has any.
            levels: Levels of the quantiles, different numbers between 0 and 1.

        Returns:
            Quantiles and mean, each (H,), or (H, C) for a multivariate target.

        Raises:
            InputError: The series has no observation, or other arguments are unusable.
        """
        item_id = str(item_id)
        last = self._last[self._rows[item_id]] if item_id in self._rows else None
        if last is None:
            got, remedy = repr(item_id), "update it first"
            raise InputError("item_id", "a series with observations", got, remedy)
        kind = AsQuantiles(tuple(map(float, levels)))
        known = self._reader.future(future, lambda: f"series {item_id!r}")
        first = last + self._clock.stride
        ahead = self._known([first], known[None])
        memory = self._states.after([self._rows[item_id]], ahead[:, 0])
        origin = item_id, self._clock.period(first)
        with torch.inference_mode():
            found = self._network.forecast(memory, ahead)
            return next(kind(self._network.output, *found, [origin]))

    def save(self, path: str | Path) -> None:
        """Write all states to a file, whole or not at all."""
        store(
            path,
            fingerprint(self._network, self._facts),
            {
                "items": [*self._rows],
                "last": self._last,
                "late": dict(self.late),
                "tables": self._states.slots.content(),
            },
        )

    @classmethod
    def restore(cls, path: str | Path, task: ForecastTask) -> "Forecaster":
        """Go on with the states of a file; forecasts are the same to the bit.

        Raises:
            InputError: There is no such file, it is damaged, or it belongs to another model.
        """
        made = cls(task)
        device = made._network.skip.device
        content = load(path, fingerprint(made._network, made._facts), device)
        made._rows = {item_id: row for row, item_id in enumerate(content["items"])}
        made._last, made.late = content["last"], Counter(content["late"])
        made._states.slots.fill(content["tables"])
        return made

    def _read(
        self, item_id: str, timestamp: Any, value: Any, covariates: Covariates | None = None
    ) -> Observation:
        item_id = str(item_id)
        label = f"timestamp of series {item_id!r}"
        ordinal = self._clock.ordinal(timestamp, label)
        row = self._rows.get(item_id)
        last = None if row is None else self._last[row]
        steps = 1 if last is None else self._clock.steps(last, ordinal, label)
        if steps < 1:
            return Observation(item_id, ordinal, 0, EMPTY, EMPTY, EMPTY)
        if steps > 1:
            self._check_gap(item_id, ordinal - (steps - 1) * self._clock.stride)
        if row is None:
            self._reader.statics(None, None, lambda: f"series {item_id!r}, which start takes")
        where = partial(self._where, item_id, ordinal)
        values = self._reader.value(value, where), *self._reader.covariates(covariates, where)
        return Observation(item_id, ordinal, steps, *values)

    def _where(self, item_id: str, ordinal: int) -> str:
        return f"series {item_id!r} at {self._clock.shown(ordinal)}"

    def _check_gap(self, item_id: str, first: int) -> None:
        """Refuse skipped steps, the first one given, in series with covariates."""
        if self._reader.known or self._reader.past:
            remedy = "update each step, with nan for a missing value"
            where = self._where(item_id, first)
            raise InputError(f"covariates of {where}", "them at every step", "none", remedy)

    def _advance(self, observed: list[Observation]) -> None:
        """Make the pending observations part of the states, and the new ones pending."""
        if not observed:
            return
        for x in observed:
            if x.item_id not in self._rows:
                self._begin(x.item_id, *self._reader.statics(None, None, str))
        rows = [self._rows[x.item_id] for x in observed]
        going = [(r, x) for r, x in zip(rows, observed, strict=True) if self._last[r] is not None]
        for step in range(1, max((x.steps for _, x in going), default=0) + 1):
            reached = [(r, x) for r, x in going if x.steps >= step]
            ordinals = [x.ordinal - (x.steps - step) * self._clock.stride for _, x in reached]
            known = self._known(ordinals, np.stack([x.known for _, x in reached]))
            self._states.commit([r for r, _ in reached], known[:, 0])
            for (row, _), ordinal in zip(reached, ordinals, strict=True):
                self._last[row] = ordinal  # so that an interrupted gap leaves a state of its step
        values = (
            np.concatenate([x.value for x in observed]),
            np.concatenate([x.past for x in observed]),
        )
        self._states.wait(rows, *values)
        for row, x in zip(rows, observed, strict=True):
            self._last[row] = x.ordinal

    def _known(self, ordinals: list[int], known: Floats) -> Tensor:
        """Return calendar and covariates (N, H, F) of steps that begin at N ordinals."""
        rows = torch.from_numpy(known)
        if self._reader.standard.dated:
            dates = torch.stack([self._clock.calendar(o, known.shape[1]) for o in ordinals])
            rows = torch.cat([dates, rows], dim=-1)
        return self._states.tensor(rows)

    def _add(self, entries: Sequence[dict[str, Any]]) -> None:
        names: set[str] = set()
        for entry in entries:
            self._check_new(entry["item_id"], names)
            self._reader.check(entry)
            names.add(entry["item_id"])
        for entry in entries:
            series = prepare(entry, self._reader.standard, 1)
            row = self._begin(series.item_id, series.static_real[None], series.static_cat[None])
            if len(series.target):
                self._states.read(row, series)
                steps = len(series.target) - 1
                self._last[row] = int(entry["start"].ordinal) + steps * self._clock.stride

    def _begin(self, item_id: str, static_real: Any, static_cat: Any) -> int:
        row = self._states.begin(static_real, static_cat)
        self._rows[item_id] = row
        self._last.append(None)
        return row

    def _check_new(self, item_id: str, others: Container[str] = ()) -> None:
        if item_id in self._rows or item_id in others:
            remedy = "go on with update, or give it another name"
            raise InputError("item_id", "a new series", f"{item_id!r}, which is there", remedy)
