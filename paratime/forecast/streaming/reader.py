"""From the values of a step, in the user's units, to the inputs of the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError, one_line
from paratime.forecast.data.labels import amount, label_text
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import LARGEST, CovariateScaler, Floats, standardised

Covariates = Mapping[str, Any] | Sequence[Any]
"""Values of one step: ``{"known": [...], "past": [...]}``, or the pair of them."""

Where = Callable[[], str]
"""Returns the name of a series and step for messages."""

KINDS = ("known", "past")
TRAINED = "give what the model was trained with"
EMPTY: Floats = np.zeros((1, 0), dtype=np.float32)


@dataclass(frozen=True)
class StreamStep:
    """One step of a series.

    Attributes:
        item_id: The series.
        ordinal: Its step.
        steps: Its distance from the last step, 0 if it is late.
        value: (1, C) in float64.
        known: Covariates that are known ahead, (1, F).
        past: (1, P).
    """

    item_id: str
    ordinal: int
    steps: int
    value: NDArray[np.floating[Any]]
    known: Floats
    past: Floats


@dataclass(frozen=True)
class Reader:
    """Checks values and standardises covariates.

    Attributes:
        target: Channels of the target.
        known: Covariates of a step that are known ahead.
        past: Covariates of a step that are known only up to the present.
        static_real: Static values of a series.
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
    standard: CovariateScaler

    @classmethod
    def of(cls, spec: SeriesSpec) -> "Reader":
        """Return the reader for a model that was trained on series of this spec."""
        kept = ("target", "past", "static_real", "categories", "prediction_length")
        return cls(
            known=len(spec.names["known"]),
            standard=spec.standard,
            **{name: getattr(spec, name) for name in kept},
        )

    def check(self, entry: Mapping[str, Any]) -> None:
        """Refuse a data entry whose channels or features differ from those of training."""
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
                label = f"{name} of series {entry['item_id']!r}"
                raise InputError(label, f"{count} of them", str(len(rows)), TRAINED)

    def value(self, value: Any, where: Where) -> NDArray[np.float64]:
        """Return an observation as (1, C) in float64, NaN where it is missing."""
        given = [np.nan] * self.target if value is None else value
        values = _floats("value", given, where, dtype=np.float64)
        self._check_count("value", values, self.target, where)
        if (np.abs(values) > LARGEST).any():
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
            wanted = f"known covariates of {amount(steps, 'step')}, ({steps}, {self.known})"
            shape = "none" if future is None else str(values.shape)
            raise _error("future", wanted, shape, "give as many as in training", where)
        return self._standardised("known", values[:steps].T, where)

    def statics(
        self, values: Sequence[float] | None, labels: Sequence[Any] | None, where: Where
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return static values (1, R) and codes (1, L) of a series, -1 for unseen labels."""
        real = _floats("static_real", () if values is None else values, where)
        self._check_count("static_real", real, self.static_real, where)
        names = ["" for _ in self.categories] if labels is None else [label_text(x) for x in labels]
        if len(names) != len(self.categories):
            wanted = f"{amount(len(self.categories), 'label')}: {', '.join(self.categories)}"
            raise _error("static_cat", wanted, str(len(names)), "give one of each", where)
        codes = [_place(n, known) for n, known in zip(names, self.categories.values(), strict=True)]
        return (
            self._standardised("static_real", real[:, None], where),
            np.array(codes, dtype=np.int64)[None],
        )

    def _named(self, covariates: Covariates | None, where: Where) -> Mapping[str, Any]:
        if covariates is None or isinstance(covariates, Mapping):
            given = covariates or {}
        else:
            given = dict(zip(KINDS, covariates, strict=False)) if len(covariates) == 2 else {"": ()}
        if not given.keys() <= set(KINDS):
            wanted = "a mapping of known and past, or the pair of them"
            raise _error("covariates", wanted, repr(covariates), "name them so", where)
        return given

    def _standardised(self, name: str, rows: Floats, where: Where) -> Floats:
        """Return rows (n, T) as (T, n)."""
        if not np.isfinite(rows).all():
            bad = str(rows[~np.isfinite(rows)][0])
            raise _error(f"{name} covariates", "finite numbers", bad, "fill them in", where)
        return standardised(rows, getattr(self.standard, name))

    def _check_count(self, name: str, values: Floats, count: int, where: Where) -> None:
        if values.shape != (count,):
            size = str(values.size) if values.size else "none"
            raise _error(name, f"{count} of them", size, TRAINED, where)


def _place(category: str, categories: Sequence[str]) -> int:
    """Return the code of a category, -1 for an unseen one."""
    known = [label_text(x) for x in categories]
    return known.index(category) if category in known else -1


def _floats(
    name: str, values: Any, where: Where, *, dimensions: int = 1, dtype: Any = np.float32
) -> NDArray[Any]:
    """Return values of one dimension or two."""
    try:
        with np.errstate(over="ignore"):
            numbers = np.asarray(values, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise _error(name, "numbers", one_line(error), "correct them", where) from None
    if numbers.ndim > dimensions:
        found = amount(numbers.ndim, "dimension")
        raise _error(name, amount(dimensions, "dimension"), found, "give the numbers alone", where)
    return numbers.reshape(-1) if dimensions == 1 else np.atleast_2d(numbers)


def _error(name: str, expected: str, got: str, remedy: str, where: Where) -> InputError:
    return InputError(f"{name} of {where()}", expected, got, remedy)
