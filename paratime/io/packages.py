"""Optional packages, and what to install where one is missing."""

from importlib import import_module
from typing import Any

from paratime.errors import InputError


def import_package(name: str, *, what: str, extra: str | None = None) -> Any:
    """Return an optional package, or a module of one.

    Args:
        name: The module to import.
        what: What needs it, for the message.
        extra: The extra of paratime that installs it, if it is one of a single slice.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise missing_package(error.name or name, what=what, extra=extra) from None


def missing_package(name: str, *, what: str, extra: str | None = None) -> InputError:
    """Return the error for an optional package that is not installed."""
    package = name.partition(".")[0]
    return InputError(
        what,
        expected=f"the package {package}",
        got="none installed",
        remedy=f'pip install "paratime[{extra}]"' if extra else f"pip install {package}",
    )
