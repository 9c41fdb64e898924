"""Spaces of Gymnasium as vectors: what a model reads, and what an environment gets.

A space is described as Minari writes it, in plain values, so that one code reads environments and
files. Its leaves lie side by side: numbers as they are, whole numbers too, and each choice as a
one-hot vector, since classes have no order. A single choice stays an index where it is an action.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.world.data.episode import VECTOR, Array
from paratime.world.data.pixels import COLORS, channels_of, may_be_image

Description = Mapping[str, Any]
CLASSES = 1024
"""Most classes of an observation that become one-hot; more remain a number."""


def describe_space(space: Any) -> dict[str, Any]:
    """Return the description of a space of Gymnasium.

    Raises:
        InputError: It is neither Box, Discrete, MultiDiscrete nor MultiBinary, nor made of these.
    """
    kind = _kind(space)
    if kind in ("Dict", "Tuple"):
        inner = space.spaces
        if other := [key for key in inner if kind == "Dict" and not isinstance(key, str)]:
            raise InputError(
                "keys of a space", "texts", repr(other[0]), "wrap the environment, and name them"
            )
        parts: Any = (
            {key: describe_space(x) for key, x in inner.items()}
            if kind == "Dict"
            else [describe_space(x) for x in inner]
        )
        return {"type": kind, "subspaces": parts}
    about = {"type": kind, "dtype": str(space.dtype)}
    if kind == "Box":
        ends = {"low": space.low.tolist(), "high": space.high.tolist()}
        return about | {"shape": [*space.shape]} | ends
    if kind == "Discrete":
        return about | {"start": int(space.start), "n": int(space.n)}
    if kind == "MultiDiscrete":
        start = np.broadcast_to(getattr(space, "start", 0), space.nvec.shape)
        return about | {"nvec": space.nvec.tolist(), "start": start.tolist()}
    return about | {"n": [*space.shape]}


def _kind(space: Any) -> str:
    known = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple")
    names = [base.__name__ for base in type(space).__mro__]
    found = next((name for name in names if name in known), None)
    if found is None:
        raise InputError(
            "space",
            expected=f"{', '.join(known[:-1])} or {known[-1]}",
            got=type(space).__name__,
            remedy="wrap the environment",
        )
    return found


@dataclass(frozen=True, eq=False)
class Numbers:
    """A leaf of numbers.

    Attributes:
        low: Least values, (...).
        high: Greatest values, (...).
        dtype: In the environment.
    """

    low: Array
    high: Array
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Numbers in the vector."""
        return self.low.size

    @property
    def whole(self) -> bool:
        """Whether they are whole."""
        return self.dtype.kind in "biu"

    @property
    def mistakable(self) -> bool:
        """Whether they are no image, but may have the values of one now and then."""
        floats = self.dtype.kind == "f" and bool((self.low < 0).any() or (self.high > 1).any())
        return floats and may_be_image(self.low.shape) and channels_of(self.low.shape) not in COLORS

    def encode(self, rows: ArrayLike) -> Array:
        """Return values (T, ...) as vectors (T, size)."""
        rows = np.asarray(rows)
        return rows.reshape(len(rows), -1).astype(np.float32)

    def decode(self, vector: Array) -> Any:
        """Return the nearest legal value of a vector (size,)."""
        exact = np.asarray(vector, np.float64).reshape(self.low.shape)
        values = np.rint(exact) if self.whole else exact
        values = values.clip(self.low, self.high)
        if self.whole and self.dtype.kind != "b":
            ends = np.iinfo(self.dtype)
            values = values.clip(ends.min, np.nextafter(float(ends.max) + 1, 0))
        return np.asarray(values, self.dtype)

    def legal(self, vectors: Tensor) -> Tensor:
        """Return the nearest legal vectors (..., size)."""
        return vectors.round() if self.whole else vectors

    def bounds(self) -> tuple[Array, Array]:
        """Return the least and the greatest vector (size,)."""
        return self.low.reshape(-1), self.high.reshape(-1)

    def names(self, key: str) -> Iterator[str]:
        """Yield a name for each number."""
        indices = [*np.ndindex(self.low.shape)]
        yield from (key + "".join(f"[{i}]" for i in index) for index in indices)


@dataclass(frozen=True, eq=False)
class Choices:
    """A leaf of choices, one or several.

    Attributes:
        counts: How many there are of each, (...).
        start: The first of each, (...).
        dtype: In the environment.
    """

    counts: Array
    start: Array
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Numbers in the vector."""
        return int(self.counts.sum())

    def encode(self, rows: ArrayLike) -> Array:
        """Return choices (T, ...) as one-hot vectors side by side, (T, size).

        Raises:
            InputError: A choice that does not exist.
        """
        rows = np.asarray(rows)
        index = (rows.astype(np.int64) - self.start).reshape(len(rows), -1)
        counts = self.counts.reshape(-1)
        if ((index < 0) | (index >= counts)).any():
            raise InputError(
                "choices",
                expected=f"{self.counts.tolist()} from {self.start.tolist()}",
                got=f"{rows.min()} to {rows.max()}",
                remedy="mend the source",
            )
        parts = [np.eye(n, dtype=np.float32)[x] for n, x in zip(counts, index.T, strict=True)]
        return np.concatenate(parts, axis=1)

    def decode(self, vector: Array) -> Any:
        """Return the choices of a vector (size,)."""
        parts = np.split(vector, self.counts.reshape(-1).cumsum()[:-1])
        index = np.array([part.argmax() for part in parts]).reshape(self.counts.shape)
        return (index + self.start).astype(self.dtype)[()]

    def legal(self, vectors: Tensor) -> Tensor:
        """Return the nearest legal vectors (..., size)."""
        parts = vectors.split(self.counts.reshape(-1).tolist(), dim=-1)
        chosen = [functional.one_hot(x.argmax(-1), x.shape[-1]) for x in parts]
        return torch.cat(chosen, dim=-1).to(vectors)

    def bounds(self) -> tuple[Array, Array]:
        """Return the least and the greatest vector (size,)."""
        return np.zeros(self.size), np.ones(self.size)

    def names(self, key: str) -> Iterator[str]:
        """Yield a name for each number."""
        for place in np.ndindex(self.counts.shape):
            at = key + "".join(f"[{i}]" for i in place)
            first = int(self.start[place])
            yield from (f"{at}={first + i}" for i in range(int(self.counts[place])))


Leaf = Numbers | Choices


def leaves_of(about: Description, key: str = "") -> dict[str, Leaf]:
    """Return the leaves of a described space by path: ``arm/position``, ``_index_0`` in a tuple.

    Raises:
        InputError: A kind that is not known, or keys whose paths are the same, or inside another.
    """
    kind = about["type"]
    if kind not in ("Dict", "Tuple"):
        return {key or VECTOR: _leaf(kind, about)}
    found: dict[str, Leaf] = {}
    for name, part in _children(about):
        inner = leaves_of(part, f"{key}/{name}" if key else name)
        _check_paths(inner, found)
        found |= inner
    return found


def _check_paths(ours: Iterable[str], others: Iterable[str]) -> None:
    """Refuse a path that is another one's, or leads into it: one of them would be lost."""
    for one, other in product(ours, others):
        if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
            raise InputError(
                "keys of a space",
                expected="paths that are apart",
                got=f"{one} and {other}",
                remedy="rename one of them",
            )


def known_space(about: Description) -> Description | None:
    """Return the description of a space that a file holds, None if it cannot be understood."""
    try:
        return about if leaves_of(about) else None
    except (InputError, KeyError, TypeError, ValueError):
        return None


def _children(about: Description) -> list[tuple[str, Description]]:
    inner = about["subspaces"]
    if isinstance(inner, Mapping):
        return [*inner.items()]
    return [(f"_index_{i}", part) for i, part in enumerate(inner)]


def _leaf(kind: str, about: Description) -> Leaf:
    if kind == "Box":
        dtype, shape = np.dtype(about["dtype"]), tuple(about["shape"])
        low, high = (np.broadcast_to(np.asarray(about[x], float), shape) for x in ("low", "high"))
        return Numbers(low, high, dtype)
    if kind == "MultiBinary":
        shape = tuple(np.atleast_1d(about["n"]))
        return Numbers(np.zeros(shape), np.ones(shape), np.dtype(np.int8))
    if kind in ("Discrete", "MultiDiscrete"):
        counts = np.asarray(about["n" if kind == "Discrete" else "nvec"], np.int64)
        start = np.broadcast_to(np.asarray(about.get("start", 0), np.int64), counts.shape)
        return Choices(counts, start, np.dtype(about.get("dtype", "int64")))
    raise InputError("space", "Box, Discrete and the like", kind, "convert the data")


def parts_by_path(about: Description, value: Any, key: str = "") -> dict[str, Any]:
    """Return the leaves of a value of a described space by path."""
    if about["type"] not in ("Dict", "Tuple"):
        return {key or VECTOR: value}
    found: dict[str, Any] = {}
    for i, (name, part) in enumerate(_children(about)):
        inner = value[name] if about["type"] == "Dict" else value[i]
        found |= parts_by_path(part, inner, f"{key}/{name}" if key else name)
    return found


def joined(about: Description, parts: Mapping[str, Any], key: str = "") -> Any:
    """Return a value of a described space from its leaves by path."""
    if about["type"] not in ("Dict", "Tuple"):
        return parts[key or VECTOR]
    found = {
        name: joined(part, parts, f"{key}/{name}" if key else name)
        for name, part in _children(about)
    }
    return found if about["type"] == "Dict" else tuple(found.values())


def observed(about: Description, parts: Mapping[str, Array]) -> dict[str, Array]:
    """Return observations (T, ...) by path: choices as classes, what is no image as vectors."""
    known = leaves_of(about)
    return {key: _as_classes(known[key], x) if key in known else x for key, x in parts.items()}


def _as_classes(leaf: Leaf, rows: Array) -> Array:
    if isinstance(leaf, Choices) and leaf.size <= CLASSES:
        return leaf.encode(rows)
    if isinstance(leaf, Numbers) and leaf.mistakable:
        return rows.reshape(len(rows), -1)
    return rows


class ActionCode:
    """Actions of a described space as a model reads them.

    Args:
        about: The space.

    Attributes:
        choices: The number of choices if the action is a single one, and then an index from 0.
        size: Numbers of a vector, or choices.
        names: Of these.
        low: Least vector, (A,).
        high: Greatest vector, (A,).
    """

    def __init__(self, about: Description) -> None:
        self.about, self._leaves = about, leaves_of(about)
        single = about["type"] == "Discrete"
        self.choices = int(about["n"]) if single else None
        self.size = sum(leaf.size for leaf in self._leaves.values())
        ends = [leaf.bounds() for leaf in self._leaves.values()]
        self.low, self.high = (np.concatenate(x) for x in zip(*ends, strict=True))
        self.names = [name for key, leaf in self._leaves.items() for name in leaf.names(key)]
        if not self.size:
            raise InputError("action space", "at least one number", "none", "wrap the environment")

    @property
    def plain(self) -> bool:
        """Whether actions are read as they are: indices from 0, or vectors of float32."""
        if self.choices is not None:
            return not self.about.get("start", 0)
        (leaf, *others) = self._leaves.values()
        flat = self.about["type"] == "Box" and isinstance(leaf, Numbers) and leaf.low.ndim == 1
        return flat and not others and leaf.dtype == np.float32

    def encode(self, rows: Mapping[str, ArrayLike]) -> Array:
        """Return actions (T, ...) by path as indices (T,) or vectors (T, A)."""
        if self.choices is not None:
            return np.asarray(rows[VECTOR]).astype(np.int64) - int(self.about.get("start", 0))
        parts = [leaf.encode(rows[key]) for key, leaf in self._leaves.items()]
        return np.concatenate(parts, axis=1)

    def decode(self, action: Any) -> Any:
        """Return the environment's action of an index or a vector (A,)."""
        if self.choices is not None:
            return np.int64(action + int(self.about.get("start", 0)))
        ends = np.cumsum([leaf.size for leaf in self._leaves.values()])[:-1]
        pieces = np.split(np.asarray(action), ends)
        items = zip(self._leaves.items(), pieces, strict=True)
        return joined(self.about, {key: leaf.decode(x) for (key, leaf), x in items})

    def legal(self, actions: Tensor) -> Tensor:
        """Return the nearest legal vectors (..., A); one-hot vectors if it is a single choice."""
        sizes = [leaf.size for leaf in self._leaves.values()]
        pieces = zip(self._leaves.values(), actions.split(sizes, dim=-1), strict=True)
        return torch.cat([leaf.legal(x) for leaf, x in pieces], dim=-1)

    def none(self) -> Any:
        """Return what comes nearest to no action: zeros where they are legal, else the middle."""
        if self.choices is not None:
            return 0
        inside = (self.low <= 0) & (self.high >= 0)
        low, high = self.low.copy(), self.high.copy()
        low[inside] = high[inside] = 0
        low, high = (np.where(np.isfinite(x), x, y) for x, y in ((low, high), (high, low)))
        middle = low / 2 + high / 2
        return self.legal(torch.from_numpy(middle)).numpy().astype(np.float32)
