"""A T-maze, in which nothing but memory helps (Bakker, NeurIPS 2002)."""

import re
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from paratime.errors import check_at_least

ID = re.compile(r"paratime/TMaze(\d+)-v0")


class TMaze(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A cue is seen once, and must be known at the end of a corridor.

    The agent walks by itself: what it does counts at the junction alone, ``length`` steps after the
    cue, where its action must be that of the cue. Its reward is 1 then, and -1 otherwise, and the
    episode is over; before, rewards are 0. Cues are equally likely, so that to whoever has
    forgotten it the reward of either action is a fair coin; to whoever has not, it is certain.

    Observed are the cue, -1 for left and 1 for right and 0 from the second step on, and whether
    this is the junction. Actions are 0, left, and 1, right.

    Args:
        length: Steps from the cue to the junction.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, length: int) -> None:
        check_at_least(1, length=length)
        self.length, self._place, self._cue = length, 0, 0
        low, high = np.array([[-1, 0], [1, 1]], dtype=np.float32)
        self.observation_space = Box(low, high)
        self.action_space = Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Show a cue.

        It comes from a stream of its own: a space of actions with the same seed would draw the
        same numbers, and so the cue as its first action.
        """
        super().reset(seed=seed)
        self._place, self._cue = 0, int(self.np_random.spawn(1)[0].integers(2))
        return self._seen(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Walk on, or turn at the junction."""
        over = self._place == self.length
        reward = (1.0 if action == self._cue else -1.0) if over else 0.0
        self._place += 1
        return self._seen(), reward, over, False, {}

    def _seen(self) -> NDArray[np.float32]:
        cue = 2 * self._cue - 1 if self._place == 0 else 0
        return np.array([cue, self._place == self.length], dtype=np.float32)


def register(environment: str) -> None:
    """Tell Gymnasium of the T-maze that an id such as ``paratime/TMaze64-v0`` means, if any."""
    found = ID.fullmatch(environment)
    if found and environment not in gymnasium.registry:
        entry, length = f"{__name__}:{TMaze.__name__}", int(found[1])
        gymnasium.register(environment, entry, kwargs={"length": length})
