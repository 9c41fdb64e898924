"""What torch refuses in its own words, and what users of torch.nn type, in a line with a remedy."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.projection import check_device, check_like, check_width
from paratime.errors import InputError

ORDER = ("num_layers", "bias", "batch_first", "dropout", "bidirectional")
"""The arguments of ``torch.nn.GRU`` after its two sizes."""

SAME = {"num_layers": 1, "bias": True, "batch_first": True, "dropout": 0, "bidirectional": False}
"""Values that mean what layers here do anyway."""

STACKED = ("num_layers", "dropout", "bidirectional")

REMEDIES = {
    "batch_first": "leave batch_first out and pass x.transpose(0, 1): batch comes first here",
    "bias": "leave bias out: these layers have their biases",
    "proj_size": "leave proj_size out, and map the outputs by an nn.Linear",
    "nonlinearity": "leave nonlinearity out, or write a Cell of your own",
}

WORDS = {*ORDER, *REMEDIES}

SIZES = ["input_size", "hidden_size"]


def check_options(kind: type, sizes: Sequence[Any], options: dict[str, Any]) -> None:
    """Refuse arguments of ``torch.nn.GRU`` that the constructor of a layer does not take.

    Args:
        kind: The layer's class.
        sizes: Arguments by position.
        options: Arguments by name.

    Raises:
        InputError: There are such arguments; the remedy is what to write.
    """
    if len(sizes) < 3 and not options.keys() & WORDS:
        return
    known = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    found = {k: v for k, v in options.items() if k in WORDS - known.keys()}
    places = [n for n, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    if places == SIZES:
        found |= dict(zip(ORDER, sizes[2:], strict=False))
    if found:
        own = {k: v for k, v in options.items() if k in known}
        raise InputError(
            kind.__name__,
            expected=", ".join([*known][1:]),
            got=_arguments(found),
            remedy=_remedy(kind, sizes[:2] if places[:2] == SIZES else None, own, found),
        )


def _remedy(
    kind: type, sizes: Sequence[Any] | None, own: dict[str, Any], found: dict[str, Any]
) -> str:
    """Return what to write instead of the arguments that were found."""
    real = {k: v for k, v in found.items() if not (k in SAME and v == SAME[k])}
    if not real:
        return f"leave {'it' if len(found) == 1 else 'them'} out: layers here do so anyway"
    remedies = [REMEDIES[k] for k in real if k in REMEDIES]
    stacked = {k: v for k, v in real.items() if k in STACKED}
    if stacked and sizes is None:
        remedies.insert(0, "paratime.Stacked stacks layers that are built from two widths")
    elif stacked:
        given = [*map(repr, sizes or ()), *(f"{k}={own.pop(k)!r}" for k in SIZES if k in own)]
        inner = f"partial({kind.__name__}, {_arguments(own)})" if own else kind.__name__
        inside = ", ".join([inner, *given, _arguments(stacked)])
        remedies.insert(0, f"write paratime.Stacked({inside})")
    return "; ".join(remedies)


def _arguments(options: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in options.items())


def remedy_for_state(name: str, state: Any, expected: tuple[int, ...]) -> str:
    """Return how to make a state of another shape, or one of torch.nn, one of (batch, ...)."""
    batch, half = expected[0], (expected[0], math.prod(expected[1:]) // 2)
    if isinstance(state, Tensor):
        if state.shape[1:] == expected and state.dim() > 1:
            first = "pass {0}[0]" if len(state) == 1 else "give each of the layers its own, {0}[i]"
            return "torch.nn's states are (num_layers, batch, hidden): " + first.format(name)
    elif _is_pair(state, half) and len(expected) == 3:
        rows = f"view({batch}, {expected[1] // 2}, {expected[2]})"
        return f"torch.nn's states are (h, c): pass torch.cat([c.{rows}, h.{rows}], dim=1)"
    return "pass a state of this layer and batch, or None for the initial one"


def _is_pair(state: Any, shape: tuple[int, int]) -> bool:
    """Return whether a state is torch.nn.LSTM's, h and c of a shape, with an axis of layers."""
    parts = state if isinstance(state, tuple | list) and len(state) == 2 else (None,)
    return all(isinstance(p, Tensor) and p.shape in (shape, (1, *shape)) for p in parts)


def check_fit(
    module: nn.Module, error: Exception, args: Sequence[Any], kwargs: dict[str, Any]
) -> None:
    """Say why a layer failed if its inputs do not fit its parameters.

    This looks at a failure, since what fits is not known before: autocast, sharding and other
    hooks cast and move inputs and parameters.

    Args:
        module: The layer.
        error: What it raised.
        args: Its inputs by position.
        kwargs: Its inputs by name.

    Raises:
        InputError: Inputs on another device, or of another type or width than the parameters.
    """
    x = args[0] if args else kwargs.get("x")
    like = next((p for p in module.parameters() if p.is_floating_point()), None)
    if like is None or not isinstance(x, Tensor) or isinstance(error, torch.OutOfMemoryError):
        return
    check_device("x", x, like)
    if not isinstance(error, InputError) or error.args[0] == "x":
        check_like(x, like)
        _check_first_width(module, x, error)


def _check_first_width(module: nn.Module, x: Tensor, error: Exception) -> None:
    """Refuse the width of x if a product failed, and the first linear layer has another one."""
    linear = next((m for m in module.modules() if isinstance(m, nn.Linear)), None)
    if linear is not None and "shapes cannot be multiplied" in str(error):
        check_width(x, linear.in_features)
