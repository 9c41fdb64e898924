"""Multivariate series as series of their own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from paratime.forecast.series import Collection
from paratime.forecast.sources import Source


@dataclass(frozen=True)
class Channels(Source):
    """Each channel of a multivariate source as a series, all forecast by one univariate model.

    Their names are the series' with ``/ 0``, ``/ 1`` and so on; features are those of the series,
    and the channel is a further label.

    Args:
        source: Where the series come from.
    """

    source: Source

    def read(self) -> Collection:
        """Return the channels, those of a series one after the other."""
        data = self.source.read()
        entries = [part for entry in data.entries for part in _split(entry)]
        count = len(np.atleast_2d(data.entries[0]["target"]))
        labels = data.categories | {"channel": tuple(map(str, range(count)))}
        return replace(data, entries=entries, categories=labels)


def _split(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        entry
        | {
            "item_id": f"{entry['item_id']} / {number}",
            "target": target,
            "feat_static_cat": np.append(entry["feat_static_cat"], number),
        }
        for number, target in enumerate(np.atleast_2d(entry["target"]))
    ]
