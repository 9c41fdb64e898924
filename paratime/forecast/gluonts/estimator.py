"""Training as GluonTS knows it: ``ParaRNNEstimator`` in the place of ``DeepAREstimator``."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
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

from paratime.errors import InputError, check_at_least
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.features import matched
from paratime.forecast.data.frequency import period_frequency
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.base import InMemory
from paratime.forecast.gluonts.predictor import ParaRNNPredictor
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.gluonts.resume import Arguments
from paratime.forecast.inference.forecast_type import AsQuantiles, Kind
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.task import ForecastTask
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU
from paratime.training.progress import TrainingProgress

EPOCHS, STEPS = 14, (300, 2000)
"""How often training sees every series, and the fewest and the most steps of it."""


class ParaRNNEstimator(Estimator):
    """A nonlinear recurrent forecaster, trained on whole histories in parallel over time.

    Arguments that ``DeepAREstimator`` has, too, have the same names. There is no context length:
    the context is the whole history. Which features there are is found in the data. An epoch is
    every series once, with origins drawn from all of its history.

    Args:
        freq: Frequency of the series.
        prediction_length: Steps of a forecast.
        hidden_size: Width of the encoder.
        num_layers: Blocks of the encoder.
        mixer: Builds the recurrent layer of a block from its width; ``functools.partial`` sets
            options, such as ``partial(ParaGRU, block_size=4)``.
        output: What a forecast is made of.
        forecasts: Which of GluonTS's forecasts the predictor gives.
        lags: Last values that the encoder reads at every step; ``ForecastTask``'s by default.
        dropout_rate: Share of the features that the head does without, in training.
        squash: Whether inputs are passed through asinh, so that outliers do no harm.
        lr: Peak learning rate.
        weight_decay: Decay of the matrices.
        batch_size: Series a batch.
        max_steps: Optimiser steps; by default those of ``EPOCHS``, within ``STEPS``. ``max_epochs``
            or ``max_steps`` of the trainer come first.
        seed: Seed of the weights, of the order of series, of origins and of dropout.
        trainer_kwargs: Further arguments of Lightning's ``Trainer``. With ``default_root_dir``,
            checkpoints are written to ``checkpoints`` in it, every ``checkpoint_every`` steps;
            without, nothing is written.
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
        forecasts: Kind = AsQuantiles(),  # noqa: B008 (frozen)
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
        self.recipe = Recipe(
            hidden_size, num_layers, mixer, output, lags, dropout_rate, squash, lr, weight_decay
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
                epoch; the best weights by mean weighted quantile loss are kept then, else the last.
            shuffle_buffer_length: Ignored: the order is a full shuffle.
            cache_data: Ignored: all data is in memory.
            ckpt_path: A checkpoint of an interrupted run, to end as if it had not been.

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
        """Go on from the weights of a predictor of the same make; else as ``train``."""
        if not isinstance(predictor, ParaRNNPredictor):
            got = type(predictor).__name__
            raise InputError("predictor", "a ParaRNNPredictor", got, "train one first")
        ours = self.prediction_length, self.recipe.output
        theirs = predictor.prediction_length, predictor.recipe.output
        if ours != theirs:
            remedy = "make the estimator as the predictor's was"
            raise InputError("horizon and output", str(theirs), str(ours), remedy)
        data = self._data(training_data, predictor.series)
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
            predictor: Where the weights begin.
        """
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            series = data.facts["series"]
            trained = ParaRNNPredictor(self.recipe, series, self.forecasts, self.batch_size)
            if predictor is not None:
                weights = predictor.task.state_dict()
                trained.task.on_load_checkpoint({"state_dict": weights})  # refuses other shapes
                trained.task.load_state_dict(weights)
            self._fit(trained.task, data, held, ckpt_path)
        return trained

    def _held(self, dataset: Dataset | None, data: SeriesData) -> SeriesData | None:
        return None if dataset is None else self._data(dataset, data.facts["series"], 1)

    def _data(
        self, dataset: Dataset, series: dict[str, Any] | None, test_windows: int = 0
    ) -> SeriesData:
        """Read a dataset, in the terms of a description if there is one."""
        given = dataset if isinstance(dataset, Collection) else from_gluonts(dataset, self.freq)
        if given.freq != (freq := period_frequency(self.freq)):
            raise InputError("freq", f"{given.freq} as in the data", freq, "correct one of them")
        if series is not None:
            given = replace(given, entries=matched(given, series))
        data = SeriesData(
            InMemory(given),
            self.prediction_length,
            batch_size=self.batch_size,
            validation_windows=0,
            test_windows=test_windows,
            seed=self.seed,
        )
        if series is not None:
            data.facts = {"series": series}
        return data

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
        with TemporaryDirectory() as draft, _quiet():
            root = self.trainer_kwargs.get("default_root_dir")
            folder = Path(root or draft) / "checkpoints"
            if ckpt_path is None:
                for name in ("best", "last"):  # of an earlier run
                    (folder / f"{name}.ckpt").unlink(missing_ok=True)
            saves = partial(ModelCheckpoint, folder, enable_version_counter=False)
            best = saves("best", "val/mean_wQL", save_on_train_epoch_end=False)
            if held is None:
                last = saves("last", every_n_train_steps=self.checkpoint_every)
            else:  # behind the best one: a resumed run has to know it
                last = saves("last", save_on_train_epoch_end=False)
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

    def _options(self, max_steps: int, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """Return the trainer's arguments: quiet ones, below those that the user has given."""
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what Lightning says of devices, of its ends, and of loaders without workers."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
