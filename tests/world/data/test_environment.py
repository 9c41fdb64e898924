"""What an environment is decides which episodes belong to it, however it is made."""

import importlib
import json
import logging
import sys

import gymnasium
import pytest
from world.trajectories import refused, same

from paratime.world.data.environment import (
    LIMIT,
    EnvironmentOptions,
    check_trusted,
    identity,
    make_environment,
    options_of,
    spec_json,
)
from paratime.world.data.sources.gym import Gym

MINE = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Edit(gymnasium.Env):
    observation_space = Box(-1, 1, (1,))
    action_space = Box(-1, 1, (1,))

    def __init__(self, worth=1.0):
        self.worth = worth

    def reset(self, seed=None, options=None):
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.ones(1, np.float32), self.worth, False, self.time == 6, {}


gymnasium.register("Edit-v0", Edit, disable_env_checker=True)
"""

EDITS = {
    "reward": ("self.worth, False", "5 * self.worth, False"),
    "default": ("worth=1.0", "worth=2.0"),
    "length": ("== 6", "== 4"),
    "observation bounds": ("observation_space = Box(-1", "observation_space = Box(-2"),
    "action size": ("action_space = Box(-1, 1, (1,))", "action_space = Box(-1, 1, (2,))"),
    "registered arguments": ("Edit, disable", "Edit, kwargs={'worth': 3.0}, disable"),
    "registered limit": ("Edit, disable", "Edit, max_episode_steps=3, disable"),
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes ``mine.py``, as for a new process in another folder."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))

    def written(text=MINE, folder="a"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.py").write_text(text)
        monkeypatch.setattr(sys, "path", [str(tmp_path / folder), *sys.path])
        sys.modules.pop("mine", None)
        gymnasium.registry.pop("Edit-v0", None)
        importlib.invalidate_caches()

    yield written
    sys.modules.pop("mine", None)
    gymnasium.registry.pop("Edit-v0", None)


def collected(**options):
    return Gym("mine:Edit-v0", episodes=2, **options).read().episodes


@pytest.mark.parametrize("folder", ("a", "b"))
@pytest.mark.parametrize("name", EDITS)
def test_episodes_are_those_of_the_environment_as_it_is(name, folder, write, caplog):
    write()
    first = collected()
    assert "from the cache" not in caplog.text
    write(MINE.replace(*EDITS[name]), folder)
    found = collected()
    assert "from the cache" not in caplog.text
    assert len(found[0]) == {"length": 4, "registered limit": 3}.get(name, 6)
    worth = {"reward": 5, "default": 2, "registered arguments": 3}.get(name, 1)
    assert found[0].reward.tolist() == [worth] * len(found[0])
    write(folder=folder)
    same(collected(), first)
    assert "2 episodes of mine:Edit-v0 come from the cache, /" in caplog.text


OPTIONS = {
    "arguments": ({"environment_args": {"worth": 4.0}}, [4.0] * 6),
    "limit": ({"max_episode_steps": 2}, [1.0] * 2),
    "wrapper": (
        {
            "wrappers": [
                {
                    "entry_point": "gymnasium.wrappers.TimeAwareObservation",
                    "kwargs": {"flatten": True},
                }
            ]
        },
        [1.0] * 6,
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_make_another_environment_and_are_known_of_its_data(name, write):
    write()
    options, rewards = OPTIONS[name]
    plain, recording = collected(), Gym("mine:Edit-v0", 2, **options).read()
    episodes = recording.episodes
    assert episodes[0].reward.tolist() == rewards
    assert recording.options == EnvironmentOptions(**options)
    assert (episodes[0].observation["observation"].shape[1] == 2) == (name == "wrapper")
    same(collected(), plain)


def test_what_is_cached_is_collected_anew_when_asked(write, caplog):
    write()
    first = collected()
    same(collected(renew=True), first)
    assert "from the cache" not in caplog.text
    same(collected(), first)
    assert "from the cache" in caplog.text


def test_identity_is_plain_and_the_same_in_every_process(write):
    write()
    made = [json.dumps(identity(make_environment("mine:Edit-v0"))) for _ in range(2)]
    assert made[0] == made[1] and "0x" not in made[0]


def test_an_environment_without_a_limit_is_cut_short_and_says_so(write, caplog):
    write(MINE.replace("self.time == 6", "False"))
    with caplog.at_level(logging.WARNING):
        episodes = collected()
    assert len(episodes[0]) == LIMIT and not episodes[0].terminated
    assert f"Edit-v0 has no time limit: its episodes end after {LIMIT:,} steps" in caplog.text


WRONG = {
    "limit": ({"max_episode_steps": 0}, "max_episode_steps: expected at least 1, got 0"),
    "objects": ({"environment_args": {"worth": object()}}, "expected plain values, as in JSON"),
    "arguments": ({"environment_args": {"weight": 1}}, r"environment_args: .*'weight'"),
    "no wrapper": ({"wrappers": ["mine.Nothing"]}, r"wrapper mine.Nothing: expected a wrapper"),
    "no path": ({"wrappers": [3]}, r"wrappers: expected import paths"),
}


@pytest.mark.parametrize("name", WRONG)
def test_options_that_make_no_environment_are_refused(name, write):
    write()
    options, pattern = WRONG[name]
    refused(pattern, collected, **options)


def test_specifications_of_files_hold_what_was_given():
    world = gymnasium.make("Pendulum-v1", g=1.0, max_episode_steps=50)
    world = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.wrappers.ClipAction(world))
    options = options_of(json.loads(world.spec.to_json()))
    clip = {"entry_point": "gymnasium.wrappers.transform_action.ClipAction", "kwargs": {}}
    assert options == EnvironmentOptions({"g": 1.0}, 50, [clip])
    check_trusted("Pendulum-v1", options)
    made = make_environment("Pendulum-v1", options)
    assert (made.unwrapped.g, made.spec.max_episode_steps) == (1.0, 50)
    assert options_of(json.loads(spec_json("Pendulum-v1", options))) == options
    strange = options_of({"additional_wrappers": [{"entry_point": "os:system", "kwargs": {}}]})
    refused(r"wrapper os.system of the data: .*--wrappers", check_trusted, "Pendulum-v1", strange)


WRAPPERS = """
import gymnasium


class Times(gymnasium.RewardWrapper):
    def __init__(self, env, by=2.0):
        super().__init__(env)
        self.by = by

    def reward(self, reward):
        return reward * self.by


def times(env, by=2.0):
    return gymnasium.wrappers.TransformReward(env, lambda reward: reward * by)


def made():
    return times(gymnasium.make("Edit-v0").unwrapped)


gymnasium.register("Made-v0", "more:made", disable_env_checker=True)
"""


@pytest.mark.parametrize("name", ("Times", "times", "made"))
def test_wrappers_and_what_makes_an_environment_are_part_of_it(name, write, tmp_path):
    def returned(text, **arguments):
        write(MINE)
        (tmp_path / "a" / "more.py").write_text("import mine\n" + text)
        sys.modules.pop("more", None)
        gymnasium.registry.pop("Made-v0", None)
        wrappers = [{"entry_point": f"more:{name}", "kwargs": arguments}]
        known = ("more:Made-v0", 2) if name == "made" else ("mine:Edit-v0", 2)
        options = {} if name == "made" else {"wrappers": wrappers}
        return Gym(*known, **options).read().episodes[0].reward.sum()

    assert returned(WRAPPERS) == 12
    assert returned(WRAPPERS.replace("by=2.0", "by=3.0")) == 18
    assert returned(WRAPPERS) == 12
    if name != "made":
        assert returned(WRAPPERS, by=5.0) == 30
    sys.modules.pop("more", None)
    gymnasium.registry.pop("Made-v0", None)


def test_a_cache_that_cannot_be_written_is_refused_before_anything_is_collected(
    write, tmp_path, monkeypatch
):
    write()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("paratime.world.data.sources.gym.random_episodes", None)
    pattern = "cache .*: expected a folder that can be written.*cache_dir"
    refused(pattern, collected, cache_dir=str(tmp_path / "file"))


def test_what_cannot_be_replaced_is_not_taken_for_new(write, monkeypatch):
    write()
    collected()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    refused("renew: expected a cache that can be replaced", collected, renew=True)
