"""The model of a checkpoint or folder, of any slice, and batches for it to read."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import get_loader

from paratime.cli.lists import listed
from paratime.cli.parser import Parser
from paratime.errors import InputError, describe_error
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.features import match_features
from paratime.forecast.data.sources.base import InMemory
from paratime.forecast.data.sources.catalog import SOURCES as SERIES
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.data.windows import placed
from paratime.forecast.gluonts.predictor import load_forecaster
from paratime.forecast.gluonts.recipe import ABOUT
from paratime.forecast.model.task import ForecastTask
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.catalog import TEXT_SOURCES
from paratime.language.data.sources.text import TextFiles
from paratime.language.data.windows import TokenWindows
from paratime.language.export.safetensors import from_exported
from paratime.language.model.network import tokenizer_of
from paratime.language.model.task import LanguageTask
from paratime.language.model.weights import CONFIG
from paratime.language.tokenizers.catalog import TOKENIZERS
from paratime.training.base import DataModule, Task
from paratime.training.checkpoints.restoring import restore_task
from paratime.training.finite.weights import moments, not_finite
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Layout, align_episode
from paratime.world.data.sources.catalog import SOURCES as TRAJECTORIES
from paratime.world.data.sources.catalog import trajectory_source
from paratime.world.data.windows import PackedWindows
from paratime.world.model.task import DynamicsTask, TrajectoryTask, WorldTask

KINDS: Sequence[type[Task]] = (LanguageTask, ForecastTask, DynamicsTask, WorldTask)

NAMED = (TokenData, SeriesData, TrajectoryData, *TEXT_SOURCES, *TOKENIZERS, *SERIES, *TRAJECTORIES)
"""Classes that configs may name without their modules, because they are imported here."""

ROWS, STEPS = 8, 256
"""Windows of a batch, and their steps."""


def load_subject(path: str) -> Task:
    """Return the model of a checkpoint, of a forecaster's folder, or of an exported one.

    Raises:
        InputError: The path holds none.
    """
    if (Path(path) / ABOUT).is_file():
        return load_forecaster(path)
    if (Path(path) / CONFIG).is_file():
        return from_exported(path)
    return restore_task(path, KINDS)


def moments_of(path: str) -> dict[str, int]:
    """Return how many values of a checkpoint's optimiser are infinite or NaN, by tensor."""
    if any((Path(path) / name).is_file() for name in (ABOUT, CONFIG)):
        return {}
    return not_finite(moments(read_checkpoint(path)))


def reader(task: Task, data: str | None, training: str | None) -> Callable[[], object] | None:
    """Return a function that lets a model read a batch, None where no data is known.

    Args:
        task: The model.
        data: Paths, as the commands of its slice take them.
        training: The config of its training, as an alternative.
    """
    if data is None and training is None:
        return None
    torch.manual_seed(0)
    batch: Any = _of_data(task, data) if data is not None else _of_config(task, str(training))
    if isinstance(task, LanguageTask | TrajectoryTask):
        return lambda: task.losses(batch)
    assert isinstance(task, ForecastTask)
    return lambda: task(placed(batch, task.network.skip))


def training_config(path: str) -> str | None:
    """Return the config that ``paratime fit`` wrote for the run of a checkpoint, if it is there."""
    folders = [*Path(path).resolve().parents][:2]
    found = [folder / "config.yaml" for folder in folders if (folder / "config.yaml").is_file()]
    return str(found[0]) if found and _names_our_classes(found[0]) else None


def _names_our_classes(config: Path) -> bool:
    """Return whether the data of a config names classes of paratime alone."""
    try:
        data = _data_of(config)
    except InputError:
        return False
    named, known = [*map(str, _class_paths(data))], {kind.__name__ for kind in NAMED}
    return bool(named) and all(x in known or x.startswith("paratime.") for x in named)


def _data_of(config: Path) -> Any:
    """Return what a config says of data.

    Raises:
        InputError: It is no config, or says nothing of it.
    """
    try:
        return get_loader("yaml")(config.read_text(encoding="utf-8"))["data"]
    except Exception as error:  # the loader names no common class for what is no YAML
        raise InputError(
            str(config), "a config of paratime fit", describe_error(error), "give --data instead"
        ) from None


def _class_paths(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (x for key, x in value.items() if key == "class_path")
        yield from (x for inner in value.values() for x in _class_paths(inner))
    elif isinstance(value, list):
        yield from (x for inner in value for x in _class_paths(inner))


def _of_config(task: Task, training: str) -> Any:
    """Return the first batch of the data of a config."""
    data = _data_of(Path(training))
    parser = Parser(prog="paratime doctor")
    parser.add_subclass_arguments(DataModule, "data", required=True)
    module: DataModule = parser.instantiate(parser.parse_object({"data": data})).data
    module.prepare_data()
    module.setup("fit")
    if not isinstance(module.spec, task.spec_type):
        raise InputError(
            training,
            expected=f"data of a {type(task).__name__}",
            got=type(module).__name__,
            remedy="name the config that the checkpoint was trained with",
        )
    return next(iter(module.train_dataloader()))


def _of_data(task: Task, data: str) -> Any:
    """Return a batch of paths, laid out like those of training."""
    if isinstance(task, LanguageTask):
        return _of_text(task, data)
    if isinstance(task, ForecastTask):
        return _of_series(task, data)
    assert isinstance(task, TrajectoryTask)
    return _of_trajectories(task, data)


def _of_text(task: LanguageTask, data: str) -> Any:
    tokenizer = tokenizer_of(task)
    texts = (x.encoded(tokenizer).ids for x in TextFiles(listed(data)).documents() if len(x))
    ids = np.concatenate([np.append(tokenizer.start, x) for x in texts] or [np.zeros(0, int)])
    length = max(1, min(STEPS, len(ids) - 1))
    windows = TokenWindows(ids, tokenizer, length, split="given")
    places = np.unique(np.linspace(0, len(windows) - 1, ROWS).astype(int))
    return _stacked([windows[int(i)] for i in places])


def _of_series(task: ForecastTask, data: str) -> Any:
    spec = task.spec
    collection = match_features(series_source(data).at(spec.freq).read(), spec)
    made = SeriesData(
        InMemory(collection),
        spec.prediction_length,
        batch_size=ROWS,
        validation_windows=0,
        test_windows=0,
    )
    made.spec = spec
    return next(iter(made.train_dataloader()))


def _of_trajectories(task: TrajectoryTask, data: str) -> Any:
    recording = trajectory_source(data, task.spec.source).read()
    layout = Layout.of(recording.episodes, recording.actions or task.spec.action)
    if {k: list(x) for k, x in layout.observation.items()} != task.spec.observation:
        raise InputError(
            "data", str(task.spec.observation), str(layout.observation), "give data as in training"
        )
    rows = [align_episode(episode, layout) for episode in recording.episodes]
    windows = PackedWindows(rows, min(64, sum(len(x["is_first"]) for x in rows) - 1))
    return _stacked([windows[0, i, False] for i in range(min(ROWS, len(windows)))])


def _stacked(items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    dropped = ("place", "follows")
    return {k: torch.stack([x[k] for x in items]) for k in items[0] if k not in dropped}
