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
    """A cue is shown once, and is needed at the end of a corridor.

    The agent walks without its own doing: its action counts at the junction alone, ``length`` steps
    after the cue, where it must equal the cue. The reward is 1 then, and -1 otherwise, and the
    episode is over; all earlier rewards are 0. Cues are equally likely, so the reward of either
    action is a fair coin to an agent that has forgotten the cue, and certain to one that has not.

    An observation is the cue, -1 for left and 1 for right and 0 from the second step on, and
    whether this is the junction. Actions are 0, left, and 1, right.

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

        It is drawn from a stream of its own: an action space with the same seed would draw the same
        values, and so the cue as its first action.
        """
        super().reset(seed=seed)
        self._place, self._cue = 0, int(self.np_random.spawn(1)[0].integers(2))
        return self._observation(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Walk on, or turn at the junction."""
        over = self._place == self.length
        reward = (1.0 if action == self._cue else -1.0) if over else 0.0
        self._place += 1
        return self._observation(), reward, over, False, {}

    def _observation(self) -> NDArray[np.float32]:
        cue = 2 * self._cue - 1 if self._place == 0 else 0
        return np.array([cue, self._place == self.length], dtype=np.float32)


def register_tmaze(environment: str) -> None:
    """Register the T-maze of an id such as ``paratime/TMaze64-v0`` with Gymnasium."""
    found = ID.fullmatch(environment)
    if found and environment not in gymnasium.registry:
        entry, length = f"{__name__}:{TMaze.__name__}", int(found[1])
        gymnasium.register(
            environment, entry, max_episode_steps=length + 2, kwargs={"length": length}
        )
