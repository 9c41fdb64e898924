"""What the values of training data mean in an environment: names, order, shapes, bounds, kinds."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.world.data.environment import action_code
from paratime.world.data.episode import VECTOR, Array, Layout, make_episode
from paratime.world.data.spaces import describe_space, leaves_of
from paratime.world.data.spec import TrajectorySpec

_log = logging.getLogger(__name__)

SLACK = 1e-5
"""Share of a bound by which data may exceed it: rounding to float32."""


def check_meaning(world: Any, spec: TrajectorySpec) -> None:
    """Refuse an environment whose actions or observations mean something else than the data's.

    Raises:
        InputError: Their kinds, sizes, keys, names or order differ, or no action is legal in the
            environment and known from the data.
    """
    code, layout = action_code(world), environment_layout(world)
    fewer = spec.discrete and layout.discrete and spec.action < layout.action  # never chosen
    named = _named(world, spec)
    ours = _text(spec.action, spec.discrete, spec.observation)
    shapes = {key: [*shape] for key, shape in layout.observation.items()}
    got = _text(spec.action if fewer else layout.action, layout.discrete, shapes)
    if ours != got and not (named and ours == _text(*_flat(layout))):
        raise InputError("environment", ours, got, "name the environment that the data is of")
    if code.choices is None and len(names := spec.action_names) == code.size:
        _check_names("actions", names, code.names, known=code.about["type"] == "Dict")
    common_bounds(world, spec)
    _warn_of_ranges(world, spec)


def environment_layout(world: Any) -> Layout:
    """Return the layout that episodes of an environment have."""
    seen, code = world.observation_space.sample(), action_code(world)
    parts = seen if isinstance(seen, dict) else {VECTOR: seen}
    action = np.zeros((1, code.size)) if code.choices is None else np.zeros(1, np.int64)
    both = {key: np.stack([x, x]) for key, x in parts.items()}
    return Layout.of([make_episode("the environment", both, action, [0.0], False)], code.choices)


def _named(world: Any, spec: TrajectorySpec) -> bool:
    """Return whether names tell what the values of a single vector are by key."""
    names, about = spec.names, describe_space(world.observation_space)
    if not names or about["type"] != "Dict" or [*spec.observation] != [VECTOR]:
        return False
    known = leaves_of(about)
    theirs = [name for key in sorted(known) for name in known[key].names(key)]
    if len(names) == len(theirs):
        _check_names("observations", names, theirs, known=True)
    return True


def _check_names(what: str, ours: Sequence[str], theirs: Sequence[str], *, known: bool) -> None:
    """Refuse names in another order; other names, too, where the environment's are a user's own."""
    theirs = [
        name.removesuffix("[0]") if f"{name[:-3]}[1]" not in theirs else name for name in theirs
    ]
    if [*ours] != [*theirs] and (known or {*ours} & {*theirs}):
        raise InputError(
            what,
            expected=f"{', '.join(theirs)}, in this order, as in the environment",
            got=f"{', '.join(ours)} in the data",
            remedy="name and order the columns of the data so, and train again",
        )


def _flat(layout: Layout) -> tuple[int, bool, dict[str, list[int]]]:
    vectors = [shape for shape in layout.observation.values() if len(shape) < 3]
    return layout.action, layout.discrete, {VECTOR: [sum(int(np.prod(x)) for x in vectors)]}


def _text(actions: int, discrete: bool, observation: dict[str, list[int]]) -> str:
    """Return an environment's actions and what is observed as text."""
    kind = "discrete" if discrete else "continuous"
    sizes = {key: f"({', '.join(map(str, x))})" for key, x in observation.items()}
    seen = ", ".join(f"{key} {size}" for key, size in sizes.items())
    if [*observation] == [VECTOR] and len(observation[VECTOR]) == 1:
        seen = f"{observation[VECTOR][0]} numbers"
    return f"{actions} actions, {kind}, and {seen} observed"


def _ends(world: Any, spec: TrajectorySpec) -> tuple[Array, Array, Array, Array]:
    """Return the bounds of the data's actions, and those of the environment's."""
    code, moments = action_code(world), spec.moments
    ours = np.array(moments.action_lowest), np.array(moments.action_highest)
    if code.choices is not None:
        return *ours, np.zeros(spec.action), np.ones(spec.action)
    return *ours, code.low, code.high


def common_bounds(world: Any, spec: TrajectorySpec) -> Tensor:
    """Return the bounds (2, A) of actions that are legal, and in the range of the training data.

    Raises:
        InputError: There are none.
    """
    low, high, least, most = _ends(world, spec)
    below, above = np.maximum(low, least), np.minimum(high, most)
    if (below - above > SLACK * (1 + np.abs(above))).any():
        raise InputError(
            "actions",
            expected=f"some between {_range(least, most)}, as in the environment",
            got=f"{_range(low, high)} in the data",
            remedy="scale those of the data to the environment's, and train again",
        )
    return torch.from_numpy(np.stack([np.minimum(below, above), above])).float()


def describe_bounds(world: Any, spec: TrajectorySpec) -> str:
    """Return which actions are planned, and what bounds them."""
    code, (low, high, least, most) = action_code(world), _ends(world, spec)
    if code.choices is not None:
        return f"{spec.action} of the environment's {code.choices} choices"
    common = common_bounds(world, spec).numpy().astype(float)
    bounds = {"the data": (low, high), "the environment": (least, most)}
    parts = [f"{name} {_range(*ends)}" for name, ends in bounds.items()]
    return f"{_range(*common)}, the intersection of {' and '.join(parts)}"


def _range(low: Array, high: Array) -> str:
    pairs = [*dict.fromkeys(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))]
    return "; ".join(pairs[:3]) + ("; ..." if len(pairs) > 3 else "")


def _warn_of_ranges(world: Any, spec: TrajectorySpec) -> None:
    """Warn of observations in the data that the environment cannot have: their units may differ."""
    known = leaves_of(describe_space(world.observation_space))
    ends = [known[key].bounds() for key in sorted(known) if _is_vector(known[key])]
    nothing = np.zeros(0)
    low, high = map(np.concatenate, zip((nothing, nothing), *ends, strict=True))
    least, most = np.array(spec.moments.lowest), np.array(spec.moments.highest)
    if len(low) != len(least):
        return
    room = 0.05 * np.where(np.isfinite(high - low), high - low, 0) + SLACK
    out = (least < low - room) | (most > high + room)
    if out.any():
        place = int(out.argmax())
        _log.warning(
            "observation %d is %.4g to %.4g in the data, and %.4g to %.4g in the environment: "
            "are its units or its order others?",
            *(place, least[place], most[place], low[place], high[place]),
        )


def _is_vector(leaf: Any) -> bool:
    return not (leaf.size and getattr(leaf, "dtype", None) == np.uint8 and leaf.low.ndim == 3)
