"""Where trajectories come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from paratime.world.data.episode import Episode


@dataclass(frozen=True)
class Recording:
    """Episodes, and what their source knows about all of them.

    Attributes:
        episodes: In a fixed order.
        environment: Gymnasium's id of their environment, if it is known.
        actions: The number of choices of a discrete action, if it is known.
        reading: What its source takes a row of data for, in lines to print.
    """

    episodes: list[Episode]
    environment: str | None = None
    actions: int | None = None
    reading: tuple[str, ...] = ()


class Source(ABC):
    """A recording; every source is a frozen dataclass."""

    @abstractmethod
    def read(self) -> Recording:
        """Return the episodes.

        Raises:
            InputError: One line that names file, episode and key, what was expected and what came.
        """


@dataclass(frozen=True)
class InMemory(Source):
    """Episodes that exist already.

    Args:
        recording: The episodes.
    """

    recording: Recording

    def read(self) -> Recording:
        """Return the episodes."""
        return self.recording
