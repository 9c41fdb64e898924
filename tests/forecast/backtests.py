"""Series to test forecasts on."""

from typing import Any

import numpy as np
import pandas as pd

from paratime.forecast.data.series import Collection

H, LENGTHS = 6, (60, 31, 7, 5)


def series(channels: int = 1, lengths: tuple[int, ...] = LENGTHS, nan: bool = True) -> Collection:
    random, entries = np.random.default_rng(0), []
    for number, length in enumerate(lengths):
        wave = 10 * (number + 1) + 3 * np.sin(np.arange(length) * np.pi / 6)
        target = (wave + 0.3 * random.normal(size=(channels, length))).astype(np.float32)
        if nan:
            target[random.random(target.shape) < 0.1] = np.nan
        entries.append(
            {
                "item_id": f"wave {number}",
                "start": pd.Period("2001-04", freq="M") + number,
                "target": target if channels > 1 else target[0],
                "feat_dynamic_real": random.normal(size=(2, length + 3)).astype(np.float32),
                "past_feat_dynamic_real": random.normal(size=(1, length)).astype(np.float32),
                "feat_static_cat": np.array([number % 2]),
                "feat_static_real": np.array([float(number)], dtype=np.float32),
            }
        )
    return Collection(
        "M", entries, ("a", "b"), ("past",), ("size",), {"kind": ("even", "odd")}, H, 12
    )


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-5)
