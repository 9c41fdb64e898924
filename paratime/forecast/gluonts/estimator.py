"""``ParaRNNEstimator``: training under the interface of GluonTS, and the resumption of runs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as lightning
import torch
from gluonts.core.component import validated
from gluonts.core.serde import dump_json, load_json
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

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
from paratime.forecast.gluonts.predictor import ParaRNNPredictor
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.inference.forecast_type import AsQuantiles, ForecastType
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.task import ForecastTask
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU
from paratime.training.checkpoint import check_checkpoint
from paratime.training.progress import TrainingProgress
from paratime.training.quiet import quiet

_log = logging.getLogger("paratime")

CIRCUMSTANCES = ("trainer_kwargs", "checkpoint_every", "forecasts")
"""Arguments of an estimator that its weights do not depend on."""


class Arguments(Callback):
    """Keeps an estimator's arguments in the checkpoints of its run.

    Args:
        arguments: Arguments by name, as ``validated`` stores them.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        kept = {name: x for name, x in arguments.items() if name not in CIRCUMSTANCES}
        self._texts = {name: dump_json(x) for name, x in kept.items()}

    @property
    def state_key(self) -> str:
        """Their name in a checkpoint."""
        return "arguments of the estimator"

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON by name."""
        return self._texts

    def check(self, ckpt_path: str | Path, task: ForecastTask) -> None:
        """Refuse a checkpoint of a run on other series or with other arguments.

        Raises:
            InputError: One line with the argument.
        """
        check_checkpoint(str(ckpt_path))
        saved = torch.load(ckpt_path, map_location="cpu", weights_only=True)
        before = saved.get("callbacks", {}).get(self.state_key)
        same = SeriesSpec.saved_in(saved.get("hyper_parameters", {})) == task.spec
        if before is None or not same:
            raise InputError(
                str(ckpt_path),
                "a checkpoint of a run on these series",
                "one of others",
                "train again",
            )
        for name in sorted({*before, *self._texts}):
            was, now = (texts.get(name, "its default") for texts in (before, self._texts))
            if was != now and _renewed(was) != now:
                raise InputError(
                    name, f"{was}, as in {ckpt_path}", now, "give that, or train again"
                )


def _renewed(text: str) -> str:
    """Return an argument's JSON with the current paths of its classes."""
    try:
        return dump_json(load_json(text))
    except (ValueError, ImportError, AttributeError):
        return text


EPOCHS, STEPS = 14, (300, 2000)
"""Default epochs of training, within a least and a largest number of steps."""


class ParaRNNEstimator(Estimator):
    """A nonlinear recurrent forecaster, trained on whole histories in parallel over time.

    Arguments that ``DeepAREstimator`` also has keep their names. No context length exists: the
    context is the whole history. An epoch is every series once, with origins drawn from all of its
    history. One line of the log specifies the features in use.

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
        max_steps: Optimiser steps; by default ``EPOCHS`` epochs, within ``STEPS``. The trainer's
            ``max_epochs`` or ``max_steps`` take precedence.
        seed: Seed of the weights, of the order of series, of origins and of dropout.
        trainer_kwargs: More arguments of Lightning's ``Trainer``. With ``default_root_dir``,
            checkpoints are written into its folder ``checkpoints``, every ``checkpoint_every``
            steps; without it, nothing is written.
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
            validation_data: Series whose last ``prediction_length`` steps are forecast after each
                epoch, to keep the weights of the least mean weighted quantile loss; without it,
                the last weights are kept.
            shuffle_buffer_length: Ignored: the order is a full shuffle.
            cache_data: Ignored: all data is in memory.
            ckpt_path: A checkpoint of an interrupted run, which then ends as if uninterrupted.

        Raises:
            InputError: The data is unusable.
        """
        data = self._data(training_data, None)
        held = self._held(validation_data, data)
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
        held = self._held(validation_data, data)
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
            held: Series whose test windows choose the best weights.
            ckpt_path: A checkpoint of an interrupted run.
            predictor: The source of the initial weights.
        """
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            series = data.spec.plain()
            trained = ParaRNNPredictor(
                self.recipe, series, forecasts=self.forecasts, batch_size=self.batch_size
            )
            if predictor is not None:
                weights = predictor.task.state_dict()
                trained.task.on_load_checkpoint({"state_dict": weights})  # refuses other shapes
                trained.task.load_state_dict(weights)
            self._fit(trained.task, data, held, ckpt_path)
        return trained

    def _held(self, dataset: Dataset | None, data: SeriesData) -> SeriesData | None:
        return None if dataset is None else self._data(dataset, data.spec, 1)

    def _data(self, dataset: Dataset, spec: SeriesSpec | None, test_windows: int = 0) -> SeriesData:
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
        data = SeriesData(
            InMemory(given),
            self.prediction_length,
            batch_size=self.batch_size,
            validation_windows=0,
            test_windows=test_windows,
            seed=self.seed,
        )
        data.spec = spec or replace(data.spec, roles=roles)
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
        task: ForecastTask,
        data: SeriesData,
        held: SeriesData | None,
        ckpt_path: str | Path | None,
    ) -> None:
        arguments = Arguments(self.__init_args__)
        if ckpt_path is not None:
            arguments.check(ckpt_path, task)
        with TemporaryDirectory() as draft, quiet():
            root = self.trainer_kwargs.get("default_root_dir")
            folder = Path(root or draft) / "checkpoints"
            if ckpt_path is None:
                for name in ("best", "last"):  # of an earlier run
                    (folder / f"{name}.ckpt").unlink(missing_ok=True)
            best, last = self._checkpoints(folder, held is not None)
            callbacks = [arguments, *[best] * (held is not None), *[last] * (root is not None)]
            loader = data.train_dataloader()
            steps = min(STEPS[1], max(STEPS[0], EPOCHS * len(loader)))
            trainer = lightning.Trainer(**self._options(self.max_steps or steps, callbacks))
            trainer.fit(
                task,
                loader,
                None if held is None else held.test_dataloader(),
                ckpt_path=ckpt_path,
                weights_only=True,
            )
            if best.best_model_path:
                kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
                task.load_state_dict(kept["state_dict"])
        task.cpu().float()

    def _checkpoints(
        self, folder: Path, validates: bool
    ) -> tuple[ModelCheckpoint, ModelCheckpoint]:
        """Return the callbacks that save the best weights, and the last ones."""
        saves = partial(ModelCheckpoint, folder, enable_version_counter=False)
        best = saves("best", "val/mean_wQL", save_on_train_epoch_end=False)
        if validates:  # after the best one, which a resumed run has to know
            return best, saves("last", save_on_train_epoch_end=False)
        return best, saves("last", every_n_train_steps=self.checkpoint_every)

    def _options(self, max_steps: int, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """Return the trainer's arguments: quiet defaults, overridden by the user's."""
        given = {"callbacks": None} | self.trainer_kwargs
        steps = {} if {"max_epochs", "max_steps"} & given.keys() else {"max_steps": max_steps}
        users = given.pop("callbacks") or []
        callbacks = [*callbacks, *([users] if isinstance(users, Callback) else users)]
        if given.get("enable_progress_bar"):
            callbacks.append(TrainingProgress())
        quiet = {name: False for name in ("logger", "enable_progress_bar", "enable_model_summary")}
        saves = any(isinstance(x, ModelCheckpoint) for x in callbacks)
        rest = {"enable_checkpointing": saves, "gradient_clip_val": 1.0}
        return quiet | rest | steps | given | {"callbacks": callbacks}
