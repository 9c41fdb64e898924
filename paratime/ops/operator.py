"""What the operators with CPU kernels share: schemas, dispatch, gradients and checks.

Each of them has a twin in torch with the same inputs, which is the truth of its kernels. The twin
also runs where no kernel does: on CUDA, under torch.compile, under transforms of torch.func and for
second derivatives. A program of torch.export holds its operations, or, where they depend on a size
that is left open, the operator itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from paratime.errors import InputError
from paratime.ops.native import library

Kernel = Callable[..., None]
Tensors = tuple[Tensor, ...]


class Operator(ABC):
    """``paratime::<name>`` and ``paratime::<name>_backward``, called with the inputs of the twin.

    Attributes:
        name: Name of the operator, and of its kernels.
        schema: Its inputs in torch's notation, tensors first.
        tensors: How many inputs, the first ones, have gradients.
        like: For each output, the input that has its shape and dtype. The first of these inputs
            decides whether and which kernels run.
        keeps: Whether the forward pass keeps a tensor for the backward pass.
    """

    name: str
    schema: str
    tensors: int
    like: tuple[int, ...]
    keeps: bool = True

    def __init__(self) -> None:
        grads = ", ".join(f"Tensor d_{i}" for i in range(len(self.like)))
        kept = ", Tensor kept" * self.keeps
        self.operator = custom_op(
            f"paratime::{self.name}",
            self._native,
            mutates_args=(),
            schema=f"({self.schema}) -> ({_tensors(len(self.like) + self.keeps)})",
        )
        self.operator.register_fake(self._fake)
        self.operator.register_autograd(self._gradient, setup_context=self._save)
        self._backward = custom_op(
            f"paratime::{self.name}_backward",
            self._native_backward,
            mutates_args=(),
            schema=f"({grads}{kept}, {self.schema}) -> ({_tensors(self.tensors)})",
        )
        self._backward.register_fake(self._fake_backward)

    @abstractmethod
    def twin(self, *inputs: Any) -> Tensors:
        """Compute the outputs in torch."""

    @abstractmethod
    def forward(self, kernel: Kernel, outputs: Tensors, kept: Any, *inputs: Any) -> None:
        """Let the kernel fill the outputs, and what is kept if that is a tensor."""

    @abstractmethod
    def backward(self, kernel: Kernel, grads: Tensors, kept: Any, *inputs: Any) -> Tensors:
        """Return the gradients of the first ``tensors`` inputs, from those of the outputs."""

    def keep(self, *inputs: Any) -> Tensor:
        """Return an empty tensor for what the forward pass keeps."""
        raise NotImplementedError

    def supports(self, *inputs: Any) -> bool:
        """Return whether the kernels treat these inputs, given that they exist for the dtype."""
        return True

    def traceable(self, *inputs: Any) -> bool:
        """Return whether the twin's operations hold for all sizes that an export leaves open."""
        return True

    def __call__(self, *inputs: Any) -> Tensors:
        """Return the outputs, by a kernel where one runs."""
        if not self._runs_on(*inputs):
            traceable = self.traceable(*inputs)
            return self.twin(*inputs) if traceable else self.operator(*inputs)[: len(self.like)]
        if torch.is_grad_enabled() or type(inputs[self.like[0]]) is not Tensor:
            found: Tensors = self.operator(*inputs)
            return found[: len(self.like)]
        return self._run(None, *inputs)  # a call of an operator costs more than a short kernel

    def _runs_on(self, *inputs: Any) -> bool:
        if torch.compiler.is_compiling() or not self._has_kernel(*inputs):
            return False
        return not library.transformed(*inputs[: self.tensors])

    def _has_kernel(self, *inputs: Any) -> bool:
        x = inputs[self.like[0]]
        if x.device.type != "cpu" or not x.numel():
            return False
        return self._symbol("", x) is not None and self.supports(*inputs)

    def _symbol(self, direction: str, x: Tensor) -> Kernel | None:
        return library.symbol(f"{self.name}{direction}_{library.FORMATS.get(x.dtype)}")

    def _kernel(self, direction: str, inputs: tuple[Any, ...]) -> Kernel:
        found = self._symbol(direction, inputs[self.like[0]])
        assert found is not None
        return partial(library.call, found)

    def _run(self, kept: Tensor | None, *inputs: Any) -> Tensors:
        outputs = self._empty(inputs)
        self.forward(self._kernel("", inputs), outputs, kept, *inputs)
        return outputs

    def _empty(self, inputs: tuple[Any, ...]) -> Tensors:
        return tuple(inputs[i].new_empty(inputs[i].shape) for i in self.like)

    def _native(self, *inputs: Any) -> Tensors:
        kept = self.keep(*inputs) if self.keeps else None
        run = partial(self._run, kept) if self._has_kernel(*inputs) else self.twin
        return (*run(*inputs), *([] if kept is None else [kept]))

    def _fake(self, *inputs: Any) -> Tensors:
        return (*self._empty(inputs), *([self.keep(*inputs)] if self.keeps else ()))

    def _split(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the gradients of outputs, what was kept or None, and inputs, of a backward op."""
        first = len(self.like)
        kept = arguments[first] if self.keeps else None
        return arguments[:first], kept, arguments[first + self.keeps :]

    def _native_backward(self, *arguments: Any) -> Tensors:
        grads, kept, inputs = self._split(arguments)
        grads = tuple(d.contiguous() for d in grads)
        return self.backward(self._kernel("_backward", inputs), grads, kept, *inputs)

    def _fake_backward(self, *arguments: Any) -> Tensors:
        inputs = self._split(arguments)[2]
        x = inputs[self.like[0]]
        wanted = inputs[: self.tensors]
        return tuple(x.new_empty(()) if t is None else t.new_empty(t.shape) for t in wanted)

    def _save(self, ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        kept = output[len(self.like) :]
        ctx.mark_non_differentiable(*kept)
        ctx.plain = inputs[self.schema.count("Tensor") :]
        ctx.save_for_backward(*kept, *inputs[: self.schema.count("Tensor")])

    def _gradient(self, ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved, grads = ctx.saved_tensors, grads[: len(self.like)]
        kept, inputs = saved[: self.keeps], (*saved[self.keeps :], *ctx.plain)
        nothing = [None] * (len(inputs) - self.tensors)
        if torch.is_grad_enabled() or not self._runs_on(*inputs):
            return *differentiate(self.twin, inputs, self.tensors, grads), *nothing
        found = self._backward(*grads, *kept, *inputs)
        pairs = zip(inputs[: self.tensors], found, strict=True)
        return *(None if x is None else d for x, d in pairs), *nothing


def differentiate(
    twin: Callable[..., Any], inputs: Sequence[Any], count: int, grads: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the first ``count`` inputs, to be differentiated if grad is enabled.

    The inputs are views of those given: these may depend on each other, and a gradient of one must
    not hold what reaches it through another, which autograd adds itself.

    Args:
        twin: What the operator computes, in torch.
        inputs: Of the operator.
        count: How many of them, the first ones, are tensors, or None.
        grads: Gradients of what ``twin`` returns.

    Returns:
        None for each input that needs no gradient, or has none.
    """
    needed = [x is not None and x.requires_grad for x in inputs[:count]]
    with torch.enable_grad():
        views = [x.view_as(x) if need else x for x, need in zip(inputs, needed, strict=False)]
        outputs = twin(*views, *inputs[count:])
    wanted = [x for x, need in zip(views, needed, strict=True) if need]
    again = {"create_graph": torch.is_grad_enabled(), "allow_unused": True}
    found = iter(torch.autograd.grad(outputs, wanted, grads, **again))
    return tuple(next(found) if need else None for need in needed)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Let products keep the precision of their inputs; a context costs more than a short step."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def precise_dtype(x: Tensor) -> torch.dtype:
    """Return the precision of states and sums: float64 for tensors in float64, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def is_open(size: int) -> bool:
    """Return whether an export leaves a size open, so that its program accepts any."""
    if not torch.compiler.is_exporting():
        return False
    from torch.fx.experimental.symbolic_shapes import has_static_value  # slow to import

    return not has_static_value(size)


def check_tensor(
    name: str,
    x: Tensor | None,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    like: str = "u",
) -> None:
    """Refuse what a kernel would read beyond: it sees nothing but pointers.

    Args:
        name: Of the tensor.
        x: The tensor, or None, which passes.
        shape: The shape that it must have.
        dtype: Likewise.
        device: Likewise.
        like: The input that they follow from.

    Raises:
        InputError: It has another shape, dtype or device.
    """
    if x is None:
        return
    if x.shape != shape or x.dtype != dtype:
        raise InputError(
            name,
            expected=f"{dtype} {shape}",
            got=f"{x.dtype} {tuple(x.shape)}",
            remedy=f"make it fit {like}",
        )
    if x.device != device:
        raise InputError(name, f"on {device}, like {like}", f"on {x.device}", "move it")


def _tensors(count: int) -> str:
    return ", ".join(["Tensor"] * count)
