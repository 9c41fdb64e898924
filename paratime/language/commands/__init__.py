"""Prepare text, and use language models that paratime fit has trained.

One more command, paratime language size, prints the parameters, memory and operations of a config.
"""

import sys

from paratime.cli.parser import commands_in, run_commands
from paratime.language.data.sources.catalog import TEXT_SOURCES
from paratime.language.tokenizers.catalog import TOKENIZERS

NAMED = (*TEXT_SOURCES, *TOKENIZERS)
"""Classes that the command line accepts by name alone, because they are imported here."""

COMMANDS = ("prepare", "generate", "evaluate", "export")
"""Each is the function ``run`` of the module of its name."""


def main() -> None:
    """Run ``paratime language ...`` from ``sys.argv``."""
    if sys.argv[2:3] == ["size"]:  # whose options are those of paratime fit
        from paratime.language.commands import size

        size.run(sys.argv[3:])
        return
    run_commands("paratime language", commands_in(__name__, COMMANDS), str(__doc__))
