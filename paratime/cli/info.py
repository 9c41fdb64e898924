"""What ``paratime info`` prints, found without importing torch."""

import ctypes
import os
import platform
import runpy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from paratime.ops.native import build, driver, targets

PACKAGES = (
    "paratime",
    "torch",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "pandas",
    "gluonts",
    "tensorboard",
)


def report() -> str:
    """Return one line a fact, aligned."""
    facts = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    facts["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    facts["c++ compiler"] = " ".join(targets.compiler() or ("none on PATH",))
    facts["cuda compiler"] = " ".join(targets.nvcc() or ("none on PATH",))
    capabilities = targets.capabilities()
    status = build.status(targets.cpu(capabilities[0]))
    facts["cpu kernels"] = f"{capabilities[0]}: {status}; this processor runs " + ", ".join(
        capabilities
    )
    facts |= _cuda()
    facts["solver"] = "the kernels above where they are, else Newton multiple shooting in torch"
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def _cuda() -> dict[str, str]:
    try:
        found = driver.devices()
    except driver.NoDevice as reason:
        return {"cuda devices": f"none: {reason}", "cuda kernels": build.status(targets.cuda())}
    names = ", ".join(f"{x.name} (compute capability {x.capability})" for x in found)
    first = {x.capability: ordinal for ordinal, x in reversed(list(enumerate(found)))}
    kernels = "; ".join(f"{x}: {_kernels(x, first[x])}" for x in sorted(first))
    if _cuda_of_torch() is None:
        kernels = "missing: this torch has no CUDA; install its build for your driver (pytorch.org)"
    return {"cuda devices": names, "cuda kernels": kernels}


def _kernels(capability: str, ordinal: int) -> str:
    """Return whether there are kernels that a device can run, or why there are none."""
    target = targets.cuda((capability,))
    reason = driver.too_old(capability) or _refusal(target, ordinal)
    return build.status(target) if reason is None else f"missing: {reason}"


def _refusal(target: build.Target, ordinal: int) -> str | None:
    """Return why a device cannot run a library that is compiled already."""
    try:
        path = build.find_library(target)
        return None if path is None else driver.refusal(ctypes.CDLL(str(path)), ordinal)
    except (build.CannotBuild, OSError):
        return None  # it is compiled when first used, and if it cannot be, the status says why


def _cuda_of_torch() -> str | None:
    """Return ``torch.version.cuda``, from torch's file."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return None
    version: str | None = runpy.run_path(str(Path(found.origin).with_name("version.py")))["cuda"]
    return version


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"
