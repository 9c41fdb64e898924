"""What ``paratime info`` prints, found without importing torch."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

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
    facts["c++ compiler"] = _which("c++", "g++", "clang++")
    facts["cuda compiler"] = _which("nvcc")
    facts["solver"] = "Newton multiple shooting in torch, on any device"
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"


def _which(*names: str) -> str:
    return next((path for name in names if (path := shutil.which(name))), "none on PATH")
