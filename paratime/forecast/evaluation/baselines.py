"""Forecasts to compare with: seasonal naive, any predictor of GluonTS, models of statsforecast.

Each takes the windows of a backtest and returns one, so that all models are tested on the same
values by the same metrics.
"""

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from gluonts.model.predictor import Predictor
from gluonts.torch.model.deepar import DeepAREstimator
from tqdm import tqdm

from paratime.errors import InputError
from paratime.forecast.evaluation.backtest import Backtest, with_required
from paratime.forecast.evaluation.rolling import Floats, Ints, Windows, differences, mean_until


def seasonal_naive(windows: Windows, levels: Sequence[float] = ()) -> Backtest:
    """Forecast the last season again, with normal quantiles.

    The deviation of step h is sigma * sqrt(floor((h - 1) / m) + 1), for seasons of m steps, where
    sigma is the root mean square of the differences from a season before, up to the origin
    (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.5).

    A value that is missing in the last season is taken from the season before. With a history
    shorter than a season the forecast is the mean of what was observed, as in GluonTS, and sigma is
    of differences of neighbours. Where nothing was observed the forecast is 0.

    Args:
        windows: Where to forecast.
        levels: Levels of quantiles, besides those that the metrics need.
    """
    season, levels = windows.collection.seasonality, with_required(levels)
    h = np.arange(windows.prediction_length)
    parts = [
        (_repeated(y, origin, season, h), _deviation(y, origin, season))
        for y, origin in windows.by_series()
    ]
    mean, sigma = (np.concatenate(x) for x in zip(*parts, strict=True))
    spread = sigma[:, None] * np.sqrt(h // season + 1)[:, None]
    quantiles = mean[..., None] + spread[..., None] * [NormalDist().inv_cdf(x) for x in levels]
    return Backtest(windows, levels, quantiles, mean)


def _repeated(values: Floats, origin: Ints, season: int, h: Ints) -> Floats:
    """Return the last season before each origin (W,), for steps h (H,), as (W, H, C)."""
    steps, channels = values.shape
    seasons = np.full((-(-steps // season) * season, channels), np.nan)
    seasons[:steps] = values
    cycles = seasons.reshape(-1, season, channels)
    last = np.where(np.isnan(cycles), -1, np.arange(len(cycles))[:, None, None])
    last = np.maximum.accumulate(last, axis=0)
    filled = np.take_along_axis(cycles, last.clip(0), axis=0)
    filled = np.where(last < 0, np.nan, filled).reshape(-1, channels)
    place = origin[:, None] + 1 + h % season - season
    whole = (origin + 1 >= season)[:, None, None]
    known = np.where(whole, filled[place.clip(0)], np.nan)
    average = np.nan_to_num(mean_until(values, origin + 1))[:, None]
    return np.where(np.isnan(known), average, known)


def _deviation(values: Floats, origin: Ints, season: int) -> Floats:
    """Return sigma (W, C) at each origin (W,)."""
    seasonal, neighbours = (
        mean_until(differences(values, m) ** 2, origin + 1 - m) for m in (season, 1)
    )
    return np.sqrt(np.nan_to_num(np.where(np.isnan(seasonal), neighbours, seasonal)))


def from_predictor(
    windows: Windows, predictor: Predictor, levels: Sequence[float] = ()
) -> Backtest:
    """Forecast with a predictor of GluonTS, such as a trained DeepAR.

    Args:
        windows: Where to forecast.
        predictor: What forecasts; it gets each series as it was at the origin.
        levels: Levels of quantiles, besides those that the metrics need.

    Raises:
        InputError: Its horizon is another one.
    """
    length, given = windows.prediction_length, predictor.prediction_length
    if given != length:
        remedy = "make the predictor with that prediction_length"
        raise InputError("prediction_length of the predictor", str(length), str(given), remedy)
    levels, shape = with_required(levels), windows.target.shape[1:]
    quantiles, means = [], []
    for forecast in predictor.predict([windows.until_origin(i) for i in range(len(windows))]):
        found = [np.reshape(forecast.quantile(level), shape) for level in levels]
        quantiles.append(np.stack(found, axis=-1))
        means.append(np.reshape(forecast.mean, shape))
    return Backtest(windows, levels, np.stack(quantiles), np.stack(means))


def deepar(windows: Windows, levels: Sequence[float] = ()) -> Backtest:
    """Forecast with GluonTS's DeepAR at its defaults, trained on what precedes all windows."""
    data = windows.collection
    earlier = [windows.until_origin(i) for i in windows.firsts]
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        estimator = DeepAREstimator(
            data.freq,
            windows.prediction_length,
            num_feat_dynamic_real=len(data.known),
            trainer_kwargs={"logger": False, "default_root_dir": folder},
        )
        return from_predictor(windows, estimator.train(earlier), levels)


def statistical(windows: Windows, model: str = "AutoETS", levels: Sequence[float] = ()) -> Backtest:
    """Forecast with a model of the package ``statsforecast``, fitted anew at every origin.

    Channels are forecast one by one. Missing values of a history are interpolated, as these models
    know none. Where a history is too short for the model, its forecast is the seasonal naive one,
    and a warning says how often that was.

    Args:
        windows: Where to forecast.
        model: Its name there, such as ``AutoETS`` or ``AutoTheta``.
        levels: Levels of quantiles, besides those that the metrics need.

    Raises:
        InputError: The package is not installed, or has no such model.
    """
    kind, levels = _statsforecast(model), with_required(levels)
    instead = seasonal_naive(windows, levels)
    quantiles, mean = instead.quantiles.copy(), instead.mean.copy()
    fit = _Fit(kind, windows.collection.seasonality, windows.prediction_length, levels)
    failed = 0
    for window, channel in tqdm([*np.ndindex(mean.shape[0], mean.shape[2])], desc=model):
        found = fit(windows.values(window)[: windows.origin[window] + 1, channel])
        failed += found is None
        if found is not None:
            mean[window, :, channel], quantiles[window, :, channel] = found
    if failed:
        told = f"{model} failed on {failed} of {len(windows)} windows; seasonal naive stands in"
        warnings.warn(told, stacklevel=2)
    return Backtest(windows, levels, quantiles, mean)


@dataclass(frozen=True)
class _Fit:
    """Fits a model to a history (T,), and forecasts mean (H,) and quantiles (H, levels)."""

    kind: Callable[..., Any]
    season: int
    length: int
    levels: tuple[float, ...]

    def __call__(self, history: Floats) -> tuple[Floats, Floats] | None:
        """Return None where the model cannot be fitted."""
        known = np.flatnonzero(~np.isnan(history))
        if not len(known):
            return None
        y = np.interp(np.arange(len(history)), known, history[known].astype(np.float64))
        widths = [round(100 * abs(1 - 2 * level), 6) for level in self.levels]
        wanted = sorted({width for width in widths if width})
        model = self.kind(season_length=self.season)
        try:
            found = model.forecast(y, self.length, level=wanted)
        except Exception:  # the package raises many kinds, Exception itself among them
            return None
        names = [
            f"{'lo' if level < 0.5 else 'hi'}-{width}" if width else "mean"
            for level, width in zip(self.levels, widths, strict=True)
        ]
        quantiles = np.stack([found[name] for name in names], axis=-1)
        return (found["mean"], quantiles) if np.isfinite(quantiles).all() else None


def _statsforecast(model: str) -> Callable[..., Any]:
    try:
        kinds = importlib.import_module("statsforecast.models")
    except ImportError:
        expected, remedy = "the package statsforecast", "pip install statsforecast"
        raise InputError("statsforecast", expected, "none installed", remedy) from None
    if not hasattr(kinds, model):
        expected = "a model of statsforecast, such as AutoETS"
        raise InputError("model", expected, repr(model), "choose one of them")
    return getattr(kinds, model)


BASELINES: dict[str, Callable[[Windows], Backtest]] = {
    "seasonal_naive": seasonal_naive,
    "auto_ets": partial(statistical, model="AutoETS"),
    "auto_theta": partial(statistical, model="AutoTheta"),
    "deepar": deepar,
}
"""By the names that the command line takes."""
