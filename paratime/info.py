"""What ``paratime info`` prints, found without importing torch."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from paratime.ops import build, targets

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
    facts["c++ compiler"] = " ".join(targets.compiler() or ("none on PATH",))
    facts["cuda compiler"] = " ".join(targets.nvcc() or ("none on PATH",))
    capabilities = targets.capabilities()
    status = build.status(targets.cpu(capabilities[0]))
    facts["cpu kernels"] = f"{capabilities[0]}: {status}; this processor runs " + ", ".join(
        capabilities
    )
    facts["cuda kernels"] = build.status(targets.cuda())
    facts["solver"] = "the kernels above where they are, else Newton multiple shooting in torch"
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"
