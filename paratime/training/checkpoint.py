"""Checkpoints of ``paratime fit``: how they are written, which is the last, and what one holds."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from fsspec.utils import get_protocol
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from paratime.errors import InputError, one_line
from paratime.io.atomic import MARK, replacing

_log = logging.getLogger("paratime")

META, STATE = "meta.pt", "state_dict."
"""In the folder that ModelParallelStrategy writes: what is no tensor, and how weights begin."""

STOPPED = "stopped.ckpt"
"""Of a run that a signal has ended, next to the folder of its checkpoints."""

DISTRIBUTED = ".metadata"
"""In the same folder: what torch.distributed.checkpoint writes there last."""

TaskT = TypeVar("TaskT", bound=LightningModule)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole or not at all.

    Lightning's own stages them in TMPDIR, and copies them from another file system in parts.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Stage a checkpoint next to its place, with a checksum of each tensor; rename it then."""
        if storage_options is not None or get_protocol(str(path)) != "file":
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(path) as draft:
            torch.save(checkpoint, draft)


def write_whole(trainer: Trainer) -> None:
    """Let a trainer write checkpoints whole, unless it was given another way to write them."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()


class Stopped(SIGTERMException):
    """A signal has ended a run, in good order.

    Attributes:
        text: What to tell the user.
    """

    def __init__(self, signal: int, text: str) -> None:
        super().__init__(128 + signal)
        self.text = text

    def __str__(self) -> str:
        return self.text


class SaveWhenStopped(Callback):
    """Saves a run that SIGTERM or Ctrl-C ends, after the step that it is in.

    A second signal ends it at once. Runs of several processes are left to Lightning.

    Args:
        path: The checkpoint; by default ``stopped.ckpt`` next to the folder of the others.
        remedy: How to continue from ``{path}``.
    """

    def __init__(
        self, path: str | None = None, remedy: str = "continue with --ckpt_path {path}"
    ) -> None:
        self.path, self.remedy = path, remedy
        self._before: dict[int, Any] = {}
        self._received: int | None = None

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals, instead of Lightning."""
        self._received = None
        alone = trainer.world_size == 1 and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if alone and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save the run and end it, if there was a signal."""
        if self._received is None:
            return
        self._forget()
        at, path = f"stopped at step {trainer.global_step}", self._path(trainer)
        if path is None:
            raise Stopped(self._received, f"{at}; nothing was saved, as the run has no checkpoints")
        trainer.save_checkpoint(path, weights_only=False)
        raise Stopped(self._received, f"{at}, saved; {self.remedy.format(path=path)}")

    def on_train_end(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def on_exception(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def _receive(self, number: int, _: Any) -> None:
        if self._received is not None:
            self._forget()
            raise KeyboardInterrupt
        self._received = number

    def _forget(self) -> None:
        for number in [*self._before]:
            signal.signal(number, self._before.pop(number))

    def _path(self, trainer: Trainer) -> str | None:
        folder = getattr(trainer.checkpoint_callback, "dirpath", None)
        return self.path or (folder and str(Path(folder).with_name(STOPPED)))


def run_folders(trainer: Trainer) -> list[Path]:
    """Return the folders in which runs with the options of a trainer keep their checkpoints."""
    own = [Path(x) for c in trainer.checkpoint_callbacks if (x := getattr(c, "dirpath", None))]
    if own:
        return sorted({*own, *(folder.with_name(STOPPED) for folder in own)})
    roots = [x for logger in trainer.loggers if (x := getattr(logger, "root_dir", None))]
    return sorted({Path(x) for x in roots or [Path(trainer.default_root_dir, "checkpoints")]})


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
        lacking = [x for x in (META, DISTRIBUTED) if not (path / x).is_file()]
        return f"no {lacking[0]} in it" if lacking else None
    if not path.stat().st_size:
        return "an empty file"
    try:
        with ZipFile(path) as file:
            bad = file.testzip()
    except (BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"another or a cut file: {one_line(error)}"
    return None if bad is None else f"changed bytes in {bad}"


def check_checkpoint(path: str) -> None:
    """Refuse a path that is not a whole checkpoint file or folder."""
    if not Path(path).exists():
        problem = "an existing checkpoint", repr(path)
    elif Path(path).is_file() and not is_zipfile(path):
        problem = "a checkpoint", f"another or a cut file, {path!r}"
    else:
        return
    raise InputError(
        "ckpt_path",
        *problem,
        remedy=f"paratime fit prints the path at its end; relative ones start from {Path.cwd()}",
    )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint; of a sharded one's folder, without the moments.

    Raises:
        InputError: There is no checkpoint of Lightning, or it cannot be read.
    """
    check_checkpoint(str(path))
    try:
        saved = _read_folder(Path(path)) if Path(path).is_dir() else _read_file(Path(path))
    except Exception as error:  # torch names no common class for what is cut or of another kind
        raise InputError(
            str(path),
            expected="a checkpoint of paratime fit",
            got=f"{type(error).__name__}: {one_line(error)}",
            remedy="name what paratime fit printed",
        ) from None
    return saved


def restore_task(path: str, kinds: Sequence[type[TaskT]]) -> TaskT:
    """Return the task of a checkpoint, in evaluation mode on the CPU.

    Args:
        path: The checkpoint.
        kinds: Classes of tasks that are accepted.

    Raises:
        InputError: There is no checkpoint of ``paratime fit``, or its task is another one.
    """
    saved = read_checkpoint(path).get("hyper_parameters", {})
    name = str(saved.get("_class_path", "one without its config")).rpartition(".")[2]
    by_name = {kind.__name__: kind for kind in kinds}
    if name not in by_name:
        raise InputError(
            path,
            expected=f"a checkpoint of {' or '.join(by_name)}",
            got=name,
            remedy="name what paratime fit printed",
        )
    return by_name[name].load_from_checkpoint(path, map_location="cpu").eval()


def check_weights(ours: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Refuse the weights of another model.

    Raises:
        InputError: One line that names the first weight that differs.
    """
    for name in sorted(saved.keys() | ours.keys()):
        expected, got = (_shape(state.get(name)) for state in (ours, saved))
        if expected != got:
            raise InputError(
                f"{name} in the checkpoint",
                expected=expected,
                got=got,
                remedy="use the config that the checkpoint was trained with",
            )


def _shape(weight: Tensor | None) -> str:
    return "no such weight" if weight is None else str(tuple(weight.shape))


def _read_file(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _read_folder(path: Path) -> dict[str, Any]:
    from torch.distributed import checkpoint  # which takes two seconds to import
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    known = checkpoint.FileSystemReader(path).read_metadata().state_dict_metadata
    weights = {
        name.removeprefix(STATE): torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in known.items()
        if name.startswith(STATE) and isinstance(about, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        checkpoint.load({STATE[:-1]: weights}, checkpoint_id=path, no_dist=True)
    return _read_file(path / META) | {"state_dict": weights}
