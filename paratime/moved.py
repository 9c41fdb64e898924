"""Where classes were in version 0.1, for the checkpoints, predictors and configs that name them.

Files name classes by their paths. An old path leads to the class in its new place: a module that
is gone is found here, and a room that has the name of an old module asks ``old_names``.
"""

import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SHARED = {
    "paratime.task": ("paratime.training.base",),
    "paratime.optimizer": ("paratime.training.optimizer",),
    "paratime.carry": ("paratime.training.carry",),
    "paratime.loader": (
        "paratime.training.batches.loading",
        "paratime.training.batches.samplers",
    ),
    "paratime.peak": ("paratime.training.throughput",),
    "paratime.compiling": ("paratime.training.compile",),
    "paratime.progress": ("paratime.training.progress",),
    "paratime.predictions": ("paratime.training.predictions",),
    "paratime.parser": ("paratime.cli.parser",),
    "paratime.messages": ("paratime.cli.messages",),
    "paratime.info": ("paratime.cli.info",),
    "paratime.files": ("paratime.io.files",),
    "paratime.atomic": ("paratime.io.atomic",),
    "paratime.cache": ("paratime.io.cache",),
    "paratime.figures": ("paratime.io.figures",),
    "paratime.page": ("paratime.io.html",),
}

CORE = {
    "paratime.cells.block_elman": ("paratime.cells.elman",),
}

LANGUAGE = {
    "paratime.language.data": ("paratime.language.data.datamodule",),
    "paratime.language.corpus": ("paratime.language.data.split",),
    "paratime.language.source": ("paratime.language.data.sources.base",),
    "paratime.language.text_sources": ("paratime.language.data.sources.text",),
    "paratime.language.token_sources": ("paratime.language.data.sources.tokens",),
    "paratime.language.plays": ("paratime.language.data.sources.bundled",),
    "paratime.language.sources": (
        "paratime.language.data.sources.base",
        "paratime.language.data.sources.text",
        "paratime.language.data.sources.tokens",
        "paratime.language.data.sources.bundled",
        "paratime.language.data.corpus.shards",
    ),
    "paratime.language.preparation": ("paratime.language.data.corpus.builder",),
    "paratime.language.shards": ("paratime.language.data.corpus.shards",),
    "paratime.language.recipe": ("paratime.language.tokenizers.base",),
    "paratime.language.tokenizer": (
        "paratime.language.tokenizers.characters",
        "paratime.language.tokenizers.bpe",
        "paratime.language.tokenizers.tiktoken",
        "paratime.language.tokenizers.base",
    ),
    "paratime.language.bpe": ("paratime.language.tokenizers.bpe",),
    "paratime.language.ranks": ("paratime.language.tokenizers.tiktoken",),
    "paratime.language.task": ("paratime.language.model.task",),
    "paratime.language.loss": ("paratime.language.model.loss",),
    "paratime.language.metrics": ("paratime.language.model.metrics",),
    "paratime.language.width": ("paratime.language.model.mup",),
    "paratime.language.pretrained": ("paratime.language.model.pretrained",),
    "paratime.language.sampling": ("paratime.language.generation.sampling",),
    "paratime.language.samples": ("paratime.language.generation.callback",),
    "paratime.language.contexts": ("paratime.language.evaluation.contexts",),
    "paratime.language.export": ("paratime.language.export.safetensors",),
    "paratime.language.hub": ("paratime.language.export.transformers",),
    "paratime.language.harness": ("paratime.language.export.lm_eval",),
}
"""Without ``generate`` and ``evaluate``, which are functions of ``paratime.language`` now."""

FORECAST = {
    "paratime.forecast.data": ("paratime.forecast.data.datamodule",),
    "paratime.forecast.windows": ("paratime.forecast.data.windows",),
    "paratime.forecast.series": ("paratime.forecast.data.series",),
    "paratime.forecast.calendar": ("paratime.forecast.data.calendar",),
    "paratime.forecast.grid": ("paratime.forecast.data.frequency",),
    "paratime.forecast.match": ("paratime.forecast.data.features",),
    "paratime.forecast.summary": ("paratime.forecast.data.summary",),
    "paratime.forecast.rows": ("paratime.forecast.data.rows",),
    "paratime.forecast.table": ("paratime.forecast.data.sources.table",),
    "paratime.forecast.files": (
        "paratime.forecast.data.sources.json_lines",
        "paratime.forecast.data.sources.table",
    ),
    "paratime.forecast.sources": (
        "paratime.forecast.data.sources.base",
        "paratime.forecast.data.sources.table",
        "paratime.forecast.data.sources.json_lines",
        "paratime.forecast.data.sources.competitions",
        "paratime.forecast.data.sources.catalog",
    ),
    "paratime.forecast.channels": ("paratime.forecast.data.sources.channels",),
    "paratime.forecast.task": ("paratime.forecast.model.task",),
    "paratime.forecast.network": ("paratime.forecast.model.network",),
    "paratime.forecast.scaling": ("paratime.forecast.model.scaling",),
    "paratime.forecast.outputs": ("paratime.forecast.model.outputs",),
    "paratime.forecast.metrics": ("paratime.forecast.model.metrics",),
    "paratime.forecast.direct": ("paratime.forecast.inference.direct",),
    "paratime.forecast.paths": ("paratime.forecast.inference.sample_paths",),
    "paratime.forecast.kinds": ("paratime.forecast.inference.forecast_type",),
    "paratime.forecast.streaming": ("paratime.forecast.streaming.forecaster",),
    "paratime.forecast.clock": ("paratime.forecast.streaming.clock",),
    "paratime.forecast.reader": ("paratime.forecast.streaming.reader",),
    "paratime.forecast.slots": ("paratime.forecast.streaming.states",),
    "paratime.forecast.states": ("paratime.forecast.streaming.states",),
    "paratime.forecast.stored": ("paratime.forecast.streaming.states",),
    "paratime.forecast.estimator": ("paratime.forecast.gluonts.estimator",),
    "paratime.forecast.predictor": ("paratime.forecast.gluonts.predictor",),
    "paratime.forecast.recipe": ("paratime.forecast.gluonts.recipe",),
    "paratime.forecast.serde": ("paratime.forecast.gluonts.recipe",),
    "paratime.forecast.resume": ("paratime.forecast.gluonts.estimator",),
    "paratime.forecast.saved": (
        "paratime.forecast.gluonts.predictor",
        "paratime.forecast.commands.predict",
    ),
    "paratime.forecast.backtest": ("paratime.forecast.evaluation.backtest",),
    "paratime.forecast.rolling": ("paratime.forecast.evaluation.rolling",),
    "paratime.forecast.reference_models": ("paratime.forecast.evaluation.baselines",),
    "paratime.forecast.charts": ("paratime.forecast.evaluation.charts",),
    "paratime.forecast.report": ("paratime.forecast.evaluation.report",),
    "paratime.forecast.cli": (
        "paratime.forecast.commands",
        "paratime.forecast.commands.fit",
        "paratime.forecast.commands.predict",
        "paratime.forecast.commands.backtest",
        "paratime.forecast.commands.plot",
        "paratime.forecast.commands.data",
        "paratime.cli.arguments",
    ),
}

WORLD = {
    "paratime.world.data": ("paratime.world.data.datamodule",),
    "paratime.world.episode": ("paratime.world.data.episode",),
    "paratime.world.windows": ("paratime.world.data.windows",),
    "paratime.world.source": ("paratime.world.data.sources.base",),
    "paratime.world.sources": ("paratime.world.data.sources.catalog",),
    "paratime.world.environment": ("paratime.world.data.sources.gym",),
    "paratime.world.minari": ("paratime.world.data.sources.minari",),
    "paratime.world.hdf5": ("paratime.world.data.sources.minari",),
    "paratime.world.d4rl": ("paratime.world.data.sources.d4rl",),
    "paratime.world.npz": ("paratime.world.data.sources.dreamer",),
    "paratime.world.table": ("paratime.world.data.sources.table",),
    "paratime.world.tmaze": ("paratime.world.data.sources.tmaze",),
    "paratime.world.model": ("paratime.world.model.base",),
    "paratime.world.dynamics": ("paratime.world.model.dynamics",),
    "paratime.world.latents": ("paratime.world.model.rssm",),
    "paratime.world.latent": ("paratime.world.model.rssm",),
    "paratime.world.images": ("paratime.world.model.images",),
    "paratime.world.rewards": ("paratime.world.model.rewards",),
    "paratime.world.task": ("paratime.world.model.task",),
    "paratime.world.dynamics_task": ("paratime.world.model.task",),
    "paratime.world.latent_task": ("paratime.world.model.task",),
    "paratime.world.openloop": ("paratime.world.model.rollout",),
    "paratime.world.metrics": ("paratime.world.model.metrics",),
    "paratime.world.image_error": ("paratime.world.model.metrics",),
    "paratime.world.outcomes": ("paratime.world.model.metrics",),
    "paratime.world.planning": ("paratime.world.planning.planners",),
    "paratime.world.charts": ("paratime.world.evaluation.charts",),
    "paratime.world.film": ("paratime.world.evaluation.video",),
    "paratime.world.scenes": ("paratime.world.evaluation.scenes",),
    "paratime.world.report": ("paratime.world.evaluation.report",),
    "paratime.world.pictures": ("paratime.world.evaluation.tensorboard",),
    "paratime.world.loading": ("paratime.world.evaluation.loading",),
    "paratime.world.cli": (
        "paratime.world.commands",
        "paratime.world.commands.collect",
        "paratime.world.commands.inspect",
        "paratime.world.commands.convert",
        "paratime.world.commands.plan",
    ),
    "paratime.world.openloop_command": ("paratime.world.commands.openloop",),
}

MOVED = SHARED | CORE | LANGUAGE | FORECAST | WORLD
"""Old modules, and the modules that hold their names now."""

RENAMED: dict[str, str] = {
    "paratime.forecast.kinds.Kind": "ForecastType",
    "paratime.forecast.network.Shape": "SeriesShape",
    "paratime.forecast.rolling.Windows": "RollingWindows",
    "paratime.forecast.windows.Prepared": "SeriesTensors",
    "paratime.forecast.windows.Standard": "CovariateScaler",
    "paratime.language.preparation.Preparation": "CorpusBuilder",
    "paratime.language.recipe.Recipe": "TokenizerRecipe",
    "paratime.language.export.export": "export_task",
    "paratime.language.export.load": "load_task",
    "paratime.language.harness.Harness": "ParatimeLM",
    "paratime.world.latent.LatentNetwork": "RSSM",
}
"""Old names in old modules that are called otherwise now."""


TASKS = (
    "paratime.language.task",
    "paratime.forecast.task",
    "paratime.world.dynamics_task",
    "paratime.world.latent_task",
)
"""Old modules of tasks: Lightning loads a checkpoint only if its task is in ``sys.modules``."""


def old_names(module: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` that finds the names of an old module in their new places."""

    def find(name: str) -> Any:
        current = RENAMED.get(f"{module}.{name}", name)
        for home in MOVED[module] if not name.startswith("_") else ():
            if _mentions(home, current) and hasattr(found := import_module(home), current):
                return getattr(found, current)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def _mentions(module: str, name: str) -> bool:
    """Return whether a name is in the text of a module, which need not be imported for it."""
    found: Any = find_spec(module)
    return re.search(rf"\b{name}\b", found.loader.get_source(module)) is not None


class _Moved(MetaPathFinder, Loader):
    """Finds old modules where no file has their name any more."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old module, and nothing for any other."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Let the module find its names in their new places."""
        module.__dict__["__getattr__"] = old_names(module.__name__)


def install() -> None:
    """Make old modules importable; importing paratime calls this."""
    sys.meta_path.append(_Moved())
    for name in TASKS:
        module = sys.modules[name] = ModuleType(name)
        module.__dict__["__getattr__"] = old_names(name)
