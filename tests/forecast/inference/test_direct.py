"""Forecasts from the ends of tables that are not like the table of the training."""

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.streams import H, model
from forecast.tables import frame_of, refused

from paratime.forecast.commands.predict import to_frame
from paratime.forecast.data.sources.table import Table, read_table
from paratime.forecast.data.summary import summarize
from paratime.forecast.evaluation.backtest import backtest
from paratime.forecast.evaluation.rolling import with_future
from paratime.forecast.inference.direct import forecast


@pytest.mark.parametrize("freq", ("D", "B", "W-MON", "ME"))
def test_a_new_item_is_forecast_with_the_others(freq):
    frame = frame_of(freq, 20)
    ahead = frame.groupby("item_id").tail(H)
    frame.loc[ahead.index, ["target", "count"]] = np.nan
    last = frame.tail(H)
    new = last.assign(item_id="new", kind="unknown")
    columns = {"known": ["price"], "past": ["count"], "static_cat": ["kind"]}
    task = model(read_table(frame, **columns), torch.float32)
    data = read_table(pd.concat([frame, new]), **columns)
    table = to_frame(forecast(task, data), data)
    assert np.isfinite(table["mean"]).all() and "0 to" in summarize(data)
    made = table.merge(pd.concat([ahead, new])[["item_id", "timestamp"]])
    assert len(made) == len(table) == 4 * H
    assert len(backtest(task, with_future(data, H), windows=1).windows) == 3


SHORT = {
    "one row": ("B", 1),
    "a business week": ("B", 5),
    "one day": ("D", 1),
    "one hour": ("h", 1),
    "one month end": ("ME", 1),
    "two weeks": ("W-SUN", 2),
}


@pytest.mark.parametrize("name", SHORT)
def test_the_frequency_is_that_of_the_model(name, tmp_path):
    freq, rows = SHORT[name]
    first = pd.Timestamp("2024-01-01")
    time = pd.date_range(first, periods=rows + H, freq=freq)
    task = model(read_table(frame_of(freq, 20)), torch.float32)
    frame = pd.DataFrame({"item_id": "a", "timestamp": time[:rows], "target": 1.0})
    frame.to_csv(tmp_path / "data.csv", index=False)
    data = Table(str(tmp_path / "data.csv")).at(task.spec.freq).read()
    table = to_frame(forecast(task, data), data)
    assert table["timestamp"].tolist() == time[rows:].tolist()


def test_another_frequency_is_still_refused(tmp_path):
    frame_of("h", 20).to_csv(tmp_path / "data.csv", index=False)
    refused("steps of D", Table(str(tmp_path / "data.csv")).at("D").read)
    frame_of("D", 20).to_csv(tmp_path / "data.csv", index=False)
    refused("steps of h in all series", Table(str(tmp_path / "data.csv")).at("h").read)
