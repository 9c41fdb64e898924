"""What ``paratime info`` prints, found without importing torch."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from paratime.ops import build

PACKAGES = (
    "paratime",
    "torch",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "pandas",
    "gluonts",
    "tensorboard",
    "ninja",
)


def report() -> str:
    """Return one line a fact, aligned."""
    facts = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    facts["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    facts["c++ compiler"] = " ".join(build.compiler() or ("none on PATH",))
    facts["cuda compiler"] = _which("nvcc")
    facts["cpu kernels"] = build.status()
    facts["cuda kernels"] = "missing: planned; on CUDA the solver runs in torch"
    facts["solver"] = "the kernels above where they are, else Newton multiple shooting in torch"
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"


def _which(name: str) -> str:
    return shutil.which(name) or "none on PATH"
