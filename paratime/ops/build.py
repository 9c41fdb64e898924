"""Compile ``csrc/`` with ninja, into one shared library for each capability of a CPU.

Nothing here imports torch: the sources include no header of torch or Python, so that a library
is compiled once, when the package is installed or first used, and serves all their versions.
"""

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_log = logging.getLogger("paratime")

PACKAGE = Path(__file__).parent.parent

FLAGS = (
    "-std=c++17 -O3 -fPIC -fno-math-errno -fno-trapping-math -ffp-contract=fast "
    "-Wall -Wextra -Wno-psabi"
)
X86 = {
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512",
    "avx2": "-mavx2 -mfma",
}
"""Flags by capability, best first; the processor must have all that they name."""

NO_COMPILER = "no C++ compiler on PATH; install g++ or clang++, or set CXX"

SANITIZE = "sanitize"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"


class CannotBuild(RuntimeError):
    """There is no library, and this is why; one line with the remedy."""


def variants() -> tuple[str, ...]:
    """Return the capabilities of this architecture, best first; ``baseline`` is portable code."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return (*(X86 if x86 else ()), "baseline")


@cache
def capabilities() -> tuple[str, ...]:
    """Return those variants that this processor can run, best first."""
    has = _processor_flags()
    return tuple(name for name in variants() if _needs(name) <= has)


def _needs(capability: str) -> set[str]:
    return {flag[2:] for flag in X86.get(capability, "").split() if "=" not in flag}


def packaged(capability: str, package: Path = PACKAGE) -> Path:
    """Return where a wheel has the library for a capability; a checkout has none there."""
    return package / "lib" / _name(capability)


def library(capability: str) -> Path:
    """Return the library for a capability, compiled now if it has not been before.

    Raises:
        CannotBuild: There is no compiler, or it fails.
    """
    found = find(capability)
    if found is not None:
        return found
    if compiler() is None:
        raise CannotBuild(NO_COMPILER)
    _log.warning("compiling the native kernels for %s, once, in about ten seconds", capability)
    return build(capability, _cached(capability))


def status() -> str:
    """Return what serves this process, or why nothing does, in a line."""
    best = capabilities()[0]
    try:
        if find(best) is not None:
            return f"{best}, compiled; this processor runs {', '.join(capabilities())}"
    except CannotBuild as error:
        return f"missing: {error}"
    if compiler() is None:
        return f"missing: {NO_COMPILER}"
    return f"{best}, compiled when first used"


def find(capability: str) -> Path | None:
    """Return the library for a capability if it is compiled already."""
    if packaged(capability).exists():
        return packaged(capability)
    if compiler() is None:
        return None
    cached = _cached(capability)
    return cached if cached.exists() else None


def build(capability: str, target: Path) -> Path:
    """Compile the library to ``target``, which appears complete or not at all."""
    if compiler() is None:
        raise CannotBuild(NO_COMPILER)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _build(capability, target)
    except OSError as error:
        remedy = "set XDG_CACHE_HOME to a folder that can be written"
        raise CannotBuild(f"cannot write {target.parent}: {error.strerror}; {remedy}") from error


def _build(capability: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        (Path(folder) / "build.ninja").write_text("\n".join(_rules(capability)), encoding="utf-8")
        command = [_ninja(), "-C", folder, "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [x for x in done.stdout.splitlines() if x.strip()]
            error = next((x for x in lines if "error" in x), f"status {done.returncode}")
            raise CannotBuild(f"{' '.join(compiler() or ())} failed: {error.strip()}")
        made = Path(folder) / _name(capability)
        if not made.exists():
            raise CannotBuild(f"{' '.join(compiler() or ())} made no library")
        with made.open("rb") as file:
            os.fsync(file.fileno())  # before the name, so that no crash leaves half a library
        made.replace(target)
    return target


def sources() -> Path:
    """Return the folder ``csrc``: inside the package in a wheel, beside it in a checkout."""
    for folder in (PACKAGE / "csrc", PACKAGE.parent / "csrc"):
        if folder.is_dir():
            return folder
    raise CannotBuild("the folder csrc is missing; install paratime again")


@cache
def compiler() -> tuple[str, ...] | None:
    """Return the command of the C++ compiler: ``CXX`` if it is set, else what PATH has."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for words in map(shlex.split, names):
        if words and shutil.which(words[0]):
            return tuple(words)
    return None


def _rules(capability: str) -> Iterator[str]:
    flags = [FLAGS, X86.get(capability, ""), SANITIZERS if capability == SANITIZE else ""]
    flags.append("" if sys.platform == "darwin" else "-fopenmp")
    folder = sources() / "cpu"
    objects = {f"{path.stem}.o": path for path in sorted(folder.glob("*.cpp"))}
    escape = str.maketrans({"$": "$$", " ": "$ ", ":": "$:"})
    yield f"cxx = {' '.join(compiler() or ())}"
    yield f"flags = {' '.join(flags)}"
    yield "rule compile\n  command = $cxx $flags -c $in -o $out"
    yield "rule link\n  command = $cxx $flags -shared $in -o $out"
    for name, path in objects.items():
        yield f"build {name}: compile {str(path).translate(escape)}"
    yield f"build {_name(capability)}: link {' '.join(objects)}\n"


def _cached(capability: str) -> Path:
    """Return the place in the user's cache, a function of all that goes into the library."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(root):
        raise CannotBuild("there is no home directory; set XDG_CACHE_HOME to a folder")
    return Path(root) / "paratime" / _fingerprint(capability) / _name(capability)


@cache
def _fingerprint(capability: str) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(sources().rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(sources())).encode() + path.read_bytes())
    words = compiler() or ()
    version = subprocess.run([*words, "--version"], capture_output=True, check=False)
    digest.update(version.stdout + " ".join([*words, capability, platform.machine()]).encode())
    return digest.hexdigest()[:16]


def _name(capability: str) -> str:
    return f"libparatime_cpu_{capability}.so"


def _ninja() -> str:
    beside = Path(sys.executable).parent / "ninja"
    found = str(beside) if beside.exists() else shutil.which("ninja")
    if found is None:
        raise CannotBuild("ninja is missing; pip install ninja")
    return found


def _processor_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return set(next(lines, "").split())
