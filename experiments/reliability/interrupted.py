"""Runs that are interrupted at random moments, and continue: they end as if nothing had happened.

    python experiments/reliability/interrupted.py --signal KILL --times 50

Each run of a slice is interrupted several times, continues with ``--ckpt_path last``, and is held
against one that nobody interrupted: weights, moments of the optimiser, random and carried states.
"""

import argparse
import random
import signal
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from running import Ended, run
from slices import OPTIONS, TRAINER, write_data
from tqdm import tqdm

from paratime.training import damage_of

COMPARED = ("state_dict", "optimizer_states", "lr_schedulers", "random_state", "carried_state")
"""In a checkpoint: what a run must have in common with one that was not interrupted."""

EACH = 3
"""Interruptions of a run, at most."""

STATUS = {signal.SIGKILL: 137, signal.SIGTERM: 143, signal.SIGINT: 130}


@dataclass
class Count:
    """What was tried, and what failed.

    Attributes:
        tried: Interruptions.
        differ: Runs that ended with other values, by slice.
        damaged: Checkpoints that were not whole after an interruption.
        wrong: Interruptions whose status was another than the signal's, and runs that failed.
    """

    tried: int = 0
    differ: int = 0
    damaged: int = 0
    wrong: int = 0

    @property
    def failed(self) -> int:
        """All failures."""
        return self.differ + self.damaged + self.wrong


def main(arguments: list[str] | None = None) -> None:
    """Interrupt runs, and print how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    parser.add_argument("--times", type=int, default=50, help="interruptions in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--slices", default=",".join(OPTIONS), help="which")
    chosen = parser.parse_args(arguments)
    number = getattr(signal, f"SIG{chosen.signal}")
    count = interrupt(chosen.slices.split(","), number, chosen.times, chosen.seed)
    print(count)
    print(f"tried {count.tried} failed {count.failed}")
    raise SystemExit(count.failed > 0)


def interrupt(slices: Iterable[str], number: int, times: int, seed: int = 0) -> Count:
    """Interrupt runs of slices by a signal.

    Args:
        slices: Which slices.
        number: The signal.
        times: Interruptions in all.
        seed: Of the moments.
    """
    count, moments = Count(), random.Random(seed)
    with tempfile.TemporaryDirectory() as made, tqdm(total=times) as bar:
        alone = {name: _run_of(Path(made), name) for name in slices}
        while count.tried < times:
            for name, (ended, folder) in alone.items():
                left = min(EACH, times - count.tried)
                if left:
                    again = _folder(Path(made))
                    last = _interrupted(again, name, number, left, ended.seconds, moments, count)
                    same = last.status == 0 and _same(
                        folder / ended.checkpoint, again / last.checkpoint
                    )
                    count.differ += not same
                    if not same:
                        tqdm.write(f"{name} differs: {last.said}")
                    bar.update(count.tried - bar.n)
    return count


def _folder(parent: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=parent))
    write_data(folder)
    return folder


def _run_of(parent: Path, name: str) -> tuple[Ended, Path]:
    """Return a run that nobody interrupts, and its folder.

    Raises:
        RuntimeError: It fails.
    """
    folder = _folder(parent)
    ended = run(folder, "fit", *OPTIONS[name], *TRAINER)
    if ended.status:
        raise RuntimeError(ended.said)
    return ended, folder


def _interrupted(
    folder: Path,
    name: str,
    number: int,
    most: int,
    seconds: float,
    moments: random.Random,
    count: Count,
) -> Ended:
    """Run a slice until its end, interrupting it before; return the run that came to the end."""
    resumed: tuple[str, ...] = ()
    for _ in range(most):
        after = moments.uniform(0.0, seconds)
        ended = run(folder, "fit", *OPTIONS[name], *TRAINER, *resumed, number=number, after=after)
        count.tried += 1
        count.damaged += sum(damage_of(path) is not None for path in _checkpoints(folder))
        if ended.status == 0:
            return ended
        if ended.status != STATUS[number]:
            count.wrong += 1
            tqdm.write(f"{name} ended with {ended.status}: {ended.said}")
        resumed = ("--ckpt_path=last",)
    return run(folder, "fit", *OPTIONS[name], *TRAINER, *resumed)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, but not what a kill left unfinished next to them."""
    return [path for path in folder.rglob("*.ckpt") if path.parent.name[0] != "."]


def _same(path: Path, other: Path) -> bool:
    """Return whether two checkpoints have the same values, bit for bit."""
    first, second = (torch.load(x, weights_only=True) for x in (path, other))
    return all(
        _equal(x, y)
        for name in COMPARED
        for x, y in zip(_leaves(first[name]), _leaves(second[name]), strict=True)
    )


def _equal(x: object, y: object) -> bool:
    both = isinstance(x, torch.Tensor), isinstance(y, torch.Tensor)
    return torch.equal(x, y) if all(both) else x == y  # type: ignore[arg-type]


def _leaves(value: object) -> Iterator[object]:
    """Yield all that a nested value holds, in order."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield key
            yield from _leaves(value[key])
    elif isinstance(value, list | tuple):
        yield len(value)
        for x in value:
            yield from _leaves(x)
    else:
        yield value


if __name__ == "__main__":
    main()
