"""Which cells run by a kernel of their own, and how."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from paratime.cells.base import Cell
from paratime.codegen.functor import KernelPlan, plan_of
from paratime.codegen.kernels import compiled, recurrence
from paratime.errors import InputError, describe_error
from paratime.ops.native import library
from paratime.ops.operator import precise_dtype, without_autocast

_log = logging.getLogger("paratime")

Run = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor]]
"""From drives, h0, ``reset`` and ``lengths`` to outputs (B, T, hidden_size) and final state."""

PLAIN = int, float, str, bool, type(None), torch.dtype, tuple, list, dict, set
"""Types of settings whose values count; of others it counts which object it is."""

AGREEMENT = 1e-2
"""Largest difference between kernel and step, of the largest value: what is wrong is far off."""


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
    if case not in known:
        with torch.inference_mode(False), without_autocast(u.device):
            known[case] = _find_path(cell, u)
    return known[case]


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
    weights = dict(cell.named_parameters())
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
            inputs = [a, h, *(x for x in weights.values() if x.requires_grad)]
            options = {"allow_unused": True, "materialize_grads": True}
            found.append([final, *torch.autograd.grad(final, inputs, cotangent, **options)])
    names = ["the state", "the gradient of u", "that of h", *(f"that of {x}" for x in weights)]
    return next((name for name, x, y in zip(names, *found, strict=False) if _differ(x, y)), None)


def _differ(x: Tensor, y: Tensor) -> bool:
    apart = (x - y).detach().double().nan_to_num(0, 0, 0)
    scale = y.detach().double().nan_to_num(0, 0, 0).abs().amax() if y.numel() else 0
    return bool(apart.numel()) and bool(apart.abs().amax() > AGREEMENT * scale)


def _settings(cell: Cell) -> Iterator[Any]:
    """Yield what a step may read next to parameters and buffers, as far as it is plain."""
    for module in cell.modules():
        for name, value in vars(module).items():
            if not name.startswith("_"):
                yield _setting(value)
    step = getattr(cell.step, "__func__", cell.step)
    code = getattr(step, "__code__", None)
    if code is None:
        return
    yield id(code)
    yield from (_setting(x.cell_contents) for x in step.__closure__ or ())
    names = (step.__globals__.get(name) for name in code.co_names)
    yield from (_setting(x) for x in names if isinstance(x, int | float))


def _setting(value: object) -> object:
    return repr(value) if isinstance(value, PLAIN) else id(value)
