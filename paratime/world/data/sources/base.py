"""Where trajectories come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any

from paratime.world.data.environment import EnvironmentOptions
from paratime.world.data.episode import Episode


@dataclass(frozen=True)
class Recording:
    """Episodes, and what their source knows about all of them.

    Attributes:
        episodes: In a fixed order.
        environment: Gymnasium's id of their environment, if it is known.
        actions: The number of choices of a discrete action, if it is known.
        options: How the environment was made.
        reading: What its source takes a row of data for, in lines to print.
        names: Of the values of an observation that are no images, where the source knows them.
        action_names: Of the values of an action, where the source knows them.
    """

    episodes: list[Episode]
    environment: str | None = None
    actions: int | None = None
    options: EnvironmentOptions = field(default_factory=EnvironmentOptions)
    reading: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()


class Source(ABC):
    """A recording; every source is a frozen dataclass."""

    @abstractmethod
    def read(self) -> Recording:
        """Return the episodes.

        Raises:
            InputError: One line that names file, episode and key, what was expected and what came.
        """


def source_options(source: Source) -> dict[str, Any] | None:
    """Return a source's name and plain options, for a checkpoint; None if one is not plain."""
    options = {x.name: getattr(source, x.name) for x in fields(source)}  # type: ignore[arg-type]
    plain = {key: [*x] if isinstance(x, tuple) else x for key, x in options.items()}
    if not all(_is_plain(x) for x in plain.values()):
        return None
    return {"name": type(source).__name__, "options": plain}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(x) for key, x in value.items())
    return value is None or isinstance(value, str | int | float | bool)


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
