"""What a command line changes of a run that it resumes."""

import logging
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from paratime.io.options import Change, changes

_log = logging.getLogger("paratime")

QUIET = (
    "ckpt_path",
    "config",
    "weights_only",
    "model.optimizer",
    "trainer.default_root_dir",
    "trainer.enable_",
    "trainer.logger",
    "trainer.log_every_n_steps",
)
"""Options of which nothing is reported: the task does so of its optimiser; others train nothing."""


class KeepConfig(Callback):
    """Keeps a run's options in its checkpoints; reports what the command line changes of them.

    A resumed run follows its command line. With another ``seed_everything``, it continues from that
    and not from the random state of the checkpoint.

    Args:
        config: All options of the run, as plain values.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the options."""
        checkpoint["config"] = self.config

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Report the options that differ."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        found = [*changes(_config(checkpoint), self.config)]
        if any(name == "seed_everything" for name, *_ in found):
            pl_module.random_state = None  # type: ignore[assignment]
        if trainer.is_global_zero:
            for line in map(_line, filter(_matters, found)):
                _log.warning(line)


def _config(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a checkpoint; those of the model alone if an older version wrote it."""
    if "config" in checkpoint:
        return dict(checkpoint["config"])
    saved = checkpoint.get("hyper_parameters", {})
    arguments = {name: value for name, value in saved.items() if name != "spec"}
    return {"model": {"class_path": saved.get("_class_path"), "init_args": arguments}}


def _matters(change: Change) -> bool:
    return not change[0].startswith(QUIET)


def _line(change: Change) -> str:
    name, before, now = change
    return f"{name}: {now}, the checkpoint had {before}"
