"""Series as a trained network takes them: its features, in its order, with its codes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from paratime.errors import InputError
from paratime.forecast.data.series import Collection, numbered

COVARIATES = {
    "known": "feat_dynamic_real",
    "past": "past_feat_dynamic_real",
    "static_real": "feat_static_real",
}
"""Kinds of features by what a network's description calls them, and their keys in an entry."""


def matched(data: Collection, series: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of data in the terms of a network's description (``describe``).

    Categories get the codes that they had in training, -1 if they were never seen.

    Raises:
        InputError: Frequency, channels, covariates or labels are not those of training.
    """
    _same("freq", series["freq"], data.freq)
    channels = np.atleast_2d(data.entries[0]["target"]).shape[0]
    _same("channels of the target", series["target"], channels)
    for kind, key in COVARIATES.items():
        expected, names = series["names"][kind], list(getattr(data, kind))
        plain = [*numbered(key, len(expected))]  # of datasets that know no names
        if plain not in (expected, names) or len(names) != len(expected):
            _same(f"covariates, {kind}", expected, names)
    expected, labels = series["categories"], data.categories
    _same("labels of series", list(expected), list(labels))
    codes = [_codes(expected[name], labels[name]) for name in labels]
    return [entry | {"feat_static_cat": _recoded(entry, codes)} for entry in data.entries]


def check_ahead(entries: Iterable[dict[str, Any]], prediction_length: int) -> None:
    """Refuse series whose known covariates end before a forecast from their last step does."""
    for entry in entries:
        rows, steps = entry["feat_dynamic_real"], entry["target"].shape[-1]
        if len(rows) and rows.shape[1] < steps + prediction_length:
            name = f"known covariates of series {entry['item_id']!r}"
            remedy = "give them for the steps of the forecast, too"
            expected = f"{prediction_length} steps after the last of the target"
            raise InputError(name, expected, str(rows.shape[1] - steps), remedy)


def _same(name: str, expected: Any, got: Any) -> None:
    if expected != got:
        remedy = "give data like that of the training"
        raise InputError(name, f"{expected} as in training", str(got), remedy)


def _codes(expected: Iterable[str], categories: Iterable[str]) -> np.ndarray:
    """Return, for each code of some categories and for -1, the code that was trained."""
    known = {name: code for code, name in enumerate(expected)}
    return np.array([*(known.get(name, -1) for name in categories), -1])


def _recoded(entry: dict[str, Any], codes: list[np.ndarray]) -> np.ndarray:
    return np.array(
        [table[code] for table, code in zip(codes, entry["feat_static_cat"], strict=True)],
        dtype=np.int64,
    )
