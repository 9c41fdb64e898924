"""Episodes in windows: every step is used once, and none is read across an end."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from world.trajectories import EPISODE_LENGTHS, numbered

from paratime.errors import InputError
from paratime.training.batches.samplers import ContiguousSampler, ShuffledSampler
from paratime.world.data.episode import Layout, align_episode
from paratime.world.data.windows import PackedWindows, Whole, padded


def rows(**options) -> list[dict[str, np.ndarray]]:
    made = numbered(**options)
    return [align_episode(episode, Layout.of(made)) for episode in made]


@pytest.mark.parametrize("length", (1, 4, 7, 36, 37, 100))
def test_every_transition_is_in_one_window(length):
    windows = PackedWindows(rows(), length)
    total = sum(steps + 1 for steps in EPISODE_LENGTHS)
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
    order = ShuffledSampler(len(windows), 3)

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
    assert batch["mask"].sum(1).tolist() == [steps + 1 for steps in EPISODE_LENGTHS]
    assert not batch["observation"][~batch["mask"]].any() and batch["observation"].shape == (
        5,
        15,
        2,
    )


def test_lanes_go_on_where_they_ended():
    windows = PackedWindows(rows(), 4)
    lanes = ContiguousSampler(len(windows), 2, seed=3)
    order = [*lanes]
    assert len(order) == len(lanes) == 2 * (len(windows) // 2)
    for before, after in zip(order[:-2], order[2:], strict=True):
        a, b = windows[before], windows[after]
        assert after[2] and bool(b["follows"])
        assert torch.equal(a["observation"][-1], b["observation"][0])
    assert not any(follows for *_, follows in order[:2])
    with pytest.raises(InputError, match="windows: expected at least 99, a batch, got"):
        ContiguousSampler(len(windows), 99, seed=0)
