"""Lists on the command line, with brackets and without."""

import json

import pytest
from jsonargparse import auto_cli

from paratime.cli.lists import listed
from paratime.cli.parser import Parser
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.table import Table
from paratime.main import SLICES


def command(
    items: tuple[str, ...] = (),
    levels: tuple[float, ...] = (),
    seeds: list[int] | None = None,
    stop: str | list[str] | None = None,
    source: Source | None = None,
):
    """Return the arguments."""
    return {"items": items, "levels": levels, "seeds": seeds, "stop": stop, "source": source}


def parsed(*args):
    """Return the arguments that a command of several gets."""
    options = {"parser_class": Parser, "as_positional": False, "allow_abbrev": False}
    return auto_cli({"run": command, "stay": print}, args=["run", *args], **options)


VALUES = {
    "items": [("a",), ("a", "b c"), ("7", "007"), ("1",), ("null",), ("ä", "true"), ("*.c", "x=y")],
    "levels": [(0.5,), (0.1, 0.9), (1e-3,), (-1.0, 1.0)],
    "seeds": [[1], [1, 2, 3]],
}


@pytest.mark.parametrize("form", ("bare", "inline", "brackets", "JSON"))
@pytest.mark.parametrize(("name", "value"), [(k, v) for k, vs in VALUES.items() for v in vs])
def test_lists_in_every_spelling(form, name, value):
    text = ",".join(map(str, value))
    text = {"brackets": f"[{text}]", "JSON": json.dumps(value)}.get(form, text)
    args = [f"--{name}={text}"] if form != "bare" or text.startswith("-") else [f"--{name}", text]
    assert parsed(*args)[name] == value


def test_options_of_classes_and_texts_with_commas():
    assert issubclass(Table, Source) and Table in SLICES
    source = ("--source", "Table", "--source.path", "x", "--source.known", "a,b")
    found = parsed(*source, "--source.past=c", "--stop", "a,b", "--items", "s,t")
    assert found["source"] == Table("x", known=("a", "b"), past=("c",))
    assert found["stop"] == "a,b" and found["items"] == ("s", "t")


def test_what_is_no_list_of_the_kind_is_one_line(capsys):
    for args in (("--levels", "high"), ("--seeds", "1,x"), ("--item", "a"), ("--levels", "[0.5")):
        with pytest.raises(SystemExit) as error:
            parsed(*args)
        err = capsys.readouterr().err
        assert error.value.code == 2 and err.count("\n") == 1 and err.startswith("paratime: ")


def test_paths_between_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert listed(None) == [] and listed("a, b") == ["a", "b"] and listed(["a,b"]) == ["a,b"]
    (tmp_path / "a,b").touch()
    assert listed("a,b") == ["a,b"]
