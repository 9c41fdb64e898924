"""A source of small seasonal series."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source

LENGTHS = (60, 90, 33, 5)


@dataclass(frozen=True)
class Waves(Source):
    """Seasonal series with noise, covariates and labels."""

    channels: int = 1
    counts: bool = False

    def read(self) -> Collection:
        random, entries = np.random.default_rng(0), []
        for number, length in enumerate(LENGTHS):
            t = np.arange(length)
            wave = 10 * (number + 1) + 3 * np.sin(np.pi * t / 6)[None]
            target = wave + 0.3 * random.normal(size=(self.channels, length))
            target = target.round() if self.counts else target
            target[:, 7:9] = np.nan
            entries.append(
                {
                    "item_id": f"wave {number}",
                    "start": pd.Period("2001-04", freq="M") + number,
                    "target": (target[0] if self.channels == 1 else target).astype(np.float32),
                    "feat_dynamic_real": random.normal(size=(2, length + 6)).astype(np.float32),
                    "past_feat_dynamic_real": 100 + t[None].astype(np.float32),
                    "feat_static_cat": np.array([number % 2]),
                    "feat_static_real": np.array([float(number)], dtype=np.float32),
                }
            )
        labels = {"kind": ("even", "odd")}
        return Collection("M", entries, ("a", "b"), ("past",), ("size",), labels, 6)
