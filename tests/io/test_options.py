"""Differences of options: every one, once, and nothing else."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.io.options import changes

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.sampled_from(["lr", "width", "mixer", "paths"])
OPTIONS = st.recursive(
    st.dictionaries(NAMES, PLAIN | st.lists(PLAIN, max_size=3), max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | PLAIN, max_size=3),
    max_leaves=8,
)


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Return the plain options by their dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    return {
        k: v for key in value for k, v in leaves(value[key], f"{name}.{key}".strip(".")).items()
    }


@settings(deadline=None, max_examples=60, derandomize=True)
@given(OPTIONS, OPTIONS)
def test_every_option_of_both_that_differs_is_named(before, now):
    assert not [*changes(before, before)]
    old, new = leaves(before), leaves(now)
    differing = {name for name in old.keys() & new.keys() if old[name] != new[name]}
    assert differing <= {name for name, *_ in changes(before, now)}


def task(**options: Any) -> dict[str, Any]:
    return {"model": {"class_path": "paratime.language.LanguageTask", "init_args": options}}


def test_names_are_those_of_the_command_line():
    decay = {"class_path": "paratime.training.Cosine", "init_args": {}}
    other = {"class_path": "paratime.training.StableDecay", "init_args": {"cooldown": 0.2}}
    before = task(z_loss=1e-4, optimizer={"lr": 4e-3, "betas": [0.9, 0.95], "decay": decay})
    now = task(z_loss=1e-4, optimizer={"lr": 1e-5, "betas": (0.9, 0.95), "decay": other})
    assert [*changes(before, now)] == [
        ("model.optimizer.lr", "0.004", "1e-05"),
        ("model.optimizer.decay", "Cosine", "StableDecay"),
    ]


def test_callbacks_are_compared_class_by_class():
    def stopping(patience: int) -> dict[str, Any]:
        return {"class_path": "EarlyStopping", "init_args": {"patience": patience}}

    before = {"callbacks": [stopping(3)]}
    now = {"callbacks": [{"class_path": "Timer", "init_args": {}}, stopping(5)]}
    assert [*changes(before, now)] == [("callbacks.EarlyStopping.patience", "3", "5")]
    assert [*changes({"callbacks": None}, before)] == [("callbacks", "none", "EarlyStopping")]
