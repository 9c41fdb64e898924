"""Episodes in windows: every step is used once, none is read across an end, and splits hold."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from paratime.errors import InputError
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Episode, Layout, aligned, make_episode
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.data.windows import PackedWindows, Shuffled, Whole, padded

LENGTHS = (5, 1, 9, 3, 14)


def episodes(lengths: tuple[int, ...] = LENGTHS, discrete: bool = False) -> list[Episode]:
    """Return episodes of an environment whose observation is its last action, and its number."""
    random, made = np.random.default_rng(0), []
    for number, steps in enumerate(lengths):
        action = random.integers(3, size=steps) if discrete else random.normal(size=(steps, 1))
        last = np.concatenate([[0.0], action.reshape(steps)])
        observation = np.stack([last, np.full(steps + 1, number)], axis=1)
        reward = 10 * action.reshape(steps)
        made.append(make_episode(f"e{number}", observation, action, reward, number % 2 == 0))
    return made


def rows(**options) -> list[dict[str, np.ndarray]]:
    made = episodes(**options)
    return [aligned(episode, Layout.of(made)) for episode in made]


def test_a_row_holds_the_action_and_reward_that_led_to_it():
    for x in rows():
        assert np.array_equal(x["observation"][:, 0], x["prev_action"][:, 0])
        np.testing.assert_allclose(x["prev_reward"], 10 * x["prev_action"][:, 0], rtol=1e-6)
        assert x["is_first"].nonzero()[0].tolist() == [0]
        assert x["is_last"].nonzero()[0].tolist() == [len(x["is_last"]) - 1]
    ends = [x["is_terminal"][-1] for x in rows()]
    assert ends == [True, False, True, False, True]
    one_hot = rows(discrete=True)[2]
    assert np.array_equal(one_hot["prev_action"][1:].argmax(1), one_hot["observation"][1:, 0])
    assert not one_hot["prev_action"][0].any()


@pytest.mark.parametrize("length", (1, 4, 7, 36, 37, 100))
def test_every_transition_is_in_one_window(length):
    windows = PackedWindows(rows(), length)
    total = sum(steps + 1 for steps in LENGTHS)
    assert len(windows) == -(-total // length)
    stream = [windows[7, i, False] for i in range(len(windows))]
    for a, b in pairwise(stream):
        assert b["place"].tolist() == [7, int(a["place"][1]) + length]
        for key in a.keys() - {"follows", "place"}:
            assert torch.equal(a[key][-1], b[key][0]), "a window's last row is the next one's first"
    joined = torch.cat([x["observation"][:-1] for x in stream])[:total]
    seen = sorted(map(tuple, joined.tolist()))
    assert seen == sorted(tuple(r) for x in rows() for r in x["observation"].tolist())
    first = torch.cat([x["is_first"][:-1] for x in stream])[:total]
    numbers = joined[:, 1]
    assert torch.equal(first[1:], numbers[1:] != numbers[:-1]) and first[0]
    assert all(x["mask"].all() and len(x["mask"]) == length + 1 for x in stream)


def test_each_epoch_has_an_order_of_its_own():
    windows = PackedWindows(rows(), 4)
    order = Shuffled(len(windows), 3)

    def epoch(number: int) -> list[tuple[int, int, bool]]:
        order.set_epoch(number)
        return [*order]

    assert epoch(0) == epoch(0) != epoch(1)
    assert (
        sorted(i for _, i, _ in epoch(1)) == [*range(len(windows))]
        and len({s for s, _, _ in epoch(1)}) == 1
    )
    assert not torch.equal(
        windows[epoch(0)[0][0], 0, False]["observation"], windows[9, 0, False]["observation"]
    )


def test_whole_episodes_are_padded_with_a_mask():
    batch = padded([Whole(rows())[i] for i in range(5)])
    assert batch["mask"].sum(1).tolist() == [steps + 1 for steps in LENGTHS]
    assert not batch["observation"][~batch["mask"]].any() and batch["observation"].shape == (
        5,
        15,
        2,
    )


def make_data(**options) -> TrajectoryData:
    source = InMemory(Recording(episodes(tuple(range(2, 22)))))
    return TrajectoryData(source, **{"sequence_length": 8, "batch_size": 4} | options)


@pytest.mark.parametrize("mode", ("packed", "pad", "episode"))
def test_splits_are_by_episode(mode):
    data = make_data(mode=mode)
    numbers = {
        name: {int(e.observation["observation"][0, 1]) for e in part}
        for name, part in data.splits.items()
    }
    assert [len(numbers[x]) for x in ("val", "test", "train")] == [2, 2, 16]
    assert len(set().union(*numbers.values())) == 20
    seen = {
        int(n)
        for batch in data.train_dataloader()
        for n in batch["observation"][..., 1][batch["mask"]].unique()
    }
    assert seen == numbers["train"]
    held = {
        int(n)
        for batch in data.val_dataloader()
        for n in batch["observation"][..., 1][batch["mask"]].unique()
    }
    assert held == numbers["val"]
    moments = data.facts["trajectories"]["moments"]
    known = np.concatenate([e.observation["observation"] for e in data.splits["train"]])
    np.testing.assert_allclose(moments["observation"][0], known.mean(0), rtol=1e-5)
    assert moments["highest"] == known.max(0).tolist()


@pytest.mark.parametrize("workers", (0, 2))
def test_loading_is_the_same_with_workers(workers):
    alone, others = (
        make_data().train_dataloader(),
        make_data(num_workers=workers).train_dataloader(),
    )
    for a, b in zip(alone, others, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


REFUSED = {
    "too few": ({"validation": 0.5, "test": 0.49}, "episodes: expected more than the 20 that"),
    "shares": ({"validation": 0.6, "test": 0.4}, "shares that leave some for training"),
    "length": ({"sequence_length": 0}, "sequence_length: expected at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_split_is_refused(name):
    options, message = REFUSED[name]
    with pytest.raises(InputError) as error:
        make_data(**options).facts  # noqa: B018
    assert message in str(error.value)


BAD = {
    "no action": (lambda: ([[1.0]], np.zeros((0, 1)), []), "at least one step, got none"),
    "rows": (lambda: ([[1.0]] * 3, [[0.0]] * 3, [0.0] * 3), "expected 4 rows for 3 actions, got 3"),
    "reward": (lambda: ([[1.0]] * 3, [[0.0]] * 2, [0.0]), "reward of e: expected 2 rows"),
    "nan": (lambda: ([[1.0], [np.nan]], [[0.0]], [0.0]), "finite numbers, got nan at step 1"),
    "ragged": (lambda: ([[1.0], [2.0, 3.0]], [[0.0]], [0.0]), "observation of e: expected numbers"),
    "choice": (lambda: ([[1.0], [2.0]], [-1], [0.0]), "choices from 0, got -1 at step 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_episode_is_refused_in_one_line(name):
    make, message = BAD[name]
    with pytest.raises(InputError) as error:
        make_episode("e", *make(), terminated=False)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_episodes_that_differ_are_refused():
    mixed = [*episodes((2,)), *episodes((2,), discrete=True)]
    with pytest.raises(InputError, match=r"action of e0: expected \(1,\) as in e0, got discrete"):
        Layout.of(mixed)
    choices = episodes((4,), discrete=True)
    assert Layout.of(choices, actions=5).action == 5
    with pytest.raises(InputError, match="choices below 1"):
        Layout.of(choices, actions=1)
