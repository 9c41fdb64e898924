"""Paths as users write them, which no shell may have read."""

import os


def expanded(path: str) -> str:
    """Return a path with ``~`` and ``$VARIABLES`` replaced, those that are unknown excepted."""
    return os.path.expanduser(os.path.expandvars(path))
