"""Digests of Python code, for the keys of caches whose content a user's code has made."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

INSTALLED = {"site-packages", "dist-packages"}
OURS = __name__.partition(".")[0]


def code_digest(names: Iterable[str]) -> str:
    """Return a digest of modules: it changes when they, or what they import nearby, change.

    A module is digested as its file stands, with the functions that were loaded and are not in it,
    as after an edit. So are the modules that it imports, wherever in its text, and theirs in turn,
    except installed ones, which ``versions`` tells apart.

    Args:
        names: Of modules; of one that is not loaded its file counts, if it is found.
    """
    digest = sha256()
    for name, path in sorted(_own_modules(names).items()):
        text = path.read_bytes() if path is not None else b""
        digest.update(f"{name} {len(text)} ".encode() + text)
        loaded = vars(sys.modules[name]) if name in sys.modules else {}
        written = {*_inner(_compiled(path))} if path is not None else set()
        edited = (f"{key} {x}" for key, x in _functions(loaded, name) if x not in written)
        digest.update("\n".join(edited).encode())
    return digest.hexdigest()


def is_users(name: str) -> bool:
    """Return whether a module is neither installed nor of the standard library."""
    return bool(_own_modules([name]))


def users_code(*classes: type) -> str:
    """Return a digest of the code of classes that are a user's own, empty if all are installed."""
    names = sorted({x.__module__ for x in classes if not x.__module__.startswith(f"{OURS}.")})
    return code_digest(names) if _own_modules(names) else ""


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed packages that modules are of, or use, by name.

    Args:
        names: Of modules that are loaded.
    """
    modules = [sys.modules[x] for x in (*names, *_own_modules(names)) if x in sys.modules]
    used = {module.__name__ for module in modules}
    for module in modules:
        used |= {_home(x) for x in vars(module).values()}
    packages = sorted({name.partition(".")[0] for name in used} - {*sys.stdlib_module_names})
    return {name: x for name in packages if (x := _version(name))}


def module_of(thing: Any) -> str:
    """Return the name of the module of a class, of a function, or of an object's class."""
    named = isinstance(thing, type | FunctionType)
    return str(getattr(thing if named else type(thing), "__module__", ""))


def _home(thing: Any) -> str:
    return thing.__name__ if isinstance(thing, ModuleType) else module_of(thing)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return str(getattr(sys.modules.get(package), "__version__", ""))


def _own_modules(names: Iterable[str]) -> dict[str, Path | None]:
    """Return the files of modules that are not installed, and of what they import nearby."""
    found: dict[str, Path | None] = {}
    left = [(name, _found(name)) for name in names]
    while left:
        name, path = left.pop()
        if name in found or (path is None and (name != "__main__" or name not in sys.modules)):
            continue
        found[name] = path
        if path is not None and not name.startswith(f"{OURS}."):
            left += _imported(name, path)
    return found


def _found(name: str) -> Path | None:
    """Return the file of a module that is loaded or can be."""
    if name in sys.modules:
        return _file(sys.modules[name])
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return None if spec is None else _own(name, spec.origin)


def _file(module: ModuleType) -> Path | None:
    """Return the file of a loaded module, as ``_own`` does."""
    return _own(module.__name__, getattr(module, "__file__", None))


def _own(name: str, file: str | None) -> Path | None:
    """Return the file of a module, None if it is installed, of the standard library, or none."""
    path, package = Path(file or ""), name.partition(".")[0]
    foreign = package in sys.stdlib_module_names and name != "__main__"
    foreign = foreign or bool(INSTALLED & {*path.parts})
    return None if foreign or path.suffix != ".py" else path.resolve()


def _imported(name: str, path: Path) -> list[tuple[str, Path | None]]:
    """Return the modules that a module imports, near it or loaded; load none."""
    is_package = path.name == "__init__.py"
    root = path.parents[name.count(".") + is_package]
    package = name.split(".") if is_package else name.split(".")[:-1]
    near = [_nearby(root, target) for target in _targets(path, package)]
    return [module for modules in near for module in modules]


def _targets(path: Path, package: list[str]) -> Iterator[str]:
    """Yield what a file imports, modules and names in them, by absolute names."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _nearby(root: Path, target: str) -> Iterator[tuple[str, Path | None]]:
    """Yield a module and its packages, where they lie in a folder, or are loaded."""
    parts = target.split(".")
    for end in range(1, len(parts) + 1):
        name, place = ".".join(parts[:end]), root.joinpath(*parts[:end])
        if name in sys.modules:
            yield name, _file(sys.modules[name])
        for path in (place.parent / f"{place.name}.py", place / "__init__.py"):
            if name not in sys.modules and path.is_file():
                yield name, path.resolve()


def _functions(names: Mapping[str, Any], module: str) -> Iterator[tuple[str, str]]:
    """Yield the code of each function of a module and of its classes, by name."""
    for key, value in sorted(names.items()):
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        inner = getattr(inner, "__wrapped__", inner)
        if isinstance(inner, FunctionType) and inner.__module__ == module:
            yield key, _stable(inner.__code__)
        elif isinstance(value, type) and value.__module__ == module:
            yield from ((f"{key}.{name}", x) for name, x in _functions(vars(value), module))


def _compiled(path: Path) -> CodeType:
    try:
        return compile(path.read_bytes(), path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return compile("", path, "exec")


def _inner(code: CodeType) -> Iterator[str]:
    """Yield the code of all functions in a piece of code."""
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield _stable(part)
            yield from _inner(part)


def _stable(value: Any) -> str:
    """Return a constant as text that is the same in every process."""
    if isinstance(value, CodeType):
        return f"{value.co_code.hex()} {value.co_names} {_stable(value.co_consts)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_stable, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_stable, value)))}}}"
    plain = isinstance(value, bool | int | float | complex | str | bytes | None)
    return repr(value) if plain else type(value).__qualname__
