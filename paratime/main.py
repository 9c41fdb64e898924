"""The Lightning CLI: ``paratime fit | validate | test | predict``."""

import logging
import sys
from argparse import SUPPRESS
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from paratime.cli.help import help_text
from paratime.cli.messages import REPLACED
from paratime.cli.parser import Parser, mistakes_in_one_line
from paratime.cli.resume import KeepConfig
from paratime.cli.trainer import (
    check_launcher,
    check_trainer,
    named_callbacks,
    refusals_in_one_line,
    with_plain_texts,
)
from paratime.cli.training import ABOUT, GROUPS, REST
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.sources.catalog import SOURCES as SERIES
from paratime.forecast.model.task import ForecastTask
from paratime.io.processes import end_with_launcher
from paratime.io.saved.checkpoint import check_checkpoint, check_resumable
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.catalog import TEXT_SOURCES
from paratime.language.generation.callback import TextSamples
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.catalog import TOKENIZERS
from paratime.training.base import DataModule, Task
from paratime.training.checkpoints.folders import newest_whole, run_folder, run_folders
from paratime.training.checkpoints.stopping import SaveRegularly
from paratime.training.compile import CompileBlocks
from paratime.training.predictions import SavePredictions
from paratime.training.progress import DataSummary, TrainingProgress, readable
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

STEPS = 1000
"""Of a run that nothing else limits."""

POINTS, MOST = 100, 50
"""Points of a logged curve, at least, unless they would be more steps apart than Lightning's."""


class TrainingParser(Parser, LightningArgumentParser):
    """A parser of Lightning's options, whose errors are one line."""

    def known_classes(self) -> set[type]:
        """Return the classes that a config can name, Lightning's callbacks and loggers included."""
        return super().known_classes() | _subclasses(Callback) | _subclasses(Logger)

    def format_help(self, *_: Any) -> str:
        """Return the page that ``--help`` prints."""
        command = self.prog.split()[-1]
        if command not in ABOUT:
            return super().format_help()
        self.description = ABOUT[command]
        return help_text(self, GROUPS[command], REST)


def _subclasses(base: type) -> set[type]:
    below: list[type] = type.__subclasses__(base)
    return {base}.union(*(_subclasses(c) for c in below))


class RunFolder(SaveConfigCallback):
    """Gives a run a folder of its own, where its config is kept, without what it resumed from.

    Attributes:
        resumed: The step that a run resumed at, 0 for a new one.
    """

    resumed = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make a folder for a run whose logger has none, and keep the config."""
        if trainer.logger is None and not self.already_saved:
            root = trainer.default_root_dir
            folder = _new_folder(Path(root)) if trainer.is_global_zero else None
            trainer._default_root_dir = str(  # type: ignore[attr-defined]
                trainer.strategy.broadcast(folder)
            )
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the config, from which a run begins anew."""
        config, path = self.config.clone(), run_folder(trainer) / self.config_filename
        if trainer.state.fn == TrainerFn.FITTING and "ckpt_path" in config:
            config.ckpt_path = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(config, str(path), skip_none=False, overwrite=True)

    def on_load_checkpoint(self, trainer: Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        """Note the step."""
        self.resumed = checkpoint["global_step"]


@rank_zero_only
def _claim_version(logger: Any) -> None:
    """Make the folder of a logger that numbers its runs; by itself it only looks what is there."""
    if getattr(logger, "_version", 0) is None and hasattr(logger, "_get_next_version"):
        logger._version = _first_free(Path(logger.root_dir), logger._get_next_version())


def _new_folder(root: Path) -> Path:
    """Make and return the first folder of a run that does not exist."""
    folder = root / "lightning_logs"
    return folder / f"version_{_first_free(folder, 0)}"


def _first_free(root: Path, number: int) -> int:
    """Make the first folder of a version that does not exist, from a number on; return which."""
    for version in count(number):
        with suppress(FileExistsError):
            (root / f"version_{version}").mkdir(parents=True)
            return version
    raise AssertionError


class Cli(LightningCLI):
    """Builds trainer, task and data from a config and runs one subcommand."""

    def _parse_ckpt_path(self) -> None:
        """Build the model of the config and the command line, not a checkpoint's.

        Lightning would let the checkpoint's arguments replace them silently.
        """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Accept the empty options of configs that earlier versions wrote."""
        for name in REPLACED:
            parser.add_argument(f"--{name}", type=type(None), default=None, help=SUPPRESS)

    def before_instantiate_classes(self) -> None:
        """Refuse an unusable checkpoint before anything is built; drop an unwanted bar.

        An interval of validation in steps counts them on from epoch to epoch.
        """
        config = self.config.get(str(self.subcommand), self.config)
        trainer = config.trainer
        check_trainer(trainer)
        trainer.callbacks = with_plain_texts(trainer.callbacks)
        if type(trainer.val_check_interval) is int and trainer.check_val_every_n_epoch == 1:
            trainer.check_val_every_n_epoch = None
        if config.get("trainer.enable_progress_bar") is False:
            callbacks = self.trainer_defaults["callbacks"]
            kept = [x for x in callbacks if not isinstance(x, TrainingProgress)]
            self.trainer_defaults["callbacks"] = kept
        _check_ckpt_path(self.subcommand, config)
        if self.subcommand == "fit":
            _limit_steps(trainer)
            self._dump_config()
            self.trainer_defaults["callbacks"].append(KeepConfig(self.config_dump))

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Return the trainer; refuse options that do not fit, in one line."""
        with refusals_in_one_line():
            trainer = super().instantiate_trainer(**options)
        check_launcher(trainer)
        return trainer

    def after_instantiate_classes(self) -> None:
        """Leave the metric out that Lightning's TensorBoard logger writes as -1 in every run."""
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger._default_hp_metric = False

    def before_fit(self) -> None:
        """Replace ``--ckpt_path last`` by the newest checkpoint of this config that is whole.

        Lightning looks in the folder of the new run alone, and takes a damaged one. Then give the
        run a folder that no other one takes.
        """
        options = self.config_init[self.subcommand]
        if options.get("ckpt_path") == "last":
            folders = run_folders(self.trainer)
            options["ckpt_path"] = found = newest_whole(folders)
            nothing = f"none below {', '.join(map(str, folders))}; the run begins anew"
            _log.warning("ckpt_path last: %s", found or nothing)
        for logger in self.trainer.loggers:
            _claim_version(logger)

    def after_fit(self) -> None:
        """Print the last scores and the checkpoint's path, in one of the processes."""
        scores = {k: v for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")}
        names = sorted(scores, key=_by_horizon)
        lines = [f"{name:<24} {readable(float(scores[name]), 4):>8}" for name in names]
        lines += self._saved(validated=bool(scores))
        if self.trainer.is_global_zero:
            print("\n".join(lines))

    def _saved(self, validated: bool) -> list[str]:
        """Return lines on the checkpoint; save it unless Lightning did so at the end."""
        trainer, steps = self.trainer, self.trainer.global_step
        reason = "--trainer.fast_dev_run is a trial" if trainer.fast_dev_run else None  # type: ignore[attr-defined]
        if not trainer.checkpoint_callbacks and not reason:
            reason = "--trainer.enable_checkpointing is false"
        resumed = [x.resumed for x in trainer.callbacks if isinstance(x, RunFolder)]  # type: ignore[attr-defined]
        if steps == sum(resumed) and not reason:
            if not steps:
                return [_named("none, as no step was made")]
            return [self._finished(), _named(trainer.ckpt_path)]
        kept = [x for x in trainer.checkpoint_callbacks if isinstance(x, ModelCheckpoint)]
        lines = self._unscored(kept, validated)
        return [*lines, _named(f"none, as {reason}" if reason else self._path(kept))]

    def _finished(self) -> str:
        """Return a line on a checkpoint that had nothing left to train."""
        trainer, text = self.trainer, f"nothing left to train at step {self.trainer.global_step}"
        remedy = "raise --trainer.max_steps, max_epochs or max_time to continue"
        if 0 <= trainer.max_steps <= trainer.global_step:
            remedy = f"raise --trainer.max_steps from {trainer.max_steps} to continue"
        elif trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch:
            remedy = f"raise --trainer.max_epochs from {trainer.max_epochs} to continue"
        return f"{text}; {remedy}"

    def _unscored(self, kept: list[ModelCheckpoint], validated: bool) -> list[str]:
        """Return a line on steps after the last validation, if there are."""
        steps = self.trainer.global_step
        scored = max((x._last_global_step_saved for x in kept[:1]), default=steps)
        stale = scored < steps and not any(x._every_n_train_steps for x in kept[:1])
        if not self.trainer.limit_val_batches or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return []
        if validated and not stale:
            return []
        when = f"at step {scored}" if validated else "nowhere"
        remedy = "see --trainer.val_check_interval"
        return [f"validated {when}, before the end at step {steps}; {remedy}"]

    def _path(self, kept: list[ModelCheckpoint]) -> str | Path:
        """Return the path of the best checkpoint, or of the last one; save it if none has been."""
        for checkpoint in kept:
            last = checkpoint._last_global_step_saved == self.trainer.global_step
            best = checkpoint.best_model_path
            if best and Path(best).exists() and (checkpoint.monitor or last):
                return best
        folder = next((Path(x.dirpath) for x in kept if x.dirpath), None)
        folder = folder or run_folder(self.trainer) / "checkpoints"
        path = folder / f"step={self.trainer.global_step}.ckpt"
        self.trainer.save_checkpoint(path, weights_only=False)
        return path


def _named(path: object) -> str:
    return f"{'checkpoint':<24} {path}"


def _limit_steps(trainer: Any) -> None:
    """Limit a run that nothing ends, and log often enough to show how it went."""
    timed = any("Timer" in name for name in named_callbacks(trainer))
    limits = trainer.max_time or trainer.max_epochs or trainer.fast_dev_run or timed
    if trainer.max_steps == -1 and not limits:
        trainer.max_steps = STEPS
        print(f"training ends after {STEPS:,} steps; see --trainer.max_steps, max_epochs, max_time")
    if trainer.log_every_n_steps is None:
        expected = trainer.max_steps if trainer.max_steps > 0 else STEPS
        trainer.log_every_n_steps = min(MOST, max(1, expected // POINTS))


def _check_ckpt_path(subcommand: str | None, config: Any) -> None:
    """Refuse a checkpoint that is missing, unusable, or of no use to the run."""
    path = config.get("ckpt_path")
    if path and (subcommand != "fit" or path not in ("last", "best", "hpc")):
        check_checkpoint(path)  # Lightning would score an untrained model if it found no last
        if subcommand == "fit":
            check_resumable(path)
    elif not path and subcommand not in ("fit", None):
        raise InputError(
            "ckpt_path",
            expected="the checkpoint to use",
            got="none",
            remedy="give --ckpt_path FILE, as paratime fit prints it",
        )
    named = any(FINDER in name for name in named_callbacks(config.trainer))
    if path and subcommand == "fit" and named:
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
    end_with_launcher()
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
        trainer_defaults={"callbacks": [*callbacks, *[DataSummary(), SaveRegularly()] * run]},
        parser_class=TrainingParser,
        parser_kwargs={"prog": "paratime", "description": __doc__, "allow_abbrev": False},
        save_config_callback=RunFolder,
        save_config_kwargs={"save_to_log_dir": False},
        auto_configure_optimizers=False,
        run=run,
    )
