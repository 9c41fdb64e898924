"""A recurrence of your own: the kernel that is made of it, and how well it can be solved."""

import sys

from paratime.cli.parser import commands_in, run_commands

COMMANDS = ("show", "check")
"""Each is the function ``run`` of the module of its name."""


def main() -> None:
    """Run ``paratime cell ...`` from ``sys.argv``; the cell needs no option in front."""
    words = sys.argv
    if words[2:3] and words[2] in COMMANDS and words[3:4] and not words[3].startswith("-"):
        words.insert(3, "--cell")
    run_commands("paratime cell", commands_in(__name__, COMMANDS), str(__doc__))
