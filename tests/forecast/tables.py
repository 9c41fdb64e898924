"""Tables and data entries to read, and what to compare."""

import numpy as np
import pandas as pd
import pytest

from paratime.errors import InputError

HEAD = "item_id,timestamp,target,x\n"
DAYS = "".join(f"a,2024-01-0{i},{i},{i}\n" for i in range(1, 8))

SEASONS = {
    "min": 1,  # a day has 1440: the calendar knows it
    "5min": 288,
    "15min": 96,
    "30min": 48,
    "h": 24,
    "6h": 4,
    "D": 7,
    "B": 5,
    "W-SUN": 1,
    "M": 12,
    "Q-DEC": 4,
    "Y-DEC": 1,
}
"""Steps of a season by frequency."""


def frame_of(freq="D", steps=12, items=("a", "b", "c")):
    """Return a long table with a column of each role, the same whenever it is called."""
    random = np.random.default_rng(0)
    parts = []
    for i, item in enumerate(items):
        n = steps + i
        part = {
            "item_id": item,
            "timestamp": pd.date_range("2024-02-20", periods=n, freq=freq),
            "target": random.normal(size=n),
            "second": random.normal(size=n),
            "price": random.normal(size=n),
            "count": random.integers(9, size=n),
            "holiday": random.random(n) < 0.3,
            "size": float(i),
            "kind": "xyx"[i % 3],
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def same(one, other, *, names=True):
    assert one.freq == other.freq and len(one.entries) == len(other.entries)
    for a, b in zip(one.entries, other.entries, strict=True):
        assert a.keys() - {"stamps"} == b.keys() - {"stamps"}
        assert (a["item_id"], a["start"]) == (b["item_id"], b["start"])
        for key in a.keys() - {"item_id", "start", "stamps"}:
            assert a[key].dtype == b[key].dtype
            np.testing.assert_array_equal(a[key], b[key])
    if names:
        assert (one.known, one.past, one.static_real) == (
            other.known,
            other.past,
            other.static_real,
        )
        assert one.categories == other.categories


def entries_of(count=2, steps=6, **more):
    random = np.random.default_rng(0)
    entry = {
        "start": "2024-01-01",
        "target": random.normal(size=steps),
        "feat_dynamic_real": random.normal(size=(2, steps + 3)),
        "past_feat_dynamic_real": random.normal(size=(1, steps)),
        "feat_static_cat": [1, 0],
        "feat_static_real": [0.5],
    }
    return [{"item_id": f"i{k}"} | entry | more for k in range(count)]


def refused(pattern, read):
    with pytest.raises(InputError, match=pattern) as error:
        read()
    assert "\n" not in str(error.value)
