"""What is seen of a comparison while it goes on."""

import sys
from abc import ABC, abstractmethod

from tqdm import tqdm

from paratime.compare.result import Key


class View(ABC):
    """Shows runs as they go on, and says what came of each."""

    @abstractmethod
    def started(self, place: int, key: Key, steps: int) -> None:
        """Show a run of so many steps; only one is at a place at a time."""

    @abstractmethod
    def moved(self, place: int, step: int, loss: float) -> None:
        """Show how far the run at a place is."""

    @abstractmethod
    def ended(self, place: int, text: str) -> None:
        """Say what came of the run at a place."""

    @abstractmethod
    def close(self) -> None:
        """Show nothing more."""


class Bars(View):
    """A bar for all runs, and one for each that goes on.

    Args:
        total: Number of runs.
        done: How many of them are finished.
    """

    def __init__(self, total: int, done: int) -> None:
        self._all = tqdm(total=total, initial=done, desc="runs", unit="run", leave=False)
        self._bars: dict[int, tqdm] = {}

    def started(self, place: int, key: Key, steps: int) -> None:
        """Add a bar below the others."""
        layout = "{desc:<32} |{bar:12}| {n_fmt}/{total_fmt}{postfix}"
        self._bars[place] = tqdm(
            total=steps, desc=str(key), position=place + 1, leave=False, bar_format=layout
        )

    def moved(self, place: int, step: int, loss: float) -> None:
        """Move the bar."""
        bar = self._bars[place]
        bar.set_postfix_str(f"loss {loss:.3f}" if step < bar.total else "testing", refresh=False)
        bar.update(step - bar.n)

    def ended(self, place: int, text: str) -> None:
        """Remove the bar, and write a line above all of them."""
        self._bars.pop(place).close()
        self._all.write(text)
        self._all.update()

    def close(self) -> None:
        """Remove all bars."""
        for bar in (*self._bars.values(), self._all):
            bar.close()


class Lines(View):
    """A line for each run that has ended."""

    def started(self, place: int, key: Key, steps: int) -> None:
        """Say nothing."""

    def moved(self, place: int, step: int, loss: float) -> None:
        """Say nothing."""

    def ended(self, place: int, text: str) -> None:
        """Write the line."""
        print(text, flush=True)

    def close(self) -> None:
        """Say nothing."""


def view_of(total: int, done: int) -> View:
    """Return bars on a terminal, and lines elsewhere."""
    return Bars(total, done) if sys.stderr.isatty() else Lines()
