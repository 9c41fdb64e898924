"""Forecasts of series that continue: the cost of an observation does not depend on their length.

With the value of a step, the network reads the covariates that are known of the *next* step. So the
last observation of a series is pending until the covariates of the step after it arrive. Then it
becomes part of the series' state: for good in the next update, and on a copy in a forecast, whose
future begins with these covariates. Streaming gives the results of one pass over the history.
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
from paratime.forecast.data.features import in_roles, match_features
from paratime.forecast.data.labels import label_text
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.stamps import STARTS, Stamps
from paratime.forecast.data.windows import Floats, to_tensors
from paratime.forecast.inference.forecast_type import (
    REPORTED,
    AsQuantiles,
    finite_forecasts,
)
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.clock import Clock
from paratime.forecast.streaming.reader import EMPTY, Covariates, Reader, StreamStep
from paratime.forecast.streaming.states import (
    SeriesStates,
    load_states,
    model_fingerprint,
    store_states,
)


class Forecaster:
    """Series that continue step by step, and their forecasts by a trained model.

    It works with a copy of the current model, on its device. A series begins with ``add``, which
    reads its history in one pass; with ``start``, which sets its static features; or with its first
    ``update``, if the model needs no static values (its labels then count as unseen).

    Args:
        task: The trained task: ``task`` of a predictor.

    Raises:
        InputError: It is not a ``ForecastTask``.
    """

    def __init__(self, task: ForecastTask) -> None:
        if not isinstance(task, ForecastTask):
            raise InputError(
                "task", "a ForecastTask", type(task).__name__, "pass the predictor's task"
            )
        self._network = copy.deepcopy(task.network).eval().requires_grad_(False)
        self._spec = task.spec
        self._clock, self._reader = Clock(task.spec.freq), Reader.of(task.spec)
        self._states = SeriesStates(self._network)
        self._rows: dict[str, int] = {}
        self._last: list[int | None] = []
        self._stamps: dict[str, Stamps] = {}
        self.late: Counter[str] = Counter()
        """The number of late or repeated observations of each series, which were ignored."""

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, item_id: object) -> bool:
        return label_text(item_id) in self._rows

    def start(
        self,
        item_id: str,
        static_real: Sequence[float] | None = None,
        static_cat: Sequence[str] | None = None,
    ) -> None:
        """Begin a series without observations.

        Args:
            item_id: Its name.
            static_real: Its static values, in the user's units.
            static_cat: Its categories; all that training never saw are equivalent.

        Raises:
            InputError: The series exists already, or the values do not fit the model.
        """
        item_id = label_text(item_id)
        self._check_new(item_id)
        where = f"series {item_id!r}"
        self._begin(item_id, *self._reader.statics(static_real, static_cat, lambda: where))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Begin a series with its history, in one pass that equals ``update`` at every step.

        Args:
            entry: A GluonTS data entry, whose ``static_cat`` has the codes of the training data.
                Covariates beyond the history are ignored; ``predict`` takes them.

        Raises:
            InputError: The entry is unusable or does not fit the model, or its series exists
                already: only ``update`` continues a state. Nothing has changed then.
        """
        spec = self._spec
        given = from_gluonts([dict(entry)], self._clock.freq, ignored=spec.ignored)
        self._add(in_roles(given, spec.roles).entries)

    def observe(self, collection: Collection) -> None:
        """Begin all series of a collection with their histories, as ``add``; labels match by name.

        Raises:
            InputError: As ``add``, or frequency or covariates differ from those of training.
        """
        self._add(match_features(collection, self._spec).entries)

    def update(
        self, item_id: str, timestamp: Any, value: Any, covariates: Covariates | None = None
    ) -> int:
        """Observe one step of a series.

        Args:
            item_id: The series.
            timestamp: A period, or the beginning or the last day of one, as date or text, or the
                moment of it that the timestamps of the series' history are. A time with a zone is
                converted to UTC, unless it is a midnight and steps are days or longer. Local times
                without a zone repeat or skip an hour in summer time.
            value: A number, or one a channel; nan or None if it is missing.
            covariates: Values of this step in the user's units, ``{"known": [...], "past": [...]}``
                or the pair of them; needed if the model has any.

        Returns:
            Steps advanced: 1; more if steps were skipped, whose values are then missing (each costs
            as much as an observed step); 0 if this step or a later one was observed before. A state
            cannot be rewound, so such an observation is ignored and counted in ``late``.

        Raises:
            InputError: Values are unusable, the timestamp is off the grid, or the gap is too long
                or lacks covariates that the model needs. Nothing has changed then.
        """
        return self.update_many([(item_id, timestamp, value, covariates)])[0]

    def update_many(self, rows: Iterable[Sequence[Any]]) -> list[int]:
        """Observe a step of each of several series at once; rows are arguments of ``update``.

        Raises:
            InputError: As ``update``, or a series occurs twice. Nothing has changed then.
        """
        read = [self._read(*row) for row in rows]
        ((name, count),) = Counter(x.item_id for x in read).most_common(1) or [("", 0)]
        if count > 1:
            raise InputError(
                "rows", "one of each series", f"{count} of {name!r}", "call update_many once a step"
            )
        self.late.update(x.item_id for x in read if not x.steps)
        self._advance([x for x in read if x.steps])
        return [x.steps for x in read]

    def predict(
        self, item_id: str, future: Any = None, levels: Sequence[float] = REPORTED
    ) -> QuantileForecast:
        """Forecast the steps after the last observed one.

        Args:
            item_id: The series.
            future: Known covariates (H or more, F) of these steps in the user's units; needed if
                the model has any.
            levels: Levels of the quantiles, different numbers between 0 and 1.

        Returns:
            Quantiles and mean, each (H,), or (H, C) for a multivariate target.

        Raises:
            InputError: The series has no observation, other arguments are unusable, or the forecast
                is infinite or NaN.
        """
        item_id = label_text(item_id)
        last = self._last[self._rows[item_id]] if item_id in self._rows else None
        if last is None:
            raise InputError(
                "item_id", "a series with observations", repr(item_id), "update it first"
            )
        kind = AsQuantiles(tuple(map(float, levels)))
        known = self._reader.future(future, lambda: f"series {item_id!r}")
        first = last + self._clock.stride
        ahead = self._known([first], known[None])
        memory = self._states.after([self._rows[item_id]], ahead[:, 0])
        origin = item_id, self._clock.period(first)
        with torch.inference_mode():
            raw, loc, scale = self._network.forecast(memory, ahead)
            output = self._network.output
            (found,) = finite_forecasts(
                kind, output, raw=raw, loc=loc, scale=scale, origins=[origin]
            )
            return found

    def save(self, path: str | Path) -> None:
        """Write all states to a file, whole or not at all."""
        store_states(
            path,
            model_fingerprint(self._network, self._spec),
            {
                "items": [*self._rows],
                "last": self._last,
                "late": dict(self.late),
                "stamps": {name: stamps.plain() for name, stamps in self._stamps.items()},
                "tables": self._states.slots.content(),
            },
        )

    @classmethod
    def restore(cls, path: str | Path, task: ForecastTask) -> "Forecaster":
        """Continue the states of a file; forecasts are the same to the bit.

        Raises:
            InputError: The file is missing or damaged, or belongs to another model.
        """
        made = cls(task)
        device = made._network.skip.device
        content = load_states(path, model_fingerprint(made._network, made._spec), device)
        made._rows = {item_id: row for row, item_id in enumerate(content["items"])}
        made._last, made.late = content["last"], Counter(content["late"])
        made._stamps = {k: Stamps(*plain) for k, plain in content.get("stamps", {}).items()}
        made._states.slots.fill(content["tables"])
        return made

    def _read(
        self, item_id: str, timestamp: Any, value: Any, covariates: Covariates | None = None
    ) -> StreamStep:
        item_id = label_text(item_id)
        label = f"timestamp of series {item_id!r}"
        ordinal = self._clock.ordinal(timestamp, label, self._stamps.get(item_id, STARTS))
        row = self._rows.get(item_id)
        last = None if row is None else self._last[row]
        steps = 1 if last is None else self._clock.steps(last, ordinal, label)
        if steps < 1:
            return StreamStep(item_id, ordinal, 0, EMPTY, EMPTY, EMPTY)
        if steps > 1:
            self._check_gap(item_id, ordinal - (steps - 1) * self._clock.stride)
        if row is None:
            self._reader.statics(None, None, lambda: f"series {item_id!r}, which start takes")
        where = partial(self._where, item_id, ordinal)
        values = self._reader.value(value, where), *self._reader.covariates(covariates, where)
        return StreamStep(item_id, ordinal, steps, *values)

    def _where(self, item_id: str, ordinal: int) -> str:
        return f"series {item_id!r} at {self._clock.shown(ordinal)}"

    def _check_gap(self, item_id: str, first: int) -> None:
        """Refuse skipped steps, the first one given, in series with covariates."""
        if self._reader.known or self._reader.past:
            place = f"covariates of {self._where(item_id, first)}"
            raise InputError(place, "them at every step", "none", "update each, nan where missing")

    def _advance(self, observed: list[StreamStep]) -> None:
        """Move the pending observations into the states, and make the new ones pending."""
        if not observed:
            return
        for x in observed:
            if x.item_id not in self._rows:
                self._begin(x.item_id, *self._reader.statics(None, None, str))
        rows = [self._rows[x.item_id] for x in observed]
        begun = [(r, x) for r, x in zip(rows, observed, strict=True) if self._last[r] is not None]
        for step in range(1, max((x.steps for _, x in begun), default=0) + 1):
            reached = [(r, x) for r, x in begun if x.steps >= step]
            ordinals = [x.ordinal - (x.steps - step) * self._clock.stride for _, x in reached]
            known = self._known(ordinals, np.stack([x.known for _, x in reached]))
            self._states.commit([r for r, _ in reached], known[:, 0])
            for (row, _), ordinal in zip(reached, ordinals, strict=True):
                self._last[row] = ordinal  # so an interrupted gap leaves a consistent state
        values = np.concatenate([x.value for x in observed])
        past = np.concatenate([x.past for x in observed])
        self._states.wait(rows, values, past)
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
            series = to_tensors(entry, self._reader.standard, 1)
            row = self._begin(series.item_id, series.static_real[None], series.static_cat[None])
            if (stamps := entry.get("stamps", STARTS)) != STARTS:
                self._stamps[series.item_id] = stamps
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
            raise InputError(
                "item_id", "a new series", f"{item_id!r}, which exists", "continue it with update"
            )
