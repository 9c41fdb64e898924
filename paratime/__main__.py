"""The ``paratime`` command. It imports torch and lightning only for commands that need them."""

import os
import signal
import sys
from difflib import get_close_matches
from importlib.metadata import version

from paratime.cli.arguments import trusted
from paratime.cli.messages import TRAINING
from paratime.cli.pages import help_page
from paratime.cli.signals import handling
from paratime.errors import InputError
from paratime.io.saved.trust import trust_modules

USAGE = """\
usage: paratime COMMAND [options]

Train, evaluate and use models of tokens, series and trajectories:
  fit                  train from a config:      paratime fit -c configs/language/quickstart.yaml
  validate, test       score a checkpoint:       paratime test -c CONFIG --ckpt_path FILE
  predict              save predictions:         paratime predict -c CONFIG --ckpt_path FILE
  language generate    text from a checkpoint:   paratime language generate --ckpt_path FILE
  language prepare     tokenise a corpus once:   paratime language prepare --help
  language size        what a model costs:       paratime language size -c CONFIG
  language evaluate    score texts:              paratime language evaluate --ckpt_path FILE
  language export      for other programs:       paratime language export --ckpt_path FILE
  forecast ...         fit, predict, backtest, plot, data: from a table of series to forecasts
  world ...            collect, inspect, convert, openloop, plan: from trajectories to plans
  doctor               health of a model:        paratime doctor --ckpt_path FILE
  cell show, check     a cell of your own:       paratime cell check mine:LeakyCell
  compare              mixers side by side:      paratime compare -c configs/compare/quick.yaml

About this installation:
  info                 versions, compilers and devices
  --version            the version
  --trust MODULE       for any command: models may name classes of a module that you wrote
  --help               this text; paratime COMMAND --help for a command's options
"""

COMMANDS = (*TRAINING, "language", "forecast", "world", "doctor", "cell", "compare", "info")
LOGGED = {"TQDM_MININTERVAL": "60", "TQDM_DELAY": "60"}
"""Where nobody looks, a bar is drawn once a minute, and none that ends before."""

TEXT = ("generate", "prepare", "size", "evaluate", "export")


def main() -> None:
    """Run the command line; modules in the working directory may be named on it."""
    with handling({signal.SIGINT: end_at_once, signal.SIGTERM: end_at_once}):
        _main()


def end_at_once(number: int, _: object) -> None:
    """End this process in one line, while it only imports; a command has handlers of its own.

    An exception would pass through whatever is being imported, which may catch it, or fail then in
    another way.
    """
    os.write(2, b"\nparatime: stopped before it began\n")
    os._exit(128 + number)


def _main() -> None:
    if "" not in sys.path:
        sys.path.append("")
    if not sys.stderr.isatty():
        os.environ |= LOGGED | os.environ
    try:
        modules, sys.argv[1:] = trusted(sys.argv[1:])
        trust_modules(*modules)
    except InputError as error:
        sys.stderr.write(f"paratime: {error}\n")
        sys.exit(2)
    page = help_page(sys.argv[1:])
    if page is not None:
        print(page, end="")
        return
    run(sys.argv[1] if len(sys.argv) > 1 else "--help")


def run(command: str) -> None:
    """Run a command, whose options are in ``sys.argv``."""
    if command in ("-h", "--help"):
        print(USAGE, end="")
    elif command == "--version":
        print(f"paratime {version('paratime')}")
    elif command == "info":
        from paratime.cli.info import report

        print(report())
    elif command == "language":
        from paratime.language.commands import main as language

        language()
    elif command == "forecast":
        from paratime.forecast.commands import main as forecast

        forecast()
    elif command == "world":
        from paratime.world.commands import main as world

        world()
    elif command == "doctor":
        from paratime.doctor.command import main as doctor

        doctor()
    elif command == "cell":
        from paratime.doctor.cells import main as cell

        cell()
    elif command == "compare":
        from paratime.compare.command import main as compare
        from paratime.main import build

        compare(build)
    elif command in TRAINING:
        from paratime.main import main as lightning

        lightning()
    else:
        near = get_close_matches(command, COMMANDS, n=1)
        near = [f"language {command}"] if command in TEXT else near
        hint = f"; nearest: {near[0]}" if near else ""
        sys.exit(f"paratime: unknown command {command!r}{hint}, see paratime --help")


if __name__ == "__main__":
    main()
