"""``paratime world convert``: a recording in another layout."""

from dataclasses import replace
from typing import Any, Literal

from paratime.cli.arguments import chosen
from paratime.io.atomic import check_new, making
from paratime.world.data.episode import complete_part
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.catalog import trajectory_source
from paratime.world.data.sources.dreamer import check_keys, write_npz
from paratime.world.data.sources.minari import check_name, write_minari

Format = Literal["npz", "minari"]


def run(out: str, layout: Format, data: str | None = None, source: Source | None = None) -> None:
    """Write a recording in another layout.

    Args:
        out: Folder to write, new or empty.
        layout: npz (Dreamer's, a file per episode) or minari.
        data: gym:ID, or a path of .hdf5 (Minari, D4RL) or .npz (Dreamer) episodes.
        source: A source with options, instead of a path.
    """
    check_out(out, layout)
    write_recording(chosen(data, source, trajectory_source).read(), out, layout)
    print(f"{'recording':<20} {out}")


def check_out(out: str, layout: Format) -> None:
    """Refuse a folder that cannot be written, before anything is computed for it."""
    check_new(out)
    if layout == "minari":
        check_name(out)


def check_observed(world: Any, layout: Format) -> None:
    """Refuse an environment whose observations a layout cannot hold, before it is played."""
    if layout == "npz":
        check_keys(getattr(world.observation_space, "spaces", ()), "the environment")


def write_recording(recording: Recording, out: str, layout: Format) -> None:
    """Write a recording into a folder, whole or not at all.

    An action whose observation is absent is left out, because both layouts need it.
    """
    parts = [complete_part(episode) for episode in recording.episodes]
    cut = sum(not episode.complete for episode in recording.episodes)
    if cut:
        about = f"the last action of {cut:,} episodes, with its reward and its end"
        print(f"left out: {about}, for no observation follows it")
        recording = replace(recording, episodes=[x for x in parts if x is not None])
    with making(out) as draft:
        if layout == "minari":
            write_minari(recording, draft)
        else:
            write_npz(recording.episodes, draft)
