"""Where series come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from paratime.forecast.data.series import Collection


class Source(ABC):
    """A collection of series, in a fixed order."""

    @abstractmethod
    def read(self) -> Collection:
        """Return the series."""

    def at(self, freq: str) -> "Source":
        """Return the source with the frequency that it has to infer otherwise."""
        return self


@dataclass(frozen=True)
class InMemory(Source):
    """Series in memory.

    Args:
        collection: The series.
    """

    collection: Collection

    def read(self) -> Collection:
        """Return the series."""
        return self.collection
