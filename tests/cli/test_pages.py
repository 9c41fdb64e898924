"""``--help``: pages to read, kept as files that equal the parsers' own and need no imports."""

import re
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.cli import pages
from paratime.cli.parser import Parser
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU

PAGES = sorted(pages.FOLDER.glob("*.txt"))
HEAVY = ("torch", "lightning", "gluonts", "transformers", "pandas", "numpy", "jsonargparse")


def command_of(path: Path) -> list[str]:
    return path.stem.split("-")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_page_is_what_its_parser_prints(tmp_path):
    run_python(f"from paratime.cli.pages.__main__ import *; main(Path({str(tmp_path)!r}))")
    made = {path.name: path.read_text() for path in tmp_path.glob("*.txt")}
    kept = {path.name: path.read_text() for path in PAGES}
    assert kept.keys() == made.keys() and len(made) > 20, "run python -m paratime.cli.pages"
    for name, text in made.items():
        assert kept[name] == text, "an option has changed: run python -m paratime.cli.pages"


def test_help_of_every_command_takes_little_time_and_no_imports():
    commands = [command_of(path) for path in PAGES]
    code = (
        "import sys, time; from paratime.__main__ import main\n"
        f"for command in [[], *{commands!r}]:\n"
        "    for flag in ('-h', '--help'):\n"
        "        sys.argv = ['paratime', *command, flag]; main()\n"
        f"print(time.process_time(), [x for x in {HEAVY!r} if x in sys.modules])"
    )
    seconds, _, heavy = run_python(code).splitlines()[-1].partition(" ")
    assert float(seconds) < 1 and heavy == "[]"  # for all of them together


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_printed_wherever_the_flag_stands(path, paratime):
    command = command_of(path)
    for words in (["--help"], ["-c", "config.yaml", "-h"], ["--out", "there", "--help"]):
        assert paratime(*command, *words) == (0, path.read_text(), "")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_reads_well(path):
    text = path.read_text()
    assert not re.search(r"<class|<function|object at|Namespace|class_path=|Union\[|NoneType", text)
    assert not re.search(r"known subclasses|``|init_args'|:class:|:meth:|\s$", text.rstrip("\n"))
    assert max(map(len, text.splitlines())) <= 100 and len(text.splitlines()) < 130
    described = [x for x in text.splitlines() if x.startswith("  -") and not x.endswith(",")]
    for line, after in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True):
        if line in described and not re.match(r"  --[\w.]+(, --[\w.]+)+$", line):
            beside = re.match(r"  -.{26,} \S|  -\S+.* {2,}\S", line)
            assert beside or re.match(r" {30}\S", after), line  # a description, in one column


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_offers_a_class_that_serves_others_alone(path):
    offered = re.findall(r"Classes: ([^.]+)\.", " ".join(path.read_text().split()))
    names = [name for text in offered for name in text.split(", ")]
    assert len(names) >= len({*names}) and all(name.isidentifier() for name in names)
    bases = r"_|Base|(Callback|Checkpoint|ProgressBar|DummyLogger|Logger|InMemory|Source|Task)$"
    assert not [name for name in names if re.match(bases, name)]


class Shape(ABC):
    """A base."""

    @abstractmethod
    def area(self) -> float:
        """Return the area."""


def build(mixer: Callable[[int], Mixer], shape: Shape | None = None) -> None:
    """Build something."""


def test_a_page_offers_public_classes_that_can_be_built():
    parser = Parser(prog="made")
    parser.add_function_arguments(build)
    text = " ".join(parser.format_help().split())
    assert "--mixer CLASS" in text and ParaGRU.__name__ in text and "TorchLSTM" in text
    for name in ("Encoder", "TorchRNN", "Gated", "Stacked", "Shape."):
        assert name not in text


KINDS = {
    int: "INT",
    float: "FLOAT",
    str: "TEXT",
    bool: "{true,false}",
    list[int]: "[INT,...]",
    dict[str, int]: "KEYS",
    Literal["a", "b"]: "{a,b}",
}
NAMES = st.from_regex(r"[a-z]{2,30}", fullmatch=True).filter(lambda x: x not in ("help", "config"))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from([*KINDS]), st.booleans(), st.text("ab ``%{")))
)
def test_each_option_has_one_row_with_its_kind(options):
    parser = Parser(prog="made")
    for name, (kind, optional, text) in options.items():
        hint = kind | None if optional else kind
        parser.add_argument(f"--{name}", type=hint, help=text.replace("%", "%%"))
    page = parser.format_help()
    for name, (kind, _, _) in options.items():
        rows = [x for x in page.splitlines() if re.match(rf"  --{name}\b", x)]
        assert len(rows) == 1 and rows[0].startswith(f"  --{name} {KINDS[kind]}")
    assert max(map(len, page.splitlines())) <= 100
