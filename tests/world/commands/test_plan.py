"""``paratime world plan``: next to random actions and to none, in the environment of the data."""

import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from world.commands.test_commands import fit

from paratime.world.commands.plan import describe_rollouts
from paratime.world.data.environment import EnvironmentOptions
from paratime.world.data.sources.base import Recording
from paratime.world.data.sources.dreamer import ARGUMENTS, IGNORED, LOG, REQUIRED
from paratime.world.data.sources.gym import Gym
from paratime.world.data.sources.minari import write_minari

FAST = ("--planner", "CEM", "--planner.horizon", 2, "--planner.candidates", 8)
STRICT = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Strict(gymnasium.Env):
    observation_space = Box(-9, 9, (1,))
    action_space = Box(-1, 1, (1,))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.place = 0, self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.time += 1
        self.place = (self.place + action).clip(-9, 9)
        return self.place.copy(), -abs(float(action[0])), False, self.time == 5, {}


gymnasium.register("Strict-v0", Strict, max_episode_steps=50, disable_env_checker=True)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strict.py").write_text(STRICT)
    yield tmp_path
    sys.modules.pop("strict", None)
    gymnasium.registry.pop("Strict-v0", None)


def plan(paratime, path, *options, episodes=2):
    given = ("--ckpt_path", path, "--episodes", episodes, *FAST, "--trust", "strict", *options)
    status, out, err = paratime("world", "plan", *given)
    assert status == 0, err
    rows = [line.split() for line in out.splitlines()]
    return out, {x[0]: [float(y) for y in x[1:]] for x in rows if x[0].isdigit()}


def logged(home, reach: float) -> dict[str, str]:
    """Write a table of actions that an environment may not accept."""
    random, lines = np.random.default_rng(0), ["episode,step,place,push,reward"]
    for episode in range(8):
        for step, push in enumerate(random.uniform(-reach, reach, 9)):
            lines.append(f"{episode},{step},{random.normal()},{push},{push}")
    (home / "log.csv").write_text("\n".join(lines))
    return {"path": "log.csv", "observation": "[place]", "action": "[push]"}


@pytest.mark.parametrize("reach", (3, 0.2))
def test_plans_stay_in_the_action_space_and_in_the_data(reach, paratime, home):
    path = fit(paratime, home, "Table", **logged(home, reach))
    out, rows = plan(paratime, path, "--environment", "strict:Strict-v0")
    assert f"intersection of the data -{reach - 0.1:.1f}"[:-2] in out
    assert "and the environment -1 to 1" in out
    assert all(row[0] >= -5 * min(reach, 1) - 0.1 for row in rows.values())
    assert all(row[2] == 0 for row in rows.values()), "no action costs nothing"


def test_rows_depend_on_their_seed_alone(paratime, home):
    path = fit(paratime, home, "Gym", environment="strict:Strict-v0", episodes=8)
    _, both = plan(paratime, path, "--seed", 100)
    _, second = plan(paratime, path, "--seed", 101, episodes=1)
    assert both["101"] == second["101"]


def test_planned_episodes_are_saved(paratime, home):
    path = fit(paratime, home, "Gym", environment="strict:Strict-v0", episodes=8)
    for layout, name in (("npz", "planned"), ("minari", "planned-v0")):
        saved = ("--out", name, "--layout", layout)
        out, rows = plan(paratime, path, *saved)
        assert f"recording            {name}" in out
        status, about, err = paratime("world", "inspect", "--data", name)
        assert status == 0 and "10, 5 to 5 an episode" in about, err
        mean = np.mean([row[0] for row in rows.values()])
        found = float(next(x for x in about.splitlines() if x.startswith("return")).split()[1])
        assert abs(found - mean) < 0.1
    status, _, err = paratime("world", "plan", "--ckpt_path", path, "--out", "planned")
    assert status == 2 and "out planned: expected a new or an empty folder" in err


@pytest.mark.parametrize("key", (*REQUIRED, *IGNORED, *ARGUMENTS, f"{LOG}speed"))
def test_keys_that_an_archive_needs_for_itself_are_refused_before_anything_is_played(
    key, paratime, home
):
    class Keyed(gymnasium.Env):
        observation_space = Dict({key: Box(-1, 1, (1,))})
        action_space = Box(-1, 1, (1,))

        def reset(self, seed=None, options=None):
            raise AssertionError("nothing is to be played")

    gymnasium.register("Strict-v0", Keyed, disable_env_checker=True)
    status, _, err = paratime("world", "collect", "--environment", "Strict-v0", "--out", "files")
    assert status == 2 and f"keys that are not reserved, got {key!r}" in err


def test_most_rollouts_beyond_the_data_are_warned_of():
    agent = SimpleNamespace(outside=51, tried=100)
    assert "51.0% of rollouts left the range of the data\nwarning: " in describe_rollouts(
        agent, [1]
    )
    agent.outside = 50
    assert "warning" not in describe_rollouts(agent, [1])


def test_the_environment_of_a_file_keeps_its_arguments_and_its_limit(paratime, home):
    options = {"environment_args": {"g": 1.0}, "max_episode_steps": 50}
    recording = Gym("Pendulum-v1", 8, **options).read()
    assert {len(episode) for episode in recording.episodes} == {50}
    write_minari(recording, home / "light-v0")
    path = fit(paratime, home, "Minari", path="light-v0")
    out, first = plan(paratime, path)
    assert "environment          Pendulum-v1, g=1.0, max_episode_steps=50" in out
    out, heavy = plan(paratime, path, "--environment_args.g", "30.0")
    assert "Pendulum-v1, g=30.0, max_episode_steps=50" in out
    assert all(heavy[seed] != row for seed, row in first.items())
    out, _ = plan(paratime, path, "--max_episode_steps", 3, episodes=1)
    assert "g=1.0, max_episode_steps=3" in out


def test_wrappers_of_data_are_gymnasiums_own(paratime, home):
    wrappers = ["gymnasium.wrappers.NormalizeReward"]
    given = {"environment": "strict:Strict-v0", "episodes": 8, "wrappers": f"[{wrappers[0]}]"}
    path = fit(paratime, home, "Gym", **given)
    out, _ = plan(paratime, path)
    assert "environment          strict:Strict-v0, NormalizeReward" in out
    recording = Gym("strict:Strict-v0", 8).read()
    strange = EnvironmentOptions(wrappers=[{"entry_point": "os.system", "kwargs": {}}])
    known = {"environment": "strict:Strict-v0", "options": strange}
    write_minari(Recording(recording.episodes, **known), home / "strange-v0")
    path = fit(paratime, home / "second", "Minari", path="strange-v0")
    status, _, err = paratime("world", "plan", "--ckpt_path", path, *FAST)
    assert status == 2 and "wrapper os.system of the data" in err
    out, _ = plan(paratime, path, "--wrappers", "[gymnasium.wrappers.ClipAction]", episodes=1)
    assert "strict:Strict-v0, ClipAction" in out


@pytest.mark.parametrize("command", ("collect", "convert", "plan"))
def test_names_that_minari_refuses_are_said_before_anything_is_computed(command, paratime, home):
    given = {
        "collect": ("--environment", "none-v0"),
        "convert": ("--data", "none.npz"),
        "plan": ("--ckpt_path", "none.ckpt"),
    }
    status, _, err = paratime(
        "world", command, *given[command], "--out", "planned", "--layout", "minari"
    )
    assert status != 0
    assert "folder planned" in err and "write it like cartpole-v0" in err
