"""The compiled kernels: which library serves this process, and how its symbols are called."""

import ctypes
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from paratime.errors import InputError
from paratime.ops import build

REFERENCE = "reference"
FORMATS = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}

_log = logging.getLogger("paratime")
_forced: list[str] = []


def backends() -> tuple[str, ...]:
    """Return the names that ``using`` takes here; the sanitizers' needs their runtime loaded."""
    sanitize = (build.SANITIZE,) if any("libasan" in path for path in _loaded()) else ()
    return (*build.capabilities(), *sanitize, REFERENCE)


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Force all operators in this process to one backend.

    Args:
        backend: ``"reference"`` for the torch twins of all kernels, or a capability of this
            processor (``"avx512"``, ``"avx2"``, ``"baseline"``) for the kernels compiled for it.

    Raises:
        InputError: This processor has no such backend.
    """
    if backend not in backends():
        remedy = "name one of these, or leave it out for the best one"
        raise InputError("backend", f"one of {', '.join(backends())}", backend, remedy)
    _forced.append(backend)
    try:
        yield
    finally:
        _forced.remove(backend)


@torch.compiler.assume_constant_result
def has(symbol: str) -> bool:
    """Return whether the library in use has a symbol; it is compiled first, if need be."""
    return function(symbol) is not None


def function(symbol: str) -> Callable[..., None] | None:
    """Return a symbol of the library in use, or None."""
    backend = _forced[-1] if _forced else build.capabilities()[0]
    if backend == REFERENCE:
        return None
    return _symbol(backend, symbol)


def call(kernel: Callable[..., None], *arguments: Tensor | int | None) -> None:
    """Call a kernel: tensors are handed over as pointers, numbers as int64, and the threads."""
    kernel(*map(_argument, arguments), ctypes.c_int32(torch.get_num_threads()))


def refuse_transforms(*tensors: Tensor | None) -> None:
    """Refuse derivatives that an operator does not have, where torch would drop them in silence.

    Raises:
        NotImplementedError: Forward-mode derivatives, or a transform of torch.func is at work.
    """
    if torch.compiler.is_compiling():
        return
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise NotImplementedError("transforms of torch.func: use solver=Sequential()")
    if any(x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise NotImplementedError("forward-mode derivatives: use solver=Sequential()")


def _argument(value: Tensor | int | None) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return None if value is None else ctypes.c_int64(value)


@cache
def _symbol(capability: str, name: str) -> Callable[..., None] | None:
    library = _load(capability)
    return None if library is None else getattr(library, f"paratime_{name}", None)


@cache
def _load(capability: str) -> ctypes.CDLL | None:
    """Load a library once a process; where there is none, log why, once."""
    try:
        _share_threads()
        path = build.library(capability)
        try:
            return ctypes.CDLL(str(path))
        except OSError:  # a file that something else has cut
            return ctypes.CDLL(str(build.build(capability, path)))
    except (build.CannotBuild, OSError) as error:
        _log.warning(
            "the torch path runs instead of the native kernels, which are many times faster: %s",
            error,
        )
        return None


def _share_threads() -> None:
    """Let the library find the OpenMP that torch has loaded, so that both use one set of threads.

    Two sets would take the cores from each other: idle threads spin for a while.
    """
    for path in _loaded():
        if re.match(r"lib(gomp|omp|iomp5)\b", Path(path).name):
            with suppress(OSError):
                ctypes.CDLL(path, ctypes.RTLD_GLOBAL)


def _loaded() -> list[str]:
    """Return the files that this process has mapped, where the system tells."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    return sorted({fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6})
