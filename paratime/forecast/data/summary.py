"""A summary of a collection of series, for people."""

import numpy as np

from paratime.errors import abridged
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.labels import amount
from paratime.forecast.data.series import Collection
from paratime.forecast.data.stamps import STARTS
from paratime.forecast.data.support import support

LONGEST = 1000
"""Characters of a line."""


def summarize(data: Collection) -> str:
    """Return an aligned table: number and lengths of series, missing values, features."""
    targets = [np.atleast_2d(entry["target"]) for entry in data.entries]
    steps = np.array([target.shape[1] for target in targets])
    missing = sum(int(np.isnan(target).sum()) for target in targets)
    share = missing / max(1, sum(map(np.size, targets)))
    season, counted = data.seasonality, data.entries[0].get("stamps", STARTS).counted
    freq = "numbered steps" if counted else data.freq
    rows = {
        "series": f"{len(targets):,}",
        "frequency": f"{freq}, a season of {season} steps" if season > 1 else freq,
        "dates": _span(data) if data.dated else "nominal",
        "steps": f"{steps.sum():,}, {steps.min():,} to {steps.max():,} a series",
        "missing": f"{amount(missing, 'value')}, {share:.1%}",
        "values": _values(data),
        "channels": _channels(data),
        "known ahead": _known(data),
        "known to the present": ", ".join(data.past),
        "numbers of a series": ", ".join(data.static_real),
        "labels of a series": ", ".join(f"{k} ({len(v)})" for k, v in data.categories.items()),
        "columns not used": ", ".join(data.unused),
        "official horizon": str(data.prediction_length or ""),
    }
    return "\n".join(
        f"{name:<20} {abridged(value, LONGEST)}" for name, value in rows.items() if value
    )


def _channels(data: Collection) -> str:
    """Return the names of channels, and that of a single one unless it is the default."""
    return ", ".join(data.channel_names) if data.channels not in ((), ("target",)) else "1"


def _values(data: Collection) -> str:
    found = support(data)
    if found.counts:
        return "counts; output NegativeBinomial fits their distribution"
    return "none below zero" if found.nonnegative else ""


def _known(data: Collection) -> str:
    ahead = [e["feat_dynamic_real"].shape[1] - e["target"].shape[-1] for e in data.entries]
    return f"{', '.join(data.known)}, for {amount(min(ahead), 'step')}" if data.known else ""


def _span(data: Collection) -> str:
    with quiet_periods():
        ends = [entry["start"] + (entry["target"].shape[-1] - 1) for entry in data.entries]
    return f"{min(e['start'] for e in data.entries)} to {max(ends)}"
