"""Gymnasium's environments: episodes of random actions, collected once."""

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paratime.errors import InputError, check_at_least, one_line
from paratime.io.atomic import making
from paratime.io.cache import cache_root
from paratime.io.processes import holding
from paratime.world.data.environment import (
    EnvironmentOptions,
    action_choices,
    identity,
    make_environment,
)
from paratime.world.data.episode import Episode, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.minari import Minari, write_minari

_log = logging.getLogger(__name__)

FORMAT = 1
"""Of what is cached; the next one when other episodes would be collected."""


@dataclass(frozen=True)
class Gym(Source):
    """Episodes of uniformly random actions in an environment, collected on first use, and cached.

    They are collected anew when the environment is another: with other options, spaces or limits,
    after an edit of a module of yours that it is in or imports, or with other versions of packages.
    Files and variables that it reads are not compared: choose ``renew`` after a change of these.

    Args:
        environment: Gymnasium's id, such as ``Pendulum-v1``; ``mine:My-v0`` imports ``mine``.
        episodes: How many.
        seed: Seed of the first episode; the others follow.
        cache_dir: Folder for what is collected; ``$PARATIME_CACHE`` or ``~/.cache/paratime`` by
            default.
        environment_args: Keyword arguments of the environment, such as ``g: 1.0``.
        max_episode_steps: Steps after which an episode is cut short; the environment's own limit
            by default, or 1,000 where it has none.
        wrappers: Import paths of wrappers, the innermost first, such as ``mine.MyWrapper`` or
            ``gymnasium.wrappers.ClipAction``, or an ``entry_point`` with ``kwargs``.
        renew: Whether to collect anew, and replace what was cached.
    """

    environment: str
    episodes: int = 200
    seed: int = 0
    cache_dir: str | None = None
    environment_args: dict[str, Any] | None = None
    max_episode_steps: int | None = None
    wrappers: list[Any] | None = None
    renew: bool = False

    def read(self) -> Recording:
        """Return the episodes."""
        check_at_least(1, episodes=self.episodes)
        check_at_least(0, seed=self.seed)
        options = EnvironmentOptions.given(
            self.environment_args, self.max_episode_steps, self.wrappers
        )
        world = make_environment(self.environment, options)
        choices, folder = action_choices(world), self._folder(world, options)
        if not self._is_cached(folder):
            _check_writable(folder.parent)
            lock = folder.with_name(f".{folder.name}.lock")
            with holding(lock, f"collects episodes of {self.environment}"):
                if not self._is_cached(folder):  # since another process was faster
                    self._collect(world, options, folder)
        found = Minari(str(folder)).read()
        return replace(found, environment=self.environment, actions=choices, options=options)

    def _is_cached(self, folder: Path) -> bool:
        if not folder.exists() or self.renew:
            return False
        _log.warning(
            "%d episodes of %s come from the cache, %s; renew collects them anew",
            self.episodes,
            self.environment,
            folder,
        )
        return True

    def _collect(self, world: Any, options: EnvironmentOptions, folder: Path) -> None:
        seeds = range(self.seed, self.seed + self.episodes)
        about = f"collecting {self.environment}"
        episodes = random_episodes(self.environment, seeds, world)
        made = [*tqdm(episodes, about, self.episodes, unit="episode")]
        if self.renew:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                raise InputError(
                    "renew",
                    expected="a cache that can be replaced",
                    got=f"{folder}, which cannot be deleted",
                    remedy="delete it yourself, or choose another cache_dir",
                )
        with making(folder) as draft:
            write_minari(
                Recording(made, self.environment, action_choices(world), options=options), draft
            )

    def _folder(self, world: Any, options: EnvironmentOptions) -> Path:
        about = {"format": FORMAT, "episodes": self.episodes, "seed": self.seed}
        about |= identity(world, self.environment, options)
        digest = sha256(json.dumps(about).encode()).hexdigest()[:12]
        name = re.sub(r"[^-\w]", "-", self.environment)
        return cache_root(self.cache_dir) / "world" / f"{name}-{digest}-v0"


def _check_writable(folder: Path) -> None:
    """Refuse a folder that nothing can be written into, before anything is collected for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cache {folder}",
            expected="a folder that can be written",
            got=one_line(error),
            remedy="choose another by cache_dir or $PARATIME_CACHE",
        ) from None


def random_episodes(environment: str, seeds: Sequence[int], world: Any = None) -> Iterator[Episode]:
    """Yield an episode of random actions for each seed.

    Args:
        environment: Gymnasium's id.
        seeds: One an episode.
        world: The environment, if it is made already; it is closed at the end.
    """
    world = make_environment(environment) if world is None else world
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

    Raises:
        InputError: A reward that is not one number, or values that ``make_episode`` refuses.
    """
    observation, _ = world.reset(seed=seed)
    name = getattr(getattr(world, "spec", None), "id", "the environment")
    observations, actions, rewards, over = [_copied(observation)], [], [], False
    while not over:
        action = policy(observation)
        actions.append(np.copy(action))
        observation, reward, terminated, truncated, _ = world.step(action)
        observations.append(_copied(observation))
        rewards.append(_number(reward, f"reward of {name}"))
        over = bool(terminated or truncated)
    return make_episode(
        f"seed {seed} of {name}",
        _stacked(observations),
        action=np.array(actions),
        reward=rewards,
        terminated=bool(terminated),
        info={"seed": seed},
    )


def _number(reward: Any, what: str) -> float:
    """Return a reward, which may be an array of one."""
    try:
        return float(np.asarray(reward, dtype=np.float64).reshape(()))
    except (TypeError, ValueError):
        raise InputError(what, "one number", repr(reward)[:60], "mend the environment") from None


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
