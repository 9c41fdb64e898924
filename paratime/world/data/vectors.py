"""An environment with actions and observations of any space, as vectors."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space

from paratime.world.data.episode import VECTOR
from paratime.world.data.spaces import ActionCode, Description, leaves_of, observed, parts_by_path


class Vectors(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Acts by vectors, or by an index from 0, and observes arrays by path, with classes one-hot.

    Args:
        env: The environment.
        code: Of its actions.
        about: Its observation space.

    Attributes:
        action_code: Of its actions.
    """

    def __init__(self, env: Any, code: ActionCode, about: Description) -> None:
        super().__init__(env)
        self.action_code, self._about = code, about
        inner = env.action_space
        self.action_space = (
            DrawnVector(inner, code) if code.choices is None else DrawnChoice(inner, code)
        )
        parts = parts_by_path(about, env.observation_space)
        spaces = {key: _space(part, key, about) for key, part in parts.items()}
        self.observation_space = spaces[VECTOR] if self._single else Dict(spaces)

    @property
    def _single(self) -> bool:
        return self._about["type"] not in ("Dict", "Tuple")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
        """Act by an index or a vector."""
        observation, *rest = self.env.step(self.action_code.decode(action))
        return self._seen(observation), *rest

    def _seen(self, observation: Any) -> Any:
        parts = parts_by_path(self._about, observation)
        rows = observed(self._about, {key: np.asarray(x)[None] for key, x in parts.items()})
        found = {key: x[0] for key, x in rows.items()}
        return found[VECTOR] if self._single else found


def _space(part: Space[Any], key: str, about: Description) -> Space[Any]:
    """Return the space of a leaf as it is observed."""
    leaf, kept = leaves_of(about)[key], np.zeros((1, *(part.shape or ())), np.int64)
    start = np.asarray(getattr(part, "start", 0))
    seen = observed(about, {key: kept + start})[key]
    if seen.shape == kept.shape:
        return part
    low, high = (x.astype(np.float32) for x in leaf.bounds())
    return Box(low, high, dtype=np.float32)


class DrawnVector(Box):
    """The vectors of an action space, drawn as that space draws its actions.

    Args:
        inner: The action space.
        code: Of its actions.
    """

    def __init__(self, inner: Space[Any], code: ActionCode) -> None:
        low, high = (x.astype(np.float32) for x in (code.low, code.high))
        super().__init__(low, high, dtype=np.float32)
        self._inner, self._code = inner, code

    def seed(self, seed: Any = None) -> Any:
        """Seed the action space."""
        return self._inner.seed(seed)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Return the vector of an action that the action space draws."""
        parts = parts_by_path(self._code.about, self._inner.sample())
        return self._code.encode({key: np.asarray(x)[None] for key, x in parts.items()})[0]


class DrawnChoice(Discrete):
    """The choices of an action space from 0, drawn as that space draws them.

    Args:
        inner: The action space.
        code: Of its actions.
    """

    def __init__(self, inner: Space[Any], code: ActionCode) -> None:
        super().__init__(code.size)
        self._inner, self._code = inner, code

    def seed(self, seed: Any = None) -> Any:
        """Seed the action space."""
        return self._inner.seed(seed)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Return the number of a choice that the action space draws."""
        return self._code.encode({VECTOR: np.asarray(self._inner.sample())[None]})[0]
