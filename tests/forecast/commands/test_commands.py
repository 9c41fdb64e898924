"""``paratime forecast``: from a table to forecasts, and mistakes in one line."""

import re
import sys
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from forecast.tables import frame_of
from gluonts.model.forecast import QuantileForecast
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.utilities.exceptions import SIGTERMException

from paratime.forecast.commands.predict import to_frame, write_table
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.table import read_table


@pytest.fixture
def table(tmp_path):
    frame_of(steps=60).to_csv(tmp_path / "sales.csv", index=False)
    return tmp_path / "sales.csv"


def test_from_a_table_to_forecasts(paratime, table, tmp_path):
    status, out, _ = paratime("forecast", "data", "--data", table)
    assert status == 0 and "series               3" in out and "D, a season of 7 steps" in out
    assert "columns not used     second, price, count, " in out
    model, small = tmp_path / "model", ("--recipe.hidden_size", 8, "--recipe.num_layers", 1)
    fit = ("forecast", "fit", "--data", table, "--out", model, "--max_steps", 3)
    status, out, err = paratime(*fit, "--prediction_length", 5, *small)
    assert status == 0, err
    for name, read in (("f.csv", pd.read_csv), ("deep/f.parquet", pd.read_parquet)):
        predict = ("forecast", "predict", "--model", model, "--data", table)
        status, out, err = paratime(*predict, "--out", tmp_path / name, "--levels", "[0.1,0.5]")
        assert status == 0, err
        found = read(tmp_path / name)
        assert [*found] == ["item_id", "timestamp", "mean", "0.1", "0.5"]
        assert len(found) == 15 and (found["0.1"] <= found["0.5"]).all()
        first = pd.to_datetime(found["timestamp"])[0]
        assert first == pd.Timestamp("2024-02-20") + pd.Timedelta(days=60)
    assert not [*tmp_path.rglob(".*.paratime-*")]


def test_a_checkpoint_of_the_lightning_command_forecasts_too(paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = frame_of(freq="MS", steps=60)[["item_id", "timestamp", "target"]]
    frame.to_csv("sales.csv", index=False)
    config = [
        *("--model", "ForecastTask", "--model.encoder.width", 8, "--model.encoder.depth", 1),
        *("--data", "SeriesData", "--data.source", "Table", "--data.source.path", "sales.csv"),
        *("--data.prediction_length", 4, "--trainer.max_steps", 2),
        *("--trainer.default_root_dir", tmp_path, "--trainer.logger", "false"),
    ]
    status, _, err = paratime("fit", *config)
    assert status == 0, err
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    predict = ("forecast", "predict", "--model", checkpoint, "--data", "sales.csv")
    status, _, err = paratime(*predict, "--out", "f.csv")
    assert status == 0, err
    assert len(pd.read_csv("f.csv")) == 12


def test_a_run_that_ends_before_its_validation_leaves_a_checkpoint(paratime, table, tmp_path):
    config = [
        *("--model", "ForecastTask", "--model.encoder.width", 8, "--model.encoder.depth", 1),
        *("--data", "SeriesData", "--data.source", "Table", "--data.source.path", table),
        *("--data.prediction_length", 4, "--trainer.max_steps", 2, "--trainer.logger", "false"),
        *("--trainer.val_check_interval", 9, "--trainer.check_val_every_n_epoch", "null"),
        *("--trainer.default_root_dir", tmp_path),
    ]
    status, out, err = paratime("fit", *config)
    assert status == 0, err
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert re.search(rf"^checkpoint +{checkpoint}$", out, re.MULTILINE)


def test_the_checkpoint_inside_a_forecaster_names_its_folder(paratime, table, tmp_path):
    small = ("--recipe.hidden_size", 8, "--recipe.num_layers", 1, "--max_steps", 50)
    fit = ("forecast", "fit", "--data", table, "--out", tmp_path / "m", "--prediction_length", 5)
    status, _, err = paratime(*fit, *small)
    assert status == 0, err
    last = tmp_path / "m" / "checkpoints" / "last.ckpt"
    predict = ("forecast", "predict", "--data", table, "--out", tmp_path / "f.csv")
    status, _, err = paratime(*predict, "--model", last)
    assert status == 2 and "name the folder that it is in" in err and err.count("\n") == 1


def test_a_terminated_run_says_so(paratime, table, tmp_path, monkeypatch):
    def terminated(*_, **__):
        raise SIGTERMException

    monkeypatch.setattr("paratime.forecast.gluonts.estimator.ParaRNNEstimator.train_on", terminated)
    fit = ("forecast", "fit", "--data", table, "--out", tmp_path / "m", "--prediction_length", 5)
    status, _, err = paratime(*fit)
    assert status == 143 and err == "paratime: terminated before the end\n"


def test_resuming_a_run(paratime, table, tmp_path):
    fit = ("forecast", "fit", "--data", table, "--out", tmp_path / "m", "--prediction_length", 5)
    status, _, err = paratime(*fit, "--resume", "true")
    assert status == 2 and "resume: expected checkpoints/last.ckpt" in err
    small = ("--recipe.hidden_size", 8, "--recipe.num_layers", 1, "--max_steps", 50)
    assert paratime(*fit, *small)[0] == 0
    status, _, err = paratime(*fit, *small, "--resume", "true", "--batch_size", 3)
    assert status == 2 and "batch_size: expected 32, as in" in err and err.count("\n") == 1
    status, _, err = paratime(*fit, *small)
    assert status == 2 and "out: expected a folder without a run, got predictor.json" in err
    assert paratime(*fit, *small, "--overwrite", "true")[0] == 0
    assert len([*tmp_path.rglob("events.*")]) == 2, (
        "of a trial and a training, not of the run before"
    )


MISTAKES = {
    "no data": (("data",), "data: expected a path, or a source instead, got neither"),
    "both": (
        ("data", "--data", "x.csv", "--source", "TsData", "--source.name", "vic_elec"),
        "data: expected a path, or a source instead, got both",
    ),
    "no file": (("data", "--data", "nowhere.csv"), "nowhere.csv"),
    "no horizon": (("fit", "--data", "{table}", "--out", "m"), "prediction_length: expected at"),
    "no model": (
        ("predict", "--model", "m", "--data", "{table}", "--out", "f.csv"),
        "expected a forecaster",
    ),
    "format": (("predict", "--model", "m", "--data", "{table}", "--out", "f.txt"), ".csv or"),
    "levels": (
        ("predict", "--model", "m", "--data", "{table}", "--out", "f.csv", "--levels", "[1.5]"),
        "levels: expected different numbers between 0 and 1",
    ),
    "no levels": (
        ("predict", "--model", "m", "--data", "{table}", "--out", "f.csv", "--levels", "high,low"),
        "levels: Expected a float. Got value: high",
    ),
    "steps": (
        ("fit", "--data", "{table}", "--out", "m", "--prediction_length", "5", "--max_steps", "0"),
        "max_steps: expected at least 1, got 0",
    ),
    "held out": (
        ("fit", "--data", "{table}", "--out", "m", "--prediction_length", "5", "--held_out", "-1"),
        "held_out: expected at least 0, got -1",
    ),
    "a file for a folder": (
        ("fit", "--data", "{table}", "--out", "{table}", "--prediction_length", "5"),
        "sales.csv",
    ),
    "no steps": (
        ("fit", "--data", "{table}", "--out", "m", "--prediction_length", "0"),
        "prediction_length: expected at least 1, got 0",
    ),
    "source": (("data", "--source", "TsDatta"), "nearest: TsData"),
    "no brackets": (
        ("data", "--source", "Table", "--source.path", "x.csv", "--source.known", "promo"),
        "x.csv: expected a file, folder or pattern, got none there",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_one_line(name, paratime, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[name]
    status, _, err = paratime("forecast", *(x.format(table=table) for x in arguments))
    assert status == 2 and expected in err and err.count("\n") == 1


def test_tables_of_several_channels(tmp_path):
    start, keys = pd.Period("2024-01", "M"), ["0.5", "mean"]
    joint = QuantileForecast(pd.Series(range(12)).to_numpy().reshape(2, 3, 2), start, keys, "a")
    entry = {"item_id": "a", "start": start - 3, "target": np.zeros((2, 3))}
    table = to_frame([joint], Collection("M", [entry], channels=("rain", "wind")))
    assert [*table] == ["item_id", "channel", "timestamp", "mean", "0.5"]
    assert table["0.5"].tolist() == [0, 2, 4, 1, 3, 5]
    assert table["channel"].tolist() == 3 * ["rain"] + 3 * ["wind"]
    write_table(table, str(tmp_path / "f.csv"))
    assert pd.read_csv(tmp_path / "f.csv")["mean"].tolist() == table["mean"].tolist()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(level=st.floats(-1e12, 1e12), spread=st.floats(1e-3, 1e6), rows=st.integers(1, 5))
def test_tables_resolve_intervals_at_any_level(level, spread, rows):
    quantiles = level + spread * np.linspace(-1, 1, 5)
    table = pd.DataFrame(np.tile(quantiles, (rows, 1)), columns=[*"12345"]).assign(item_id="a")
    with TemporaryDirectory() as folder:
        write_table(table, f"{folder}/f.csv")
        found = pd.read_csv(f"{folder}/f.csv")[[*"12345"]].to_numpy()
    rounding = 1e-14 * (abs(level) + spread)  # 15 digits
    np.testing.assert_allclose(found - quantiles, 0, atol=1e-5 * spread + rounding)


@pytest.mark.parametrize("quantiles", ([3.0, 3.0], [0.0, 0.0], [1e9, 1e9], [np.nan, np.nan]))
def test_tables_of_forecasts_without_an_interval(quantiles, tmp_path):
    write_table(pd.DataFrame([quantiles], columns=[*"12"]), str(tmp_path / "f.csv"))
    found = pd.read_csv(tmp_path / "f.csv").to_numpy()[0]
    assert np.array_equal(found, quantiles, equal_nan=True)


@pytest.mark.parametrize("suffix", ("csv", "parquet"))
@pytest.mark.parametrize("zones", (("+05:30", "+05:30"), ("Europe/Berlin",) * 2, ("UTC", "+02:00")))
def test_tables_of_forecasts_join_the_rows_that_come_later(zones, suffix, tmp_path):
    rows = {
        name: [f"{t}" for t in pd.date_range("2024-03-30", periods=40, freq="h", tz=zone)]
        for name, zone in zip("ab", zones, strict=True)
    }
    frame = pd.DataFrame({"item_id": [*rows], "timestamp": [*rows.values()]}).explode("timestamp")
    data = read_table(frame.assign(target=1.0).groupby("item_id").head(34))
    found = [
        QuantileForecast(np.ones((2, 6)), e["start"] + 34, ["0.5", "mean"], e["item_id"])
        for e in data.entries
    ]
    write_table(to_frame(found, data), str(tmp_path / f"f.{suffix}"))
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    table = read(tmp_path / f"f.{suffix}")
    made, truth = (
        x.assign(timestamp=pd.to_datetime(x["timestamp"], utc=True)) for x in (table, frame)
    )
    assert len(made.merge(truth.groupby("item_id").tail(6), on=["item_id", "timestamp"])) == 12
    if suffix == "csv" and len({*zones}) == 1:
        assert table["timestamp"].tolist() == [*rows["a"][34:], *rows["b"][34:]]


def test_scores_and_pictures(paratime, table, tmp_path):
    model, small = tmp_path / "model", ("--recipe.hidden_size", 8, "--recipe.num_layers", 1)
    fit = ("forecast", "fit", "--data", table, "--out", model, "--max_steps", 3, *small)
    status, _, err = paratime(*fit, "--prediction_length", 5, "--held_out", 2)
    assert status == 0, err
    about = ("--model", model, "--data", table)
    status, out, err = paratime("forecast", "backtest", *about, "--windows", 2, "--out", tmp_path)
    assert status == 0, err
    rows = out.splitlines()
    assert rows[3] == "6 windows of 3 series"
    assert rows[0].split()[:3] == ["model", "mean_wQL", "MASE"]
    assert [row.split()[0] for row in rows[1:3]] == ["paratime", "seasonal_naive"]
    assert "training held out" not in out
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert len(pd.read_csv(tmp_path / "series.csv")) == 6
    status, out, _ = paratime("forecast", "backtest", *about, "--windows", 3)
    assert status == 0 and "held out 10; if these" in out and "--held_out 3" in out
    status, out, _ = paratime("forecast", "backtest", *about, "--windows", 3, "--out", tmp_path)
    assert status == 0 and "held out 10; if these" in (tmp_path / "report.html").read_text()
    plot = ("forecast", "plot", *about, "--out", tmp_path / "f.svg", "--items")
    status, _, err = paratime(*plot, "[b]")
    assert status == 0, err
    assert "<svg" in (tmp_path / "f.svg").read_text()
    status, _, err = paratime(*plot, "[x]")
    assert status == 2 and "items: expected names of series" in err
    status, _, err = paratime("forecast", "backtest", *about, "--baselines", "prophet")
    assert status == 2 and "seasonal_naive, auto_ets" in err


def test_what_is_left_out_is_said(paratime, tmp_path):
    table, new = tmp_path / "sales.csv", tmp_path / "new.csv"
    about = ("--model", tmp_path / "m", "--data", new)
    frame_of(steps=60).to_csv(table, index=False)
    known = frame_of(steps=30, items=[*map(str, range(14))])[["item_id", "timestamp", "target"]]
    short = known[known["item_id"] != "3"].copy()
    short = pd.concat([short, known[known["item_id"] == "3"][:4]])
    short.to_csv(new, index=False)
    small = ("--recipe.hidden_size", 8, "--recipe.num_layers", 1, "--max_steps", 2, "--season", 3)
    fit = ("forecast", "fit", "--data", table, "--out", tmp_path / "m", "--prediction_length", 5)
    status, out, err = paratime(*fit, *small)
    assert status == 0 and "D, a season of 3 steps" in out, err
    status, out, err = paratime("forecast", "backtest", *about, "--out", tmp_path)
    scope = "13 windows of 13 series, without 1 series of at most 5 steps (3)"
    assert status == 0 and scope in out, err
    report = (tmp_path / "report.html").read_text()
    assert scope in report and "season 3." in report and ", by MASE.</p>" in report
    status, out, _ = paratime("forecast", "plot", *about, "--out", tmp_path / "f.svg")
    assert status == 0 and "note: drew the first 12 of 14 forecasts; see --items" in out
    status, out, _ = paratime("forecast", "plot", *about, "--out", tmp_path / "f.svg", "--items", 7)
    assert status == 0 and "note" not in out


def test_a_missing_package_is_said_before_any_work(paratime, monkeypatch, tmp_path):
    about = ("--model", tmp_path / "none", "--data", "none.csv")
    commands = {
        "statsforecast": ("backtest", *about, "--baselines", "auto_ets,auto_theta"),
        "pyarrow": ("predict", *about, "--out", "f.parquet"),
        "matplotlib": ("plot", *about, "--out", "f.png"),
    }
    for package, command in commands.items():
        for name in [x for x in sys.modules if x.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        status, _, err = paratime("forecast", *command)
        assert status == 2 and f"pip install {package}" in err and err.count("\n") == 1, err


def test_no_picture_without_the_covariates_of_the_future(paratime, table, tmp_path):
    known = ("--source", "Table", "--source.path", table, "--source.known", "[price]")
    small = ("--recipe.hidden_size", 8, "--recipe.num_layers", 1, "--max_steps", 2)
    model = tmp_path / "m"
    fit = ("forecast", "fit", *known, "--out", model, "--prediction_length", 5, *small)
    status, _, err = paratime(*fit)
    assert status == 0, err
    status, _, err = paratime("forecast", "plot", "--model", model, *known, "--out", "f.png")
    assert status == 2 and "known covariates of series 'a'" in err
