"""Small series, and estimators that train on them in no time."""

import numpy as np
import pandas as pd
import torch

from paratime.forecast.gluonts.estimator import ParaRNNEstimator

TINY = {"hidden_size": 8, "num_layers": 1, "max_steps": 2}


def waves(count: int = 3, steps: int = 40, freq: str = "M", **features) -> list[dict]:
    random = np.random.default_rng(0)
    t = np.arange(steps)
    return [
        {
            "item_id": f"wave {number}",
            "start": pd.Period("2001-01-01", freq=freq) + number,
            "target": 10 * number + np.sin(t / 2) + random.normal(size=steps) / 5,
        }
        | {key: make(number, steps) for key, make in features.items()}
        for number in range(count)
    ]


def make_estimator(**options) -> ParaRNNEstimator:
    return ParaRNNEstimator(**{"freq": "M", "prediction_length": 6} | TINY | options)


def same_weights(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def arrays(forecasts) -> np.ndarray:
    return np.stack([x.forecast_array for x in forecasts])
