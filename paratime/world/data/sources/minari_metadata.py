"""What Minari wants to know of a data set: its spaces and its environment."""

import json
from typing import Any

import numpy as np

from paratime.errors import InputError
from paratime.world.data.episode import VECTOR, Array, Layout
from paratime.world.data.sources.base import Recording

MINARI_VERSION = "0.5.0"
"""The oldest Minari that reads what is written here; newer ones read it as well."""


def describe(recording: Recording, name: str) -> dict[str, Any]:
    """Return the metadata of a recording.

    Args:
        recording: At least one episode.
        name: The id of the data set.

    Raises:
        InputError: There is no episode, two of them differ, or the environment's id is none.
    """
    layout = Layout.of(recording.episodes, recording.actions)
    discrete = {"type": "Discrete", "dtype": "int64", "start": 0, "n": layout.action}
    action = discrete if layout.discrete else _space(recording.episodes[0].action)
    environment = recording.environment
    return {
        "dataset_id": name,
        "minari_version": MINARI_VERSION,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "total_episodes": len(recording.episodes),
        "total_steps": sum(map(len, recording.episodes)),
        "observation_space": json.dumps(_space(nested(recording.episodes[0].observation))),
        "action_space": json.dumps(action),
    } | ({} if environment is None else {"env_spec": _environment(environment)})


def _environment(environment: str) -> str:
    """Return what Gymnasium knows of an environment as JSON, or its id alone."""
    import gymnasium

    try:
        registered = gymnasium.registry.get(environment)
        alone = gymnasium.envs.registration.EnvSpec(environment)
    except gymnasium.error.Error as error:
        expected = "an id as of Gymnasium"
        raise InputError("environment", expected, repr(environment), str(error)) from None
    try:
        return (registered or alone).to_json()
    except (TypeError, ValueError):  # made by a function, which JSON cannot hold
        return alone.to_json()


def nested(parts: dict[str, Array]) -> Any:
    """Return an observation's parts in dicts within dicts; one that is no dict, as it is."""
    if [*parts] == [VECTOR]:
        return parts[VECTOR]
    tree: dict[str, Any] = {}
    for key, x in parts.items():
        *groups, leaf = key.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = x
    return tree


def _space(node: Any) -> dict[str, Any]:
    """Return the space that arrays (T, ...) or dicts of them are of, as Minari writes it."""
    if isinstance(node, dict):
        return {"type": "Dict", "subspaces": {key: _space(x) for key, x in node.items()}}
    shape = node.shape[1:]
    low, high = (0, 255) if node.dtype == np.uint8 else (-np.inf, np.inf)
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": str(node.dtype), "shape": [*shape]} | bounds
