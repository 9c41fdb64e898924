"""The cell that a command is about."""

from importlib import import_module
from inspect import isabstract, signature
from typing import Any

import torch

from paratime import cells
from paratime.cells.base import Cell
from paratime.errors import InputError


def build_cell(name: str, input_size: int, hidden_size: int, options: dict[str, Any]) -> Cell:
    """Build a cell.

    Args:
        name: Its class: ``MODULE:CLASS``, or a name of ``paratime.cells``.
        input_size: Width of its input.
        hidden_size: Width of its output.
        options: Its other arguments.

    Raises:
        InputError: There is no such class, or it does not take these arguments.
    """
    kind = _class(name)
    given = {"input_size": input_size, "hidden_size": hidden_size, **options}
    known = signature(kind).parameters
    unknown = [key for key in given if key not in known]
    if unknown:
        raise InputError(
            name,
            expected=f"the arguments {', '.join(known)}",
            got=", ".join(unknown),
            remedy="call its sizes input_size and hidden_size",
        )
    torch.manual_seed(0)
    cell: Cell = kind(**given)
    return cell


def _class(name: str) -> Any:
    module, _, kind = name.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module) if module else cells, kind)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            "cell",
            expected="MODULE:CLASS, or a cell of paratime.cells",
            got=name,
            remedy=f"run it where the module lies ({error})",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Cell)) or isabstract(found):
        raise InputError(
            "cell",
            expected="a class that derives from paratime.Cell and has drive and step",
            got=name,
            remedy="name a cell, not a layer",
        )
    return found
