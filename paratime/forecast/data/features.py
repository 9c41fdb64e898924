"""The features that a network uses: their choice in training, and their match in other series."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from paratime.errors import InputError, check_at_least
from paratime.forecast.data.labels import amount, label_text, shorten
from paratime.forecast.data.series import Collection
from paratime.forecast.data.spec import COVARIATES, SeriesSpec

KNOWN, PAST, LABELS = "feat_dynamic_real", "past_feat_dynamic_real", "feat_static_cat"


@dataclass(frozen=True)
class Features:
    """How many features of a dataset a network uses, by the names of GluonTS's estimators.

    None is what the data has, and 0 ignores it.

    Attributes:
        num_feat_dynamic_real: Covariates that are known ahead. None regards those that end with
            the target, in all series, as known only up to the present.
        num_feat_static_cat: Labels of a series.
        num_feat_static_real: Static values of a series.
        cardinality: Categories of each label; by default, those that the data has.
    """

    num_feat_dynamic_real: int | None = None
    num_feat_static_cat: int | None = None
    num_feat_static_real: int | None = None
    cardinality: Sequence[int] | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        given = {key: n for key, n in self._counts().items() if n is not None}
        check_at_least(0, **given)
        for categories in self.cardinality or ():
            check_at_least(1, cardinality=categories)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The keys of an entry that are not read."""
        return tuple(key.removeprefix("num_") for key, n in self._counts().items() if n == 0)

    def roles(self, data: Collection, named: bool) -> dict[str, str]:
        """Return the key that stands for a key of an entry, empty if that is ignored.

        Args:
            data: Training data.
            named: Whether its user specified which covariates are known ahead, as for a table.
        """
        roles = dict.fromkeys(self.ignored, "")
        steps = (e[KNOWN].shape[1] - e["target"].shape[-1] for e in data.entries)
        if self.num_feat_dynamic_real is None and data.known and not named and not any(steps):
            roles[KNOWN] = PAST
        return roles

    def check(self, data: Collection) -> None:
        """Refuse data that has another number of features.

        Raises:
            InputError: One line with the number.
        """
        found = {LABELS: len(data.categories)}
        found |= {key: len(getattr(data, kind)) for kind, key in COVARIATES.items()}
        for name, n in self._counts().items():
            if n and n != (present := found[name.removeprefix("num_")]):
                raise InputError(
                    name, str(n), f"{present} in the data", "correct it, or ignore them with 0"
                )

    def with_cardinality(self, data: Collection) -> Collection:
        """Return the series with as many categories of each label as are given.

        Raises:
            InputError: The series have other labels, or more categories.
        """
        if self.cardinality is None or self.num_feat_static_cat == 0:
            return data
        found, given = [len(x) for x in data.categories.values()], [*self.cardinality]
        if len(found) != len(given) or any(np.less(given, found)):
            raise InputError(
                "cardinality", f"at least {found}, a number a label", str(given), "correct it"
            )
        categories = {
            label: (*found, *map(str, range(len(found), n)))
            for n, (label, found) in zip(self.cardinality, data.categories.items(), strict=True)
        }
        return replace(data, categories=categories)

    def _counts(self) -> dict[str, int | None]:
        names = ("num_feat_dynamic_real", "num_feat_static_cat", "num_feat_static_real")
        return {name: getattr(self, name) for name in names}


def features_in_use(data: Collection, roles: Mapping[str, str]) -> str:
    """Return a line on the features of training data in their roles, empty without any."""
    late = "; feat_dynamic_real ends with the target: specify num_feat_dynamic_real if known ahead"
    labels = [f"{name} ({len(found)})" for name, found in data.categories.items()]
    parts = {
        "known ahead": data.known,
        "known up to the present": data.past,
        "values of a series": data.static_real,
        "labels of a series": labels,
        "ignored": [key for key, role in roles.items() if not role],
    }
    used = [f"{what}: {', '.join(names)}" for what, names in parts.items() if names]
    return "; ".join(used) + late * any(roles.values())


def in_roles(data: Collection, roles: Mapping[str, str]) -> Collection:
    """Return series with the features that a specification's ``roles`` make of them.

    Args:
        data: The series.
        roles: As ``Features.roles`` returns them.
    """
    for key, role in roles.items():
        data = _up_to_the_present(data) if role else _without(data, key)
    return data


def _up_to_the_present(data: Collection) -> Collection:
    entries = []
    for entry in data.entries:
        rows, steps = entry[KNOWN], entry["target"].shape[-1]
        past = np.concatenate([entry[PAST], rows[:, :steps]]) if len(rows) else entry[PAST]
        entries.append(entry | {PAST: past, KNOWN: rows[:0]})
    return replace(data, entries=entries, known=(), past=(*data.past, *data.known))


def _without(data: Collection, key: str) -> Collection:
    entries = [entry | {key: entry[key][:0]} for entry in data.entries]
    names: dict[str, Any] = {name: () for name, of in COVARIATES.items() if of == key}
    return replace(data, entries=entries, **names or {"categories": {}})


def match_features(data: Collection, series: SeriesSpec) -> Collection:
    """Return series with the features of a network's specification.

    Features have their roles of training, and categories its codes, or -1 if it never saw them.

    Raises:
        InputError: Frequency, channels, covariates or labels differ from those of training.
    """
    data = in_roles(data, series.roles)
    _same("freq", series.freq, data.freq)
    channels = np.atleast_2d(data.entries[0]["target"]).shape[0]
    _same("channels of the target", series.target, channels)
    for kind in COVARIATES:
        expected, names = series.names[kind], list(getattr(data, kind))
        nameless = _unnamed(expected) or _unnamed(names)
        if len(names) != len(expected) or not (nameless or names == expected):
            _same(f"covariates, {kind}", expected, names)
    trained, labels = series.categories, data.categories
    _same("labels of series", list(trained), list(labels))
    codes = [_codes(trained[name], labels[name]) for name in labels]
    entries = [entry | {LABELS: _recoded(entry, codes)} for entry in data.entries]
    return replace(data, entries=entries)


def unseen_labels(data: Collection, series: SeriesSpec) -> str:
    """Return a note on the labels that training never saw, empty without any."""
    notes = []
    for name, found in in_roles(data, series.roles).categories.items():
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


def _unnamed(names: Iterable[str]) -> bool:
    """Return whether the names are those of features without names."""
    return all(name.rpartition("_")[0] in COVARIATES.values() for name in names)


def _codes(expected: Iterable[str], categories: Iterable[str]) -> np.ndarray:
    """Return the trained code of each category, and of -1."""
    known = {label_text(name): code for code, name in enumerate(expected)}
    return np.array([*(known.get(label_text(name), -1) for name in categories), -1])


def _recoded(entry: dict[str, Any], codes: list[np.ndarray]) -> np.ndarray:
    return np.array(
        [table[code] for table, code in zip(codes, entry["feat_static_cat"], strict=True)],
        dtype=np.int64,
    )
