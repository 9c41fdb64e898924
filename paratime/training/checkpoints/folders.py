"""Folders of runs, and the checkpoints in them."""

import logging
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch import Trainer

from paratime.errors import InputError
from paratime.io.atomic import MARK
from paratime.io.saved.archives import DESCRIPTION, check_archive
from paratime.io.saved.checkpoint import META

_log = logging.getLogger("paratime")

LATEST = "latest.ckpt"
"""Of a run that is saved every few minutes, or that a signal has ended, next to the folder of its
other checkpoints."""


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of a run: its logger's, as for Lightning's checkpoints, or its root's."""
    logger, root = trainer.logger, trainer.default_root_dir
    if logger is None:
        return Path(root)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or root, str(logger.name), version)


def last_checkpoint(trainer: Trainer) -> str | None:
    """Return the path of the last checkpoint that a trainer's callbacks saved, if it exists."""
    callbacks = trainer.checkpoint_callbacks
    paths = [getattr(callback, "_last_checkpoint_saved", "") for callback in callbacks]
    existing = [path for path in paths if path and Path(path).exists()]
    return max(existing, key=lambda path: Path(path).stat().st_mtime, default=None)


def run_folders(trainer: Trainer) -> list[Path]:
    """Return the folders in which runs with the options of a trainer keep their checkpoints."""
    own = [Path(x) for c in trainer.checkpoint_callbacks if (x := getattr(c, "dirpath", None))]
    if own:
        return sorted({*own, *(folder.with_name(LATEST) for folder in own)})
    roots = [x for logger in trainer.loggers if (x := getattr(logger, "root_dir", None))]
    if roots:
        return sorted({Path(x) for x in roots})
    return [Path(trainer.default_root_dir, x) for x in ("checkpoints", "lightning_logs")]


def newest_whole(places: Iterable[str | Path]) -> Path | None:
    """Return the newest whole checkpoint below some places; name damaged ones that are newer.

    Args:
        places: Folders of runs or of checkpoints, and files.

    Returns:
        Its path, or None if there are no checkpoints at all.

    Raises:
        InputError: All checkpoints are damaged.
    """
    paths = {x.resolve() for place in places for x in (Path(place), *Path(place).rglob("*.ckpt"))}
    paths = {x for x in paths if x.suffix == ".ckpt" and MARK not in x.parent.name}  # no draft
    written = {x: x.stat().st_mtime_ns for x in paths if x.exists()}
    found = sorted(written, key=lambda x: written[x], reverse=True)
    for path in found:
        if (damage := damage_of(path)) is None:
            return path
        _log.warning("passed over %s: %s", path, damage)
    if found:
        raise InputError(
            "ckpt_path last",
            expected="a whole checkpoint",
            got=f"{len(found)} damaged, the newest {found[0]}",
            remedy="move them away to begin anew",
        )
    return None


def damage_of(path: Path) -> str | None:
    """Return why a checkpoint is not whole, or None if it is, to the last byte of its tensors."""
    if path.is_dir():
        lacking = [x for x in (META, DESCRIPTION) if not (path / x).is_file()]
        return f"no {lacking[0]} in it" if lacking else None
    if not path.stat().st_size:
        return "an empty file"
    try:
        check_archive(path)
    except InputError as error:
        return f"another or a cut file: {error.args[2]}"
    return None
