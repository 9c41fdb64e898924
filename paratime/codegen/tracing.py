"""What a cell's step does: every operation that torch runs, with the line of code it comes from."""

import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from paratime.errors import InputError

TORCH = str(Path(torch.__file__).parent)
OWN = str(Path(__file__).parent)

LONGEST_CODE = 60
"""Characters that are quoted of a line."""

aten = torch.ops.aten
IN_PLACE = {
    "add_": aten.add,
    "sub_": aten.sub,
    "mul_": aten.mul,
    "div_": aten.div,
    "neg_": aten.neg,
    "exp_": aten.exp,
    "tanh_": aten.tanh,
    "sigmoid_": aten.sigmoid,
    "relu_": aten.relu,
    "clamp_": aten.clamp,
    "addcmul_": aten.addcmul,
    "lerp_": aten.lerp,
}
"""Writes to a step's own results, and the operations that make them anew."""


@dataclass(frozen=True)
class Value:
    """A tensor of a trace.

    Attributes:
        number: Its place in the order of operations.
        shape: Its shape.
        dtype: Its precision.
    """

    number: int
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Call:
    """One call of torch.

    Attributes:
        function: What was called, such as ``aten.mul.Tensor``.
        arguments: Its arguments, with a ``Value`` for every tensor.
        options: Those by name.
        results: What it returned, with a ``Value`` for every tensor.
        stops: Whether gradients stop here, since the code says no_grad.
        line: Where the user's code calls it.
    """

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[Value, ...]
    stops: bool
    line: str

    @property
    def name(self) -> str:
        """Return the operation's name without its overload."""
        return str(self.function.overloadpacket.__name__)

    def reads(self) -> Iterator[Value]:
        """Yield the tensors that it reads."""
        yield from _values((self.arguments, tuple(self.options.values())))


@dataclass(frozen=True)
class Trace:
    """All operations of a step.

    Attributes:
        inputs: The drive, then the state.
        operations: In their order.
        outer: Tensors that the step reads from elsewhere, such as parameters, by number.
        result: The state after the step.
    """

    inputs: tuple[Value, Value]
    operations: list[Call]
    outer: dict[int, Tensor]
    result: Value


def trace(
    step: Callable[[Tensor, Tensor], Tensor], u: Tensor, h: Tensor, shape: torch.Size
) -> Trace:
    """Run a step once, and record it.

    Args:
        step: What is recorded.
        u: A drive.
        h: A state that needs a gradient.
        shape: What the result must have.

    Raises:
        InputError: The step decides by values, draws random numbers, writes where others read, or
            returns something else.
    """
    tracer = _Tracer(u, h)
    with torch.inference_mode(False), torch.enable_grad(), tracer:
        result = step(u, h)
    if not isinstance(result, Tensor) or result.shape != shape or result.dtype != h.dtype:
        kind = type(result).__name__
        given = f"{tuple(result.shape)} in {result.dtype}" if isinstance(result, Tensor) else kind
        raise InputError(
            "step",
            expected=f"a tensor {tuple(shape)} in {h.dtype} as its result",
            got=given,
            remedy="return the next state in the form of the last one",
        )
    if _has_function_of_user(result):
        raise InputError(
            "step",
            expected="operations of torch",
            got="an autograd.Function, whose gradient is its own",
            remedy="write it as plain operations",
        )
    return tracer.traced(result)


class _Tracer(TorchDispatchMode):
    def __init__(self, u: Tensor, h: Tensor) -> None:
        super().__init__()
        self.known: dict[int, Value] = {}
        self.kept: list[Tensor] = []
        self.owners: dict[int, int] = {}
        self.inputs = self.new(u), self.new(h)
        self.operations: list[Call] = []
        self.outer: dict[int, Tensor] = {}

    def traced(self, result: Tensor) -> Trace:
        return Trace(self.inputs, self.operations, self.outer, self.value(result))

    def new(self, x: Tensor, owns: bool = True) -> Value:
        value = Value(len(self.kept), tuple(x.shape), x.dtype)
        self.kept.append(x)
        self.known[id(x)] = value
        if owns:
            place = x.untyped_storage().data_ptr()
            self.owners[place] = self.owners.get(place, 0) + 1
        return value

    def value(self, x: Tensor) -> Value:
        """Return the value of a tensor; one that nobody has made yet comes from elsewhere."""
        if id(x) not in self.known:
            self.outer[self.new(x).number] = x
        return self.known[id(x)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        line = _line()
        _refuse(func, line)
        name = str(func.overloadpacket.__name__)
        writes = name.endswith("_") and not name.startswith("_")
        reads = _mapped(args, self.value), {k: _mapped(x, self.value) for k, x in options.items()}
        result = func(*args, **options)
        if writes:
            self._owns(args[0], name, line)
            func = getattr(IN_PLACE[name], func._overloadname)
            del self.known[id(result)]
        results = result if isinstance(result, (tuple, list)) else (result,)
        shares = writes or self._keeps_for_gradient(name, reads[0], line)
        values = tuple(self.new(x, not shares) for x in results if isinstance(x, Tensor))
        stops = not torch.is_grad_enabled()
        self.operations.append(Call(func, *reads, values, stops, line))
        return result

    def _keeps_for_gradient(self, name: str, arguments: tuple[Any, ...], line: str) -> bool:
        """Return whether autograd keeps the result of the operation before by a detached alias."""
        before = self.operations[-1:]
        return name == "detach" and any(
            x.line == line and arguments[0] in x.results for x in before
        )

    def _owns(self, x: Tensor, name: str, line: str) -> None:
        """Refuse to write to a tensor that others see."""
        alone = self.owners.get(x.untyped_storage().data_ptr(), 0) == 1
        if name not in IN_PLACE or not alone or id(x) not in self.known:
            raise InputError(
                line,
                expected="operations that return new tensors",
                got=name,
                remedy="write x = x + y for x += y, and stack or cat the parts of a state",
            )


def _refuse(function: Any, line: str) -> None:
    if function is aten._local_scalar_dense.default:
        raise InputError(
            line,
            expected="the same operations for all values",
            got="a decision or number that depends on values",
            remedy="use torch.where",
        )
    if torch.Tag.nondeterministic_seeded in function.tags:
        raise InputError(
            line,
            expected="the same result for the same inputs",
            got=f"random numbers ({function})",
            remedy="draw them in drive",
        )


def _has_function_of_user(result: Tensor) -> bool:
    """Return whether a gradient passes through an ``autograd.Function``."""
    stack, seen = [result.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        stack += [following for following, _ in node.next_functions]
    return False


def _line() -> str:
    """Return where the user's code calls torch: ``file:line: code``."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if not frame.f_code.co_filename.startswith((TORCH, OWN)):
            break
        frame = frame.f_back
    file = frame.f_code.co_filename
    code = " ".join(linecache.getline(file, frame.f_lineno).split()).rstrip("\\")
    code = code if len(code) <= LONGEST_CODE else f"{code[:LONGEST_CODE]} ..."
    return f"{Path(file).name}:{frame.f_lineno}" + (f": {code}" if code else "")


def _mapped(x: Any, change: Callable[[Tensor], Value]) -> Any:
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, (list, tuple)):
        return tuple(_mapped(part, change) for part in x)
    return x


def _values(x: Any) -> Iterator[Value]:
    if isinstance(x, Value):
        yield x
    elif isinstance(x, tuple):
        for part in x:
            yield from _values(part)
