"""Commands that write the same folder at once: one result, whole, and a line for all others.

    python experiments/reliability/together.py

Three ``paratime forecast fit`` to one folder, and three ``paratime fit`` below one folder, of which
each has a folder of its own and all share one cache.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from running import Ended, run, tally
from slices import OPTIONS, TRAINER

from paratime.forecast import load_forecaster
from paratime.training import damage_of

AT_ONCE, TIMES = 3, 4
FORECAST = (
    *("forecast", "fit", "--data", "series.csv", "--prediction_length", "4", "--out", "model"),
    *("--max_steps", "20"),
)


def main() -> None:
    """Run commands at once, and print how many failed."""
    kinds = {"folder": _one_folder} | {name: partial(_own, name) for name in OPTIONS}
    tally({f"{x} {n}": kinds[x] for n in range(TIMES) for x in kinds})


def _at_once(folder: Path, words: tuple[str, ...]) -> list[Ended]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [*threads.map(lambda _: run(folder, *words), range(AT_ONCE))]


def _one_folder(folder: Path) -> str:
    """Return what is wrong with runs to one folder, empty if nothing is."""
    ended = _at_once(folder, FORECAST)
    status = sorted(x.status for x in ended)
    if status != [0, 2, 2] or any("Traceback" in x.said for x in ended):
        return f"ended with {status}: {[x.said.splitlines()[-1:] for x in ended]}"
    load_forecaster(folder / "model")
    return ""


def _own(name: str, folder: Path) -> str:
    """Return what is wrong with runs below one folder, empty if nothing is."""
    ended = _at_once(folder, ("fit", *OPTIONS[name], *TRAINER))
    if any(x.status for x in ended):
        return f"ended with {[x.status for x in ended]}: {[x.said[-300:] for x in ended]}"
    checkpoints = {folder / x.checkpoint for x in ended}
    whole = all(damage_of(path) is None for path in checkpoints)
    return "" if whole and len(checkpoints) == AT_ONCE else f"checkpoints {checkpoints}"


if __name__ == "__main__":
    main()
