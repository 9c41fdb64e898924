"""The commands of the language slice beside Lightning's."""

from paratime.language.generate_command import generate_text
from paratime.parser import run_commands


def main() -> None:
    """Run ``paratime language ...`` from ``sys.argv``."""
    run_commands("paratime language", {"generate": generate_text}, str(__doc__))
