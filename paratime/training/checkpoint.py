"""Checkpoints of ``paratime fit``: of a run that a signal ends, what one holds, and its task."""

import signal
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import is_zipfile

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from paratime.errors import InputError, describe_error, one_line
from paratime.io.archives import check_archive, check_shards
from paratime.io.trust import find_class, make

META, STATE = "meta.pt", "state_dict."
"""In the folder that ModelParallelStrategy writes: what is no tensor, and how weights begin."""

TaskT = TypeVar("TaskT", bound=LightningModule)


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
        return self.path or (folder and str(Path(folder).with_name("stopped.ckpt")))


def check_checkpoint(path: str) -> None:
    """Refuse a path that is not a whole checkpoint file or folder, or would run code."""
    if not Path(path).exists():
        problem = "an existing checkpoint", repr(path)
    elif Path(path).is_file() and not is_zipfile(path):
        problem = "a checkpoint", f"another or a cut file, {path!r}"
    else:
        return _check_parts(Path(path))
    raise InputError(
        "ckpt_path",
        *problem,
        remedy=f"paratime fit prints the path at its end; relative ones start from {Path.cwd()}",
    )


def _check_parts(path: Path) -> None:
    """Refuse a file or a folder with damaged parts, or parts that would run code."""
    try:
        if path.is_dir():
            check_shards(path)
        check_archive(path / META if path.is_dir() else path)
    except InputError as error:
        raise _unreadable(path, error.args[2]) from None


def _unreadable(path: str | Path, got: str) -> InputError:
    return InputError(
        str(path),
        expected="a checkpoint of paratime fit",
        got=got,
        remedy="name what paratime fit printed",
    )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint; of a sharded one's folder, without the moments.

    Raises:
        InputError: There is no checkpoint of Lightning, or it cannot be read.
    """
    check_checkpoint(str(path))
    try:
        saved = _read_folder(Path(path)) if Path(path).is_dir() else _read_file(Path(path))
        for name in ("hyper_parameters", "state_dict"):
            if not isinstance(saved.setdefault(name, {}), Mapping):
                raise TypeError(f"{name} is no dictionary")
    except Exception as error:  # torch names no common class for what is cut or of another kind
        raise _unreadable(path, f"{type(error).__name__}: {one_line(error)}") from None
    return saved


def restore_task(path: str, kinds: Sequence[type[TaskT]]) -> TaskT:
    """Return the task of a checkpoint, in evaluation mode on the CPU.

    Args:
        path: The checkpoint.
        kinds: Classes of tasks that are accepted.

    Raises:
        InputError: There is no checkpoint of ``paratime fit``, or its task is another one.
    """
    saved = read_checkpoint(path)
    described = saved["hyper_parameters"]
    name = str(described.get("_class_path", "one without its config")).rpartition(".")[2]
    by_name = {kind.__name__: kind for kind in kinds}
    if name not in by_name:
        raise InputError(
            path,
            expected=f"a checkpoint of {' or '.join(by_name)}",
            got=name,
            remedy="name what paratime fit printed",
        )
    return build_saved(by_name[name], saved).eval()


def build_saved(
    base: type[TaskT], saved: Mapping[str, Any], *, strict: bool = True, **given: Any
) -> TaskT:
    """Return the task of a checkpoint's contents, of classes that data may name.

    Lightning would import the classes that a checkpoint names, and call functions.

    Args:
        base: The class of the task, or one that it derives from.
        saved: What ``read_checkpoint`` returned.
        strict: Whether all weights must be those of the task.
        given: Arguments of the task, instead of those of the checkpoint.

    Raises:
        InputError: The task cannot be built, or has other weights.
    """
    described = {**saved.get("hyper_parameters", {})}
    described.pop("spec", None)  # on_load_checkpoint builds the network for it
    path = described.pop("_class_path", None)
    kind = base if path is None else find_class(path, base)
    task = make(kind, {"init_args": described, "class_path": path} if path else described, **given)
    try:
        task.on_load_checkpoint({**saved})
        task.load_state_dict(saved["state_dict"], strict=strict)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged description of the data leads to
        raise InputError(
            "checkpoint", f"one of a {kind.__name__}", describe_error(error), "train it anew"
        ) from None
    return task


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
