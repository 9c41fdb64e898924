"""From what a caller says of a step, in the user's units, to what the network takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError, one_line
from paratime.forecast.data.windows import Floats, Standard, scaled

Covariates = Mapping[str, Any] | Sequence[Any]
"""Values of one step: ``{"known": [...], "past": [...]}``, or the pair of them."""

Where = Callable[[], str]
"""Says which series and step is meant; only messages ask."""

KINDS = ("known", "past")
EMPTY: Floats = np.zeros((1, 0), dtype=np.float32)


@dataclass(frozen=True)
class Observation:
    """One step of a series.

    Attributes:
        item_id: The series.
        ordinal: Its step.
        steps: How many steps it lies behind the last one, 0 if it is late.
        value: (1, C).
        known: What the user knows ahead, (1, F).
        past: (1, P).
    """

    item_id: str
    ordinal: int
    steps: int
    value: Floats
    known: Floats
    past: Floats


@dataclass(frozen=True)
class Reader:
    """Checks values and puts covariates into deviations from their mean.

    Attributes:
        target: Channels of the target.
        known: Covariates of a step that the user knows ahead.
        past: Covariates of a step that are known up to the present only.
        static_real: Numbers of a series.
        categories: Categories of each label of a series.
        prediction_length: Steps of a forecast.
        standard: Location and scale of covariates.
    """

    target: int
    known: int
    past: int
    static_real: int
    categories: dict[str, Sequence[str]]
    prediction_length: int
    standard: Standard

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Reader":
        """Return the reader for a model that was trained on series with these facts."""
        kept = ("target", "past", "static_real", "categories", "prediction_length")
        return cls(
            known=len(facts["names"]["known"]),
            standard=Standard(**facts["standard"]),
            **{name: facts[name] for name in kept},
        )

    def check(self, entry: Mapping[str, Any]) -> None:
        """Refuse a data entry with other channels or features than the model was trained with."""
        counts = {
            "target": self.target,
            "feat_dynamic_real": self.known,
            "past_feat_dynamic_real": self.past,
            "feat_static_real": self.static_real,
            "feat_static_cat": len(self.categories),
        }
        for name, count in counts.items():
            rows = np.atleast_2d(entry[name]) if name == "target" else entry[name]
            if len(rows) != count:
                remedy, got = "give what the model was trained with", str(len(rows))
                label = f"{name} of series {entry['item_id']!r}"
                raise InputError(label, f"{count} of them", got, remedy)

    def value(self, value: Any, where: Where) -> Floats:
        """Return an observation as (1, C), NaN where it is missing."""
        values = _floats("value", [np.nan] * self.target if value is None else value, where)
        self._check_count("value", values, self.target, where)
        if np.isinf(values).any():
            raise _error(
                "value", "finite float32", str(value), "put nan for what is missing", where
            )
        return values[None]

    def covariates(self, covariates: Covariates | None, where: Where) -> tuple[Floats, Floats]:
        """Return the covariates of a step as (1, known) and (1, past)."""
        counts = {"known": self.known, "past": self.past}
        given = self._named(covariates, where)
        rows = []
        for name in KINDS:
            if not counts[name] and name not in given:
                rows.append(EMPTY)
                continue
            values = _floats(f"{name} covariates", given.get(name, ()), where)
            self._check_count(f"{name} covariates", values, counts[name], where)
            rows.append(self._standardised(name, values[:, None], where))
        return rows[0], rows[1]

    def future(self, future: Any, where: Where) -> Floats:
        """Return known covariates (H or more, F) of the next steps as (H, F)."""
        steps = self.prediction_length
        rows = np.zeros((steps, 0)) if future is None else future
        values = _floats("future", rows, where, dimensions=2)
        if values.shape[1] != self.known or len(values) < steps:
            expected = f"known covariates of {steps} steps, ({steps}, {self.known})"
            got = "none" if future is None else str(values.shape)
            remedy = "give as many as the model was trained with"
            raise _error("future", expected, got, remedy, where)
        return self._standardised("known", values[:steps].T, where)

    def statics(
        self, numbers: Sequence[float] | None, labels: Sequence[Any] | None, where: Where
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return numbers (1, R) and codes (1, L) of a series; labels never seen have code -1."""
        values = _floats("static_real", () if numbers is None else numbers, where)
        self._check_count("static_real", values, self.static_real, where)
        names = ["" for _ in self.categories] if labels is None else [str(x) for x in labels]
        if len(names) != len(self.categories):
            expected = f"{len(self.categories)} labels: {', '.join(self.categories)}"
            raise _error("static_cat", expected, str(len(names)), "give one of each", where)
        codes = [_place(n, there) for n, there in zip(names, self.categories.values(), strict=True)]
        return (
            self._standardised("static_real", values[:, None], where),
            np.array(codes, dtype=np.int64)[None],
        )

    def _named(self, covariates: Covariates | None, where: Where) -> Mapping[str, Any]:
        if covariates is None or isinstance(covariates, Mapping):
            given = covariates or {}
        else:
            given = dict(zip(KINDS, covariates, strict=False)) if len(covariates) == 2 else {"": ()}
        if not given.keys() <= set(KINDS):
            expected = "a mapping of known and past, or the pair of them"
            raise _error("covariates", expected, repr(covariates), "name them so", where)
        return given

    def _standardised(self, name: str, rows: Floats, where: Where) -> Floats:
        """Return rows (n, T) as (T, n)."""
        if not np.isfinite(rows).all():
            got = str(rows[~np.isfinite(rows)][0])
            raise _error(f"{name} covariates", "finite numbers", got, "fill them in", where)
        return scaled(rows, getattr(self.standard, name))

    def _check_count(self, name: str, values: Floats, count: int, where: Where) -> None:
        if values.shape != (count,):
            remedy = "give what the model was trained with"
            got = "none" if not values.size else str(values.size)
            raise _error(name, f"{count} of them", got, remedy, where)


def _place(category: str, categories: Sequence[str]) -> int:
    """Return the code of a category, -1 for one that was never seen."""
    return list(categories).index(category) if category in categories else -1


def _floats(name: str, values: Any, where: Where, *, dimensions: int = 1) -> Floats:
    """Return numbers as float32 of one dimension or two."""
    try:
        with np.errstate(over="ignore"):
            numbers = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        got = one_line(error)
        raise _error(name, "numbers", got, "correct them", where) from None
    if numbers.ndim > dimensions:
        got = f"{numbers.ndim} dimensions"
        raise _error(name, f"{dimensions} dimensions", got, "give the numbers alone", where)
    return numbers.reshape(-1) if dimensions == 1 else np.atleast_2d(numbers)


def _error(name: str, expected: str, got: str, remedy: str, where: Where) -> InputError:
    return InputError(f"{name} of {where()}", expected, got, remedy)
