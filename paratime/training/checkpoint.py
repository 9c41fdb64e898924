"""Checkpoints of ``paratime fit``: at which step, of stopped runs, what one holds, its task."""

import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from paratime.errors import InputError, describe_error
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.io.saved.trust import find_class, make

TaskT = TypeVar("TaskT", bound=LightningModule)


class LastStep:
    """The place of a run at its last optimiser step, for checkpoints that are written later.

    Gradients that are being accumulated are in no checkpoint, nor is the half of a batch. So a
    checkpoint holds the run as it was at its last step, and a resumed run repeats the batches
    since.
    """

    def __init__(self) -> None:
        self._step, self._batches = -1, 0
        self._kept: dict[str, Any] = {}

    def keep(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Keep the place, and other state of the run, if no gradients are being accumulated."""
        if trainer.global_step > self._step or not trainer.fit_loop._should_accumulate():
            self._step, self._batches = trainer.global_step, _batches(trainer)
            self._kept = {**state, "fit_loop": trainer.fit_loop.state_dict()}

    def replace(self, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
        """Replace the place in a checkpoint that is written after the step."""
        if trainer.global_step == self._step and _batches(trainer) > self._batches:
            kept = dict(self._kept)
            checkpoint["loops"] = checkpoint["loops"] | {"fit_loop": kept.pop("fit_loop")}
            checkpoint.update(kept)


def _batches(trainer: Trainer) -> int:
    """Return the batches of a run so far, including the one that it is in."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


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
    """Saves a run that SIGTERM or Ctrl-C ends, after the step or batch that it is in.

    Before the first step, and at a second signal, it ends at once. Runs of several processes are
    left to Lightning.

    Args:
        path: The checkpoint; by default ``stopped.ckpt`` in the folder of the run.
        remedy: How to continue from ``{path}``.
    """

    def __init__(
        self, path: str | None = None, remedy: str = "continue with --ckpt_path {path}"
    ) -> None:
        self.path, self.remedy = path, remedy
        self._before: dict[int, Any] = {}
        self._received: int | None = None
        self._trainer: Trainer | None = None

    def on_sanity_check_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals, instead of Lightning."""
        self._listen(trainer)

    def on_sanity_check_end(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals, instead of Lightning."""
        self._listen(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save the run and end it, if there was a signal."""
        self._stop(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save the run and end it, if there was a signal."""
        self._stop(trainer)

    def on_save_checkpoint(self, trainer: Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        """Have a run that ends within a validation begin it anew."""
        if self._received is not None and trainer.validating:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress["current"] = dict.fromkeys(progress["current"], 0)
            progress["total"] = dict.fromkeys(progress["total"], 0) | {"ready": 1, "started": 1}
            progress["is_last_batch"] = False

    def on_train_end(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def on_exception(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def _listen(self, trainer: Trainer) -> None:
        self._forget()
        self._received, self._trainer = None, trainer
        alone = trainer.world_size == 1 and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if alone and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)

    def _stop(self, trainer: Trainer) -> None:
        if self._received is None:
            return
        at, path = f"stopped at step {trainer.global_step}", self._path(trainer)
        if not trainer.global_step:
            text = "stopped before the first step; nothing was saved"
        elif path is None:
            text = f"{at}; nothing was saved, as the run has no checkpoints"
        else:
            trainer.save_checkpoint(path, weights_only=False)
            text = f"{at}, saved; {self.remedy.format(path=path)}"
        self._forget()
        raise Stopped(self._received, text)

    def _receive(self, number: int, _: Any) -> None:
        trainer = self._trainer
        assert trainer is not None
        if self._received is None and not trainer.sanity_checking:
            self._received = number
            return
        self._forget()
        text = "stopped before the first step; nothing was saved"
        if self._received is not None:
            last = last_checkpoint(trainer)
            saved = "nothing was saved" if last is None else f"the last checkpoint is {last}"
            text = f"stopped at once at step {trainer.global_step}; {saved}"
        raise Stopped(number, text)

    def _forget(self) -> None:
        for number in [*self._before]:
            signal.signal(number, self._before.pop(number))

    def _path(self, trainer: Trainer) -> str | None:
        own = str(run_folder(trainer) / "stopped.ckpt") if trainer.checkpoint_callbacks else None
        return self.path or own


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
