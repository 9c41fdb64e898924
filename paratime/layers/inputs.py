"""The forms that inputs of a layer may have, brought into the one that ``Mixer.forward`` knows.

As in torch.nn, sequences may be packed, or one sequence without an axis of the batch. Lengths and
resets may be lists, arrays of numpy, or tensors anywhere. Results have the form of the input.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from paratime.errors import InputError
from paratime.layers.state import State, map_state

Run = Callable[..., tuple[Any, State]]
"""From x, a state, and what else there is by keyword, to outputs and a state."""


def is_batch(x: Any, reset: Any, lengths: Any) -> bool:
    """Return whether inputs of a layer need no conversion; this costs less than a microsecond."""
    return (
        isinstance(x, Tensor)
        and x.dim() == 3
        and (reset is None or _is(reset, torch.bool, x))
        and (lengths is None or _is(lengths, torch.long, x))
    )


def is_batch_step(x: Any, reset: Any) -> bool:
    """Return whether inputs of one step need no conversion."""
    return isinstance(x, Tensor) and x.dim() == 2 and (reset is None or _is(reset, torch.bool, x))


def _is(value: Any, dtype: torch.dtype, x: Tensor) -> bool:
    return isinstance(value, Tensor) and value.dtype is dtype and value.device == x.device


def run_sequence(
    run: Run, x: Any, h0: State = None, *, reset: Any = None, lengths: Any = None, **options: Any
) -> tuple[Any, State]:
    """Run a layer over sequences in any form.

    Args:
        run: The layer over x (B, T, C), with ``reset`` bool (B, T) and ``lengths`` int64 (B,).
        x: Sequences: (B, T, C), packed, or one alone, (T, C).
        h0: States in the order of the caller, without an axis of the batch for one sequence.
        reset: Restarts (B, T), or (T,) for one sequence.
        lengths: Valid steps (B,), or one number for one sequence.
        **options: What else the layer takes.

    Returns:
        Outputs and states in the form of the inputs.

    Raises:
        InputError: What is none of these.
    """
    if isinstance(x, PackedSequence):
        return _run_packed(run, x, h0, reset, lengths, options)
    check_axes(x, 2, 3)
    alone = x.dim() == 2
    options["reset"] = as_mask(reset, x.shape[:-1], x.device)
    options["lengths"] = as_lengths(lengths, x.shape[:-2], x.shape[-2], x.device)
    return _run_alone(run, x, h0, options) if alone else run(x, h0, **options)


def run_step(run: Run, x: Any, state: State = None, reset: Any = None) -> tuple[Any, State]:
    """Run one step of a layer, with or without an axis of the batch.

    Args:
        run: The step over x (B, C), with ``reset`` bool (B,).
        x: Inputs, (B, C) or (C,).
        state: A state, without an axis of the batch where x has none.
        reset: Restarts, (B,), or one truth value.

    Returns:
        Outputs and state in the form of the inputs.

    Raises:
        InputError: What is none of these.
    """
    check_axes(x, 1, 2)
    options = {"reset": as_mask(reset, x.shape[:-1], x.device)}
    return _run_alone(run, x, state, options) if x.dim() == 1 else run(x, state, **options)


def _run_alone(run: Run, x: Tensor, state: State, options: dict[str, Any]) -> tuple[Tensor, State]:
    lifted = {k: v.unsqueeze(0) if isinstance(v, Tensor) else v for k, v in options.items()}
    y, state = run(x.unsqueeze(0), map_state(_lift, state), **lifted)
    return y.squeeze(0), map_state(lambda part: part.squeeze(0), state)


def _lift(part: Any) -> Any:
    return part.unsqueeze(0) if isinstance(part, Tensor) else part


def _run_packed(
    run: Run, x: PackedSequence, h0: State, reset: Any, lengths: Any, options: dict[str, Any]
) -> tuple[PackedSequence, State]:
    """Run packed sequences as a padded batch in the order of the caller."""
    if lengths is not None:
        raise InputError(
            "lengths",
            expected="none with a PackedSequence, which has its own",
            got=type(lengths).__name__,
            remedy="leave them out",
        )
    check_axes(x.data, 2)
    padded, ends = pad_packed_sequence(x, batch_first=True)
    whole = len(x.data) == padded.shape[0] * padded.shape[1]
    options["reset"] = as_mask(reset, padded.shape[:2], padded.device)
    options["lengths"] = None if whole else ends.to(padded.device)
    y, state = run(padded, h0, **options)
    if x.sorted_indices is not None:
        y, ends = y[x.sorted_indices], ends[x.sorted_indices.cpu()]
    data = pack_padded_sequence(y, ends, batch_first=True).data
    return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices), state


def check_axes(x: Any, *counts: int) -> None:
    """Refuse what is no dense tensor with one of these numbers of axes, or has no steps.

    Sequences have three axes, or two if one is alone, and steps have two, or one.
    """
    _check_tensor(x)
    sequence = max(counts) == 3
    if x.dim() in counts and not (sequence and x.shape[-2] == 0):
        return
    remedy = "give one time step; call the layer for sequences"
    if sequence:
        remedy = "put batch first and channels last, and drop empty sequences"
    expected = ["(channels,)", "(batch, channels)"]
    if sequence:
        expected = ["", "(time >= 1, channels)", "(batch, time >= 1, channels)"]
    shapes = " or ".join(expected[count - 1] for count in sorted(counts, reverse=True))
    raise InputError("x", expected=shapes, got=str(tuple(x.shape)), remedy=remedy)


def _check_tensor(x: Any) -> None:
    """Refuse what is no dense tensor, with what makes one of it."""
    if isinstance(x, PackedSequence):
        remedy = "call the layer itself, layer(x), which takes it"
    elif not isinstance(x, Tensor):
        remedy = "make it one, torch.as_tensor(x)"
    elif x.is_nested:
        remedy = "pad it, torch.nested.to_padded_tensor(x, 0.0), and give its lengths"
    elif x.layout is not torch.strided:
        remedy = "make it dense, x.to_dense()"
    else:
        return
    raise InputError("x", expected="a dense tensor", got=_kind(x), remedy=remedy)


def _kind(x: Any) -> str:
    if not isinstance(x, Tensor):
        return "None" if x is None else f"a {type(x).__name__}"
    return "a nested tensor" if x.is_nested else f"the layout {x.layout}"


def as_mask(value: Any, shape: torch.Size, device: torch.device) -> Tensor | None:
    """Return restarts as a bool tensor on a device; refuse other shapes and types."""
    if value is None:
        return None
    mask = _as_tensor("reset", value, f"bool {tuple(shape)}")
    check_mask("reset", mask, shape)
    return mask.to(device)


def as_lengths(value: Any, shape: torch.Size, steps: int, device: torch.device) -> Tensor | None:
    """Return lengths as an int64 tensor on a device; refuse what counts no steps."""
    if value is None:
        return None
    lengths = _as_tensor("lengths", value, f"integers {tuple(shape)}")
    if not isinstance(value, Tensor) and not lengths.numel():
        lengths = lengths.long()  # an empty list is one of floats to torch
    check_lengths(lengths, shape, steps)
    return lengths.to(device, torch.long)


def _as_tensor(name: str, value: Any, expected: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(value.copy() if hasattr(value, "flags") else value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            name,
            expected=expected,
            got=type(value).__name__,
            remedy="give a tensor, a list or an array of numpy",
        ) from None


def check_mask(name: str, mask: Any, shape: torch.Size) -> None:
    """Refuse what is no bool tensor of a shape."""
    if mask is None or (
        isinstance(mask, Tensor) and mask.shape == shape and mask.dtype is torch.bool
    ):
        return
    remedy = "True at t restarts the state before step t"
    if isinstance(mask, Tensor) and mask.shape == shape:
        remedy = f"make it bool, {name}.bool(): {remedy}"
    raise InputError(name, expected=f"bool {tuple(shape)}", got=_describe(mask), remedy=remedy)


def check_lengths(lengths: Any, shape: torch.Size, steps: int) -> None:
    """Refuse what is no tensor of integers of a shape, in 0 to ``steps``."""
    if not isinstance(lengths, Tensor) or lengths.shape != shape or not _is_integer(lengths):
        raise InputError(
            "lengths",
            expected=f"integers {tuple(shape)}",
            got=_describe(lengths),
            remedy="give one length a sequence",
        )
    if torch.compiler.is_compiling() or type(lengths) is not Tensor or not lengths.numel():
        return  # values are unknown in a graph, and among fake tensors
    if lengths.device.type != "cpu":
        return  # to look at values is to wait for a GPU
    if not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps:
        raise InputError(
            "lengths",
            expected=f"0 to T = {steps}",
            got=f"{int(lengths.min())} to {int(lengths.max())}",
            remedy="count steps, not positions",
        )


def _is_integer(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex() or x.dtype is torch.bool)


def _describe(x: Any) -> str:
    return f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
