"""Channels as series."""

from dataclasses import replace

import numpy as np
import pandas as pd

from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.base import InMemory
from paratime.forecast.data.sources.channels import Channels


def test_channels_are_series_of_their_own():
    entries = [
        {
            "item_id": name,
            "start": pd.Period("2024-01", "M"),
            "target": rows,
            "feat_static_cat": [1],
        }
        for name, rows in (("a", np.eye(2, 5)), ("b", np.ones((2, 3))))
    ]
    joint = from_gluonts(entries)
    data = Channels(InMemory(joint)).read()
    assert [x["item_id"] for x in data.entries] == ["a / 0", "a / 1", "b / 0", "b / 1"]
    assert [x["target"].tolist() for x in data.entries[:2]] == np.eye(2, 5).tolist()
    assert [x["feat_static_cat"].tolist() for x in data.entries] == [[1, 0], [1, 1]] * 2
    assert data.categories == joint.categories | {"channel": ("0", "1")}
    named = Channels(InMemory(replace(joint, channels=("rain", "wind")))).read()
    assert [x["item_id"] for x in named.entries[:2]] == ["a / rain", "a / wind"]
    assert named.categories["channel"] == ("rain", "wind") and named.channel_names == ("0",)
