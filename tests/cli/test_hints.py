"""Options and classes nearest to those that do not exist."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.cli.hints import Options, close
from paratime.cli.parser import BASELINES
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.text import TextFiles
from paratime.language.model.task import LanguageTask
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.training.base import DataModule, Task

CLASSES = (LanguageTask, TokenData, TextFiles, ParaGRU, ParaLSTM, *BASELINES)
PLAIN = {"model": Task, "data": DataModule, "seed_everything": int, "trainer.max_steps": int}
OPTIONS = Options(PLAIN, classes=CLASSES, words=frozenset({"ParaGRU"}))

NEAREST = {
    "lr": "model.optimizer.lr",
    "model.lr": "model.optimizer.lr",
    "learning_rate": "model.optimizer.lr",
    "model.encoder.lr": "model.optimizer.lr",
    "model.optimizer.lrr": "model.optimizer.lr",
    "width": "model.encoder.width",
    "model.encoder.dim": "model.encoder.width",
    "model.block_size": "model.encoder.mixer.block_size",
    "batch_size": "data.batch_size",
    "data.paths": "data.source.paths",
    "max_steps": "trainer.max_steps",
    "steps": "trainer.max_steps",
    "seed": "seed_everything",
}


@pytest.mark.parametrize("option", NEAREST)
def test_the_nearest_option(option):
    assert OPTIONS.near(option)[0] == NEAREST[option]


@settings(deadline=None, max_examples=80, derandomize=True)
@given(st.sampled_from(sorted(OPTIONS.hints)), st.data())
def test_an_option_without_its_first_names_is_found(option, data):
    """At its full name, or at another option of the same last name."""
    parts = option.split(".")
    left = ".".join(parts[data.draw(st.integers(1, len(parts) - 1)) :]) if len(parts) > 1 else ""
    if left and left not in OPTIONS.hints:
        found = OPTIONS.near(left)[-1]
        assert found in OPTIONS.hints and found.rpartition(".")[2] == parts[-1]


MIXERS = ["ParaGRU", "ParaLSTM", *(c.__name__ for c in BASELINES)]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.sampled_from(MIXERS), st.randoms(use_true_random=False))
def test_a_class_is_found_whatever_its_case(name, random):
    accepted = OPTIONS.accepted("model.encoder.mixer")
    assert {*accepted} == {*MIXERS}
    typed = "".join(random.choice([c.lower(), c.upper()]) for c in name)
    assert close(typed, accepted)[0] == name
