"""The models of the comparison: each trains on a dataset and returns a function that predicts."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import statsforecast.models
import torch
from gluonts.model.forecast import Forecast, QuantileForecast
from gluonts.torch.model.deepar import DeepAREstimator
from torch import Tensor, nn
from tqdm import tqdm

from paratime import ParaGRU, ParaLSTM
from paratime.forecast.calendar import quiet
from paratime.forecast.estimator import ParaRNNEstimator
from paratime.forecast.series import Collection
from paratime.layers.mixer import Mixer

Predict = Callable[[Iterable[Any]], Iterator[Forecast]]
Model = Callable[[Any, Collection, int, int, int], Predict]
WIDTHS = (20, 40, 60, 80, 95)
"""Central intervals, in percent, whose edges are the nine deciles, and 2.5 and 97.5 %."""


def paratime(
    train: Any,
    data: Collection,
    length: int,
    season: int,
    seed: int,
    mixer: Callable[[int], Mixer] = ParaGRU,
) -> Predict:
    """Train ``ParaRNNEstimator`` at its defaults."""
    estimator = ParaRNNEstimator(data.freq, length, mixer=mixer, seed=seed)
    return estimator.train(replace(data, entries=list(train))).predict


def deepar(train: Any, data: Collection, length: int, season: int, seed: int) -> Predict:
    """Train GluonTS's DeepAR at its defaults; half-hourly data gets a context of a week."""
    estimator = DeepAREstimator(
        data.freq,
        length,
        context_length=7 * season if data.freq == "30min" else None,
        num_feat_dynamic_real=len(data.known),
        trainer_kwargs={"enable_progress_bar": False, "logger": False, "accelerator": "cpu"},
    )
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:  # it writes where it stands
        os.chdir(folder)
        try:
            return estimator.train(train).predict
        finally:
            os.chdir(here)


def classical(
    train: Any, data: Collection, length: int, season: int, seed: int, name: str
) -> Predict:
    """Fit a model of statsforecast to each series, when it is asked for its forecast."""
    model = getattr(statsforecast.models, name)(season_length=season)

    def predict(dataset: Iterable[Any]) -> Iterator[Forecast]:
        for entry in tqdm(list(dataset), desc=name, leave=False):
            found = model.forecast(entry["target"].astype(float), h=length, level=list(WIDTHS))
            yield _forecast(found, entry)

    return predict


def _forecast(found: dict[str, Any], entry: dict[str, Any]) -> Forecast:
    levels = [x for width in WIDTHS for x in ((100 - width) / 200, (100 + width) / 200)]
    rows = [found[f"{edge}-{width}"] for width in WIDTHS for edge in ("lo", "hi")]
    keys = [*(f"{level:.3g}" for level in levels), "0.5", "mean"]
    with quiet():
        start = entry["start"] + len(entry["target"])
    return QuantileForecast(np.stack([*rows, found["mean"], found["mean"]]), start, keys)


class TorchGRU(Mixer):
    """torch's GRU, whose gates read all of the state, for series that lie end to end.

    Args:
        width: Width of input and output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode x (1, T, width), one series after another."""
        assert reset is not None and len(x) == 1 and h0 is None and lengths is None
        begin = reset[0].nonzero()[:, 0]
        sizes = torch.diff(begin, append=begin.new_tensor([x.shape[1]])).tolist()
        packed = nn.utils.rnn.pack_sequence(x[0].split(sizes), enforce_sorted=False)
        y, last = self.gru(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return torch.cat([row[:n] for row, n in zip(padded, sizes, strict=True)])[None], last

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Refuse: the comparison does not stream."""
        raise NotImplementedError


MODELS: dict[str, Model] = {
    "paratime": paratime,
    "paratime_k2": partial(paratime, mixer=partial(ParaGRU, block_size=2)),
    "paratime_k4": partial(paratime, mixer=partial(ParaGRU, block_size=4)),
    "paratime_lstm": partial(paratime, mixer=ParaLSTM),
    "torch_gru": partial(paratime, mixer=TorchGRU),
    "deepar": deepar,
    "seasonal_naive": partial(classical, name="SeasonalNaive"),
    "auto_ets": partial(classical, name="AutoETS"),
    "auto_theta": partial(classical, name="AutoTheta"),
}
