"""Episodes are known again after rounding, and those that stand twice stay together."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world.trajectories import make_data, numbered

from paratime.errors import InputError
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Layout, align_episode, episode_digest, make_episode
from paratime.world.data.identity import fingerprints, same_episodes
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.data.spec import Moments
from paratime.world.evaluation.loading import unseen_episodes

FORMATS = ("%.5f", "%.6f", "%.6g", "%.9g")
SCALES = {"ones": 1.0, "thousands": 3e3, "thousandths": 2e-3}


def walks(seed, count=12, scale=1.0, discrete=False, near=False):
    """Return episodes, which differ by little if they are near each other."""
    random, made = np.random.default_rng(seed), []
    base = random.normal(size=(21, 3)).cumsum(0)
    for number in range(count):
        steps = 20 if near else int(random.integers(3, 20))
        place = base + 1e-2 * random.normal(size=(21, 3))
        place = place if near else random.normal(size=(steps + 1, 3)).cumsum(0)
        action = random.integers(3, size=steps) if discrete else random.normal(size=(steps, 2))
        action = np.zeros(steps, int) + number // count if near and discrete else action
        made.append(
            make_episode(f"e{number}", scale * place, action, random.normal(size=steps), False)
        )
    return made


def rewritten(episode, form):
    """Return an episode whose numbers were text in between."""

    def text(x):
        return np.array([float(form % value) for value in np.ravel(x)]).reshape(np.shape(x))

    (observed,) = episode.observation.values()
    action = episode.action if episode.discrete else text(episode.action)
    return make_episode("copy", text(observed), action, text(episode.reward), episode.terminated)


def aligned(episodes):
    return [align_episode(x, Layout.of(episodes, 3)) for x in episodes]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.integers(0, 99),
    st.sampled_from([*SCALES]),
    st.sampled_from(FORMATS),
    st.booleans(),
    st.booleans(),
)
def test_rounded_episodes_are_the_same_and_others_are_not(seed, scale, form, discrete, near):
    episodes = walks(seed, scale=SCALES[scale], discrete=discrete, near=near)
    if form == "%.5f" and scale == "thousandths" and near:
        return  # a hundredth of two thousandths is rounded off
    both = aligned([*episodes, *(rewritten(x, form) for x in episodes)])
    prints = fingerprints(both, Moments.of(both))
    count = len(episodes)
    assert same_episodes(prints) == [[i, count + i] for i in range(count)]


def test_tiny_values_are_told_apart():
    random = np.random.default_rng(0)
    episodes = [
        make_episode("e", 1e-9 * random.normal(size=(5, 2)), np.zeros((4, 1)), np.zeros(4), False)
        for _ in range(5)
    ]
    rows = aligned(episodes)
    assert len(same_episodes(fingerprints(rows, Moments.of(rows)))) == 5


def test_images_tell_episodes_apart():
    episodes = []
    for number in range(12):
        image = np.zeros((4, 64, 64, 3), np.uint8)
        image[2, number, 3, 0] = 9
        for actions in ([[1 / 3], [1.0], [0.1]], [[0.33333], [1.0], [0.1]]):
            episodes.append(make_episode("e", image, actions, np.zeros(3), False))
    rows = aligned(episodes)
    groups = same_episodes(fingerprints(rows, Moments.of(rows)))
    assert groups == [[2 * i, 2 * i + 1] for i in range(12)]


def data_of(episodes, **options):
    return TrajectoryData(InMemory(Recording(episodes)), **options)


@pytest.mark.parametrize("form", (*FORMATS, "%.4f", "%.3f", "%.2f"))
def test_what_was_trained_on_is_no_news_after_rounding(form):
    episodes = walks(0, count=30)
    data = data_of(episodes)
    copies = Recording([rewritten(x, form) for x in episodes])
    unseen = unseen_episodes(copies, data.spec)
    assert len(unseen) == 6
    others = Recording(walks(1, count=30))
    assert len(unseen_episodes(others, data.spec)) == 30
    plain = pd.Series([data.spec.plain()["trained_on"]]).to_json()
    assert re.match(r'\{"0":\[\[', plain), "plain values, which a checkpoint can hold"


@pytest.mark.parametrize("decimals", (1, 2, 3, 4))
def test_data_that_has_few_decimals_is_not_taken_for_rounded(decimals):
    """Episodes differ by a tenth in one value."""
    episodes = [rewritten(x, f"%.{decimals}f") for x in walks(0, count=10)]
    data = data_of(episodes, validation=0, test=0)
    others = []
    for x in episodes:
        (observed,) = x.observation.values()
        observed = np.copy(observed)
        observed[2, 1] += 0.1
        others.append(make_episode("o", observed, x.action, x.reward, terminated=False))
    assert len(unseen_episodes(Recording(others), data.spec)) == 10


def test_checkpoints_of_before_know_their_episodes():
    data = make_data()
    spec, rows = data.spec, data._rows("train")
    object.__setattr__(spec, "trained_on", [episode_digest(x) for x in rows])
    assert len(unseen_episodes(data.recording, spec)) == 4


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.integers(0, 9), st.lists(st.integers(1, 4), min_size=12, max_size=20), st.randoms())
def test_repetitions_are_in_one_split(seed, times, order):
    walk = walks(seed, count=len(times))
    places = [n for n, count in enumerate(times) for _ in range(count)]
    order.shuffle(places)
    data = data_of([rewritten(walk[n], "%.5f") for n in places], seed=seed)
    found = {
        name: {min(range(len(walk)), key=lambda n: distance(walk[n], x)) for x in part}
        for name, part in data.splits.items()
    }
    assert sum(len(x) for x in found.values()) == len(walk), "none is in two of them"
    sizes = {name: len(part) for name, part in data.splits.items()}
    assert sum(sizes.values()) == len(places)
    held = int(np.ceil(0.1 * len(places)))
    assert held <= sizes["val"] <= held + 3 and held <= sizes["test"] <= held + 3


def distance(one, other):
    a, b = (x.observation["observation"] for x in (one, other))
    return np.abs(a - b).max() if a.shape == b.shape else np.inf


def test_splits_without_repetitions_are_those_of_before(capsys):
    episodes = numbered(tuple(range(2, 22)))
    order = np.random.default_rng(0).permutation(20)
    splits = data_of(episodes).splits
    for name, places in (("val", order[:2]), ("test", order[2:4]), ("train", order[4:])):
        assert [x.name for x in splits[name]] == [f"e{i}" for i in sorted(places)]
    assert not capsys.readouterr().out


def test_the_same_episode_alone_cannot_be_held_out(capsys):
    (one,) = walks(0, count=1)
    with pytest.raises(InputError, match="episodes: expected 3 different ones or more, got rep"):
        data_of([one] * 20).spec  # noqa: B018
    assert "19 of 20 episodes repeat others" in capsys.readouterr().out
    assert len(data_of([one] * 20, validation=0.0, test=0.0).splits["train"]) == 20
    most = [*[one] * 30, *walks(1, count=9)]
    assert len(data_of(most).splits["train"]) == 31, "what most episodes are is trained on"
