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
from paratime.ops.native import build, driver, targets

REFERENCE = "reference"
FORMATS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}

INSTEAD = "the torch path runs instead of the %s, which are many times faster: %s"

_log = logging.getLogger("paratime")
_forced: list[list[str]] = []
"""Forced backends, boxed: the same name may be forced twice, and end in any order."""


def backends() -> tuple[str, ...]:
    """Return the names of the backends here; the sanitizers' needs their runtime loaded."""
    sanitize = (targets.SANITIZE,) if any("libasan" in path for path in _loaded()) else ()
    return (*targets.capabilities(), *sanitize, targets.SIMT, REFERENCE)


@contextmanager
def force_backend(backend: str) -> Iterator[None]:
    """Force all operators in this process to one backend.

    Args:
        backend: ``"reference"`` for the torch twins of all kernels, or a capability of this
            processor (``"avx512"``, ``"avx2"``, ``"baseline"``) for the kernels compiled for it,
            or ``"simt"`` for the CUDA kernels, executed thread by thread: for tests, as it is slow.

    Raises:
        InputError: This processor has no such backend.
    """
    if backend not in backends():
        raise InputError(
            "backend",
            expected=f"one of {', '.join(backends())}",
            got=backend,
            remedy="name one of these, or leave it out for the best one",
        )
    box = [backend]
    _forced.append(box)
    try:
        yield
    finally:
        _forced[:] = [x for x in _forced if x is not box]


def backend() -> str:
    """Return the name of the backend in use."""
    return _forced[-1][0] if _forced else targets.capabilities()[0]


def symbol(name: str) -> Callable[..., None] | None:
    """Return a symbol of the CPU library in use, or None."""
    return _of_cpu(backend(), name)


def generated_symbol(text: str, title: str, name: str) -> Callable[..., None] | None:
    """Return a symbol of the kernel of a cell, compiled from its text if need be, or None."""
    name_of_backend = backend()
    if name_of_backend in (REFERENCE, targets.SIMT):
        return None
    return _symbol(targets.generated(name_of_backend, text, title), name)


def emulates() -> bool:
    """Return whether the CUDA kernels are to run on the CPU."""
    return backend() == targets.SIMT


def schedule(seed: int, resident: int) -> None:
    """Set how emulated threads take turns: by random priorities of warps, in order for seed 0.

    Args:
        seed: What the priorities are drawn from.
        resident: Blocks that are under way at a time.
    """
    set_schedule = _symbol(targets.simt(), "simt_schedule")
    if set_schedule is not None:
        set_schedule(ctypes.c_uint64(seed), ctypes.c_int32(resident))


def device_function(symbol: str, device: torch.device) -> Callable[..., int] | None:
    """Return a symbol of the CUDA library for a device, or of its emulation, or None."""
    if device.type == "cpu":
        return _symbol(targets.simt(), symbol) if emulates() else None
    if device.type != "cuda" or backend() == REFERENCE or torch.version.cuda is None:
        return None
    target = _for_device(device)
    return None if target is None else _symbol(target, symbol)


def launch(kernel: Callable[..., int], device: torch.device, *arguments: Any, stream: int) -> None:
    """Launch a kernel of the CUDA library on a stream; floats are handed over as float64.

    Raises:
        RuntimeError: The launch failed.
    """
    code = query(kernel, *arguments, ctypes.c_void_p(stream))
    if code != 0:
        spell_out = device_function("error", device)
        assert spell_out is not None
        said = driver.error_text(spell_out, code)
        raise RuntimeError(f"{kernel.__name__}: launch failed: {said}")


def query(function: Callable[..., int], *arguments: Any) -> int:
    """Call a function of a library that returns an integer."""
    return int(function(*map(_argument, arguments)))


def call(kernel: Callable[..., None], *arguments: Tensor | float | None) -> None:
    """Call a kernel: tensors are handed over as pointers, numbers as int64 or double."""
    kernel(*map(_argument, arguments), ctypes.c_int32(torch.get_num_threads()))


def refuse_transforms(*tensors: Tensor | None) -> None:
    """Refuse derivatives that an operator does not have, where torch would drop them in silence.

    Raises:
        NotImplementedError: Forward-mode derivatives, or a transform of torch.func is at work.
    """
    if not torch.compiler.is_compiling() and transformed(*tensors):
        what = "forward-mode derivatives, and transforms of torch.func"
        raise NotImplementedError(f"{what}: use solver=Sequential() where a layer takes a solver")


def transformed(*tensors: Tensor | None) -> bool:
    """Return whether forward-mode derivatives, or a transform of torch.func, are at work."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if forward_ad._current_level < 0:
        return False
    return any(x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors)


def _argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.c_int64(value) if isinstance(value, int) else value


@cache
def _for_device(device: torch.device) -> build.Target | None:
    """Return the target for a device: a wheel's library if it has one, else one of its own.

    If the device cannot run it, the reason is logged, once, and there is none.
    """
    capability = "".join(map(str, torch.cuda.get_device_capability(device)))
    target = targets.cuda((capability,))
    reason = driver.too_old(capability) or _refusal(target, device)
    if reason is not None:
        _log.warning(INSTEAD, target.kernels, reason)
    return target if reason is None else None


def _refusal(target: build.Target, device: torch.device) -> str | None:
    """Return why a device cannot run a library; it has been logged already if there is none."""
    library = _load(target)
    if library is None:
        return None
    with torch.cuda.device(device):
        return driver.refusal(library, torch.cuda.current_device())


@cache
def _of_cpu(backend: str, symbol: str) -> Callable[..., None] | None:
    if backend in (REFERENCE, targets.SIMT):
        return None
    return _symbol(targets.cpu(backend), symbol)


@cache
def _symbol(target: build.Target, name: str) -> Callable[..., Any] | None:
    library = _load(target)
    return None if library is None else getattr(library, f"paratime_{name}", None)


@cache
def _load(target: build.Target) -> ctypes.CDLL | None:
    """Load a library once a process; where there is none, log why, once."""
    try:
        _share_threads()
        path = build.find_or_build(target)
        try:
            return ctypes.CDLL(str(path))
        except OSError:  # a file that something else has cut
            return ctypes.CDLL(str(build.build_library(target, path)))
    except (build.CannotBuild, OSError) as error:
        _say_instead(target.kernels, str(error))
        return None


_reasons: set[str] = set()
"""Why there are no kernels, as far as it has been said."""


def _say_instead(kernels: str, reason: str) -> None:
    if reason not in _reasons:
        _reasons.add(reason)
        _log.warning(INSTEAD, kernels, reason)


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
