"""What a recurrence must specify for every solver and layer to run it."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import is_dataclass

import torch
from torch import Tensor, nn

from paratime.errors import InputError

LARGEST_BLOCK = 64

Fused = Callable[
    [Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None], tuple[Tensor, Tensor, Tensor]
]
"""From u (B, T, *any), h0 (B, *state_shape), ``reset``, ``lengths`` and ``out`` to the outputs
(B, T, hidden_size), zero beyond a sequence's length, the state after its last valid step, and the
operator's report. With ``out`` the outputs are written there; without, gradients flow through
outputs and state."""


class Cell(nn.Module, ABC):
    """A recurrence h[t] = step(u[t], h[t-1]) with u = drive(x), channel by channel.

    A state is one unit a channel, ``state_shape = (D,)``, or K coupled units a channel,
    ``state_shape = (K, D)``; ``step`` must not couple units of different channels. A dense cell is
    one channel of K units, ``state_shape = (K, 1)``. All mixing of channels belongs in ``drive``,
    which runs once, for all time steps in parallel.

    Args:
        hidden_size: Width of the output.
        state_shape: Shape of one state, ``(hidden_size,)`` by default; K is at most 64.

    Raises:
        InputError: A state shape that no solver can treat.
    """

    bound: float | None = None
    """Radius of a box that ``step`` never leaves from inside, if there is one."""

    def __init__(self, hidden_size: int, state_shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.state_shape = torch.Size((hidden_size,) if state_shape is None else state_shape)
        if len(self.state_shape) > 2:
            raise InputError("state_shape", "(D,) or (K, D)", str(state_shape), "flatten channels")
        if len(self.state_shape) == 2 and self.state_shape[0] > LARGEST_BLOCK:
            raise InputError(
                "state_shape",
                expected=f"at most {LARGEST_BLOCK} units a channel",
                got=str(tuple(self.state_shape)),
                remedy="use smaller blocks, or torch.nn.GRU and its like for a wide dense state",
            )

    @abstractmethod
    def drive(self, x: Tensor) -> Tensor:
        """Map inputs x (..., input_size) to drives u (..., *any), for all steps at once."""

    @abstractmethod
    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance states h (..., *state_shape) by one step, over any leading axes."""

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step and return its Jacobian too, by automatic differentiation.

        Reverse mode, one pass a row of the block: in eager torch it is many times cheaper than
        forward mode. Override it where a closed form is cheaper still; the state must equal
        ``step`` to the bit.

        Args:
            u: Drives, (..., *any).
            h: States, (..., *state_shape).

        Returns:
            New states, and Jacobians (..., D), or blocks (..., K, K, D) with [i, j] = dh'_i/dh_j.
        """
        if len(self.state_shape) == 1:
            state, (jac,) = vjp(self, u, h, [torch.ones_like(h)])
            return state, jac
        rows = torch.eye(self.state_shape[0], dtype=h.dtype, device=h.device).unsqueeze(-1)
        state, gradients = vjp(self, u, h, [row.expand_as(h) for row in rows])
        return state, torch.stack(gradients, dim=-3)

    def fused(self, device: torch.device) -> Fused | None:
        """Return the operator that runs whole sequences in one pass on a device, if there is one.

        Its drives and outputs are float32, float64 or bfloat16; its states are float64 for
        float64 drives, else float32.
        """
        return None

    def drives_by_step(self) -> bool:
        """Return whether ``drive`` treats every step alone, so it may run in blocks."""
        return False

    def output(self, h: Tensor) -> Tensor:
        """Read the output (..., hidden_size) from states (..., *state_shape)."""
        return h.flatten(-len(self.state_shape))

    def extra_repr(self) -> str:
        """Return the sizes."""
        return describe(self)


def describe(module: nn.Module) -> str:
    """Return a module's arguments as torch's modules print theirs: sizes, and unusual options.

    An argument is shown if the module keeps it under its own name, unless it has its default.
    """
    shown, bare = [], True
    for name, argument in inspect.signature(type(module)).parameters.items():
        value = vars(module).get(name, argument.default)
        plain = isinstance(value, int | float | str) or is_dataclass(value)
        unusual = plain and value != argument.default
        bare = bare and unusual and argument.kind is argument.POSITIONAL_OR_KEYWORD
        if unusual:
            shown.append(str(value) if bare else f"{name}={value!r}")
    return ", ".join(shown)


def is_own(cell: Cell, kind: type[Cell], *methods: str) -> bool:
    """Return whether a cell has these methods from ``kind``, overridden nowhere."""
    own = vars(cell)
    return all(getattr(type(cell), n) is getattr(kind, n) and n not in own for n in methods)


def vjp(cell: Cell, u: Tensor, h: Tensor, cotangents: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the next state, and the gradient with respect to h of its product with each cotangent.

    It works inside ``no_grad`` and ``inference_mode`` as well.
    """
    with torch.inference_mode(False), torch.enable_grad():
        u, h = (x.clone() if x.is_inference() else x.detach() for x in (u, h))
        state = cell.step(u, h.requires_grad_())
        if not state.requires_grad:  # a step that reads neither h nor weights
            return state, [torch.zeros_like(v) for v in cotangents]
        gradients = [
            torch.autograd.grad(
                state, h, v, retain_graph=True, materialize_grads=True, allow_unused=True
            )[0]
            for v in cotangents
        ]
    return state.detach(), gradients
