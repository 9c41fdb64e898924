"""What layers read and return while a model reads a batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paratime.layers.block import Block
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import Recurrent

STEPS = 4096
"""Most steps of a layer that are kept, of all sequences together."""


@dataclass
class Passage:
    """What a layer read, and what it returned.

    Attributes:
        layer: The layer.
        x: Inputs, (B, T, input_size).
        y: Outputs, (B, T, hidden_size).
        h0: The state before the first step, None for the initial one.
        reset: Where episodes begin, bool (B, T), or None.
    """

    layer: Mixer
    x: Tensor | None = None
    y: Tensor | None = None
    h0: Any = None
    reset: Tensor | None = None
    steps: list[tuple[Any, ...]] = field(default_factory=list)

    def finish(self) -> None:
        """Lay steps that were taken one by one next to each other."""
        if self.x is None and self.steps:
            x, y, state, reset = zip(*self.steps, strict=True)
            self.x, self.y, self.h0 = torch.stack(x, 1), torch.stack(y, 1), state[0]
            none = torch.zeros(self.x.shape[:1], dtype=torch.bool, device=self.x.device)
            self.reset = torch.stack([none if r is None else r for r in reset], 1)


def watched(model: nn.Module) -> dict[str, Mixer]:
    """Return the layers to look at by name: recurrent ones, and the mixers of other blocks."""
    found: dict[str, Mixer] = {}
    for name, module in model.named_modules():
        if isinstance(module, Recurrent):
            found[name] = module
        elif isinstance(module, Block) and not _has_recurrent(module.core):
            inner = ".mixer.mixer" if module.core is not module.mixer else ".mixer"
            found[name + inner] = module.core
    return found


@contextmanager
def watching(layers: dict[str, Mixer]) -> Iterator[dict[str, Passage]]:
    """Yield what layers read and return in the first passes over time, filled at the end."""
    passages = {name: Passage(layer) for name, layer in layers.items()}
    handles = []
    for passage in passages.values():
        hook = partial(_keep, passage)
        handles.append(passage.layer.register_forward_hook(hook, with_kwargs=True))
        vars(passage.layer)["step"] = partial(_step, passage, passage.layer.step)
    try:
        yield passages
    finally:
        for handle in handles:
            handle.remove()
        for passage in passages.values():
            vars(passage.layer).pop("step", None)
            passage.finish()


def _keep(passage: Passage, _: nn.Module, args: Any, kwargs: Any, found: Any) -> None:
    if passage.x is not None:
        return
    given = dict(zip(("x", "h0"), args, strict=False)) | kwargs
    rows = max(1, STEPS // given["x"].shape[1])
    cut = slice(rows), slice(STEPS)
    passage.x, passage.y = given["x"][cut].detach(), found[0][cut].detach()
    h0, reset = given.get("h0"), given.get("reset")
    passage.h0 = h0[:rows].detach() if isinstance(h0, Tensor) else None
    passage.reset = None if reset is None else reset[cut]


def _step(
    passage: Passage,
    step: Callable[..., Any],
    x: Tensor,
    state: Any = None,
    reset: Tensor | None = None,
) -> Any:
    y, after = step(x, state, reset)
    if passage.x is None and len(passage.steps) < STEPS // max(1, len(x)):
        begin = state.detach() if isinstance(state, Tensor) else None
        passage.steps.append((x.detach(), y.detach(), begin, reset))
    return y, after


def _has_recurrent(module: nn.Module) -> bool:
    return any(isinstance(x, Recurrent) for x in module.modules())
