"""Match the features of series to those of training."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from paratime.errors import InputError
from paratime.forecast.data.labels import amount, label_text, shorten
from paratime.forecast.data.series import Collection, numbered
from paratime.forecast.data.spec import COVARIATES, SeriesSpec


def match_features(data: Collection, series: SeriesSpec) -> list[dict[str, Any]]:
    """Return the entries of data with the features of a network's specification.

    Categories get their codes of training, or -1 if training never saw them.

    Raises:
        InputError: Frequency, channels, covariates or labels differ from those of training.
    """
    _same("freq", series.freq, data.freq)
    channels = np.atleast_2d(data.entries[0]["target"]).shape[0]
    _same("channels of the target", series.target, channels)
    for kind, key in COVARIATES.items():
        expected, names = series.names[kind], list(getattr(data, kind))
        plain = [*numbered(key, len(expected))]  # of datasets without names
        if plain not in (expected, names) or len(names) != len(expected):
            _same(f"covariates, {kind}", expected, names)
    trained, labels = series.categories, data.categories
    _same("labels of series", list(trained), list(labels))
    codes = [_codes(trained[name], labels[name]) for name in labels]
    return [entry | {"feat_static_cat": _recoded(entry, codes)} for entry in data.entries]


def unseen_labels(data: Collection, series: SeriesSpec) -> str:
    """Return a note on the labels that training never saw, empty without any."""
    notes = []
    for name, found in data.categories.items():
        codes = _codes(series.categories[name], found)[:-1]
        new = [repr(x) for x, code in zip(found, codes, strict=True) if code < 0]
        if new:
            notes.append(f"{len(new)} of {amount(len(found), 'label')} of {name}: {shorten(new)}")
    return f"training never saw {'; '.join(notes)}" if notes else ""


def check_ahead(entries: Iterable[dict[str, Any]], prediction_length: int) -> None:
    """Refuse series whose known covariates end before a forecast from their last step."""
    for entry in entries:
        rows, steps = entry["feat_dynamic_real"], entry["target"].shape[-1]
        if len(rows) and rows.shape[1] < steps + prediction_length:
            raise InputError(
                f"known covariates of series {entry['item_id']!r}",
                expected=f"{amount(prediction_length, 'step')} after the last of the target",
                got=str(rows.shape[1] - steps),
                remedy="give them for the forecast's steps",
            )


def _same(name: str, expected: Any, got: Any) -> None:
    if expected != got:
        raise InputError(
            name, f"{expected} as in training", str(got), "give data like that of the training"
        )


def _codes(expected: Iterable[str], categories: Iterable[str]) -> np.ndarray:
    """Return the trained code of each category, and of -1."""
    known = {label_text(name): code for code, name in enumerate(expected)}
    return np.array([*(known.get(label_text(name), -1) for name in categories), -1])


def _recoded(entry: dict[str, Any], codes: list[np.ndarray]) -> np.ndarray:
    return np.array(
        [table[code] for table, code in zip(codes, entry["feat_static_cat"], strict=True)],
        dtype=np.int64,
    )
