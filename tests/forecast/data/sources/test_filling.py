"""Covariates that are missing."""

import numpy as np
import pandas as pd
import pytest
from forecast.tables import frame_of, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.forecast.data.sources.filling import fill_gaps
from paratime.forecast.data.sources.table import Table, read_table


@pytest.mark.parametrize(
    ("fill", "expected"),
    (("forward", [1, 1, 1, 4, 4]), ("interpolate", [1, 2, 3, 4, 4]), (0.5, [1, 0.5, 0.5, 4, 0.5])),
)
@pytest.mark.parametrize("role", ("known", "past"))
@pytest.mark.parametrize("rows", (True, False), ids=("empty", "no row"))
def test_a_gap_is_filled_if_asked(fill, expected, role, rows, tmp_path):
    frame = frame_of(steps=5, items=("a",))[["item_id", "timestamp", "target", "price"]]
    frame["price"] = [1, np.nan, np.nan, 4, np.nan]
    frame = frame if rows else frame.drop([1, 2])
    data = read_table(frame, **{role: ["price"]}, fill=fill)
    key = {"known": "feat_dynamic_real", "past": "past_feat_dynamic_real"}[role]
    assert data.entries[0][key].tolist() == [expected]
    assert np.isnan(data.entries[0]["target"]).sum() == (0 if rows else 2)
    frame.to_csv(tmp_path / "x.csv", index=False)
    source = Table(str(tmp_path / "x.csv"), **{role: ("price",)}, fill=fill)
    assert source.read().entries[0][key].tolist() == [expected]
    refused("price in series 'a'.*give fill: forw", lambda: read_table(frame, known=["price"]))


def test_known_covariates_ahead_are_filled_in_each_series():
    frame = frame_of(steps=6, items=("a", "b"))[["item_id", "timestamp", "target", "price"]]
    step = frame.groupby("item_id").cumcount()
    frame.loc[step >= 4, "target"] = np.nan
    frame["price"] = step.where(step.isin([0, 4]))
    entries = read_table(frame, known=["price"], fill="forward").entries
    assert entries[0]["feat_dynamic_real"].tolist() == [[0, 0, 0, 0, 4, 4]]
    assert entries[1]["feat_dynamic_real"].tolist() == [[0, 0, 0, 0, 4, 4, 4]]


def test_what_no_value_fills_names_another_way():
    frame = frame_of(steps=5, items=("a",))[["item_id", "timestamp", "target", "price"]]
    frame.loc[0, "price"] = np.nan
    refused(
        "price in series 'a' at .*row 1 .*give another fill: interpolate or a number",
        lambda: read_table(frame, past=["price"], fill="forward"),
    )
    frame["price"] = np.nan
    refused("fill: a number", lambda: read_table(frame, past=["price"], fill="interpolate"))
    for fill in ("linear", np.nan, np.inf):
        refused("fill: expected forward, interpolate", lambda f=fill: read_table(frame, fill=f))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(values=st.lists(st.none() | st.floats(-9, 9, width=32), min_size=1, max_size=12))
def test_ways_agree_with_pandas(values):
    row = np.array([[np.nan if x is None else x for x in values]], dtype=np.float32)
    forward, straight, zero = (fill_gaps(row, way) for way in ("forward", "interpolate", 0))
    known = ~np.isnan(row)
    for filled in (forward, straight, zero):
        assert filled.dtype == np.float32 and (filled[known] == row[known]).all()
    assert np.isfinite(zero).all() and np.isnan(straight).any() == (not known.any())
    np.testing.assert_array_equal(forward[0], pd.Series(row[0]).ffill())
