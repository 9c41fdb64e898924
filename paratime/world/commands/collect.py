"""``paratime world collect``: episodes of random actions in an environment."""

from paratime.io.atomic import check_new
from paratime.world.commands.convert import Format, write_recording
from paratime.world.commands.inspect import describe_recording
from paratime.world.data.sources.gym import Gym


def run(
    environment: str, out: str, episodes: int = 200, seed: int = 0, layout: Format = "npz"
) -> None:
    """Collect episodes of random actions in an environment.

    Args:
        environment: Gymnasium's id, such as Pendulum-v1.
        out: Folder to write, new or empty.
        episodes: How many.
        seed: Seed of the first one.
        layout: npz (Dreamer's, a file per episode), or minari, whose folders are named like
            pendulum-v0.
    """
    check_new(out)
    recording = Gym(environment, episodes, seed).read()
    write_recording(recording, out, layout)
    print(describe_recording(recording))
    print(f"{'recording':<20} {out}")
