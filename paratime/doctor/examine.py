"""The figures of a model's layers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paratime.doctor.dynamics import Saturation, before, exponents, jacobians, slopes
from paratime.doctor.watch import Passage, watched, watching
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import Recurrent
from paratime.ops.operator import precise_dtype, without_autocast
from paratime.solvers.newton import Newton
from paratime.training.finite.weights import not_finite
from paratime.training.optimizer import recurrent_weights

DEAD = 1e-3
"""A channel is dead if its output varies less than this share of the layer's median."""

STILL = 1e-7
"""And in any case below this."""


@dataclass
class Layer:
    """Figures of a layer; None where it has none, or where nothing was read.

    Attributes:
        name: Its place in the model.
        kind: Its class.
        weight_rms: Root mean square of the weights that multiply its state, or of all if none do.
        weight_max: Their largest magnitude.
        slope: Least, median and greatest size of dh[t]/dh[t-1].
        exponent: Largest Lyapunov exponent of a channel, in nats a step.
        exponents: Those of all channels.
        iterations: Newton iterations to solve what it read.
        defect: Largest correction of the last of them.
        loop_share: Share of the steps that the loop computed, as Newton did not converge.
        saturated: Share of the values of its sigmoids and tanhs that are saturated.
        dead: Channels whose output does not vary over batch and time.
        channels: All channels of its output.
        not_finite: Weights that are infinite or NaN.
    """

    name: str
    kind: str
    weight_rms: float | None = None
    weight_max: float | None = None
    slope: tuple[float, float, float] | None = None
    exponent: float | None = None
    exponents: list[float] = field(default_factory=list)
    iterations: int | None = None
    defect: float | None = None
    loop_share: float | None = None
    saturated: float | None = None
    dead: int | None = None
    channels: int | None = None
    not_finite: int = 0

    def plain(self) -> dict[str, Any]:
        """Return the figures for JSON, without those of each channel."""
        return {k: x for k, x in asdict(self).items() if k != "exponents" and x is not None}


@torch.no_grad()
def examine(model: nn.Module, read: Callable[[], object] | None = None) -> list[Layer]:
    """Return the figures of all layers that mix time.

    Args:
        model: The model, in evaluation mode.
        read: Lets the model read a batch; without it, only weights are looked at.
    """
    layers = watched(model)
    with watching(layers) as passages:
        if read is not None:
            read()
    return [_layer(name, passages[name]) for name in layers]


def _layer(name: str, passage: Passage) -> Layer:
    found = Layer(name, type(passage.layer).__name__)
    _weigh(found, passage.layer)
    if passage.x is None or passage.y is None:
        return found
    found.dead, found.channels = int(dead_channels(passage.y).sum()), passage.y.shape[-1]
    if found.not_finite or not passage.x.isfinite().all() or not passage.y.isfinite().all():
        return found
    if isinstance(passage.layer, Recurrent):
        _follow(found, passage.layer, passage)
    else:
        with Saturation() as gates:
            passage.layer(passage.x, reset=passage.reset)
        found.saturated = gates.share
    return found


def _weigh(found: Layer, layer: Mixer) -> None:
    parameters = dict(layer.named_parameters())
    found.not_finite = sum(not_finite(parameters.items()).values())
    chosen = recurrent_weights(layer) or [*parameters.values()]
    if chosen:
        flat = torch.cat([p.detach().flatten().double() for p in chosen])
        found.weight_rms = float(flat.square().mean().sqrt())
        found.weight_max = float(flat.abs().max())


def dead_channels(y: Tensor) -> Tensor:
    """Return which channels of outputs (B, T, D) do not vary over batch and time, bool (D,)."""
    spread = y.double().flatten(0, 1).std(0, correction=0)
    return spread < torch.clamp(DEAD * spread.median(), min=STILL)


def _follow(found: Layer, layer: Recurrent, passage: Passage) -> None:
    """Solve what a recurrent layer read by Newton's method, and look at its trajectories."""
    assert passage.x is not None
    cell, reset = layer.cell, passage.reset
    drive = cell.drive(passage.x)
    u = drive.to(precise_dtype(drive))
    h0 = u.new_zeros(len(u), *cell.state_shape) if passage.h0 is None else passage.h0.to(u)
    with without_autocast(u.device):
        solution = Newton().solve(cell, u, h0, reset)
        states = solution.states
        assert states is not None
        jac = jacobians(cell, u, h0, states, reset)
        with Saturation() as gates:
            cell.step(u, before(h0, states, reset))
    found.iterations, found.defect = solution.iterations, solution.defect
    found.loop_share, found.saturated = solution.loop_share, gates.share
    size = slopes(jac)
    found.slope = float(size.min()), float(size.median()), float(size.max())
    found.exponents = exponents(jac, reset).tolist()
    found.exponent = max(found.exponents)
