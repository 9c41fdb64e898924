"""Look into compiled files: the machine code that is in them, and the symbols that they export."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from paratime.ops.native.build import CannotBuild


def disassemble(path: Path, arch: str) -> str:
    """Return what cuobjdump says of the code for an architecture.

    Raises:
        CannotBuild: A tool is missing or fails; one line says why.
    """
    nvdisasm = _tool("nvdisasm").parent
    return _run(
        [str(_tool("cuobjdump")), "-res-usage", "-sass", "-arch", arch, str(path)], nvdisasm
    )


def exported(path: Path) -> set[str]:
    """Return the symbols that a shared library defines for others.

    Raises:
        CannotBuild: There is no nm, or it fails; one line says why.
    """
    if shutil.which("nm") is None:
        raise CannotBuild("nm is missing; install binutils")
    lines = _run(["nm", "--dynamic", "--defined-only", "--format=posix", str(path)]).splitlines()
    return {line.split()[0] for line in lines}


def demangle(symbol: str) -> str:
    """Return the name in C++, as the run-time library of C++ reads it."""
    library, status = ctypes.CDLL("libstdc++.so.6"), ctypes.c_int()
    function = library["__cxa_demangle"]
    function.restype = ctypes.c_void_p
    address = function(symbol.encode(), None, None, ctypes.byref(status))
    if not address:
        return symbol
    name = ctypes.string_at(address).decode()
    ctypes.CDLL(None).free(ctypes.c_void_p(address))
    return name


def _run(command: Sequence[str], *folders: Path) -> str:
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = (done.stderr.strip() or f"status {done.returncode}").splitlines()
        raise CannotBuild(f"{Path(command[0]).name} failed: {lines[0]}")
    return done.stdout


def _tool(name: str) -> Path:
    package = f"nvidia-cuda-{name}"
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        files = []
    found = next((str(x.locate()) for x in files if x.name == name), "")
    path = found if os.path.exists(found) else shutil.which(name)
    if path is None:
        remedy = "pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
        raise CannotBuild(f"{name} is missing; {remedy}")
    return Path(path)
