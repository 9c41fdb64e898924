"""``paratime world collect``: episodes of random actions in an environment."""

from typing import Any

from paratime.world.commands.convert import Format, check_observed, check_out, write_recording
from paratime.world.commands.inspect import describe_recording
from paratime.world.data.environment import EnvironmentOptions, make_environment
from paratime.world.data.sources.gym import Gym


def run(
    environment: str,
    out: str,
    episodes: int = 200,
    seed: int = 0,
    layout: Format = "npz",
    environment_args: dict[str, Any] | None = None,
    max_episode_steps: int | None = None,
    wrappers: list[Any] | None = None,
    renew: bool = False,
) -> None:
    """Collect episodes of random actions in an environment.

    Args:
        environment: Gymnasium's id, such as Pendulum-v1.
        out: Folder to write, new or empty.
        episodes: How many.
        seed: Seed of the first one.
        layout: npz (Dreamer's, a file per episode), or minari, whose folders are named like
            pendulum-v0.
        environment_args: Keyword arguments of the environment, such as --environment_args.g 1.0.
        max_episode_steps: Steps after which an episode is cut short.
        wrappers: Import paths of wrappers, the innermost first.
        renew: Whether to collect anew what is in the cache.
    """
    check_out(out, layout)
    options = EnvironmentOptions.given(environment_args, max_episode_steps, wrappers)
    check_observed(make_environment(environment, options), layout)
    recording = Gym(
        environment, episodes, seed, None, environment_args, max_episode_steps, wrappers, renew
    ).read()
    write_recording(recording, out, layout)
    print(describe_recording(recording))
    print(f"{'recording':<20} {out}")
