"""``ParaRNNEstimator``: training under the interface of GluonTS, and the resumption of runs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as lightning
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from paratime.errors import InputError, check_at_least
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.features import (
    Features,
    features_in_use,
    in_roles,
    match_features,
)
from paratime.forecast.data.frequency import period_frequency
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.base import InMemory
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.fitting.holdout import Holdout, hold_out, last_window
from paratime.forecast.fitting.selection import Selection
from paratime.forecast.fitting.trial import Trial
from paratime.forecast.gluonts.arguments import Arguments
from paratime.forecast.gluonts.predictor import ParaRNNPredictor
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.inference.forecast_type import AsQuantiles, ForecastType
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.task import ForecastTask
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU
from paratime.training.progress import TrainingProgress
from paratime.training.quiet import quiet

_log = logging.getLogger("paratime")

EPOCHS, STEPS = 14, (300, 2000)
"""Default epochs of training at most, within a least and a largest number of steps."""

REFIT = 0.01
"""Share of the steps from which on those that were held out are worth training again."""

LAST = Path("checkpoints", "last.ckpt")
"""The last checkpoint, in the folder of a run."""


class ParaRNNEstimator(Estimator):
    """A nonlinear recurrent forecaster, trained on whole histories in parallel over time.

    Arguments that ``DeepAREstimator`` also has keep their names. No context length exists: the
    context is the whole history. An epoch is every series once, with origins drawn from all of its
    history. One line of the log specifies the features in use.

    Training holds out the last windows of the series. They choose how many steps to train, how far
    to trust the network (its forecast is blended with a statistical one, such as seasonal naive),
    and the width of the intervals by step of the horizon (``Holdout``). Then a fresh network trains
    on everything for as many steps, unless what was held out is less than ``REFIT`` of it.

    Args:
        freq: Frequency of the series.
        prediction_length: Steps of a forecast.
        hidden_size: Width of the encoder.
        num_layers: Blocks of the encoder.
        mixer: Builds the recurrent layer of a block from its width; ``functools.partial`` sets
            options, such as ``partial(ParaGRU, block_size=4)``.
        output: Form of a forecast: quantiles, or a distribution.
        forecasts: Type of the predictor's forecasts.
        num_feat_dynamic_real: Covariates that are known ahead, 0 to ignore them. By default, those
            of the training data; if they end with the target in all of its series, they count as
            known only up to the present, and forecasts need none of their later values.
        num_feat_static_cat: Labels of a series, 0 to ignore them; by default those of the data.
        num_feat_static_real: Static values of a series, likewise.
        cardinality: Categories of each label; by default those of the data.
        lags: Last values that the encoder reads at every step; ``ForecastTask``'s by default.
        dropout_rate: Share of the features that the head drops in training.
        squash: Whether inputs pass through asinh, which tames outliers.
        lr: Peak learning rate.
        weight_decay: Decay of the matrices.
        batch_size: Series a batch.
        max_steps: Most optimiser steps; by default ``EPOCHS`` epochs, within ``STEPS``. The
            trainer's ``max_epochs`` or ``max_steps`` take precedence.
        seed: Seed of the weights, of the order of series, of origins and of dropout.
        trainer_kwargs: More arguments of Lightning's ``Trainer``. With ``default_root_dir``,
            checkpoints are written into its folder ``checkpoints``, every ``checkpoint_every``
            steps; without it, nothing is written. Its ``callbacks`` and ``logger`` see both
            trainings; what ends the first one early does not end the second.
        checkpoint_every: Steps between checkpoints.
    """

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        hidden_size: int = 64,
        num_layers: int = 2,
        mixer: Callable[[int], Mixer] = ParaGRU,
        output: Output = Quantiles(),  # noqa: B008 (frozen)
        forecasts: ForecastType = AsQuantiles(),  # noqa: B008 (frozen)
        num_feat_dynamic_real: int | None = None,
        num_feat_static_cat: int | None = None,
        num_feat_static_real: int | None = None,
        cardinality: list[int] | None = None,
        lags: int | None = None,
        dropout_rate: float = 0.2,
        squash: bool = False,
        lr: float = 3e-3,
        weight_decay: float = 1.0,
        batch_size: int = 32,
        max_steps: int | None = None,
        seed: int = 0,
        trainer_kwargs: dict[str, Any] | None = None,
        checkpoint_every: int = 50,
    ) -> None:
        super().__init__()
        check_at_least(
            1,
            prediction_length=prediction_length,
            max_steps=1 if max_steps is None else max_steps,
            batch_size=batch_size,
            checkpoint_every=checkpoint_every,
        )
        self.freq, self.prediction_length, self.forecasts = freq, prediction_length, forecasts
        self.batch_size, self.max_steps, self.seed = batch_size, max_steps, seed
        self.trainer_kwargs = {} if trainer_kwargs is None else trainer_kwargs
        self.checkpoint_every = checkpoint_every
        forecasts.check(output)
        self.features = Features(
            num_feat_dynamic_real, num_feat_static_cat, num_feat_static_real, cardinality
        )
        self.recipe = Recipe(
            hidden_size=hidden_size,
            num_layers=num_layers,
            mixer=mixer,
            output=output,
            lags=lags,
            dropout_rate=dropout_rate,
            squash=squash,
            lr=lr,
            weight_decay=weight_decay,
        )

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> ParaRNNPredictor:
        """Train on all of the training data.

        Args:
            training_data: Any GluonTS dataset, read into memory once, or a ``Collection``.
            validation_data: Series whose last ``prediction_length`` steps take the place of the
                windows that training holds out; all of the training data is trained on.
            shuffle_buffer_length: Ignored: the order is a full shuffle.
            cache_data: Ignored: all data is in memory.
            ckpt_path: A checkpoint of an interrupted run, which then ends as if uninterrupted.

        Raises:
            InputError: The data is unusable.
        """
        data = self._data(training_data, None)
        held = None if validation_data is None else self._data(validation_data, data.spec)
        return self.train_on(data, held, ckpt_path=ckpt_path)

    def train_from(
        self,
        predictor: Predictor,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> ParaRNNPredictor:
        """Continue from the weights of a predictor of the same kind; otherwise as ``train``."""
        if not isinstance(predictor, ParaRNNPredictor):
            raise InputError(
                "predictor", "a ParaRNNPredictor", type(predictor).__name__, "train one first"
            )
        ours = self.prediction_length, self.recipe.output
        theirs = predictor.prediction_length, predictor.recipe.output
        if ours != theirs:
            raise InputError(
                "horizon and output", str(theirs), str(ours), "take those of the predictor"
            )
        data = self._data(training_data, predictor.spec)
        held = None if validation_data is None else self._data(validation_data, data.spec)
        return self.train_on(data, held, ckpt_path=ckpt_path, predictor=predictor)

    def train_on(
        self,
        data: SeriesData,
        held: SeriesData | None = None,
        *,
        ckpt_path: str | Path | None = None,
        predictor: ParaRNNPredictor | None = None,
    ) -> ParaRNNPredictor:
        """Train on the training part of a data module.

        Args:
            data: The series.
            held: Series whose test windows take the place of those that training holds out.
            ckpt_path: A checkpoint of an interrupted run.
            predictor: The source of the initial weights.
        """
        start = None if predictor is None else _trained_weights(predictor.task)
        with torch.random.fork_rng(), quiet():
            trained = ParaRNNPredictor(
                self.recipe, data.spec.plain(), forecasts=self.forecasts, batch_size=self.batch_size
            )
            trained.selection, trained.task = self._fit(data, held, ckpt_path, start)
        return trained

    def _data(self, dataset: Dataset, spec: SeriesSpec | None) -> SeriesData:
        """Read a dataset, with its features in the order of a specification if one is given."""
        ignored = (*self.features.ignored, *(spec.ignored if spec else ()))
        named = isinstance(dataset, Collection)
        given = dataset if named else from_gluonts(dataset, self.freq, ignored=ignored)
        if given.freq != (freq := period_frequency(self.freq)):
            raise InputError("freq", f"{given.freq} as in the data", freq, "correct one of them")
        roles: dict[str, str] = {}
        if spec is not None:
            given = match_features(given, spec)
        else:
            given, roles = self._features(given, named)
        return self._series(given, spec, roles)

    def _series(
        self, collection: Collection, spec: SeriesSpec | None, roles: dict[str, str] | None = None
    ) -> SeriesData:
        data = SeriesData(
            InMemory(collection),
            self.prediction_length,
            batch_size=self.batch_size,
            validation_windows=0,
            test_windows=0,
            seed=self.seed,
        )
        data.spec = spec or replace(data.spec, roles=roles or {})
        return data

    def _features(self, data: Collection, named: bool) -> tuple[Collection, dict[str, str]]:
        """Return series with the features to use, and their roles; specify them in the log."""
        self.features.check(data)
        roles = self.features.roles(data, named)
        data = self.features.with_cardinality(in_roles(data, roles))
        if text := features_in_use(data, roles):
            _log.warning("features in use: %s", text)
        return data, roles

    def _fit(
        self,
        data: SeriesData,
        held: SeriesData | None,
        ckpt_path: str | Path | None,
        start: dict[str, Tensor] | None,
    ) -> tuple[Selection, ForecastTask]:
        """Train while held-out windows choose the steps, then on everything for as many steps."""
        task, selection = self._task(data.spec, start), Selection()
        arguments = Arguments(self.__init_args__, type(self))
        if ckpt_path is not None:
            arguments.check(ckpt_path, task)
            selection.restore(ckpt_path)
        elif root := self.trainer_kwargs.get("default_root_dir"):
            (Path(root) / LAST).unlink(missing_ok=True)  # of an earlier run
        windows = None if selection.calibration else self._hold_out(data, held)
        if windows is not None:
            trial = Trial(windows)
            part = self._series(windows.training, data.spec)
            self._run(task, part, [arguments, trial], ckpt_path, label="Choosing steps")
            trial.finish(task)
            selection.make(windows, task, trial.steps)
            if windows.share < REFIT:
                task.network.calibration = selection.calibration
                return selection, task
            task, ckpt_path = self._task(data.spec, start), None
        if selection.calibration is None:
            selection.fall_back(task.network)
        self._run(task, data, [arguments, selection], ckpt_path, steps=selection.steps or None)
        task.network.calibration = selection.calibration
        return selection, task

    def _task(self, spec: SeriesSpec, start: dict[str, Tensor] | None) -> ForecastTask:
        """Return a task with fresh weights, or with those of a predictor, not calibrated."""
        torch.manual_seed(self.seed)
        task = self.recipe.task(spec)
        if start is not None:
            task.on_load_checkpoint({"state_dict": start})  # refuses other shapes
            task.load_state_dict(start)
        return task

    def _hold_out(self, data: SeriesData, held: SeriesData | None) -> Holdout | None:
        training = replace(data.collection, entries=data.training_part())
        if held is None:
            return hold_out(training, self.prediction_length)
        return last_window(held.collection, training, self.prediction_length)

    def _run(
        self,
        task: ForecastTask,
        data: SeriesData,
        callbacks: list[Callback],
        ckpt_path: str | Path | None,
        *,
        steps: int | None = None,
        label: str = "Training",
    ) -> None:
        """Train a task, for exactly ``steps`` if given; it ends on the CPU in single precision."""
        loader, limits = data.train_dataloader(), {}
        if steps is not None:
            limits = {"min_steps": steps, "max_steps": steps, "max_epochs": -1}
        elif not {"max_epochs", "max_steps"} & self.trainer_kwargs.keys():
            most = self.max_steps or min(STEPS[1], max(STEPS[0], EPOCHS * len(loader)))
            limits = {"max_steps": most, "max_epochs": -1}
        with TemporaryDirectory() as draft:
            folder = Path(self.trainer_kwargs.get("default_root_dir") or draft, LAST).parent
            last = ModelCheckpoint(
                folder,
                LAST.stem,
                every_n_train_steps=self.checkpoint_every,
                enable_version_counter=False,
            )
            saves = self.trainer_kwargs.get("enable_checkpointing", True)
            if saves and "default_root_dir" in self.trainer_kwargs:
                callbacks = [*callbacks, last]
            trainer = lightning.Trainer(**self._options(callbacks, label) | limits)
            trainer.fit(task, loader, ckpt_path=ckpt_path, weights_only=True)
        task.cpu().float()

    def _options(self, callbacks: Sequence[Callback], label: str) -> dict[str, Any]:
        """Return the trainer's arguments: quiet defaults, overridden by the user's."""
        given = {"callbacks": None} | self.trainer_kwargs
        users = given.pop("callbacks") or []
        callbacks = [*callbacks, *([users] if isinstance(users, Callback) else users)]
        if given.get("enable_progress_bar"):
            callbacks.append(TrainingProgress(label=label))
        quiet = {name: False for name in ("logger", "enable_progress_bar", "enable_model_summary")}
        saves = any(isinstance(x, ModelCheckpoint) for x in callbacks)
        rest = {"enable_checkpointing": saves, "gradient_clip_val": 1.0}
        return quiet | rest | given | {"callbacks": callbacks}


def _trained_weights(task: ForecastTask) -> dict[str, Tensor]:
    """Return the weights of a task without its calibration."""
    of = "network.calibration."
    return {name: x for name, x in task.state_dict().items() if not name.startswith(of)}
