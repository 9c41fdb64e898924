"""Trajectories, and what a world model of them is good for."""

from paratime.cli.parser import commands_in, run_commands

COMMANDS = ("collect", "inspect", "convert", "openloop", "plan")
"""Each is the function ``run`` of the module of its name."""


def main() -> None:
    """Run ``paratime world ...`` from ``sys.argv``."""
    run_commands("paratime world", commands_in(__name__, COMMANDS), str(__doc__))
