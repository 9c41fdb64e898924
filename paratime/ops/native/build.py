"""Compile ``csrc/`` into shared libraries with a plain C interface.

Nothing here needs torch, or more than Python's own library: the sources include no header of torch
or Python, so that a library is compiled once, when the package is installed or first used, and
serves all their versions.
"""

import hashlib
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from paratime.io.cache import user_cache

_log = logging.getLogger("paratime")

PACKAGE = Path(__file__).parents[2]
WORKSHOP = ".build-"
"""How the name of a folder begins in which a library is being built."""

SETTINGS = (
    *("CPATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH"),
    *("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN"),
)
"""Variables by which the user changes what the compilers make."""

STALE = 3600
"""Seconds after which such a folder is abandoned."""


class CannotBuild(RuntimeError):
    """There is no library, and this is why; one line with the remedy."""


@dataclass(frozen=True)
class Target:
    """A library to be compiled.

    Attributes:
        name: What its file and the cache call it.
        kernels: The same in words.
        compiler: Command of the compiler, or None where there is none.
        missing: Why there is none, with the remedy.
        flags: Options for compiling.
        link: Options for linking.
        sources: Patterns of its sources below ``csrc``.
        package_name: What a wheel calls it, when one library there serves several targets.
    """

    name: str
    kernels: str
    compiler: tuple[str, ...] | None
    missing: str
    flags: str
    link: str
    sources: tuple[str, ...]
    package_name: str | None = None


def packaged(target: Target, package: Path = PACKAGE) -> Path:
    """Return where a wheel has the library; a checkout has none there."""
    return package / "lib" / _file(target.package_name or target.name)


def find_or_build(target: Target) -> Path:
    """Return the library, compiled now if it has not been before.

    Raises:
        CannotBuild: There is no compiler, or it fails.
    """
    found = find_library(target)
    if found is not None:
        return found
    if target.compiler is None:
        raise CannotBuild(target.missing)
    _log.warning("compiling the %s, once; this takes up to a minute", target.kernels)
    return build_library(target, _cached(target))


def status(target: Target) -> str:
    """Return whether there is a library, or why there is none."""
    try:
        if find_library(target) is not None:
            return "compiled"
    except (CannotBuild, OSError) as error:
        return f"missing: {error}"
    return "compiled when first used" if target.compiler else f"missing: {target.missing}"


def find_library(target: Target) -> Path | None:
    """Return the library if it is compiled already."""
    if packaged(target).exists():
        return packaged(target)
    if target.compiler is None:
        return None
    cached = _cached(target)
    return cached if cached.exists() else None


def build_library(target: Target, path: Path) -> Path:
    """Compile the library to ``path``, which appears complete or not at all."""
    if target.compiler is None:
        raise CannotBuild(target.missing)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        return _build(target, path)
    except OSError as error:
        raise CannotBuild(
            f"cannot write {path.parent}: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _build(target: Target, path: Path) -> Path:
    compiler = target.compiler or ()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=WORKSHOP) as folder:
        objects, made = _compile(target, Path(folder)), Path(folder) / _file(target.name)
        _run(compiler, *shlex.split(target.link), "-shared", *objects, "-o", str(made))
        if not made.exists():
            raise CannotBuild(f"{' '.join(compiler)} made no library")
        with made.open("rb") as file:
            os.fsync(file.fileno())  # before the name, so that no crash leaves half a library
        made.replace(path)
    return path


def _compile(target: Target, folder: Path) -> list[str]:
    """Compile every source to an object, as many at a time as there are cores."""
    found = sorted(path for pattern in target.sources for path in sources().glob(pattern))
    objects = [str(folder / f"{path.stem}.o") for path in found]
    flags = [*shlex.split(target.flags), "-c"]
    workers = ThreadPoolExecutor(os.cpu_count())
    runs = [
        workers.submit(_run, target.compiler or (), *flags, str(source), "-o", made)
        for source, made in zip(found, objects, strict=True)
    ]
    try:
        for run in runs:
            run.result()
    finally:
        workers.shutdown(cancel_futures=True)  # after a failure no other file is begun
    return objects


def _run(compiler: tuple[str, ...], *arguments: str) -> None:
    """Run a compiler.

    Raises:
        CannotBuild: It fails; the message is its first error, in one line.
    """
    done = _started(compiler, *arguments)
    if done.returncode:
        lines = [x.strip() for x in (done.stderr + done.stdout).splitlines()]
        errors = [x for x in lines if re.search(r"\b(error|fatal)\b.*:", x)]
        first = (errors or [f"status {done.returncode}"])[0]
        raise CannotBuild(f"{' '.join(compiler)} failed: {first}")


def _started(compiler: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*compiler, *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise CannotBuild(f"{compiler[0]} cannot be run: {error.strerror}") from error


def _sweep(folder: Path) -> None:
    """Remove what builds have left that were killed; a build takes minutes, not an hour."""
    for left in folder.glob(f"{WORKSHOP}*"):
        with suppress(FileNotFoundError):  # a build that has just ended
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)


def sources() -> Path:
    """Return the folder ``csrc``: inside the package in a wheel, next to it in a checkout."""
    for folder in (PACKAGE / "csrc", PACKAGE.parent / "csrc"):
        if folder.is_dir():
            return folder
    raise CannotBuild("the folder csrc is missing; install paratime again")


def _cached(target: Target) -> Path:
    """Return the place in the user's cache, a function of all that goes into the library."""
    root = user_cache()
    if not root.is_absolute():
        raise CannotBuild("there is no home directory; set XDG_CACHE_HOME to a folder")
    return root / _fingerprint(target) / _file(target.name)


@cache
def _fingerprint(target: Target) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(sources().rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(sources())).encode() + path.read_bytes())
    version = _started(target.compiler or (), "--version").stdout
    settings = [f"{name}={os.environ.get(name, '')}" for name in SETTINGS]
    digest.update(f"{version}{target} {platform.machine()} {platform.libc_ver()}".encode())
    digest.update(" ".join(settings).encode())
    return digest.hexdigest()[:16]


def _file(name: str) -> str:
    return f"libparatime_{name}.so"
