"""What a row of data means: where its action, its reward and its end belong."""

from collections.abc import Sequence
from typing import Literal

from paratime.world.data.episode import Episode

Order = Literal["taken", "led_to"]
"""Whether the action of a row is taken at its observation, or has led to it."""

OF_ORDER = {
    "taken": "a row is an observation and the action taken at it",
    "led_to": "a row is an observation and the action that led to it",
}
TRUNCATED = ("truncated", "next.truncated", "truncation", "timeout", "timeouts")
"""Names of flags of truncation, which are read wherever a flag of ends is."""


def terminations(ends: Sequence[tuple[bool, bool]]) -> list[bool]:
    """Return which episodes have terminated.

    Where both flags are set, the first one may mean an end of either kind, as ``done`` does. It
    does so unless some episode is truncated without it.

    Args:
        ends: Of each episode, whether its end has the flag of termination, and of truncation.
    """
    apart = any(truncated and not terminal for terminal, truncated in ends)
    return [terminal and (apart or not truncated) for terminal, truncated in ends]


def describe_ends(
    ends: Sequence[tuple[bool, bool]], terminal: str | None, truncated: str | None
) -> str:
    """Return a line on which flags were read as what."""
    if terminal is None:
        return "no flag of termination is read: all episodes count as truncated"
    count = sum(terminations(ends))
    found = f"{count:,} of {len(ends):,} episodes are terminated, by {terminal}"
    if truncated is None:
        whole = "; it may mark truncations, too" if count == len(ends) else ""
        return f"{found} alone, for there is no flag of truncation{whole}"
    both = sum(x and y for x, y in ends)
    kind = "terminated" if any(y and not x for x, y in ends) else "truncated"
    twice = f"; {both:,} have both flags and count as {kind}" if both else ""
    return f"{found} and {truncated}{twice}"


def describe_last(episodes: Sequence[Episode], source: str) -> str:
    """Return a line on the last observations of episodes.

    Args:
        episodes: At least one.
        source: Where those that are known come from.
    """
    absent = sum(not episode.complete for episode in episodes)
    if not absent:
        return f"the last observation of an episode is {source}"
    most = "" if absent == len(episodes) else f" of {absent:,} of {len(episodes):,} episodes"
    return f"the observation after the last action{most} is absent; its reward and end are kept"
