"""What all command lines share: the parser, and mistakes that end in one line."""

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from paratime.cli.help import help_text
from paratime.cli.lists import with_lists
from paratime.cli.messages import explain, not_text
from paratime.cli.signals import handling
from paratime.errors import abridged

BASELINES = (Attention, Mamba, Mamba2, Mamba3, MinGRU, MinLSTM, TorchGRU, TorchLSTM)
"""Mixers that every command line may name without their modules, because they are imported here."""

MISTAKES = {
    *("InputError", "MisconfigurationException", "ModuleNotFoundError", "OSError"),
    "DistError",  # of one of several processes, which the others have left
}
"""Exceptions of bad input, and ``TERMINATED`` of a signal, by name: to import Lightning's takes
longer than many commands."""
TERMINATED = "SIGTERMException"

BROKEN_PIPE = 128 + 13
"""Status of a command whose reader has gone, as of SIGPIPE, which Windows lacks."""


MESSAGE = 1500
"""Most characters of a message."""

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
            except UnicodeDecodeError as error:
                raise not_text(words, error) from None
            finally:
                _reading.reset(token)
            other = with_lists(words, message)
            if other is None:
                self._refuse(message, words)
            words = other

    def add_subclass_arguments(self, *arguments: Any, **options: Any) -> Any:
        """Add a class and its options, but for the ``spec`` of a task: it follows from the data."""
        options["skip"] = {"spec", *options.get("skip", ())}
        return super().add_subclass_arguments(*arguments, **options)

    def format_help(self, *_: Any) -> str:
        """Return the page that ``--help`` prints."""
        return help_text(self)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print what is wrong, where, and the nearest names; exit with status 2."""
        if _reading.get():
            raise Refused(message)
        self._refuse(message, sys.argv)

    def _refuse(self, message: str, args: Sequence[str]) -> NoReturn:
        parsers = [self, *getattr(self._subcommands_action, "choices", {}).values()]
        keys = {x.dest: getattr(x, "_typehint", None) for p in parsers for x in p._actions}
        keys = {name: hint for name, hint in keys.items() if not name.endswith("help")}
        text = explain(message, keys=keys, classes=self.known_classes(), args=args)
        sys.stderr.write(f"paratime: {abridged(text, MESSAGE)}\n")
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

    A signal that ends a command is no mistake, and needs no trace; neither is a reader that has
    read enough. The status tells which it was, also where Lightning has ended a run in good order.
    """
    try:
        with handling({signal.SIGTERM: _terminated, signal.SIGINT: signal.default_int_handler}):
            try:
                yield
            finally:
                sys.stdout.flush()
    except BrokenPipeError:  # its reader, such as head, has read enough
        with suppress(OSError, ValueError):  # what is left must not fail when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except SystemExit as error:
        if _named(error, {"Stopped"}):
            sys.stderr.write(f"\nparatime: {error}\n" * bool(str(error)))
            raise
        if isinstance(error.__context__, KeyboardInterrupt):
            _interrupted()
        if not _named(error, {TERMINATED, Terminated.__name__}):
            raise
        sys.stderr.write("paratime: terminated before the end\n")
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        _interrupted()
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not _named(cause, MISTAKES | {"KeyboardInterrupt"}):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        if isinstance(cause, KeyboardInterrupt):
            _interrupted()
        sys.stderr.write(f"paratime: {abridged(' '.join(str(cause).split()), MESSAGE)}\n")
        sys.exit(2)


class Terminated(SystemExit):
    """SIGTERM has ended a command."""


def _terminated(*_: object) -> NoReturn:
    """End a command as a key does; Lightning would ignore SIGTERM outside of training."""
    raise Terminated(128 + signal.SIGTERM)


def _interrupted() -> NoReturn:
    sys.stderr.write("\nparatime: interrupted\n")
    sys.exit(128 + signal.SIGINT)


def _named(error: BaseException, names: Collection[str]) -> bool:
    """Return whether an exception, or a class that it derives from, has one of some names."""
    return any(kind.__name__ in names for kind in type(error).__mro__)
