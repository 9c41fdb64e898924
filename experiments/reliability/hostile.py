"""Runs where nothing can be written: each ends well, or in one line that names the place.

    python experiments/reliability/hostile.py

The disk is full from some size of a file on, folders cannot be made, or there is no home.
"""

import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

from running import Ended, run, tally
from slices import OPTIONS, TRAINER

from paratime.training import damage_of

NOWHERE = "/proc/nowhere"
"""A folder that nobody can make, root neither."""


def full(limit: int) -> None:
    """Have files that grow beyond some bytes fail."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def homeless(cache: str | None = None) -> None:
    """Have no home, and a cache elsewhere or nowhere."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    if cache:
        os.environ["XDG_CACHE_HOME"] = cache


CASES: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "full from 0 bytes": (partial(full, 0), ()),
    "full from 6,000 bytes": (partial(full, 6_000), ()),
    "full from 60,000 bytes": (partial(full, 60_000), ()),
    "no folder for runs": (bool, (f"--trainer.default_root_dir={NOWHERE}",)),
    "no cache": (partial(homeless, NOWHERE), ()),
    "no home": (homeless, ()),
    "nowhere at all": (partial(homeless, NOWHERE), (f"--trainer.default_root_dir={NOWHERE}",)),
}


def main() -> None:
    """Try all cases in all slices, and print how many failed."""
    tally({f"{x}, {case}": partial(_try, x, case) for x in OPTIONS for case in CASES})


def _try(name: str, case: str, folder: Path) -> str:
    before, options = CASES[case]
    return _wrong(run(folder, "fit", *OPTIONS[name], *TRAINER, *options, before=before), folder)


def _wrong(ended: Ended, folder: Path) -> str:
    """Return what is wrong with how a run has ended, empty if nothing is."""
    lines = ended.said.strip().splitlines() or [""]
    if any(damage_of(path) for path in folder.rglob("[!.]*.ckpt")):
        return "a checkpoint is damaged"
    if ended.status == 2 and lines[-1].startswith("paratime: ") and "Traceback" not in ended.said:
        return ""
    return "" if ended.status == 0 else f"status {ended.status}: {' | '.join(lines[-3:])}"


if __name__ == "__main__":
    main()
