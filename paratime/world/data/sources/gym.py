"""Gymnasium's environments: episodes of random actions, collected once."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paratime.errors import InputError, check_at_least, one_line
from paratime.io.atomic import making
from paratime.io.cache import cache_root
from paratime.world.data.episode import Episode, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.minari import Minari, write_minari


@dataclass(frozen=True)
class Gym(Source):
    """Episodes of uniformly random actions in an environment, collected on first use, and cached.

    Args:
        environment: Gymnasium's id, such as ``Pendulum-v1``.
        episodes: How many.
        seed: Seed of the first episode; the others follow.
        cache_dir: Folder for what is collected; ``$PARATIME_CACHE`` or ``~/.cache/paratime`` by
            default.
    """

    environment: str
    episodes: int = 200
    seed: int = 0
    cache_dir: str | None = None

    def read(self) -> Recording:
        """Return the episodes."""
        check_at_least(1, episodes=self.episodes)
        check_at_least(0, seed=self.seed)
        choices = action_choices(make_environment(self.environment))
        folder = self._folder()
        if not folder.exists():
            seeds = range(self.seed, self.seed + self.episodes)
            episodes = random_episodes(self.environment, seeds)
            about = f"collecting {self.environment}"
            made = [*tqdm(episodes, about, self.episodes, unit="episode")]
            try:
                with making(folder) as draft:
                    write_minari(Recording(made, self.environment, choices), draft)
            except OSError:
                if not folder.exists():  # else another process was faster
                    raise
        return replace(Minari(str(folder)).read(), environment=self.environment, actions=choices)

    def _folder(self) -> Path:
        import gymnasium

        about = asdict(self) | {"cache_dir": None, "gymnasium": gymnasium.__version__}
        digest = sha256(json.dumps(about).encode()).hexdigest()[:12]
        name = re.sub(r"[^-\w]", "-", self.environment)
        return cache_root(self.cache_dir) / "world" / f"{name}-{digest}-v0"


def make_environment(environment: str) -> Any:
    """Make an environment of Gymnasium, or of our own: ``paratime/TMaze64-v0`` and other lengths.

    Raises:
        InputError: Gymnasium is not installed, or knows no such id, or it needs other packages.
    """
    try:
        import gymnasium
    except ImportError:
        raise InputError(
            "gymnasium", "the package", "none installed", "pip install 'paratime[world]'"
        ) from None
    from paratime.world.data.sources.tmaze import register_tmaze

    register_tmaze(environment)
    try:
        world = gymnasium.make(environment)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise InputError(
            f"environment {environment}",
            expected="the packages that it needs",
            got=one_line(error),
            remedy="install it",
        ) from None
    except gymnasium.error.Error as error:
        raise InputError(
            "environment",
            expected="an id that Gymnasium knows",
            got=f"{environment!r}: {one_line(error)}",
            remedy="correct it",
        ) from None
    check_observation_space(world)
    return world


def check_observation_space(environment: Any) -> None:
    """Refuse observations that are neither arrays nor dicts of them."""
    space = environment.observation_space
    parts = space.spaces.values() if type(space).__name__ == "Dict" else [space]
    kinds = {type(part).__name__ for part in parts}
    if other := sorted(kinds - {"Box", "Discrete", "MultiDiscrete", "MultiBinary"}):
        raise InputError(
            "observation space",
            expected="Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these",
            got=other[0],
            remedy="wrap it",
        )


def action_choices(environment: Any) -> int | None:
    """Return the number of choices of an environment's actions, None if they are vectors.

    Raises:
        InputError: They are neither.
    """
    space = environment.action_space
    kind = type(space).__name__
    if kind == "Discrete" and space.start == 0:
        return int(space.n)
    if kind == "Box" and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return None
    raise InputError(
        "action space", "Discrete from 0, or Box of floats (A,)", str(space), "wrap the environment"
    )


def random_episodes(environment: str, seeds: Sequence[int]) -> Iterator[Episode]:
    """Yield an episode of random actions for each seed."""
    world = make_environment(environment)
    for seed in seeds:
        world.action_space.seed(seed)
        yield run_episode(world, seed, lambda observation: world.action_space.sample())
    world.close()


def run_episode(world: Any, seed: int, policy: Any) -> Episode:
    """Run an episode of an environment.

    Args:
        world: The environment.
        seed: Seed of its reset.
        policy: From an observation to an action.
    """
    observation, _ = world.reset(seed=seed)
    observations, actions, rewards, over = [_copied(observation)], [], [], False
    while not over:
        action = policy(observation)
        actions.append(np.copy(action))
        observation, reward, terminated, truncated, _ = world.step(action)
        observations.append(_copied(observation))
        rewards.append(float(reward))
        over = terminated or truncated
    name = getattr(getattr(world, "spec", None), "id", "the environment")
    return make_episode(
        f"seed {seed} of {name}",
        _stacked(observations),
        action=np.array(actions),
        reward=rewards,
        terminated=terminated,
        info={"seed": seed},
    )


def _copied(observation: Any) -> Any:
    """Return an observation that the environment cannot change any more."""
    if isinstance(observation, dict):
        return {key: np.copy(x) for key, x in observation.items()}
    return np.copy(observation)


def _stacked(observations: list[Any]) -> Any:
    """Return observations as arrays, by key if they are dicts."""
    if isinstance(observations[0], dict):
        return {key: np.stack([x[key] for x in observations]) for key in observations[0]}
    return np.stack(observations)
