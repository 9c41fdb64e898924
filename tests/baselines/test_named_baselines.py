"""Baselines on the command line, by name, in every slice."""

import pandas as pd
import pytest

NAMES = (*("Attention", "Mamba", "Mamba2", "Mamba3", "MinGRU", "MinLSTM", "TorchGRU", "TorchLSTM"),)
SLICES = {
    "language": (
        *("--model", "LanguageTask", "--data", "TokenData", "--data.source", "TextFiles"),
        *("--data.source.paths", "[text.txt]", "--data.context_length", 32),
    ),
    "forecast": (
        *("--model", "ForecastTask", "--data", "SeriesData", "--data.source", "Table"),
        *("--data.source.path", "sales.csv", "--data.prediction_length", 4),
    ),
    "world": (
        *("--model", "DynamicsTask", "--data", "TrajectoryData", "--data.source", "Gym"),
        *("--data.source.environment", "CartPole-v1", "--data.source.episodes", 8),
        *("--data.sequence_length", 16),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("baselines")
    (made / "text.txt").write_text("so much depends upon a red wheelbarrow. " * 100)
    day = pd.date_range("2024-01-01", periods=60).repeat(2)
    rows = {"item_id": ["a", "b"] * 60, "timestamp": day, "target": range(120)}
    pd.DataFrame(rows).to_csv(made / "sales.csv", index=False)
    return made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", SLICES)
def test_fit(kind, name, folder, paratime, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PARATIME_CACHE", str(folder / "cache"))
    encoder = (
        "--model.encoder.width",
        8,
        "--model.encoder.depth",
        1,
        "--model.encoder.mlp_size",
        8,
    )
    options = (*SLICES[kind], *encoder, "--trainer.fast_dev_run", 1, "--trainer.logger", "false")
    status, out, err = paratime("fit", *options, "--model.encoder.mixer", name)
    assert status == 0, err
    assert "val/loss" in out


def test_the_forecast_command_knows_them(folder, paratime, monkeypatch):
    monkeypatch.chdir(folder)
    fit = ("forecast", "fit", "--data", "sales.csv", "--prediction_length", 4, "--max_steps", 1)
    recipe = ("--recipe.hidden_size", 8, "--recipe.num_layers", 1, "--recipe.mixer", "TorchGRU")
    status, _, err = paratime(*fit, *recipe, "--out", "model")
    assert status == 0, err


def test_their_options_are_named_too(folder, paratime, monkeypatch):
    monkeypatch.chdir(folder)
    options = (*SLICES["language"], "--model.encoder.depth", 1, "--trainer.fast_dev_run", 1)
    chosen = (*options, "--model.encoder.mixer", "Attention", "--model.encoder.mixer.window")
    status, _, err = paratime("fit", *chosen, 16, "--model.encoder.width", 8)
    assert status == 0, err
    status, _, err = paratime("fit", *chosen, 0, "--model.encoder.width", 8)
    assert status == 2 and "window: expected at least 1, got 0; leave it out" in err
