"""Prepare text, and use language models: paratime fit trains them.

One more command, paratime language size, prints what the model of a config costs.
"""

import sys
from collections.abc import Callable

from paratime.cli.parser import run_commands
from paratime.language.commands import size as size_command
from paratime.language.commands.evaluate import evaluate_text
from paratime.language.commands.export import export_model
from paratime.language.commands.generate import generate_text
from paratime.language.commands.prepare import prepare
from paratime.language.data.sources.catalog import SOURCES
from paratime.language.tokenizers.characters import TOKENIZERS

NAMED = (*SOURCES, *TOKENIZERS)
"""Classes that the command line may name without their modules, because they are imported here."""

SIZE = "What a model costs before it exists: paratime language size -c CONFIG."


def main() -> None:
    """Run ``paratime language ...`` from ``sys.argv``."""
    if sys.argv[2:3] == ["size"]:
        size_command.main(sys.argv[3:])
        return
    commands: dict[str, Callable[..., None]] = {
        "prepare": prepare,
        "generate": generate_text,
        "evaluate": evaluate_text,
        "export": export_model,
    }
    run_commands("paratime language", commands, f"{__doc__} {SIZE}")
