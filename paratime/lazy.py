"""Packages whose names are imported on first use, so that importing a package loads nothing."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package whose public names no submodule shadows, once both are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in getattr(self, "__all__", ())):
            super().__setattr__(name, value)


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package (PEP 562).

    The package lists its names once, as imports under ``if TYPE_CHECKING:``, which type checkers
    follow and which nothing runs.

    Args:
        package: Its ``__name__``.
    """
    module = sys.modules[package]
    homes = _homes(module)

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    def __dir__() -> list[str]:
        return sorted({*vars(module), *homes} - {"TYPE_CHECKING", "lazy"})

    module.__class__ = _Package
    return __getattr__, __dir__, sorted(homes)


def _homes(package: ModuleType) -> dict[str, str]:
    """Return the modules that the imports under ``if TYPE_CHECKING:`` name, by public name."""
    loader: Any = package.__loader__
    tree = ast.parse(loader.get_source(package.__name__))
    blocks = [n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name)]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    return {alias.name: str(n.module) for n in imports for alias in n.names}
