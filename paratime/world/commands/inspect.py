"""``paratime world inspect``: the contents of a recording."""

from collections.abc import Sequence

import numpy as np

from paratime.cli.arguments import chosen
from paratime.errors import abridged
from paratime.world.data.dependence import describe_dependence, explained_changes
from paratime.world.data.episode import Layout
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.catalog import trajectory_source

LONGEST = 1000
"""Characters of a line."""


def run(data: str | None = None, source: Source | None = None) -> None:
    """Describe a recording: its episodes, their lengths and returns, observations and actions.

    Args:
        data: gym:ID, or a path of .hdf5 (Minari, D4RL) or .npz (Dreamer) episodes.
        source: A source with options, instead of a path.
    """
    print(describe_recording(chosen(data, source, trajectory_source).read()))


def describe_recording(recording: Recording) -> str:
    """Return an aligned table of a recording's contents."""
    episodes = recording.episodes
    layout = Layout.of(episodes, recording.actions)
    steps = [len(episode) for episode in episodes]
    returns = np.array([float(episode.reward.sum()) for episode in episodes])
    kind = "choices" if layout.discrete else "numbers"
    rows = {
        "environment": ", ".join(filter(None, (recording.environment, recording.options.text()))),
        "episodes": f"{len(episodes):,}, {sum(e.terminated for e in episodes):,} terminated",
        "steps": f"{sum(steps):,}, {min(steps):,} to {max(steps):,} an episode",
        "return": f"{returns.mean():.4g} +- {returns.std():.3g}, {returns.min():.4g} to "
        f"{returns.max():.4g}",
        "action": f"{layout.action} {kind}",
        "observation": ", ".join(f"{k} {shape_text(x)}" for k, x in layout.observation.items()),
        "names": ", ".join((*recording.names, *recording.action_names)),
    }
    lines = [f"{name:<20} {abridged(value, LONGEST)}" for name, value in rows.items() if value]
    lines += _block("each action", describe_dependence(explained_changes(episodes, layout)))
    return "\n".join([*lines, *_block("reading", recording.reading)])


def _block(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title * (n == 0):<20} {line}" for n, line in enumerate(lines)]


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as messages write it."""
    return f"({', '.join(map(str, shape))})"
