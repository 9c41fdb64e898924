"""Where trajectories come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from paratime.world.data.episode import Episode


@dataclass(frozen=True)
class Recording:
    """Episodes, and what their source knows of all of them.

    Attributes:
        episodes: In a fixed order.
        environment: Gymnasium's id of the environment that they are of, if it is known.
        actions: How many choices a discrete action has, if it is known.
    """

    episodes: list[Episode]
    environment: str | None = None
    actions: int | None = None


class Source(ABC):
    """A recording; every source is a frozen dataclass."""

    @abstractmethod
    def read(self) -> Recording:
        """Return the episodes.

        Raises:
            InputError: One line that says file, episode, key, what was expected and what came.
        """


@dataclass(frozen=True)
class InMemory(Source):
    """Episodes that have been made already.

    Args:
        recording: The episodes.
    """

    recording: Recording

    def read(self) -> Recording:
        """Return the episodes."""
        return self.recording
