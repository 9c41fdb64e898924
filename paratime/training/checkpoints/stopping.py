"""Runs that a signal ends, in good order."""

import signal
import threading
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from paratime.training.checkpoints.folders import STOPPED, last_checkpoint, run_folder


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
        own = str(run_folder(trainer) / STOPPED) if trainer.checkpoint_callbacks else None
        return self.path or own
