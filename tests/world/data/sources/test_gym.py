"""Environments: what is observed is kept as it was, in one order, by processes at a time."""

from concurrent.futures import ThreadPoolExecutor

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Sequence, Text
from world.trajectories import same

from paratime.errors import InputError
from paratime.world.data.episode import make_episode, observation_row
from paratime.world.data.sources.gym import Gym, run_episode
from paratime.world.data.spaces import describe_space

BOX = Box(-1, 1, (1,))


class Buffer(gymnasium.Env):
    """Returns the same arrays at every step, under keys in no order."""

    action_space = BOX

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[dict, dict]:
        self.seen = {"z": np.zeros(1), "a": np.full(2, 10.0)}
        return self.seen, {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.seen["z"] += 1
        self.seen["a"] += 1
        action += 1  # which the policy may do, too
        return self.seen, 0.0, bool(self.seen["z"] == 4), False, {}


def test_what_is_observed_stays_as_it_was_and_has_one_order():
    action = np.zeros(1)
    episode = run_episode(Buffer(), 0, lambda _: action)
    assert [*episode.observation] == ["a", "z"]
    assert episode.observation["z"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert episode.action[:, 0].tolist() == [0, 1, 2, 3]
    row = observation_row({"z": np.ones(1), "a": np.zeros(2)})
    assert row["observation"].tolist() == [0, 0, 1]
    other = make_episode("e", {"b": [[1.0]] * 2, "a": [[2.0]] * 2}, [[0.0]], [0.0], False)
    assert [*other.observation] == ["a", "b"]


def test_collections_at_a_time_do_not_meet(tmp_path):
    source = Gym("CartPole-v1", episodes=3, cache_dir=str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: source.read().episodes, range(4))
    for episodes in others:
        same(episodes, first)
    names = sorted(x.name for x in (tmp_path / "world").iterdir())
    assert len(names) == 2 and names[0] == f".{names[1]}.lock", "no drafts are left"


def test_what_cannot_be_read_is_refused():
    for space in (Text(5), Sequence(BOX), Dict({"a": Text(5)})):
        with pytest.raises(InputError, match=r"space: expected Box, .* got (Text|Sequence)"):
            describe_space(space)
    with pytest.raises(InputError, match="seed: expected at least 0, got -1"):
        Gym("CartPole-v1", seed=-1).read()


NUMBERS = {
    "complex": (np.ones((3, 1), complex), "observation of e: expected numbers, got complex128"),
    "dates": (
        np.zeros((3, 1), "datetime64[s]"),
        "observation of e: expected numbers, got date",
    ),
    "digits": (np.array([["1"]] * 3), "observation of e: expected numbers, got <U1"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused(name):
    values, message = NUMBERS[name]
    with pytest.raises(InputError, match=message):
        make_episode("e", values, [[0.0]] * 2, [0.0] * 2, False)
