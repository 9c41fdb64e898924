"""The Lightning CLI: ``paratime fit | validate | test | predict``."""

import logging
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from paratime.cli.parser import Parser, mistakes_in_one_line
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.sources.catalog import SOURCES as SERIES
from paratime.forecast.model.task import ForecastTask
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.catalog import TEXT_SOURCES
from paratime.language.generation.callback import TextSamples
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.catalog import TOKENIZERS
from paratime.training.base import DataModule, Task
from paratime.training.checkpoint import (
    SaveWhenStopped,
    check_checkpoint,
    newest_whole,
    run_folders,
)
from paratime.training.compile import CompileBlocks
from paratime.training.predictions import SavePredictions
from paratime.training.progress import TrainingProgress, readable
from paratime.training.quiet import quieten
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.sources.catalog import SOURCES as TRAJECTORIES
from paratime.world.evaluation.tensorboard import RolloutVideos
from paratime.world.model.task import DynamicsTask, WorldTask

SLICES = (
    *(LanguageTask, TokenData, TextSamples, CompileBlocks, *TEXT_SOURCES, *TOKENIZERS),
    *(ForecastTask, SeriesData, *SERIES),
    *(DynamicsTask, WorldTask, TrajectoryData, *TRAJECTORIES),
)
"""Classes that configs may name without their modules, because they are imported here."""

_log = logging.getLogger("paratime")

FINDER = "LearningRateFinder"


class TrainingParser(Parser, LightningArgumentParser):
    """A parser of Lightning's options, whose errors are one line."""

    def known_classes(self) -> set[type]:
        """Return the classes that a config can name, Lightning's callbacks and loggers included."""
        return super().known_classes() | _subclasses(Callback) | _subclasses(Logger)


def _subclasses(base: type) -> set[type]:
    below: list[type] = type.__subclasses__(base)
    return {base}.union(*(_subclasses(c) for c in below))


class Cli(LightningCLI):
    """Builds trainer, task and data from a config and runs one subcommand."""

    def _parse_ckpt_path(self) -> None:
        """Build the model of the config and the command line, not a checkpoint's.

        Lightning would let the checkpoint's arguments replace them silently.
        """

    def before_instantiate_classes(self) -> None:
        """Refuse an unusable checkpoint before anything is built; drop an unwanted bar.

        An interval of validation in steps counts them on from epoch to epoch.
        """
        config = self.config.get(str(self.subcommand), self.config)
        trainer = config.trainer
        if type(trainer.val_check_interval) is int and trainer.check_val_every_n_epoch == 1:
            trainer.check_val_every_n_epoch = None
        if config.get("trainer.enable_progress_bar") is False:
            callbacks = self.trainer_defaults["callbacks"]
            kept = [x for x in callbacks if not isinstance(x, TrainingProgress)]
            self.trainer_defaults["callbacks"] = kept
        _check_ckpt_path(self.subcommand, config)

    def before_fit(self) -> None:
        """Replace ``--ckpt_path last`` by the newest checkpoint of this config that is whole.

        Lightning looks in the folder of the new run alone, and takes a damaged one.
        """
        options = self.config_init[self.subcommand]
        if options.get("ckpt_path") == "last":
            folders = run_folders(self.trainer)
            options["ckpt_path"] = found = newest_whole(folders)
            nothing = f"none below {', '.join(map(str, folders))}; the run begins anew"
            _log.warning("ckpt_path last: %s", found or nothing)

    def after_fit(self) -> None:
        """Print the last scores and the checkpoint's path, in one of the processes."""
        scores = {k: v for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")}
        names = sorted(scores, key=_by_horizon)
        lines = [f"{name:<24} {readable(float(scores[name]), 4):>8}" for name in names]
        checkpoint = self.trainer.checkpoint_callback
        trial = self.config[self.subcommand].trainer.fast_dev_run
        if isinstance(checkpoint, ModelCheckpoint) and not trial:
            lines += self._saved(checkpoint, validated=bool(scores))
        if self.trainer.is_global_zero and lines:
            print("\n".join(lines))

    def _saved(self, checkpoint: ModelCheckpoint, validated: bool) -> list[str]:
        """Return lines on the checkpoint; save it unless Lightning did so at the end."""
        scored, steps, lines = checkpoint._last_global_step_saved, self.trainer.global_step, []
        stale = scored < steps and not checkpoint._every_n_train_steps
        if self.trainer.limit_val_batches and (stale or not validated):
            when = f"at step {scored}" if validated else "nowhere"
            remedy = "see --trainer.val_check_interval"
            lines = [f"validated {when}, before the end at step {steps}; {remedy}"]
        best = checkpoint.best_model_path
        path = best if best and (checkpoint.monitor or scored == steps) else self._save()
        return [*lines, f"{'checkpoint':<24} {path}"]

    def _save(self) -> Path:
        """Save a run that continued after its last validation, when Lightning saved it."""
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir)
        path = folder / "checkpoints" / f"step={self.trainer.global_step}.ckpt"
        self.trainer.save_checkpoint(path, weights_only=False)
        return path


def _check_ckpt_path(subcommand: str | None, config: Any) -> None:
    """Refuse a checkpoint that is missing, unusable, or of no use to the run."""
    path = config.get("ckpt_path")
    if path and (subcommand != "fit" or path not in ("last", "best", "hpc")):
        check_checkpoint(path)  # Lightning would score an untrained model if it found no last
    elif not path and subcommand not in ("fit", None):
        raise InputError(
            "ckpt_path",
            expected="the checkpoint to use",
            got="none",
            remedy="give --ckpt_path FILE, as paratime fit prints it",
        )
    named = [callback.class_path for callback in config.get("trainer.callbacks") or []]
    if path and subcommand == "fit" and any(FINDER in name for name in named):
        raise InputError(
            FINDER,
            expected="a run from its beginning",
            got="ckpt_path",
            remedy="leave it out: the checkpoint keeps the rate that it found",
        )


def _by_horizon(name: str) -> tuple[str, int]:
    """Return a key that sorts scores by name, then by horizon."""
    what, _, horizon = name.partition("@")
    return what, int(horizon) if horizon.isdigit() else 0


def build(options: list[str]) -> Cli:
    """Return the trainer, task and data of ``paratime fit`` with some options, before it runs.

    Args:
        options: Of the command line, without the subcommand.
    """
    quieten()
    given, sys.argv = sys.argv, ["paratime", *options]
    try:
        return _cli(run=False)
    finally:
        sys.argv = given


def main() -> None:
    """Run the subcommand in ``sys.argv``; a mistake in the input ends in one line and status 2."""
    quieten()
    with mistakes_in_one_line():
        _cli()


def _cli(run: bool = True) -> Cli:
    callbacks = [TrainingProgress(), SavePredictions(), RolloutVideos()]
    return Cli(
        Task,
        DataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        trainer_defaults={"callbacks": [*callbacks, *[SaveWhenStopped()] * run]},
        parser_class=TrainingParser,
        parser_kwargs={"prog": "paratime", "description": __doc__, "allow_abbrev": False},
        save_config_kwargs={"overwrite": True},
        run=run,
    )
