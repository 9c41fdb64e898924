"""The folder for files that are made once and kept: corpora, episodes, compiled kernels."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_root(cache_dir: str | None = None) -> Path:
    """Return the folder of caches.

    Args:
        cache_dir: The folder; by default ``$PARATIME_CACHE``, or the platform's folder for caches,
            such as ``~/.cache/paratime`` on Linux.
    """
    given = cache_dir or os.environ.get("PARATIME_CACHE")
    return Path(given).expanduser() if given else user_cache_path("paratime", appauthor=False)
