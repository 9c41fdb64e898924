"""What all command lines share: the parser, and mistakes that end in one line."""

import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, auto_cli

from paratime.baselines.attention import Attention
from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.baselines.mamba3 import Mamba3
from paratime.baselines.mingru import MinGRU, MinLSTM
from paratime.baselines.rnn import TorchGRU, TorchLSTM
from paratime.cli.arguments import TRUST_HELP
from paratime.cli.lists import with_lists
from paratime.cli.messages import explain

BASELINES = (Attention, Mamba, Mamba2, Mamba3, MinGRU, MinLSTM, TorchGRU, TorchLSTM)
"""Mixers that every command line may name without their modules, because they are imported here."""

MISTAKES = {"InputError", "MisconfigurationException", "OSError"}
"""Exceptions of bad input, and ``TERMINATED`` of a signal, by name: to import Lightning's takes
longer than many commands."""
TERMINATED = "SIGTERMException"


_reading: ContextVar[bool] = ContextVar("reading", default=False)


class Refused(SystemExit):
    """A parser's message about a command line that it reads."""


class Parser(ArgumentParser):
    """A parser whose errors are one line, and whose lists need no brackets."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *given: Any, **options: Any
    ) -> Any:
        """Parse a command line, where a list may be written ``a,b`` instead of ``[a,b]``."""
        words = [*(sys.argv[1:] if args is None else args)]
        while True:
            token = _reading.set(True)
            try:
                return super().parse_args(words, *given, **options)
            except Refused as refusal:
                message = str(refusal.code)
            finally:
                _reading.reset(token)
            other = with_lists(words, message)
            if other is None:
                self._refuse(message, words)
            words = other

    def format_help(self) -> str:
        """Return the help, with the option that every command has."""
        return f"{super().format_help()}\n{TRUST_HELP}"

    def add_subclass_arguments(self, *arguments: Any, **options: Any) -> Any:
        """Add a class and its options, but for the ``spec`` of a task: it follows from the data."""
        options["skip"] = {"spec", *options.get("skip", ())}
        return super().add_subclass_arguments(*arguments, **options)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print what is wrong, where, and the nearest names; exit with status 2."""
        if _reading.get():
            raise Refused(message)
        self._refuse(message, sys.argv)

    def _refuse(self, message: str, args: Sequence[str]) -> NoReturn:
        keys = [action.dest for action in self._actions]
        for parser in getattr(self._subcommands_action, "choices", {}).values():
            keys += [action.dest for action in parser._actions]
        text = explain(message, keys=keys, classes=self.known_classes(), args=args)
        sys.stderr.write(f"paratime: {text}\n")
        sys.exit(2)

    def known_classes(self) -> set[type]:
        """Return the classes that a config can name: those of the imported modules of paratime."""
        modules = [module for name, module in sys.modules.items() if name.startswith("paratime.")]
        classes = {c for module in modules for c in vars(module).values() if isinstance(c, type)}
        own = {c for c in classes if c.__module__.startswith("paratime.")}
        return {c for c in own if not issubclass(c, BaseException)}


def commands_in(package: str, names: Sequence[str]) -> dict[str, Callable[..., None]]:
    """Return the commands of a package, each the function ``run`` of the module of its name.

    Only the module of the command in ``sys.argv`` is imported; for ``--help``, all of them.
    """
    asked = [name for name in sys.argv[2:3] if name in names] or names
    return {name: import_module(f"{package}.{name}").run for name in asked}


def run_commands(prog: str, commands: dict[str, Callable[..., None]], description: str) -> None:
    """Run the command that ``sys.argv`` names after the slice.

    Args:
        prog: The command line so far, such as ``paratime world``.
        commands: Functions by name.
        description: The first lines of the help.
    """
    with mistakes_in_one_line():
        auto_cli(
            commands,  # type: ignore[arg-type]
            args=sys.argv[2:],
            parser_class=Parser,
            prog=prog,
            description=description,
            as_positional=False,
            allow_abbrev=False,
        )


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Print an ``InputError``, however deep it was raised, and exit with status 2.

    Lightning ends a run that was terminated in good order; the status says so nevertheless. A key
    that interrupts is no mistake, and needs no trace.
    """
    try:
        yield
    except SystemExit as error:
        if not _named(error, {TERMINATED}):
            raise
        if _named(error, {"Stopped"}):
            sys.stderr.write(f"\nparatime: {error}\n")
            raise
        sys.stderr.write("paratime: terminated before the end\n")
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        sys.stderr.write("\nparatime: interrupted\n")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not _named(cause, MISTAKES):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        sys.stderr.write(f"paratime: {cause}\n")
        sys.exit(2)


def _named(error: BaseException, names: Collection[str]) -> bool:
    """Return whether an exception, or a class that it derives from, has one of some names."""
    return any(kind.__name__ in names for kind in type(error).__mro__)
