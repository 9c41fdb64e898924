"""Forecasts to compare with: seasonal naive, GluonTS's predictors, models of statsforecast.

Each function accepts the windows of a backtest and returns a backtest, so all models are tested on
the same values with the same metrics.
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
from paratime.forecast.data.calendar import gluonts_frequency
from paratime.forecast.data.labels import amount
from paratime.forecast.data.rows import Ints
from paratime.forecast.evaluation.backtest import Backtest, with_required
from paratime.forecast.evaluation.metrics import Floats
from paratime.forecast.evaluation.rolling import RollingWindows, differences, mean_until


def seasonal_naive(windows: RollingWindows, levels: Sequence[float] = ()) -> Backtest:
    """Repeat the last season, with normal quantiles.

    With seasons of m steps, the deviation of step h is sigma * sqrt(floor((h - 1) / m) + 1), where
    sigma is the root mean square of the seasonal differences up to the origin (Hyndman and
    Athanasopoulos, Forecasting: Principles and Practice, 5.5).

    A value that is missing in the last season comes from the season before. If the history is
    shorter than a season, the forecast is the mean of the observed values, as in GluonTS, and sigma
    is that of the differences of neighbours. If nothing was observed, the forecast is 0.

    Args:
        windows: Windows to forecast.
        levels: Levels of quantiles, in addition to those of the metrics.
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
    return Backtest(windows, levels=levels, quantiles=quantiles, mean=mean)


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
    windows: RollingWindows, predictor: Predictor, levels: Sequence[float] = ()
) -> Backtest:
    """Forecast with a GluonTS predictor, such as a trained DeepAR.

    Args:
        windows: Windows to forecast.
        predictor: The predictor; its input ends at the origin of each window.
        levels: Levels of quantiles, in addition to those of the metrics.

    Raises:
        InputError: The predictor has another horizon.
    """
    length, given = windows.prediction_length, predictor.prediction_length
    if given != length:
        raise InputError(
            "prediction_length of the predictor", str(length), str(given), "make one with the first"
        )
    levels, shape = with_required(levels), windows.target.shape[1:]
    quantiles, means = [], []
    for forecast in predictor.predict([windows.until_origin(i) for i in range(len(windows))]):
        found = [np.reshape(forecast.quantile(level), shape) for level in levels]
        quantiles.append(np.stack(found, axis=-1))
        means.append(np.reshape(forecast.mean, shape))
    return Backtest(windows, levels=levels, quantiles=np.stack(quantiles), mean=np.stack(means))


def deepar(windows: RollingWindows, levels: Sequence[float] = ()) -> Backtest:
    """Forecast with GluonTS's DeepAR at its defaults, trained on the steps before all windows."""
    data = windows.collection
    earlier = [windows.until_origin(i) for i in windows.firsts]
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        estimator = DeepAREstimator(
            gluonts_frequency(data.freq),
            windows.prediction_length,
            num_feat_dynamic_real=len(data.known),
            trainer_kwargs={"logger": False, "default_root_dir": folder},
        )
        return from_predictor(windows, estimator.train(earlier), levels)


def statistical(
    windows: RollingWindows, model: str = "AutoETS", levels: Sequence[float] = ()
) -> Backtest:
    """Forecast with a model of the package ``statsforecast``, fitted again at every origin.

    Channels are forecast one by one. Missing values of a history are interpolated, as these models
    accept none. If a history is too short for the model, seasonal naive replaces its forecast, and
    a warning reports how often. (``gluonts.ext.statsforecast`` does none of this, supports fewer
    models, and rounds intervals to whole percents.)

    Args:
        windows: Windows to forecast.
        model: Name of the model, such as ``AutoETS`` or ``AutoTheta``.
        levels: Levels of quantiles, in addition to those of the metrics.

    Raises:
        InputError: The package is not installed, or lacks the model.
    """
    kind, levels = _statsforecast(model), with_required(levels)
    instead = seasonal_naive(windows, levels)
    quantiles, mean = instead.quantiles.copy(), instead.mean.copy()
    season, length = windows.collection.seasonality, windows.prediction_length
    fit = _Fit(kind, season=season, length=length, levels=levels)
    failed = 0
    for window, channel in tqdm([*np.ndindex(mean.shape[0], mean.shape[2])], desc=model):
        found = fit(windows.values(window)[: windows.origin[window] + 1, channel])
        failed += found is None
        if found is not None:
            mean[window, :, channel], quantiles[window, :, channel] = found
    if failed:
        text = f"{model} failed on {failed} of {amount(len(windows), 'window')}"
        text += "; seasonal naive stands in"
        warnings.warn(text, stacklevel=2)
    return Backtest(windows, levels=levels, quantiles=quantiles, mean=mean)


@dataclass(frozen=True)
class _Fit:
    """Fits a model to a history (T,), and forecasts its mean (H,) and quantiles (H, levels)."""

    kind: Callable[..., Any]
    season: int
    length: int
    levels: tuple[float, ...]

    def __call__(self, history: Floats) -> tuple[Floats, Floats] | None:
        """Return mean and quantiles, or None if the model cannot be fitted."""
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


def chosen_baselines(names: Sequence[str]) -> dict[str, Callable[[RollingWindows], Backtest]]:
    """Return baselines by name, seasonal naive first, once their packages are found.

    Raises:
        InputError: A name is unknown, or a package is not installed.
    """
    for name in names:
        if name not in BASELINES:
            raise InputError("baselines", ", ".join(BASELINES), repr(name), "choose among them")
    wanted = dict.fromkeys(["seasonal_naive", *names])
    if any(name.startswith("auto_") for name in wanted):
        _statsforecast("AutoETS")
    return {name: BASELINES[name] for name in wanted}


def _statsforecast(model: str) -> Callable[..., Any]:
    try:
        kinds = importlib.import_module("statsforecast.models")
    except ImportError:
        raise InputError(
            "statsforecast", "the package", "none installed", "pip install statsforecast"
        ) from None
    if not hasattr(kinds, model):
        raise InputError(
            "model", "a model of statsforecast, such as AutoETS", repr(model), "choose one of them"
        )
    return getattr(kinds, model)


BASELINES: dict[str, Callable[[RollingWindows], Backtest]] = {
    "seasonal_naive": seasonal_naive,
    "auto_ets": partial(statistical, model="AutoETS"),
    "auto_theta": partial(statistical, model="AutoTheta"),
    "deepar": deepar,
}
"""By their names on the command line."""
