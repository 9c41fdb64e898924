"""Series in memory, as GluonTS lays them out, with what is known of all of them together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.errors import InputError, one_line
from paratime.forecast.data.calendar import quiet, season_length
from paratime.forecast.data.frequency import period_frequency
from paratime.forecast.data.sources.rows import shown

DYNAMIC = ("feat_dynamic_real", "past_feat_dynamic_real")
STATIC = ("feat_static_cat", "feat_static_real")


@dataclass(frozen=True)
class Collection:
    """Series of one frequency with the same kinds of features.

    Attributes:
        freq: Frequency of the periods, as pandas spells it.
        entries: A GluonTS data entry for each series, with exactly these keys: ``item_id`` (str),
            ``start`` (period), ``target`` (T,) or (C, T), NaN where missing;
            ``feat_dynamic_real`` (F, T and any number of steps ahead),
            ``past_feat_dynamic_real`` (P, T), ``feat_static_cat`` (L,), ``feat_static_real`` (R,).
            Codes are int64, all else is float32. Kinds that are absent have no rows.
        known: Names of the F covariates that are known ahead.
        past: Names of the P covariates that are known up to the present only.
        static_real: Names of the R numbers of a series.
        categories: Categories of each of the L labels, in the order of their codes; the code -1 is
            a category that was never seen.
        prediction_length: The official horizon, if the data has one: its last steps are then the
            official test split.
        season: Steps of a season; None for what is usual at this frequency.
        dated: Whether the dates mean anything, or are nominal.
        channels: Names of the C channels of the target, if they have some.
        unused: Columns of the table that nothing was made of.
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
        return self.season or season_length(self.freq)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels, else their numbers, from 0."""
        count = len(np.atleast_2d(self.entries[0]["target"]))
        return self.channels or tuple(map(str, range(count)))


def from_gluonts(
    dataset: Iterable[dict[str, Any]], freq: str | None = None, *, names_of: Any = None
) -> Collection:
    """Read any GluonTS dataset: entries with ``start``, ``target`` and, optionally, features.

    Features present in the first entry must be present in all. ``feat_dynamic_cat`` and keys that
    GluonTS does not define are dropped. Features are named after their key and place, such as
    ``feat_dynamic_real_0``; a ``PandasDataset`` knows the names of its dynamic ones.

    Args:
        dataset: A list of entries, ``ListDataset``, ``PandasDataset``, ``FileDataset`` and so on.
            A start is a period, or a date (a timestamp or text) if the frequency is given.
        freq: Frequency; that of the dataset, or of its first start, by default.
        names_of: The dataset that knows the names of features, if this is a part of it.

    Raises:
        InputError: There are no entries, or one of them is unusable.
    """
    names_of = dataset if names_of is None else names_of
    freq = freq or getattr(dataset, "freq", None)
    entries: list[dict[str, Any]] = []
    for number, entry in enumerate(dataset, start=1):
        if not isinstance(entry, Mapping):
            got = f"{type(entry).__name__} {str(entry)[:40]!r}"
            raise InputError(
                f"entry {number}", "start, target and features by name", got, "mend it"
            )
        item_id = str(entry.get("item_id", number - 1))
        reader = _Entry(entry, f"series {item_id!r} (entry {number})")
        start = reader.start(freq)
        freq = freq or start.freqstr
        entries.append({"item_id": item_id, "start": start} | reader.values(start))
        if _kinds(entries[0]) != _kinds(entries[-1]):
            expected = f"{_kinds(entries[0])} as in the first"
            remedy = "give all series the same channels and features"
            raise InputError(reader.label, expected, str(_kinds(entries[-1])), remedy)
    if not entries or freq is None:
        raise InputError("series", "at least one", "none", "check that the data is not empty")
    first = entries[0]
    known, past = (
        tuple(getattr(names_of, key, None) or numbered(key, len(first[key]))) for key in DYNAMIC
    )
    static_real = numbered("feat_static_real", len(first["feat_static_real"]))
    codes = np.array([e["feat_static_cat"] for e in entries]).max(0, initial=-1)
    labels = zip(numbered("feat_static_cat", len(codes)), codes, strict=True)
    categories = {label: tuple(map(str, range(code + 1))) for label, code in labels}
    return Collection(period_frequency(freq), entries, known, past, static_real, categories)


def numbered(key: str, count: int) -> tuple[str, ...]:
    """Return names for the rows of a feature that has none."""
    return tuple(f"{key}_{i}" for i in range(count))


def _kinds(entry: Mapping[str, Any]) -> str:
    channels = "1 channel" if entry["target"].ndim == 1 else f"{len(entry['target'])} channels"
    return ", ".join([channels, *(f"{len(entry[k])} {k}" for k in (*DYNAMIC, *STATIC))])


@dataclass(frozen=True)
class _Entry:
    """A data entry, and what messages call it."""

    entry: Mapping[str, Any]
    label: str

    def start(self, freq: str | None) -> pd.Period:
        """Return the start as a period; ``freq`` is taken from it if it is None."""
        start = self._required("start")
        if isinstance(start, pd.Period):
            own = period_frequency(start.freqstr)
            if freq is not None and own != period_frequency(freq):
                remedy = "give all series one frequency"
                raise self._error("start", f"periods of {period_frequency(freq)}", own, remedy)
            return start
        if freq is None:
            remedy = "give freq: a date alone has none"
            raise self._error("start", "a period, or a frequency", repr(start), remedy)
        freq = period_frequency(freq)
        try:
            if not isinstance(start, str | datetime | np.datetime64):
                raise ValueError(start)
            time = pd.Timestamp(start)
            time = time.tz_convert("UTC").tz_localize(None) if time.tzinfo else time
            with quiet():
                return time.to_period(freq)
        except (ValueError, AttributeError):  # NaT has no period
            raise self._error("start", "a date", repr(start), "write 2024-03-31 13:30") from None

    def values(self, start: pd.Period) -> dict[str, NDArray[Any]]:
        """Return target and features."""
        target = self._numbers("target", self._required("target"), start)
        steps = target.shape[-1]
        values: dict[str, NDArray[Any]] = {"target": target}
        for key in DYNAMIC:
            rows = self.entry.get(key)
            rows = np.zeros((0, steps)) if rows is None else rows
            values[key] = self._numbers(key, rows, start)
            if values[key].ndim != 2:
                raise self._error(
                    key, "rows of numbers", "one number a step", "nest them in a list"
                )
        given = values["feat_dynamic_real"].shape[1]
        if given < steps:
            raise self._error(
                "feat_dynamic_real", f"at least {steps} steps", str(given), "add them"
            )
        given = values["past_feat_dynamic_real"].shape[1]
        if given != steps:
            raise self._error("past_feat_dynamic_real", f"{steps} steps", str(given), "align them")
        for key in STATIC:
            rows = self.entry.get(key)
            values[key] = self._numbers(key, () if rows is None else rows, start).reshape(-1)
        values["feat_static_cat"] = self._codes(values["feat_static_cat"])
        return values

    def _numbers(self, key: str, values: Any, start: pd.Period) -> NDArray[np.float32]:
        try:
            with np.errstate(over="ignore"):
                numbers = np.asarray(values, dtype=np.float32)
            if numbers.ndim not in (1, 2):
                raise ValueError(f"{numbers.ndim} dimensions")
        except (ValueError, TypeError) as error:
            got = one_line(error)
            raise self._error(key, "numbers, or rows of them", got, "correct them") from None
        bad = np.isinf(numbers) if key == "target" else ~np.isfinite(numbers)
        if bad.any():
            step = int(np.argwhere(bad)[0][-1])
            with quiet():
                at = "" if key in STATIC else f" at {shown((start + step).start_time)}"
            got = f"{numbers[bad][0]}{at}"
            remedy = "put nan for what is missing" if key == "target" else "fill it in"
            raise self._error(key, "finite numbers", got, remedy)
        return numbers

    def _codes(self, codes: NDArray[np.float32]) -> NDArray[np.int64]:
        if (codes != codes.round()).any() or (codes < -1).any():
            got = str(codes.tolist())
            raise self._error(
                "feat_static_cat", "codes from 0, or -1", got, "number the categories"
            )
        return codes.astype(np.int64)

    def _required(self, key: str) -> Any:
        if self.entry.get(key) is None:
            got = ", ".join(map(str, self.entry)) or "no keys"
            raise self._error(key, "it in each entry", got, "add it")
        return self.entry[key]

    def _error(self, key: str, expected: str, got: str, remedy: str) -> InputError:
        return InputError(f"{key} of {self.label}", expected, got, remedy)
