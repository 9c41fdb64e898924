"""Which cells run by a kernel of their own, and how."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.codegen.functor import KernelPlan, plan_of
from paratime.codegen.kernels import compiled, recurrence
from paratime.errors import InputError, describe_error
from paratime.ops.native import library
from paratime.ops.operator import precise_dtype, without_autocast

_log = logging.getLogger("paratime")

Run = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor]]
"""From drives, h0, ``reset`` and ``lengths`` to outputs (B, T, hidden_size) and final state."""

PLAIN = int, float, str, bool, type(None), torch.dtype, torch.Size
"""Types of settings whose values count; of others it counts which object it is."""

OF_MODULES = {*vars(nn.Module())} | {"training"}

MOST_PATHS = 16
"""Of a cell; one whose settings change more often runs on the torch solver."""

AGREEMENT = {torch.float32: 3e-4, torch.float64: 1e-6, torch.bfloat16: 3e-2}
"""Largest difference between kernel and step after a few steps, of the largest value."""


@dataclass(frozen=True)
class Path:
    """How a cell runs over whole sequences: by a kernel, or why it does not.

    Attributes:
        plan: How its step runs in a kernel, or None.
        key: The kernel of ``recurrence``, or None.
        reason: Why there is none.
    """

    plan: KernelPlan | None = None
    key: str | None = None
    reason: str | None = None


_paths: WeakKeyDictionary[Cell, dict[Any, Path]] = WeakKeyDictionary()


def compiled_cell(cell: Cell, u: Tensor) -> Run | None:
    """Return what runs a cell over drives like u (B, T, *any) by its kernel, if there is one.

    There is none on other devices than a CPU, in graphs, and under transforms of torch.func.
    """
    if u.device.type != "cpu" or not u.numel():
        return None
    if torch.compiler.is_compiling() or library.transformed(u):
        return None
    path = path_of(cell, u)
    return None if path.key is None else partial(run, path, cell)


def path_of(cell: Cell, u: Tensor) -> Path:
    """Return how a cell runs for drives like u (B, T, *any); its kernel is compiled, if need be."""
    known = _paths.setdefault(cell, {})
    case = (u.shape[2:], u.dtype, library.backend(), *_settings(cell))
    if case not in known and len(known) >= MOST_PATHS:
        return _changing(cell)
    if case not in known:
        with torch.inference_mode(False), without_autocast(u.device):
            known[case] = _find_path(cell, u)
    return known[case]


def _changing(cell: Cell) -> Path:
    title, reason = type(cell).__qualname__, "what its step reads changes again and again"
    if "changing" not in _paths[cell]:
        _paths[cell]["changing"] = Path(reason=reason)
        _log.warning("%s runs on the torch solver: %s; keep it in a buffer", title, reason)
    return _paths[cell]["changing"]


def _find_path(cell: Cell, u: Tensor) -> Path:
    title = type(cell).__qualname__
    if any(x.is_inference() for x in (*cell.parameters(), *cell.buffers())):
        return Path(reason="its parameters were made in inference mode")
    try:
        plan = plan_of(cell, u.new_empty((1, 1, *u.shape[2:]), dtype=precise_dtype(u)))
    except InputError as error:
        _log.info("%s runs on the torch solver: %s", title, error)
        return Path(reason=str(error))
    except Exception as error:  # a step may do anything, also what only the solver's calls allow
        reason = describe_error(error)
        _log.warning("%s runs on the torch solver: its step cannot be traced: %s", title, reason)
        return Path(reason=reason)
    key = compiled(plan, title, u.dtype)
    if key is None:
        return Path(plan, reason="no compiler, or no kernels in this format")
    path = Path(plan, key)
    different = _difference(path, cell, u)
    if different is None:
        return path
    _log.warning(
        "%s runs on the torch solver: its kernel and its step differ in %s; is there a no_grad, or "
        "does the step keep something?",
        title,
        different,
    )
    return Path(plan, reason=f"kernel and step differ in {different}")


def run(
    path: Path,
    cell: Cell,
    u: Tensor,
    h0: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, T, hidden_size) and the final state of a cell that has a kernel."""
    plan, key = path.plan, path.key
    assert plan is not None and key is not None
    channels, whole = cell.state_shape[-1], plan.memory is None
    with without_autocast(u.device):
        found = plan.hoisted.compute(cell)
        rows = [layout.of(x.to(h0.dtype)) for x, layout in zip(found, plan.weights, strict=True)]
        weight = torch.cat(rows) if rows else h0.new_zeros(0, channels)
        drive = plan.drive.of(u.to(h0.dtype) if whole else u, 2)
        start = h0.reshape(h0.shape[0], -1, channels)
        y, _, final = recurrence(key, drive, weight, start, reset, lengths)
        output = cell.output(y.reshape(*y.shape[:2], *cell.state_shape)) if whole else y.flatten(2)
        if whole and lengths is not None:
            beyond = torch.arange(u.shape[1]) >= lengths.unsqueeze(1)
            output = output.masked_fill(beyond.unsqueeze(-1), 0)
        return output.to(u.dtype), final.view_as(h0)


def _difference(path: Path, cell: Cell, u: Tensor) -> str | None:
    """Return in what kernel and step differ on a few random steps, if they do."""
    draw = torch.Generator().manual_seed(0)
    exact = precise_dtype(u)
    drive = torch.randn(2, 3, *u.shape[2:], generator=draw).to(u.dtype)
    state = torch.randn(2, *cell.state_shape, generator=draw).to(exact)
    cotangent = torch.randn(state.shape, generator=draw).to(exact)
    weights = {name: x for name, x in cell.named_parameters() if x.requires_grad}
    found = []
    with torch.inference_mode(False), torch.enable_grad(), without_autocast(u.device):
        for by_kernel in (True, False):
            a, h = (x.clone().requires_grad_() for x in (drive, state))
            if by_kernel:
                final = run(path, cell, a, h, None, None)[1]
            else:
                final = h
                for t in range(a.shape[1]):
                    final = cell.step(a[:, t].to(exact), final)
            inputs = [a, h, *weights.values()]
            options = {"allow_unused": True, "materialize_grads": True}
            found.append([final, *torch.autograd.grad(final, inputs, cotangent, **options)])
    names = ["the state", "the gradient of u", "that of h", *(f"that of {x}" for x in weights)]
    most = AGREEMENT[u.dtype]
    pairs = zip(names, *found, strict=False)
    return next((name for name, x, y in pairs if _differ(x, y, most)), None)


def _differ(x: Tensor, y: Tensor, most: float) -> bool:
    apart = (x - y).detach().double().nan_to_num(0, 0, 0)
    scale = y.detach().double().nan_to_num(0, 0, 0).abs().amax() if y.numel() else 0
    return bool(apart.numel()) and bool(apart.abs().amax() > most * scale)


def _settings(cell: Cell) -> Iterator[Any]:
    """Yield what a step may read next to the values of parameters and buffers."""
    tensors = [*cell.named_parameters(remove_duplicate=False), *cell.named_buffers()]
    first = {id(x): i for i, (_, x) in reversed([*enumerate(tensors)])}
    yield from ((name, x.shape, x.dtype, first[id(x)]) for name, x in tensors)
    for module in cell.modules():
        yield type(module)
        yield len(module._forward_hooks) + len(module._forward_pre_hooks)
        yield from (_setting(x) for name, x in vars(module).items() if name not in OF_MODULES)
    for kind in type(cell).__mro__[: type(cell).__mro__.index(Cell)]:
        own = vars(kind).items()
        yield from (_setting(x) for name, x in own if name[:2] != "__" and not callable(x))
    for function in (cell.step, cell.output):
        yield from _of_function(getattr(function, "__func__", function))


def _of_function(function: Any) -> Iterator[Any]:
    """Yield the code of a function, and what it reads of its surroundings."""
    code = getattr(function, "__code__", None)
    if code is None:
        yield _Same(function)
        return
    yield _Same(code)
    yield from (_setting(x.cell_contents) for x in function.__closure__ or ())
    names = (function.__globals__.get(name) for name in code.co_names)
    yield from (_setting(x) for x in names if not isinstance(x, ModuleType | type))


def _setting(value: object) -> object:
    """Return what stands for a value: itself if it is plain, its parts, or which object it is."""
    if isinstance(value, PLAIN):
        return type(value), repr(value)
    if isinstance(value, list | tuple):
        return tuple(map(_setting, value))
    if isinstance(value, dict):
        return tuple((_setting(k), _setting(x)) for k, x in value.items())
    about = [_setting(x) for x in vars(value).values()] if is_dataclass(value) else []
    return (_Same(value), *about)


class _Same:
    """Equal to the same object only, which lives as long: its identity is not given to another."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)
