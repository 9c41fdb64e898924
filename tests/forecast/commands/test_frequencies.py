"""Every frequency through the commands: the model's own counts, and pandas warns of none."""

import numpy as np
import pandas as pd
import pytest

from paratime import forecast
from paratime.forecast.commands import backtest, fit, plot, predict
from paratime.forecast.gluonts.recipe import Recipe

TIMES = {
    "business days": pd.bdate_range("2024-01-01", periods=45),
    "months": pd.date_range("2018-01-31", periods=40, freq="ME"),
    "quarters": pd.date_range("2010-01-31", periods=40, freq="QE-JAN"),
    "weeks": pd.date_range("2020-01-01", periods=40, freq="W-WED"),
    "two weeks": pd.date_range("2020-01-01", periods=40, freq="2W-WED"),
}


def write(times: pd.DatetimeIndex) -> str:
    target = np.sin(np.arange(len(times)) / 2)
    pd.DataFrame({"item_id": "a", "timestamp": times, "target": target}).to_csv("t.csv")
    return "t.csv"


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("name", TIMES)
def test_a_few_rows_have_the_frequency_of_the_model(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = TIMES[name]
    tiny = Recipe(hidden_size=8, num_layers=1)
    fit.run("model", write(times), prediction_length=3, recipe=tiny, max_steps=1)
    predict.run("model", "whole.csv", "t.csv")
    backtest.run("model", "t.csv", windows=2)
    plot.run("model", "f.png", "t.csv")
    stream = forecast.Forecaster(forecast.load_forecaster("model"))
    stream.observe(forecast.Table("t.csv").read())
    expected = pd.read_csv("whole.csv")["timestamp"].tolist()
    assert stream.predict("a").mean.shape == (3,)
    for rows in (1, 2, 5):
        predict.run("model", "part.csv", write(times[-rows:]))
        assert pd.read_csv("part.csv")["timestamp"].tolist() == expected
    line = '{"item_id": "a", "start": "2024-01-03", "target": [1.0]}\n'
    (tmp_path / "t.jsonl").write_text(line)
    predict.run("model", "part.csv", "t.jsonl")
    assert len(pd.read_csv("part.csv")) == 3
