"""The Lightning CLI: ``paratime fit | validate | test | predict``."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from paratime.cli.parser import Parser, check_checkpoint, mistakes_in_one_line
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.model.task import ForecastTask
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.catalog import SOURCES as TEXTS
from paratime.language.generation.callback import TextSamples
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import TOKENIZERS
from paratime.training.base import DataModule, Task
from paratime.training.compile import CompileBlocks
from paratime.training.predictions import SavePredictions
from paratime.training.progress import TrainingProgress
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.sources.catalog import SOURCES
from paratime.world.model.dynamics_task import DynamicsTask
from paratime.world.model.latent_task import WorldTask

SLICES = (
    *(LanguageTask, TokenData, TextSamples, CompileBlocks, *TEXTS, *TOKENIZERS),
    *(ForecastTask, SeriesData),
    *(DynamicsTask, WorldTask, TrajectoryData, *SOURCES),
)
"""Classes that configs may name without their modules, because they are imported here."""

FINDER = "LearningRateFinder"

LINKED = ("vocab_size", "tokenizer", "series", "trajectories")
"""Arguments of tasks that follow from the data."""


class Cli(LightningCLI):
    """Builds trainer, task and data from a config and runs one subcommand."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the arguments of tasks that follow from the data."""
        for name in LINKED:
            parser.link_arguments(
                "data",
                f"model.init_args.{name}",
                compute_fn=lambda data, name=name: data.facts.get(name),
                apply_on="instantiate",
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and refuse values that the data would silently replace."""
        super().parse_arguments(parser, args)
        config = self.config.get(str(self.config.get("subcommand")), self.config)
        for name in LINKED:
            if (value := config.get(f"model.init_args.{name}")) is not None:
                remedy = "leave it out"
                raise InputError(f"model.{name}", "what the data says", repr(value), remedy)

    def _parse_ckpt_path(self) -> None:
        """Build the model that the config and the command line say, not a checkpoint's.

        Lightning would let the checkpoint's arguments replace them silently.
        """

    def before_instantiate_classes(self) -> None:
        """Refuse an unusable checkpoint before anything is built; drop an unwanted bar."""
        config = self.config.get(str(self.subcommand), self.config)
        trainer = config.trainer
        if type(trainer.val_check_interval) is int and trainer.check_val_every_n_epoch == 1:
            trainer.check_val_every_n_epoch = None  # which counts steps on, from epoch to epoch
        if config.get("trainer.enable_progress_bar") is False:
            self.trainer_defaults["callbacks"] = [SavePredictions()]
        path = config.get("ckpt_path")
        if path and (self.subcommand != "fit" or path not in ("last", "best", "hpc")):
            check_checkpoint(path)  # Lightning would score an untrained model if it found no last
        elif not path and self.subcommand not in ("fit", None):
            remedy = "give --ckpt_path FILE, as paratime fit prints it"
            raise InputError("ckpt_path", "the checkpoint to use", "none", remedy)
        named = [callback.class_path for callback in config.get("trainer.callbacks") or []]
        if path and self.subcommand == "fit" and any(FINDER in name for name in named):
            got, remedy = "ckpt_path", "leave it out: the checkpoint keeps the rate that it found"
            raise InputError(FINDER, "a run from its beginning", got, remedy)

    def after_fit(self) -> None:
        """Say how training ended and where the checkpoint is, in one of its processes."""
        scores = {k: v for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")}
        lines = [f"{name:<24} {scores[name]:8.4f}" for name in sorted(scores, key=_by_horizon)]
        checkpoint = self.trainer.checkpoint_callback
        trial = self.config[self.subcommand].trainer.fast_dev_run
        if isinstance(checkpoint, ModelCheckpoint) and not trial:
            lines += self._saved(checkpoint, validated=bool(scores))
        if self.trainer.is_global_zero and lines:
            print("\n".join(lines))

    def _saved(self, checkpoint: ModelCheckpoint, validated: bool) -> list[str]:
        """Return lines on the checkpoint; save it, if Lightning has not at the end."""
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
        """Save a run that went on after its last validation, when Lightning saved it."""
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir)
        path = folder / "checkpoints" / f"step={self.trainer.global_step}.ckpt"
        self.trainer.save_checkpoint(path, weights_only=False)
        return path


def _by_horizon(name: str) -> tuple[str, int]:
    """Return what sorts figures by name, and by their horizon as a number."""
    what, _, horizon = name.partition("@")
    return what, int(horizon) if horizon.isdigit() else 0


def quieten() -> None:
    """Drop what Lightning says to advertise, about its own use of torch, or of no consequence."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: "Tip:" not in record.getMessage())
    for message in (
        ".*isinstance.treespec, LeafSpec.* is deprecated",
        "The dirpath has changed",
        "You're using the WeightAveraging callback with a model that overrides",
    ):
        warnings.filterwarnings("ignore", message=message)


def build(options: list[str]) -> Cli:
    """Return trainer, task and data as ``paratime fit`` with some options has them, before it runs.

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
    return Cli(
        Task,
        DataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        trainer_defaults={"callbacks": [TrainingProgress(), SavePredictions()]},
        parser_class=Parser,
        parser_kwargs={"prog": "paratime", "description": __doc__, "allow_abbrev": False},
        save_config_kwargs={"overwrite": True},
        run=run,
    )
