"""Weights and moments that are not finite, which no checkpoint may hold."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from paratime.errors import InputError

REMEDY = (
    "lower the learning rate, or clip gradients (--trainer.gradient_clip_val 1); earlier"
    " checkpoints are finite"
)


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, int]:
    """Return how many values of each tensor are infinite or NaN, where any are.

    Flags are read from a device once; of a sharded tensor, this process's part counts.
    """
    named = [(name, _local(x)) for name, x in tensors if x.is_floating_point() or x.is_complex()]
    counts = [(~x.isfinite()).sum().to("cpu", non_blocking=True) for _, x in named]
    if any(x.is_cuda for _, x in named):
        torch.cuda.synchronize()
    return {name: int(n) for (name, _), n in zip(named, counts, strict=True) if n}


def check_weights_are_finite(module: nn.Module) -> None:
    """Refuse a network with a weight that is infinite or NaN.

    Raises:
        InputError: One line with the first such weight.
    """
    _refuse("weights", not_finite(module.named_parameters()))


def check_checkpoint_is_finite(task: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Refuse to write a checkpoint whose weights or moments are infinite or NaN.

    Buffers may be: ranges of data are, and figures that are not known yet.

    Args:
        task: The task; its processes agree.
        checkpoint: What is to be written.

    Raises:
        InputError: One line with the first such weight.
    """
    own = {name for name, _ in task.named_parameters()}
    state = checkpoint.get("state_dict", {})
    bad = not_finite((name, x) for name, x in state.items() if name in own)
    found = {"weights": bad, "moments of the optimizer": not_finite(moments(checkpoint))}
    good = not any(found.values())
    if task._trainer is not None:
        agreed = task.trainer.strategy.reduce_boolean_decision(good)
        found["weights of another process"] = {"": 1} if good and not agreed else {}
    for what, names in found.items():
        _refuse(what, names)


def moments(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the optimisers in a checkpoint, with names."""
    for optimizer in checkpoint.get("optimizer_states", ()):
        for parameter, values in optimizer.get("state", {}).items():
            for name, value in values.items() if isinstance(values, Mapping) else ():
                if isinstance(value, Tensor):
                    yield f"{name} of parameter {parameter}", value


def _refuse(what: str, names: Mapping[str, int]) -> None:
    if names:
        first, *others = names
        more = f" and {len(others)} more tensors" * bool(others)
        raise InputError(
            what,
            expected="finite values",
            got=f"infinity or NaN in {first}{more}" if first else "infinity or NaN",
            remedy=REMEDY,
        )


def _local(x: Tensor) -> Tensor:
    """Return the part of a tensor that this process has."""
    part: Tensor = getattr(x, "_local_tensor", x)
    return part.detach()
