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
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from paratime.io.atomic import replacing
from paratime.io.cache import user_cache
from paratime.io.processes import holding

_log = logging.getLogger("paratime")

PACKAGE = Path(__file__).parents[2]
SETTINGS = (
    *("CPATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH"),
    *("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_CCBIN"),
)
"""Variables by which the user changes what the compilers make."""


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
        text: One more source, which includes headers of ``csrc``.
        package_name: What a wheel calls it, when one library there serves several targets.
    """

    name: str
    kernels: str
    compiler: tuple[str, ...] | None
    missing: str
    flags: str
    link: str
    sources: tuple[str, ...]
    text: str = ""
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
    path = _cached(target)
    with _writing(path), holding(path.with_suffix(".lock"), f"compiles the {target.kernels}"):
        if _is_whole(path):  # since another process was faster
            return path
        if not target.text:
            _log.warning("compiling the %s, once; this takes up to a minute", target.kernels)
        began = time.perf_counter()
        build_library(target, path)
        if target.text:
            _log.warning("compiled the %s in %.1f s", target.kernels, time.perf_counter() - began)
        return path


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
    return cached if _is_whole(cached) else None


def build_library(target: Target, path: Path) -> Path:
    """Compile the library to ``path``, which appears complete or not at all."""
    if target.compiler is None:
        raise CannotBuild(target.missing)
    with _writing(path):
        _build(target, path)
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Report in one line why a library cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CannotBuild(
            f"cannot write {path.parent}: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _build(target: Target, path: Path) -> None:
    compiler = target.compiler or ()
    with replacing(path) as made:
        objects = _compile(target, made.parent)
        _run(compiler, *shlex.split(target.link), "-shared", *objects, "-o", str(made))
        if not made.exists():
            raise CannotBuild(f"{' '.join(compiler)} made no library")
        with replacing(_checksum(path)) as noted:
            noted.write_text(_digest(made), encoding="ascii")


def _is_whole(path: Path) -> bool:
    """Return whether a library of the cache is as it was made: to load a cut one ends the process.

    It and its checksum are replaced one after the other, so that no other pair agrees.
    """
    try:
        return _checksum(path).read_text(encoding="ascii") == _digest(path)
    except (OSError, ValueError):
        return False


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compile(target: Target, folder: Path) -> list[str]:
    """Compile every source to an object, as many at a time as there are cores."""
    found = sorted(path for pattern in target.sources for path in sources().glob(pattern))
    if target.text:
        found.append(folder / "text.cpp")
        found[-1].write_text(target.text, encoding="utf-8")
    objects = [str(folder / f"{path.stem}.o") for path in found]
    flags = [*shlex.split(target.flags), "-I", str(sources()), "-c"]
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
    same = replace(target, kernels="")
    digest.update(f"{version}{same} {platform.machine()} {platform.libc_ver()}".encode())
    digest.update(" ".join(settings).encode())
    return digest.hexdigest()[:16]


def _file(name: str) -> str:
    return f"libparatime_{name}.so"
