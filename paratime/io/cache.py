"""The folder for files that are made once and kept: corpora, episodes, compiled kernels."""

import os
import sys
from pathlib import Path

from paratime.errors import InputError


def cache_root(cache_dir: str | None = None) -> Path:
    """Return the folder of caches.

    Args:
        cache_dir: The folder; by default ``$PARATIME_CACHE``, or the platform's folder for caches,
            such as ``~/.cache/paratime`` on Linux.

    Raises:
        InputError: It is in a home directory, and none is known.
    """
    given = cache_dir or os.environ.get("PARATIME_CACHE")
    found = Path(os.path.expanduser(given)) if given else user_cache()
    if found.parts[:1] == ("~",):
        raise InputError(
            f"cache {found}",
            expected="a home directory",
            got="none",
            remedy="set PARATIME_CACHE to a folder",
        )
    return found


def user_cache() -> Path:
    """Return the platform's folder for caches of paratime; relative where no home is known.

    It is ``$XDG_CACHE_HOME/paratime`` where that variable is an absolute path, as the XDG Base
    Directory Specification 0.8 demands.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "paratime"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
        return Path(local) / "paratime" / "Cache"
    folder = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    return Path(os.path.expanduser(folder)) / "paratime"
