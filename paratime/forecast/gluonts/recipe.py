"""The recipe of a forecaster (its network and training), and its JSON as GluonTS writes it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from gluonts.core import fqname_for
from gluonts.core.serde import encode
from gluonts.core.serde._base import Kind

from paratime.cells.init import Init
from paratime.errors import InputError, describe_error
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.inference.forecast_type import ForecastType
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.trained import ForecastModel
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU
from paratime.solvers.base import Solver
from paratime.training.optimizer import AdamW

if TYPE_CHECKING:
    from paratime.forecast.model.task import ForecastTask


ABOUT = "predictor.json"
"""A predictor's JSON, in its folder."""

PARSER = "jsonargparse."
"""Its functions stand around the mixers of command lines, in predictors of older versions."""


@dataclass(frozen=True)
class Recipe:
    """All that determines a ``ForecastTask``, apart from the series.

    Attributes:
        hidden_size: Width of the encoder.
        num_layers: Blocks of the encoder.
        mixer: Builds the recurrent layer of a block from its width.
        output: Form of a forecast: quantiles, or a distribution.
        lags: Last values that the encoder reads at every step; ``ForecastTask``'s by default.
        dropout_rate: Share of the features that the head drops in training.
        squash: Whether inputs pass through asinh, which tames outliers.
        lr: Peak learning rate.
        weight_decay: Decay of the matrices.
    """

    hidden_size: int = 64
    num_layers: int = 2
    mixer: Callable[[int], Mixer] = ParaGRU
    output: Output = field(default_factory=Quantiles)
    lags: int | None = None
    dropout_rate: float = 0.2
    squash: bool = False
    lr: float = 3e-3
    weight_decay: float = 1.0

    def __post_init__(self) -> None:
        """Name the mixer's class alone, not how the command line calls it."""
        object.__setattr__(self, "mixer", _without_parser(self.mixer))

    def task(self, spec: SeriesSpec) -> "ForecastTask":
        """Build the task for series."""
        from paratime.forecast.model.task import ForecastTask  # brings Lightning along

        optimizer = AdamW(lr=self.lr, weight_decay=self.weight_decay)
        return ForecastTask(spec=spec, optimizer=optimizer, **self._network())

    def model(self, spec: SeriesSpec) -> ForecastModel:
        """Build the network alone, for series, without importing Lightning."""
        model = ForecastModel(**self._network())
        model.specify(spec)
        return model

    def _network(self) -> dict[str, Any]:
        width = self.hidden_size
        encoder = Encoder(width, self.num_layers, self.mixer, mlp_size=2 * width)
        names = {"output": self.output, "lags": self.lags, "squash": self.squash}
        return {"encoder": encoder, "dropout": self.dropout_rate, **names}


def decode(text: str) -> Any:
    """Return JSON that GluonTS wrote as plain values, with objects as ``trust.make`` reads them.

    Nothing is imported or called for it, unlike by GluonTS.

    Raises:
        InputError: It is no JSON, or holds more than plain values, and classes with arguments.
    """
    try:
        return _plain(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            "JSON of GluonTS", "plain values and classes", describe_error(error), "write it again"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(x) for x in value]
    if not isinstance(value, dict):
        return value
    if "__kind__" not in value:
        return {name: _plain(x) for name, x in value.items()}
    kind, path = Kind(value["__kind__"]), str(value["class"])
    if kind is Kind.Type:
        return {"class_path": path}
    named, places = _plain(value.get("kwargs", {})), _plain(value.get("args", []))
    if path == "builtins.tuple":
        return tuple(*places)
    if path == "functools.partial":
        inner = [x for x in places if not x["class_path"].startswith(PARSER)]
        (path,), places = (x["class_path"] for x in inner), []
    if kind is Kind.Stateful or places or not isinstance(named, dict):
        raise ValueError(f"{path} is no class with arguments by name")
    return {"class_path": path, "init_args": named}


def _without_parser(mixer: Callable[[int], Mixer]) -> Callable[[int], Mixer]:
    """Return a mixer without the functions that jsonargparse calls its class through."""
    if isinstance(mixer, partial) and mixer.func.__module__.startswith(PARSER):
        kind = next(x for x in mixer.args if isinstance(x, type))
        return partial(kind, **mixer.keywords)
    return mixer


def encode_dataclass(value: Any) -> dict[str, Any]:
    """Return a dataclass as GluonTS writes an object to JSON: its class and its fields."""
    arguments = {x.name: getattr(value, x.name) for x in fields(value)}
    name = fqname_for(type(value))
    return {"__kind__": Kind.Instance, "class": name, "kwargs": encode(arguments)}


for base in (Init, Solver, Output, ForecastType, Recipe):
    encode.register(base, encode_dataclass)
