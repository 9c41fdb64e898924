"""Multivariate series as series of their own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source


@dataclass(frozen=True)
class Channels(Source):
    """Each channel of a multivariate source as a series, all forecast by one univariate model.

    Names join those of series and channel, such as ``Kyoto / rain``. Features are those of the
    series, and the channel is another label.

    Args:
        source: Where the series come from.
    """

    source: Source

    def at(self, freq: str) -> Source:
        """Return the source with this frequency, unless it has one."""
        return replace(self, source=self.source.at(freq))

    def read(self) -> Collection:
        """Return the channels, series by series."""
        data = self.source.read()
        names = data.channel_names
        entries = [part for entry in data.entries for part in _split(entry, names)]
        labels = data.categories | {"channel": names}
        return replace(data, entries=entries, categories=labels, channels=())


def _split(entry: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        entry
        | {
            "item_id": f"{entry['item_id']} / {names[number]}",
            "target": target,
            "feat_static_cat": np.append(entry["feat_static_cat"], number),
        }
        for number, target in enumerate(np.atleast_2d(entry["target"]))
    ]
