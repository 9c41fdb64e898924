"""Recipes as JSON: what GluonTS writes is read as plain values, whatever it holds."""

import json

import pytest
from gluonts.core.serde import dump_json
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.errors import InputError
from paratime.forecast.gluonts.recipe import Recipe, decode
from paratime.io.saved.trust import make_value

NAMES = st.sampled_from(
    [
        *("builtins.tuple", "builtins.set", "builtins.exec", "builtins.getattr", "os.system"),
        *("functools.partial", "subprocess.call", "paratime.ParaGRU", "paratime.solvers.Newton"),
        *("paratime.forecast.gluonts.recipe.Recipe", "mine.Evil", "jsonargparse._core.Parser", ""),
    ]
)
KEYS = st.sampled_from(["mixer", "output", "lr", "hidden_size", "class", "args", "a"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def _nodes(inner):
    kinds = st.sampled_from(["instance", "type", "stateful", "other", 1])
    parts = {"class": NAMES | PLAIN, "args": st.lists(inner, max_size=3) | inner}
    parts["kwargs"] = st.dictionaries(KEYS, inner, max_size=3) | inner
    node = st.fixed_dictionaries({"__kind__": kinds}, optional=parts)
    return st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3) | node


TREES = st.recursive(PLAIN, _nodes, max_leaves=12)


def _is_plain(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(x) for key, x in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(tree=TREES)
def test_any_json_becomes_plain_values_or_one_line(tree):
    try:
        found = decode(json.dumps(tree))
        assert _is_plain(found)
        assert isinstance(make_value(Recipe, found), Recipe) or not isinstance(found, dict | str)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"__kind__": "instance"}', "\0"])
def test_text_that_is_no_json_of_gluonts(text):
    with pytest.raises(InputError, match="JSON of GluonTS"):
        decode(text)


def test_a_recipe_is_read_as_it_was_written():
    recipe = Recipe(hidden_size=3, lr=0.1)
    assert make_value(Recipe, decode(dump_json(recipe))) == recipe
