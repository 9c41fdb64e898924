"""Data never names code: objects that a file describes are built of classes from a closed table.

A file describes an object by a class's dotted path and plain arguments. The class is one of
paratime, or one that is loaded already and derives from a class of paratime, or it is in a module
that the user trusts. Every class must derive from the one that is expected at its place, so that
no path leads to anything else; no module is imported for a path, except paratime's own and trusted
ones. Functions are called only if a trusted module defines them.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from inspect import isabstract, signature
from pathlib import Path
from types import FunctionType, ModuleType, NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from paratime.errors import InputError, describe_error, one_line
from paratime.moved import MOVED, RENAMED

OURS = __name__.partition(".")[0]
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)

T = TypeVar("T")


class Untrusted(InputError):
    """Data names what only the user may let it name."""


_trusted: set[str] = set()


def trust_modules(*modules: str) -> None:
    """Let files name the classes and functions of modules, and import them for it.

    Args:
        modules: Names of modules that you wrote, with all below them, such as ``mine``.

    Raises:
        InputError: A module of Python itself, which no model needs.
    """
    for name in modules:
        if not PATH.fullmatch(name) or name.partition(".")[0] in sys.stdlib_module_names:
            raise InputError("trust", "a module that you wrote", repr(name), "leave it out")
    _trusted.update(modules)


def make(kind: type[T], description: Any, *, of_user: bool = False, **given: Any) -> T:
    """Build what a file describes.

    Args:
        kind: The class that is expected, or one that it derives from.
        description: ``class_path``, a path that data names, and ``init_args``; or arguments alone.
            Arguments of the outermost class that it does not know, as of older versions, are
            dropped.
        of_user: Whether the user wrote the description, who may name any class.
        given: Arguments that replace those of the description.

    Raises:
        InputError: One line that names the class, or what is wrong with its arguments.
    """
    return _Maker(of_user).top(kind, description, given)


def make_value(annotation: Any, description: Any) -> Any:
    """Build an argument as its annotation asks for, otherwise as ``make``."""
    return _Maker(of_user=False).value(annotation, description)


def find_class(path: Any, base: type[T], *, of_user: bool = False) -> type[T]:
    """Return the class that data names.

    Args:
        path: The dotted path, current or of an older version.
        base: What it must derive from.
        of_user: As for ``make``.

    Raises:
        InputError: There is no such class, or data may not name it.
    """
    found = _look_up(path, of_user)
    if isinstance(found, type) and issubclass(found, base):
        return found
    raise _refusal(path, base, of_user)


def annotations(kind: type) -> dict[str, Any]:
    """Return the annotations of a class's arguments, with those that it hands to its bases."""
    hints: dict[str, Any] = {}
    for each in reversed(kind.__mro__):
        init = vars(each).get("__init__")
        if init is not None and each is not object:
            try:
                hints |= get_type_hints(init)
            except (NameError, TypeError):  # names that only type checkers import
                hints |= getattr(init, "__annotations__", {})
    return hints


def is_trusted(module: str) -> bool:
    """Return whether the user trusts a module, or one that it lies in."""
    parts = module.split(".")
    return any(".".join(parts[:end]) in _trusted for end in range(1, len(parts) + 1))


def inside(folder: Path, name: Any) -> Path:
    """Return the file of a folder that data in the folder names.

    Raises:
        InputError: It would lead out of the folder, or is no plain file where it exists.
    """
    path = folder / str(name)
    strange = not isinstance(name, str) or (path.exists() and not path.is_file())
    if strange or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"a file that {folder} names",
            expected="a file in it",
            got=repr(name),
            remedy="do not use this folder, or write it again",
        )
    return path


class _Maker:
    """Builds values of data by the annotations of the arguments that they are given to."""

    def __init__(self, of_user: bool) -> None:
        self._of_user = of_user

    def top(self, kind: type[T], description: Any, given: Mapping[str, Any]) -> T:
        found, arguments = self._parts(kind, description)
        known = signature(found).parameters
        if not any(x.kind is x.VAR_KEYWORD for x in known.values()):
            arguments = {name: x for name, x in arguments.items() if name in known}
        kept = {name: x for name, x in arguments.items() if name not in given}
        return self._call(found, self._arguments(found, kept) | {**given})

    def value(self, hint: Any, value: Any) -> Any:
        """Return a value as an annotation asks for; as it is where that is no class of ours."""
        origin, inner = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            return self._one_of(inner, value)
        if origin is Callable:
            return self._callable(inner[-1], value)
        if origin in (list, tuple, Sequence) and isinstance(value, list | tuple):
            return self._several(origin, inner, value)
        if isinstance(hint, type) and hint.__module__.partition(".")[0] not in PLAIN:
            return self._object(hint, value)
        return float(value) if hint is float and type(value) is int else value

    def _one_of(self, hints: Sequence[Any], value: Any) -> Any:
        """Return a value as the first of several annotations that it fits."""
        if value is None and NoneType in hints:
            return None
        structured = isinstance(value, Mapping | list | tuple) or _is_class(value)
        fitting = [x for x in hints if x is not NoneType and _is_structured(x) == structured]
        return self.value(fitting[0], value) if fitting else value

    def _several(self, origin: Any, inner: Sequence[Any], values: Sequence[Any]) -> Any:
        kind = list if origin is list else tuple
        if kind is tuple and inner and inner[-1] is not Ellipsis and len(inner) == len(values):
            return tuple(self.value(x, y) for x, y in zip(inner, values, strict=True))
        return kind(self.value(inner[0] if inner else Any, x) for x in values)

    def _callable(self, base: Any, value: Any) -> Any:
        """Return what makes an instance of a class from further arguments."""
        path, arguments = _described(value)
        found = _look_up(path, self._of_user)
        if isinstance(found, FunctionType) and (self._of_user or is_trusted(found.__module__)):
            return partial(found, **arguments) if arguments else found
        kind: Any = find_class(path, base, of_user=self._of_user)
        return partial(kind, **self._arguments(kind, arguments)) if arguments else kind

    def _object(self, hint: type[Any], value: Any) -> Any:
        if isinstance(value, hint):
            return value
        kind, arguments = self._parts(hint, value)
        return self._call(kind, self._arguments(kind, arguments))

    def _parts(self, hint: type[T], value: Any) -> tuple[type[T], dict[str, Any]]:
        if isinstance(value, Mapping) and "class_path" not in value:
            if isabstract(hint):
                raise InputError(hint.__name__, "a class_path", repr(value)[:80], WRITE)
            return hint, {**value}
        path, arguments = _described(value)
        return find_class(path, hint, of_user=self._of_user), arguments

    def _arguments(self, kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
        hints = annotations(kind)
        return {name: self.value(hints.get(name, Any), x) for name, x in values.items()}

    def _call(self, kind: type[T], arguments: Mapping[str, Any]) -> T:
        try:
            return kind(**arguments)
        except InputError:
            raise
        except Exception as error:  # whatever a class raises of arguments that do not fit
            raise InputError(
                kind.__name__, "arguments that it accepts", describe_error(error), WRITE
            ) from error


PLAIN = {"builtins", "typing", "collections", "torch", "numpy", "pathlib"}
"""Packages of annotations whose values stand in files as they are."""

WRITE = "write the file again with this version"


def _look_up(path: Any, of_user: bool) -> Any:
    """Return what a path leads to, None if data may not name it."""
    if not isinstance(path, str) or not PATH.fullmatch(path):
        return None
    module, _, name = path.rpartition(".")
    if not module:
        return _by_name(name)
    if module == OURS or module.startswith(f"{OURS}."):
        return _ours(module, name)
    if of_user or is_trusted(module):
        return _users(module, name)
    loaded = sys.modules.get(module)
    found = vars(loaded).get(name) if isinstance(loaded, ModuleType) else None
    return found if isinstance(found, type) else None


def _by_name(name: str) -> Any:
    """Return a loaded class of paratime by its name alone, as configs may abbreviate it."""
    modules = [x for key, x in [*sys.modules.items()] if key.startswith(f"{OURS}.")]
    classes = [vars(x).get(name) for x in modules if isinstance(x, ModuleType)]
    found = [x for x in classes if isinstance(x, type) and x.__module__.startswith(f"{OURS}.")]
    return found[0] if len({*found}) == 1 else None


def _ours(module: str, name: str) -> Any:
    """Return a name of paratime; only modules that mention it are imported."""
    current = RENAMED.get(f"{module}.{name}", name)
    texts = [_source(home) for home in (module, *MOVED.get(module, ()))]
    if not any(re.search(rf"\b{current}\b", text) for text in texts):
        return None
    try:
        return getattr(import_module(module), name, None)
    except ImportError as error:
        raise InputError(
            f"{module}.{name}", "the packages that it needs", one_line(error), "install them"
        ) from None


def _source(module: str) -> str:
    """Return the text of a module of paratime, empty if there is no such file."""
    try:
        loader: Any = getattr(find_spec(module), "loader", None)
        return str(loader.get_source(module))
    except (ImportError, AttributeError, ValueError):
        return ""


def _users(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name, None)
    except ImportError as error:
        raise InputError(
            f"{module}.{name}", "a module here or on PYTHONPATH", one_line(error), "run where it is"
        ) from None


def _refusal(path: Any, base: type, of_user: bool) -> InputError:
    """Return the error for a path that data may not name."""
    kind = f"a class of paratime derived from {base.__name__}"
    top = path.partition(".")[0] if isinstance(path, str) and PATH.fullmatch(path) else ""
    if not top or top in sys.stdlib_module_names:
        return InputError(repr(path)[:80], kind, "another name", "do not use this file")
    if of_user or top == OURS or is_trusted(path.rpartition(".")[0]):
        return InputError(path, kind, "no such class", "correct the name")
    remedy = f'add --trust {top}, or call paratime.trust("{top}"), if you wrote this file'
    return Untrusted(path, "a class of paratime", "a name of yours", remedy)


def _described(value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the path and the arguments of a description."""
    if isinstance(value, Mapping):
        arguments = value.get("init_args") or {}
        if isinstance(arguments, Mapping) and all(isinstance(x, str) for x in arguments):
            return value.get("class_path"), {**arguments}
        raise InputError("init_args", "arguments by name", repr(arguments)[:80], WRITE)
    return value, {}


def _is_structured(hint: Any) -> bool:
    """Return whether values of an annotation are lists, or objects with arguments."""
    plain = isinstance(hint, type) and hint.__module__.partition(".")[0] in PLAIN
    return hint in (list, tuple, dict) or not plain


def _is_class(value: Any) -> bool:
    return isinstance(value, str) and "." in value and bool(PATH.fullmatch(value))
