"""The site: what it generates, tutorials that are what they print, and the figures."""

import importlib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
for folder in ("hooks", "tutorials"):
    sys.path.insert(0, str(DOCS / folder))
import commands  # noqa: E402
import names  # noqa: E402
import render  # noqa: E402
import tables  # noqa: E402

DIRECTIVES = {
    (kind, name)
    for path in [*DOCS.rglob("*.md"), *ROOT.glob("experiments/*/README.md")]
    for kind, name in re.findall(r"^<!-- (table|api): (\S+) -->$", path.read_text(), re.MULTILINE)
}
TUTORIALS = render.tutorials()


def test_every_table_is_on_a_page_and_has_rows():
    assert {name for kind, name in DIRECTIVES if kind == "table"} == set(tables.TABLES)
    for name in tables.TABLES:
        head, rule, *rows = tables.make(name).splitlines()
        assert rows and all(row.count("|") == head.count("|") for row in (rule, *rows)), name


@pytest.mark.parametrize("package", sorted(name for kind, name in DIRECTIVES if kind == "api"))
def test_the_reference_has_every_public_name(package):
    listed = [name for _, name in names.public(package)]
    assert sorted(listed) == sorted(importlib.import_module(package).__all__)
    assert all(f"::: {package}.{name}" in names.make(package) for name in listed)


def test_every_package_with_public_names_has_a_reference():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "paratime").rglob("__init__.py")
        if "lazy.attach(__name__)" in path.read_text()
    }
    listed = {name for kind, name in DIRECTIVES if kind == "api"}
    assert {name for name in found if name.count(".") < 2} - listed == {"paratime.io"}


def test_every_command_prints_its_help():
    listed = commands.all_commands()
    assert {"fit", "compare", "language size", "forecast fit", "world plan"} <= set(listed)
    found = commands.make("")
    for name in listed:
        assert re.search(rf"^## paratime {name}\n\n```text\nusage: paratime", found, re.M), name


def test_the_navigation_has_every_page():
    class Loader(yaml.SafeLoader):
        pass

    config = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)
    pages = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert own <= pages


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_a_tutorial_page_has_the_text_of_its_file(path):
    page, place = path.with_suffix(".md").read_text(), 0
    for cell in render.cells(path):
        for part in filter(None, (cell.prose, cell.code)):
            place = page.index(part, place)


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_a_tutorial_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout


@pytest.mark.slow
def test_the_figures_are_drawn(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "figures")
    draw = importlib.import_module("draw")
    monkeypatch.setattr(draw, "HERE", tmp_path)
    draw.main()
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {f"{name}-{theme}.png" for name in draw.FIGURES for theme in draw.THEMES}
    assert drawn <= {path.name for path in (DOCS / "figures").iterdir()}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    search = (tmp_path / "search" / "search_index.json").read_text().lower()
    for words in ("initial state", "reset", "padding", "variable length", "train mamba on a cpu"):
        assert words in search
    for words in ("incremental training", "stateful rnn", "long context for deepar"):
        assert words in search
    assert "<math" in (tmp_path / "understand" / "newton" / "index.html").read_text()
