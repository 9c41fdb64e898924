"""Texts from data are texts, in figures, in tables and in cells, whatever they are."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure

from paratime.errors import InputError, abridged, in_line
from paratime.forecast.data.labels import label_text
from paratime.io.figures import in_figure, save_figure, without_glyphs
from paratime.io.frames import from_cell, in_cell, read_texts, write_csv
from paratime.io.html import aligned, escaped

NASTY = st.text(
    st.one_of(
        st.sampled_from("$_^\\{}%#&~=+-@'\"\t\r\n,;|<> \x00\x1b\u202e\ud800\u200b\U0001f600é1"),
        st.characters(),
    ),
    max_size=12,
)
KNOWN = ["$", "$a$", "$\\frac$", "\\$", "_x", "a_b^c", "\\alpha", "a\nb", "\x1b[2J", "\ud800", "="]
FORMULAS = ["=1+1", "+a", "-a", "@x", "\t=x", "\r=x", "'=1", "''=1", "\uff1dx"]
PLAIN = ["-1", "-inf", "+3", "-1.5e-3", "1", "a=b", "'a", "", "-.5"]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(NASTY)
def test_a_text_for_a_terminal_is_one_line(text):
    line = in_line(text)
    assert line.isprintable() and len(line.splitlines()) <= 1
    line.encode()
    assert line == text or not text.isprintable()
    assert len(str(InputError(text, text, text, text)).splitlines()) == 1


def test_long_texts_lose_their_middle():
    assert abridged("a" * 10**6 + "b", 12) == "aaaaaaaaa ... aab (1,000,001 characters)"
    assert all(len(x) < 200 for x in aligned([["x" * 10**5, "1"], ["a\nb", "2"]]).splitlines())
    assert aligned([["a\n\x1b[2Jb", "1"]]) == "a\\n\\x1b[2Jb  1"


@settings(deadline=None, max_examples=300, derandomize=True)
@given(NASTY)
def test_a_text_in_a_figure_is_no_mathematics(text):
    drawn = in_figure(text)
    assert not is_math_text(drawn) and not drawn.startswith("_")
    assert drawn.replace(r"\$", "$").removeprefix(" " * text.startswith("_")) == in_line(text)


def draw(text):
    figure = Figure(figsize=(2, 1))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=in_figure(text, 20))
    axes.plot([1], label=in_figure(text))
    axes.annotate(in_figure(text), (0, 1))
    figure.legend()
    with warnings.catch_warnings(), without_glyphs():
        for kind in ("png", "svg"):
            figure.savefig(io.BytesIO(), format=kind, dpi=40)
    return figure.legends[0].get_texts()


@pytest.mark.parametrize("text", KNOWN)
def test_known_texts_are_drawn_and_listed_in_legends(text):
    assert len(draw(text)) == 1


@settings(deadline=None, max_examples=25, derandomize=True)
@given(NASTY.filter(bool))
def test_any_text_is_drawn(text):
    draw(text)


def test_a_figure_with_any_text_is_saved(tmp_path):
    figure = Figure()
    FigureCanvasAgg(figure)
    figure.suptitle(in_figure("$\U0001f600_\x00\ud800"))
    save_figure(figure, str(tmp_path / "a.png"))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(NASTY)
def test_a_text_in_a_page_is_no_markup(text):
    assert not {*"<>\"'"} & {*escaped(text)}
    escaped(text).encode()


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_guarded(text):
    assert in_cell(text) == f"'{text}" and from_cell(in_cell(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_are_not(text):
    assert in_cell(text) == text == from_cell(text)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(NASTY)
def test_guards_come_off(text):
    assert from_cell(in_cell(text)) == text
    assert in_cell(text)[:1] not in {*"=@"}


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(NASTY.map(label_text).filter(lambda x: x and "\x00" not in x), min_size=1))
def test_a_table_is_read_as_it_was_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    table = pd.DataFrame({"item_id": texts, "value": -1.5 * np.arange(len(texts))})
    write_csv(table, path, float_format="%.15g")
    found = read_texts(pd.read_csv(path, dtype={"item_id": str}, keep_default_na=False))
    assert found["item_id"].tolist() == texts
    assert found["value"].tolist() == table["value"].tolist()
