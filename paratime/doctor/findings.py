"""What the figures of layers mean, with advice in one line each."""

from collections.abc import Iterator, Mapping, Sequence
from math import exp, inf

from paratime.doctor.examine import Layer

CHAOTIC = 0.01
"""Exponent, in nats a step, from which on small differences grow."""

SHORT = 1.0
"""Steps of memory, the inverse of the exponent, below which a recurrence only reads its input."""

MANY = 4
"""Newton iterations from which on a solve is dear."""

SATURATED = 0.5
"""Share of saturated gates from which on little gradient passes them."""

BOUND = "--model.optimizer.max_recurrent 0.5"


def findings(layers: Sequence[Layer], moments: Mapping[str, int], others: int = 0) -> list[str]:
    """Return a line for each finding, the gravest first; none for a healthy model.

    Args:
        layers: The figures.
        moments: The optimiser's tensors that are not finite.
        others: Weights outside of these layers that are not finite.
    """
    found = [x for layer in layers for x in _weights(layer)]
    if others:
        found.append(f"other weights: {others:,} are infinite or NaN; {_EARLIER}")
    if moments:
        count = sum(moments.values())
        found.append(f"optimizer: {count:,} moments are infinite or NaN; {_EARLIER}")
    return [*found, *(x for layer in layers for x in _dynamics(layer))]


_EARLIER = "use an earlier checkpoint, with a lower rate or --trainer.gradient_clip_val 1"


def _weights(layer: Layer) -> Iterator[str]:
    if layer.not_finite:
        yield f"{layer.name}: {layer.not_finite:,} weights are infinite or NaN; {_EARLIER}"


def _dynamics(layer: Layer) -> Iterator[str]:
    at, rate = layer.name, -inf if layer.exponent is None else layer.exponent
    if rate > CHAOTIC:
        yield (
            f"{at}: chaotic, differences grow {exp(min(rate, 50.0)):.3g}-fold a step"
            f" ({_share(layer)} of the channels); bound the recurrent weights ({BOUND})"
        )
    elif rate > -inf and -1 / min(rate, -1e-9) < SHORT:
        yield (
            f"{at}: every channel forgets within {-1 / rate:.2g} steps; begin with slower gates"
            " (init's remember), or train longer sequences"
        )
    if layer.loop_share:
        yield (
            f"{at}: Newton did not converge, and the loop computed {layer.loop_share:.0%} of the"
            f" steps; bound the recurrent weights ({BOUND}), or try a solver with a larger chunk"
        )
    elif (layer.iterations or 0) > MANY:
        yield (
            f"{at}: Newton needs {layer.iterations} iterations; bound the recurrent weights"
            f" ({BOUND})"
        )
    if (layer.saturated or 0.0) > SATURATED:
        yield (
            f"{at}: {layer.saturated:.0%} of gate values are saturated, and pass no gradient; lower"
            " the learning rate, or raise weight_decay"
        )
    if layer.dead:
        yield (
            f"{at}: {layer.dead} of {layer.channels} channels are dead; a narrower model does the"
            " same, or lower the learning rate and train again"
        )


def _share(layer: Layer) -> str:
    many = sum(x > CHAOTIC for x in layer.exponents)
    return f"{many / max(1, len(layer.exponents)):.0%}"
