"""How GluonTS writes paratime's dataclasses to JSON, from which it can read them by itself."""

from dataclasses import fields
from typing import Any

from gluonts.core import fqname_for
from gluonts.core.serde import encode
from gluonts.core.serde._base import Kind as Tag

from paratime.cells.init import Init
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.inference.forecast_type import Kind
from paratime.forecast.model.outputs import Output
from paratime.solvers.base import Solver


def encode_dataclass(value: Any) -> dict[str, Any]:
    """Return the class of a dataclass, and its fields."""
    arguments = {x.name: getattr(value, x.name) for x in fields(value)}
    return {
        "__kind__": Tag.Instance,
        "class": fqname_for(type(value)),
        "kwargs": encode(arguments),
    }


def register() -> None:
    """Let GluonTS write the strategies that an estimator takes."""
    for base in (Init, Solver, Output, Kind, Recipe):
        encode.register(base, encode_dataclass)
