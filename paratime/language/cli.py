"""The commands of the language slice beside Lightning's."""

import sys

from paratime.language import size_command
from paratime.language.generate_command import generate_text
from paratime.parser import run_commands


def main() -> None:
    """Run ``paratime language ...`` from ``sys.argv``."""
    if sys.argv[2:3] == ["size"]:
        size_command.main(sys.argv[3:])
        return
    run_commands("paratime language", {"generate": generate_text}, str(__doc__))
