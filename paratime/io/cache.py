"""Where what is made once is kept."""

import os
from pathlib import Path


def cache_root(cache_dir: str | None) -> Path:
    """Return the folder of caches: the one given, ``$PARATIME_CACHE``, or ``~/.cache/paratime``."""
    return Path(cache_dir or os.environ.get("PARATIME_CACHE") or "~/.cache/paratime").expanduser()
