"""Write the pages that ``--help`` prints, from the parsers."""

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from paratime.cli.messages import TRAINING
from paratime.cli.pages import FOLDER, path_of


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command that has options, such as ``("world", "plan")``."""
    from paratime.forecast import commands as forecast
    from paratime.language import commands as language
    from paratime.world import commands as world

    yield from ((name,) for name in TRAINING)
    for slice_, module in {"language": language, "forecast": forecast, "world": world}.items():
        yield (slice_,)
        yield from ((slice_, name) for name in module.COMMANDS)
    yield from [("language", "size"), ("compare",), ("compare", "report"), ("doctor",)]
    yield from [("cell",), ("cell", "show"), ("cell", "check")]


def rendered(command: tuple[str, ...]) -> str:
    """Return the page of a command, as its parser prints it."""
    from paratime.__main__ import run

    sys.argv, text = ["paratime", *command, "--help"], StringIO()
    try:
        with redirect_stdout(text):
            run(command[0])
    except SystemExit as end:
        assert not end.code, command
    return text.getvalue()


def main(folder: Path = FOLDER) -> None:
    """Write all pages, and remove those of commands that are gone.

    Args:
        folder: The folder of the pages.
    """
    pages = {folder / path_of(command).name: rendered(command) for command in commands()}
    for path in {*folder.glob("*.txt")} - pages.keys():
        path.unlink()
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
