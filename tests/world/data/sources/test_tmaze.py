"""The T-maze: a cue that is seen once, and counts at the end."""

import re
import sys

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from paratime.world.data.sources.gym import make_environment, random_episodes, run_episode


@pytest.fixture(scope="module")
def episodes():
    return [*random_episodes("paratime/TMaze7-v0", [*range(200)])]


def test_gymnasium_accepts_it():
    check_env(make_environment("paratime/TMaze3-v0").unwrapped)


@pytest.mark.parametrize("length", (1, 7, 64))
def test_the_cue_is_seen_once_and_the_junction_at_its_end(length):
    (episode,) = random_episodes(f"paratime/TMaze{length}-v0", [3])
    cue, junction = episode.observation["observation"].T
    assert len(episode) == length + 1 and episode.terminated
    assert abs(cue[0]) == 1 and not cue[1:].any()
    np.testing.assert_array_equal(junction.nonzero()[0], [length])


def test_only_the_action_at_the_junction_counts(episodes):
    for episode in episodes:
        cue = episode.observation["observation"][0, 0]
        assert not episode.reward[:-1].any()
        assert episode.reward[-1] == (1 if episode.action[-1] == (cue > 0) else -1)


def test_no_action_of_a_random_episode_gives_the_cue_away(episodes):
    right = np.array([episode.observation["observation"][0, 0] > 0 for episode in episodes])
    actions = np.stack([episode.action for episode in episodes])
    agree = (actions == right[:, None]).mean(0)
    assert abs(right.mean() - 0.5) < 0.15
    assert (abs(agree - 0.5) < 0.15).all(), "four deviations"


def test_memory_is_rewarded_always_and_a_guess_half_the_time():
    world, cues = make_environment("paratime/TMaze5-v0"), []

    def remembering(observation):
        cues[:] = [observation[0] > 0] if observation[0] else cues
        return int(cues[0])

    policies = remembering, lambda _: 1
    known, guessed = ([run_episode(world, s, p).reward.sum() for s in range(100)] for p in policies)
    assert set(known) == {1.0} and set(guessed) == {1.0, -1.0}
    assert abs(np.mean(guessed)) < 0.4, "four deviations"


def test_a_seed_gives_the_same_cue_and_later_episodes_go_on():
    world = make_environment("paratime/TMaze2-v0")
    cues = [world.reset(seed=s)[0][0] for s in (*range(20), *range(20))]
    assert cues[:20] == cues[20:]
    assert {world.reset()[0][0] for _ in range(20)} == {-1.0, 1.0}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("mixer", ("ParaGRU", "ParaLSTM"))
def test_from_a_config_to_plans_with_any_mixer(mixer, paratime, home, request):
    config = request.config.rootpath / "configs/world/tmaze_memory.yaml"
    small = ("--data.source.environment", "paratime/TMaze3-v0", "--data.source.episodes", 20)
    few = ("--trainer.max_steps", 2, "--trainer.log_every_n_steps", 1)
    status, out, err = paratime("fit", "-c", config, "--model.encoder.mixer", mixer, *small, *few)
    assert status == 0, err
    path = re.search(r"checkpoint +(\S+)", out)[1]
    planner = ("--planner", "CEM", "--planner.horizon", 1, "--planner.candidates", 8)
    status, out, err = paratime("world", "plan", "--ckpt_path", path, "--episodes", 2, *planner)
    assert status == 0, err
    assert all(abs(float(x)) == 1 for row in out.splitlines()[1:3] for x in row.split()[1:])
    collected = ("--environment", "paratime/TMaze3-v0", "--episodes", 5, "--out", "mazes")
    status, out, err = paratime("world", "collect", *collected)
    assert status == 0 and "5, 5 terminated" in out and "20, 4 to 4 an episode" in out, err


def test_a_missing_package_ends_in_one_line(paratime, home, monkeypatch):
    for name in [x for x in sys.modules if x.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    status, _, err = paratime("world", "inspect", "--data", "gym:HalfCheetah-v5")
    assert status == 2 and err.count("\n") == 1
    assert "environment HalfCheetah-v5: expected the packages that it needs" in err
    assert "pip install" in err


def test_lengths_begin_at_one(paratime, home):
    status, _, err = paratime("world", "inspect", "--data", "gym:paratime/TMaze0-v0")
    assert status == 2 and "length: expected at least 1, got 0" in err and err.count("\n") == 1
