"""Runs that are saved every few minutes, and in good order when a signal ends them."""

import signal
import threading
from time import monotonic
from typing import Any

from lightning.fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from paratime.training.checkpoints.agreement import Agreement
from paratime.training.checkpoints.folders import LATEST, last_checkpoint, run_folder

SAVE = 1
"""What processes agree on when it is time to save; other numbers are those of signals."""

NOTHING = "stopped before the first step; nothing was saved"


class Stopped(SIGTERMException):
    """A signal has ended a run, in good order.

    Attributes:
        text: What to tell the user; empty in processes that say nothing.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status)
        self.text = text

    def __str__(self) -> str:
        return self.text


class SaveRegularly(Callback):
    """Saves a run every few minutes, and when SIGTERM or Ctrl-C ends it, after its step or batch.

    There is one checkpoint, which is replaced. Several processes stop at the same step, whichever
    of them the signal reached. A second signal ends the run at once.

    Args:
        path: The checkpoint; by default ``latest.ckpt`` in the folder of the run.
        remedy: How to continue from ``{path}``.
        minutes: Time between checkpoints.
    """

    def __init__(
        self,
        path: str | None = None,
        remedy: str = "continue with --ckpt_path {path}",
        minutes: float = 5.0,
    ) -> None:
        self.path, self.remedy, self.minutes = path, remedy, minutes
        self._before: dict[int, Any] = {}
        self._received: int | None = None
        self._trainer: Trainer | None = None
        self._agreement: Agreement | None = None
        self._saved = 0.0
        self._stopping = False

    def on_sanity_check_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals, instead of Lightning, whose handler waits for other processes."""
        self._listen(trainer)

    def on_sanity_check_end(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals; say where the run is saved."""
        self._listen(trainer)
        self._saved = monotonic()
        path = self._path(trainer)
        if path is not None and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            print(f"{f'saved every {self.minutes:g} min':<24} {path}")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save the run if it is time, and end it if there was a signal."""
        self._agree(trainer)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals where several processes only validate."""
        self._listen_alone(trainer)

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals in several processes."""
        self._listen_alone(trainer)

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        """Listen to signals in several processes."""
        self._listen_alone(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End the run, if there was a signal."""
        self._agree(trainer)

    def on_test_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End the run, if there was a signal."""
        self._agree(trainer)

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End the run, if there was a signal."""
        self._agree(trainer)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Leave signals to others, where there is no training."""
        if not _fits(trainer):
            self._forget()

    def on_test_end(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def on_predict_end(self, *_: Any) -> None:
        """Leave signals to others."""
        self._forget()

    def on_save_checkpoint(self, trainer: Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        """Have a run that ends within a validation begin it anew."""
        if self._stopping and trainer.validating:
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

    def _listen_alone(self, trainer: Trainer) -> None:
        if trainer.world_size > 1 and not _fits(trainer):
            self._listen(trainer)

    def _listen(self, trainer: Trainer) -> None:
        self._forget()
        self._received, self._trainer, self._stopping = None, trainer, False
        if trainer.fast_dev_run or threading.current_thread() is not threading.main_thread():  # type: ignore[attr-defined]
            return
        self._agreement = Agreement(trainer)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)

    def _agree(self, trainer: Trainer) -> None:
        if self._agreement is None:
            return
        found = self._agreement.on(self._received or (SAVE if self._is_due(trainer) else 0))
        if found == SAVE and trainer.training:  # else it is due again after the validation
            self._save(trainer)
        elif found > SAVE:
            self._stop(trainer, found)

    def _is_due(self, trainer: Trainer) -> bool:
        """Return whether it is time to save; the first process decides."""
        late = monotonic() - self._saved >= 60 * self.minutes
        return late and trainer.is_global_zero and trainer.training

    def _save(self, trainer: Trainer) -> None:
        self._saved = monotonic()
        path = self._path(trainer)
        if path is not None and trainer.global_step:
            trainer.save_checkpoint(path, weights_only=False)

    def _stop(self, trainer: Trainer, number: int) -> None:
        if not _fits(trainer):
            self._forget()
            raise self._stopped(trainer, number, "terminated before the end")
        self._stopping = True
        self._save(trainer)
        at, path = f"stopped at step {trainer.global_step}", self._path(trainer)
        text = f"{at}, saved; {self.remedy.format(path=path)}"
        if not trainer.global_step:
            text = NOTHING
        elif path is None:
            text = f"{at}; nothing was saved, as the run has no checkpoints"
        self._forget()
        raise self._stopped(trainer, number, text)

    def _stopped(self, trainer: Trainer, number: int, text: str) -> Stopped:
        """Return what ends this process.

        A process that Lightning has started ends without an error: it would have the others killed
        for one.
        """
        if trainer.is_global_zero:
            return Stopped(128 + number, text)
        started = isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)
        return Stopped(0 if started else 128 + number, "")

    def _receive(self, number: int, _: Any) -> None:
        trainer = self._trainer
        assert trainer is not None
        alone = trainer.world_size == 1
        if self._received is None and not (alone and trainer.sanity_checking):
            self._received = number
            return
        self._forget()
        text = NOTHING
        if self._received is not None:
            last = last_checkpoint(trainer)
            saved = "nothing was saved" if last is None else f"the last checkpoint is {last}"
            text = f"stopped at once at step {trainer.global_step}; {saved}"
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)
        raise self._stopped(trainer, number, text)

    def _forget(self) -> None:
        self._agreement = None
        for number in [*self._before]:
            signal.signal(number, self._before.pop(number))

    def _path(self, trainer: Trainer) -> str | None:
        own = str(run_folder(trainer) / LATEST) if trainer.checkpoint_callbacks else None
        return self.path or own


def _fits(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING
