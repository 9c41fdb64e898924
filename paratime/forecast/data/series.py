"""Series in memory, as GluonTS lays them out, with their common description."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.errors import InputError, one_line
from paratime.forecast.data.calendar import quiet_periods, season_length
from paratime.forecast.data.frequency import period_frequency
from paratime.forecast.data.labels import amount, label_text
from paratime.forecast.data.rows import format_time
from paratime.forecast.data.stamps import STARTS, Stamps
from paratime.forecast.data.windows import LARGEST

DYNAMIC = ("feat_dynamic_real", "past_feat_dynamic_real")
CODES = 2**20
"""More categories than any network could learn; each has labels and weights."""

STATIC = ("feat_static_cat", "feat_static_real")


@dataclass(frozen=True)
class Collection:
    """Series of one frequency with the same kinds of features.

    Attributes:
        freq: Frequency of the periods, in pandas' spelling.
        entries: A GluonTS data entry for each series, with exactly these keys: ``item_id`` (str),
            ``start`` (period), ``stamps`` (``Stamps``; if absent, the beginnings of periods),
            ``info`` (anything, for the forecast; may be absent),
            ``target`` (T,) or (C, T), NaN where missing;
            ``feat_dynamic_real`` (F, T and any number of steps ahead),
            ``past_feat_dynamic_real`` (P, T), ``feat_static_cat`` (L,), ``feat_static_real`` (R,).
            Codes are int64, targets float64, other values float32. Absent features have no rows.
        known: Names of the F covariates that are known ahead.
        past: Names of the P covariates that are known only up to the present.
        static_real: Names of the R static values of a series.
        categories: Categories of each of the L labels, in the order of their codes; the code -1 is
            a category that training never saw.
        prediction_length: The official horizon, if the data has one: its last steps are then the
            official test split.
        season: Steps of a season; None for the default of the frequency.
        dated: Whether the dates are real, not nominal.
        channels: Names of the C channels of the target, if they are named.
        unused: Columns of the table that have no role.
    """

    freq: str
    entries: list[dict[str, Any]]
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static_real: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prediction_length: int | None = None
    season: int | None = None
    dated: bool = True
    channels: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def seasonality(self) -> int:
        """Steps of a season, 1 for none."""
        if self.season is not None:
            return self.season
        counted = any(entry.get("stamps", STARTS).counted for entry in self.entries[:1])
        return 1 if counted else season_length(self.freq)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels; by default their indices, from 0."""
        count = len(np.atleast_2d(self.entries[0]["target"]))
        return self.channels or tuple(map(str, range(count)))


def from_gluonts(
    dataset: Iterable[dict[str, Any]],
    freq: str | None = None,
    *,
    names_of: Any = None,
    ignored: Sequence[str] = (),
) -> Collection:
    """Read any GluonTS dataset: entries with ``start``, ``target`` and, optionally, features.

    Features of the first entry must be present in all. ``feat_dynamic_cat`` and keys that
    GluonTS does not define are dropped. Features are named after their key and place, such as
    ``feat_dynamic_real_0``; a ``PandasDataset`` has names for its dynamic ones.

    Args:
        dataset: A list of entries, ``ListDataset``, ``PandasDataset``, ``FileDataset`` and so on.
            A start is a period, or a date (a timestamp or text) if the frequency is given.
        freq: Frequency; that of the dataset, or of its first start, by default.
        names_of: The dataset with the names of features, if this is a part of it.
        ignored: Keys of features that are not read.

    Raises:
        InputError: No entries exist, or one of them is unusable.
    """
    names_of = dataset if names_of is None else names_of
    freq = freq or getattr(dataset, "freq", None)
    entries: list[dict[str, Any]] = []
    for number, entry in enumerate(dataset, start=1):
        reader = _Entry.of(entry, number, ignored)
        start, stamps = reader.start(freq)
        freq = freq or start.freqstr
        known = {"item_id": reader.item_id, "start": start, "stamps": stamps} | reader.info
        entries.append(known | reader.values(start))
        first, last = _kinds(entries[0]), _kinds(entries[-1])
        if first != last:
            raise InputError(
                reader.label, f"{first} as in the first", last, "give all series the same features"
            )
    if not entries or freq is None:
        raise InputError("series", "at least one", "none", "check that the data is not empty")
    return Collection(period_frequency(freq), entries, **_names(entries, names_of))


def _names(entries: list[dict[str, Any]], names_of: Any) -> dict[str, Any]:
    """Return the names of features, as arguments of a collection."""
    counts = {key: len(entries[0][key]) for key in (*DYNAMIC, "feat_static_real")}
    known, past, static_real = (
        tuple((n and getattr(names_of, key, None)) or numbered(key, n)) for key, n in counts.items()
    )
    codes = np.array([e["feat_static_cat"] for e in entries]).max(0, initial=-1)
    labels = zip(numbered("feat_static_cat", len(codes)), codes, strict=True)
    categories = {label: tuple(map(str, range(code + 1))) for label, code in labels}
    return {"known": known, "past": past, "static_real": static_real, "categories": categories}


def numbered(key: str, count: int) -> tuple[str, ...]:
    """Return names for the rows of an unnamed feature."""
    return tuple(f"{key}_{i}" for i in range(count))


def _kinds(entry: Mapping[str, Any]) -> str:
    channels = amount(len(np.atleast_2d(entry["target"])), "channel")
    return ", ".join([channels, *(f"{len(entry[k])} {k}" for k in (*DYNAMIC, *STATIC))])


@dataclass(frozen=True)
class _Entry:
    """A data entry, and its name in messages."""

    entry: Mapping[str, Any]
    item_id: str
    label: str

    @classmethod
    def of(cls, entry: Any, number: int, ignored: Sequence[str]) -> Self:
        """Return the entry of a number, counted from 1, without some keys."""
        if not isinstance(entry, Mapping):
            text = f"{type(entry).__name__} {str(entry)[:40]!r}"
            raise InputError(f"entry {number}", "start, target, features by name", text, "fix it")
        item_id = label_text(entry.get("item_id", number - 1))
        entry = {key: x for key, x in entry.items() if key not in ignored}
        return cls(entry, item_id, f"series {item_id!r} (entry {number})")

    @property
    def info(self) -> dict[str, Any]:
        """What the user attached to the entry, for its forecast."""
        return {"info": self.entry["info"]} if "info" in self.entry else {}

    def start(self, freq: str | None) -> tuple[pd.Period, Stamps]:
        """Return the start as a period; its own frequency counts if ``freq`` is None."""
        start = self._required("start")
        if isinstance(start, pd.Period):
            own, wanted = (period_frequency(x) for x in (start.freqstr, freq or start.freqstr))
            if own != wanted:
                raise self._error("start", f"periods of {wanted}", own, "give all series one")
            return start, self.entry.get("stamps", STARTS)
        if freq is None:
            raise self._error("start", "a period, or a frequency", repr(start), "give freq")
        freq = period_frequency(freq)
        try:
            if not isinstance(start, str | datetime | np.datetime64):
                raise ValueError(start)
            if pd.isna(time := pd.Timestamp(start)):
                raise ValueError(start)
            return Stamps.of(time, freq)
        except ValueError:
            raise self._error("start", "a date", repr(start), "write 2024-03-31 13:30") from None

    def values(self, start: pd.Period) -> dict[str, NDArray[Any]]:
        """Return target and features."""
        target = self._numbers("target", self._required("target"), start, np.float64)
        steps = target.shape[-1]
        values: dict[str, NDArray[Any]] = {"target": target}
        for key in DYNAMIC:
            rows = self.entry.get(key)
            rows = np.zeros((0, steps)) if rows is None else rows
            values[key] = self._numbers(key, rows, start)
            if values[key].ndim != 2:
                raise self._error(key, "rows of numbers", "one number a step", "nest them")
        given = values["feat_dynamic_real"].shape[1]
        if given < steps:
            raise self._error(
                "feat_dynamic_real", f"at least {amount(steps, 'step')}", str(given), "add them"
            )
        given = values["past_feat_dynamic_real"].shape[1]
        if given != steps:
            wanted = amount(steps, "step")
            raise self._error("past_feat_dynamic_real", wanted, str(given), "align them")
        for key in STATIC:
            rows = self.entry.get(key)
            values[key] = self._numbers(key, () if rows is None else rows, start).reshape(-1)
        values["feat_static_cat"] = self._codes(values["feat_static_cat"])
        return values

    def _numbers(
        self, key: str, values: Any, start: pd.Period, dtype: type[np.floating[Any]] = np.float32
    ) -> NDArray[Any]:
        try:
            with np.errstate(over="ignore"):
                numbers = np.asarray(values, dtype=dtype)
            if numbers.ndim not in (1, 2):
                raise ValueError(amount(numbers.ndim, "dimension"))
        except (ValueError, TypeError) as error:
            text = one_line(error)
            raise self._error(key, "numbers, or rows of them", text, "correct them") from None
        with np.errstate(invalid="ignore"):
            bad = np.abs(numbers) > LARGEST if key == "target" else ~np.isfinite(numbers)
        if bad.any():
            step = int(np.argwhere(bad)[0][-1])
            with quiet_periods():
                at = "" if key in STATIC else f" at {format_time((start + step).start_time)}"
            hint = "put nan where missing" if key == "target" else "fill it in"
            raise self._error(key, "finite numbers", f"{numbers[bad][0]}{at}", hint)
        return numbers

    def _codes(self, codes: NDArray[np.float32]) -> NDArray[np.int64]:
        if (codes != codes.round()).any() or (codes < -1).any() or (codes >= CODES).any():
            text, found = f"codes from 0 to {CODES - 1:,}, or -1", str(codes.tolist())
            raise self._error("feat_static_cat", text, found, "number them")
        return codes.astype(np.int64)

    def _required(self, key: str) -> Any:
        if self.entry.get(key) is None:
            keys = ", ".join(map(str, self.entry)) or "no keys"
            raise self._error(key, "it in each entry", keys, "add it")
        return self.entry[key]

    def _error(self, key: str, expected: str, got: str, remedy: str) -> InputError:
        return InputError(f"{key} of {self.label}", expected, got, remedy)


def until(entry: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return the first steps of a series; its known covariates continue."""
    steps = max(0, steps)
    return entry | {
        "target": entry["target"][..., :steps],
        "past_feat_dynamic_real": entry["past_feat_dynamic_real"][:, :steps],
    }


def channels_with_values(entries: Iterable[dict[str, Any]]) -> NDArray[np.bool_]:
    """Return whether any of some series has a value in each channel, (C,)."""
    seen = [~np.isnan(np.atleast_2d(entry["target"])).all(axis=1) for entry in entries]
    return np.any(seen, axis=0)
