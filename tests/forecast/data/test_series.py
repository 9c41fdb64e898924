"""GluonTS datasets to series."""

import numpy as np
import pandas as pd
import pytest
from forecast.tables import entries_of, refused
from gluonts.dataset.common import ListDataset

from paratime.forecast.data.series import from_gluonts


@pytest.mark.parametrize(
    "start",
    (
        "2024-01-01",
        pd.Timestamp("2024-01-01"),
        np.datetime64("2024-01-01"),
        pd.Period("2024-01-01", "D"),
        pd.Timestamp("2024-01-01T05:00+05:00"),
    ),
    ids=("text", "timestamp", "numpy", "period", "zone"),
)
def test_entries(start):
    data = from_gluonts(entries_of(start=start), freq="D")
    assert data.freq == "D" and data.entries[1]["start"] == pd.Period("2024-01-01", "D")
    assert data.known == ("feat_dynamic_real_0", "feat_dynamic_real_1")
    assert data.past == ("past_feat_dynamic_real_0",) and data.static_real == (
        "feat_static_real_0",
    )
    assert data.categories == {"feat_static_cat_0": ("0", "1"), "feat_static_cat_1": ("0",)}
    assert [*data.entries[0]] == [
        "item_id",
        "start",
        "stamps",
        "target",
        "feat_dynamic_real",
        "past_feat_dynamic_real",
        "feat_static_cat",
        "feat_static_real",
    ]
    kinds = {
        k: v.dtype for k, v in data.entries[0].items() if k not in ("item_id", "start", "stamps")
    }
    assert kinds.pop("feat_static_cat") == np.int64 and kinds.pop("target") == np.float64
    assert {*kinds.values()} == {np.dtype("float32")}


def test_entries_without_features_and_with_more_channels():
    target = [[1, None, 3], [4, 5, "NaN"]]
    plain = [{"start": "2024-01", "target": target}] * 2
    data = from_gluonts(ListDataset(plain, freq="ME", one_dim_target=False))
    assert data.freq == "M" and [e["item_id"] for e in data.entries] == ["0", "1"]
    entry = data.entries[0]
    assert np.isnan(entry["target"]).tolist() == [[False, True, False], [False, False, True]]
    assert entry["feat_dynamic_real"].shape == entry["past_feat_dynamic_real"].shape == (0, 3)
    assert entry["feat_static_cat"].shape == entry["feat_static_real"].shape == (0,)
    assert (data.known, data.past, data.static_real, data.categories) == ((), (), (), {})
    assert from_gluonts(plain, freq="MS").freq == "M"


BAD_ENTRIES = {
    "none": ([], "D", r"series: expected at least one, got none"),
    "no object": ([3], "D", r"entry 1: expected start, target, features by name, got int '3'"),
    "no start": ([{"target": [1]}], "D", r"start of series '0' \(entry 1\): .* got target; add it"),
    "no target": (
        [{"start": "2024"}],
        "D",
        r"target of series '0' \(entry 1\): .* got start; add it",
    ),
    "a frequency that is none": (entries_of(), "x", r"freq: expected steps .* got 'x'"),
    "no frequency": (
        entries_of(),
        None,
        r"start of series 'i0' \(entry 1\): expected a period, or a frequency, got '2024-01-01'",
    ),
    "an unreadable start": (
        entries_of(start="soon"),
        "D",
        r"start of .*: expected a date, got 'soon'",
    ),
    "a start without time": (
        entries_of(start=pd.NaT),
        "D",
        r"start of .*: expected a date, got NaT",
    ),
    "a number as start": (entries_of(start=2024), "D", r"start of .*: expected a date, got 2024"),
    "two frequencies": (
        entries_of(1) + entries_of(start=pd.Period("2024", "M"), item_id="m"),
        "D",
        r"start of series 'm' \(entry 2\): expected periods of D, got M; give all series one",
    ),
    "text as target": (
        entries_of(1) + entries_of(target=[1, "x"], item_id="x"),
        "D",
        r"target of series 'x' \(entry 2\): expected numbers, or rows of them, got could not",
    ),
    "ragged": (entries_of(target=[[1], [1, 2]]), "D", r"target of .* expected numbers, or rows"),
    "too deep": (entries_of(target=[[[1]]]), "D", r"target of .* rows of them, got 3 dimensions"),
    "an infinite target": (
        entries_of(target=[1, 2, np.inf, 4, 5, 6]),
        "D",
        r"target of series 'i0' \(entry 1\): expected finite numbers, got inf at 2024-01-03; put",
    ),
    "a missing covariate": (
        entries_of(past_feat_dynamic_real=[[1, 2, 3, np.nan, 5, 6]]),
        "D",
        r"past_feat_dynamic_real of .*: expected finite numbers, got nan at 2024-01-04; fill it in",
    ),
    "a missing number": (
        entries_of(feat_static_real=[np.nan]),
        "D",
        r"feat_static_real of .* nan; fill",
    ),
    "a flat covariate": (
        entries_of(feat_dynamic_real=np.ones(6)),
        "D",
        r"feat_dynamic_real of .*: expected rows of numbers, got one number a step; nest",
    ),
    "a future too short": (
        entries_of(feat_dynamic_real=np.ones((2, 5))),
        "D",
        r"feat_dynamic_real of series 'i0' \(entry 1\): expected at least 6 steps, got 5; add them",
    ),
    "a past too long": (
        entries_of(past_feat_dynamic_real=np.ones((1, 7))),
        "D",
        r"past_feat_dynamic_real of series 'i0' \(entry 1\): expected 6 steps, got 7; align them",
    ),
    "half a category": (
        entries_of(feat_static_cat=[0.5]),
        "D",
        r"feat_static_cat of .* \[0.5\]; num",
    ),
    "a feature less": (
        entries_of(1) + entries_of(feat_dynamic_real=None, item_id="x"),
        "D",
        r"series 'x' \(entry 2\): expected 1 channel, 2 feat_dynamic_real, .* as in the first, got "
        r"1 channel, 0 feat_dynamic_real, .*; give all series the same features",
    ),
    "a channel more": (
        entries_of(1) + entries_of(target=np.ones((2, 6)), item_id="x"),
        "D",
        r"series 'x' \(entry 2\): expected 1 channel, .*, got 2 channels, ",
    ),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_bad_entry_is_refused_in_one_line(name):
    entries, freq, pattern = BAD_ENTRIES[name]
    refused(pattern, lambda: from_gluonts(entries, freq))
