"""Where caches are, by platform and environment."""

import sys
from pathlib import Path

import pytest

from paratime.errors import InputError
from paratime.io.cache import cache_root, user_cache


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ".cache/paratime"),
        ("darwin", "Library/Caches/paratime"),
        ("win32", "Local/paratime/Cache"),
    ],
)
@pytest.mark.parametrize("given", (None, "", "relative/folder"))
def test_a_cache_is_where_the_platform_has_it(platform, expected, given, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    monkeypatch.delenv("PARATIME_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert user_cache() == cache_root() == tmp_path / expected


def test_the_environment_names_a_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("PARATIME_CACHE", raising=False)
    assert user_cache() == cache_root() == tmp_path / "xdg" / "paratime"
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    assert cache_root("~/mine") == Path("~/mine").expanduser()


@pytest.mark.parametrize("given", (None, "~/mine", "~"))
def test_without_a_home_it_says_what_to_set(given, monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.delenv("PARATIME_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(InputError, match="expected a home directory, got none; set PARATIME_CACHE"):
        cache_root(given)
    monkeypatch.setenv("PARATIME_CACHE", "/mine")
    assert cache_root() == Path("/mine")
