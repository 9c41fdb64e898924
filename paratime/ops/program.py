"""A step of a stack of layers as a list of operations that one call of native code runs.

To dispatch the few dozen operations of a small model's step one by one costs several times what
they compute. So layers are captured once (``layers/capture.py``), on fixed buffers, and a step is
one call. Each row is computed alone, to the same bits in a batch of any size.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.ops.native import library

PANEL = 64
"""Outputs of a linear map whose weights lie together: ``kPanel`` of csrc/cpu/step.cpp."""

FORMATS = (torch.float32, torch.float64)


class Operation(ctypes.Structure):
    """An operation, as csrc/cpu/step.cpp reads it."""

    _fields_ = (
        ("run", ctypes.c_void_p),
        ("sizes", ctypes.c_int64 * 4),
        ("numbers", ctypes.c_double * 4),
        ("at", ctypes.c_void_p * 6),
    )


class CaptureError(Exception):
    """A step that has no program: it needs something that no operation computes."""


class Program:
    """Operations on rows of buffers, (rows, channels), in the order in which they are captured.

    A method captures one operation and returns the buffer that it will fill. Weights are copied
    where their layout differs: the weights must not change afterwards.

    Args:
        rows: Sequences that are stepped at once.
        dtype: Of all buffers, float32 or float64.

    Raises:
        CaptureError: There are no kernels here, or not for this precision.
    """

    def __init__(self, rows: int, dtype: torch.dtype) -> None:
        run = library.symbol("run_program")
        if dtype not in FORMATS or run is None:
            raise CaptureError(f"no kernels for {dtype}")
        self.rows, self.dtype = rows, dtype
        self._run: Callable[..., None] = run
        self._operations: list[Operation] = []
        self._kept: list[Tensor] = []
        self._ready: ctypes.Array[Operation] | None = None

    def buffer(self, *shape: int) -> Tensor:
        """Return a new buffer of zeros, (rows, *shape)."""
        return torch.zeros(self.rows, *shape, dtype=self.dtype)

    def embed(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Look up tokens, int64 (rows,), in a table (V, D)."""
        y = self.buffer(table.shape[1])
        self._add("embed", (table.shape[1],), (tokens, table, y))
        return y

    def linear(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        scale: Tensor | None = None,
        base: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return W x + bias for W (N, D), or base + scale (W x + bias); in ``out`` if given."""
        outputs, inputs = weight.shape
        padded = functional.pad(weight, (0, 0, 0, -outputs % PANEL))
        panels = padded.unflatten(0, (-1, PANEL)).transpose(1, 2)
        y = self.buffer(outputs) if out is None else out
        self._add("linear", (inputs, outputs), (x, panels, bias, scale, base, y))
        return y

    def swiglu(self, x: Tensor) -> Tensor:
        """Return silu(gate) value of the halves gate and value of x (rows, 2 D)."""
        y = self.buffer(x.shape[1] // 2)
        self._add("swiglu", (y.shape[1],), (x, y))
        return y

    def norm(self, x: Tensor, weight: Tensor, gate: Tensor | None, eps: float) -> Tensor:
        """Capture ``rms_norm``; the gate may be a slice of wider rows."""
        y = self.buffer(x.shape[1])
        apart = 0 if gate is None else gate.stride(0)
        self._add("norm", (x.shape[1], apart), (x, weight, gate, y), (eps,))
        return y

    def conv(self, x: Tensor, weight: Tensor, bias: Tensor, memory: Tensor) -> Tensor:
        """Capture ``causal_conv`` of x, maybe a slice of wider rows; the memory is updated."""
        taps, channels = weight.shape
        y, following = self.buffer(channels), torch.empty_like(memory)
        at = (x, weight, bias, memory, following, y)
        self._add("conv", (channels, taps, x.stride(0)), at)
        return y

    def recurrence(self, name: str, u: Tensor, weight: Tensor, state: Tensor) -> Tensor:
        """Capture the step ``name`` with K such as "gru1"; the state (rows, ..., C) is updated."""
        channels, width = weight.shape[-1], u.shape[1] // 3
        y = self.buffer(width)
        self._add(name, (channels, width), (u, weight, state, y))
        return y

    def draw(
        self,
        logits: Tensor,
        uniform: Tensor,
        tokens: Tensor,
        history: Tensor,
        counts: Tensor | None,
        window: Tensor | None,
        *,
        top_k: int,
        numbers: tuple[float, float, float, float],
    ) -> None:
        """Draw the next tokens (rows,) from logits (rows, V).

        Args:
            logits: (rows, V).
            uniform: Random numbers, float64 (rows, N), of which turn i takes column i mod N.
            tokens: Where the tokens go, int64 (rows,).
            history: Where they go, too, int64 (rows, N), like the random numbers.
            counts: How often each token occurred, int64 (rows, V + 1), updated; or None.
            window: The last tokens that count, int64 (rows, W), a ring, updated; or None for all.
            top_k: How many of the most likely tokens are drawn from.
            numbers: Repetition penalty, temperature, top_p and min_p.
        """
        sizes = logits.shape[1], uniform.shape[1], 0 if window is None else window.shape[1], top_k
        bits = uniform.view(torch.int64)  # no number of the program's precision
        self._add("draw", sizes, (logits, bits, tokens, history, counts, window), numbers)

    def run(self, first: int = 0, last: int = 1) -> None:
        """Run all operations for the turns ``first`` to ``last - 1``."""
        if self._ready is None:
            self._ready = (Operation * len(self._operations))(*self._operations)
        count = len(self._operations)
        library.call(self._run, ctypes.addressof(self._ready), count, self.rows, first, last)

    def _add(
        self,
        name: str,
        sizes: tuple[int, ...],
        at: tuple[Tensor | None, ...],
        numbers: tuple[float, ...] = (),
    ) -> None:
        kernel: Any = library.symbol(f"step_{name}_{library.FORMATS[self.dtype]}")
        if kernel is None:
            raise CaptureError(f"no kernel for {name}")
        tensors = [None if x is None else self._keep(x) for x in at]
        pointers = [None if x is None else x.data_ptr() for x in tensors]
        operation = Operation(run=ctypes.cast(kernel, ctypes.c_void_p).value)
        operation.sizes[: len(sizes)] = sizes
        operation.numbers[: len(numbers)] = numbers
        operation.at[: len(pointers)] = pointers
        self._operations.append(operation)

    def _keep(self, x: Tensor) -> Tensor:
        """Return a tensor as the kernels read it, which lives as long as the program.

        Slices of rows are read where they are, since others write them.
        """
        x = x.detach()
        if x.dtype not in (self.dtype, torch.int64):
            raise CaptureError(f"{x.dtype} with a program in {self.dtype}")
        x = x if x.stride(-1) == 1 and x.dim() == 2 else x.contiguous()
        self._kept.append(x)
        return x
