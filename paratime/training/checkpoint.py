"""Checkpoints of ``paratime fit``: of a run that a signal ends, what one holds, and its task."""

import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from paratime.errors import InputError
from paratime.io.checkpoint import read_checkpoint

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
