"""What ``paratime info`` prints, found without importing torch."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from paratime.ops import build, driver, targets

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
    kernels = "; ".join(
        f"{capability}: {build.status(targets.cuda((capability,)))}"
        for capability in sorted({x.capability for x in found})
    )
    if _version("torch").endswith("+cpu"):
        kernels = "missing: this torch has no CUDA; install its build for your driver (pytorch.org)"
    return {"cuda devices": names, "cuda kernels": kernels}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"
