"""Files that users name: how they are found, and errors of those that cannot be read."""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.errors import EmptyDataError, ParserError, ParserWarning

from paratime.errors import InputError, in_line, one_line
from paratime.io.paths import expanded

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)
COPIES = 4
"""Of the contents of a file, at most, while it is read."""

CSV_OPTIONS: dict[str, Any] = {
    "encoding": "utf-8-sig",
    "index_col": False,
    "skipinitialspace": True,
}


def find(path: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return a file, those of a folder (none hidden), or those that match a pattern, sorted.

    ``~`` and ``$VARIABLES`` in the path are replaced.

    Raises:
        InputError: There is none, or a file with another suffix.
    """
    path = expanded(path)
    root = Path(path)
    if root.is_dir():
        files = [p for p in sorted(root.rglob("*")) if p.name.endswith(suffixes) and not p.is_dir()]
        found = [p for p in files if not any(x[0] == "." for x in p.relative_to(root).parts)]
    else:
        found = [root] if root.exists() else [Path(p) for p in sorted(glob(path, recursive=True))]
    *others, last = suffixes
    known = f"{', '.join(others)} or {last}" if others else last
    if not found:
        raise InputError(
            f"path {path}",
            expected=f"files with suffix {known}" if root.is_dir() else "a file, folder or pattern",
            got="none there",
            remedy=f"paths are taken from the working directory, {Path.cwd()}",
        )
    for file in found:
        check_file(file)
        if not file.name.endswith(suffixes):
            raise InputError(
                str(file),
                expected=f"suffix {known}",
                got="".join(file.suffixes) or "none",
                remedy="convert or rename the file",
            )
    return found


def check_file(path: Path) -> None:
    """Refuse what is no file: reading a pipe may wait forever, and a device has no end."""
    if not path.is_file():
        raise InputError(str(path), expected="a file", got=_kind(path), remedy="name another")


def _kind(path: Path) -> str:
    """Return what a path leads to that is no file."""
    if path.is_dir():
        return "a folder"
    return "a link to nothing" if path.is_symlink() and not path.exists() else "a device or pipe"


def check_fits(path: Path, size: int) -> None:
    """Refuse a file whose contents, unpacked and once more as episodes, exceed the free memory.

    Args:
        path: The file.
        size: Bytes of its contents.
    """
    free = _free_memory()
    if free is not None and COPIES * size > free:
        amounts = [f"{x / 2**30:.1f} GiB" for x in (free / COPIES, size)]
        raise InputError(str(path), f"at most {amounts[0]}", amounts[1], "split it, or free memory")


def _free_memory() -> int | None:
    """Return the bytes that Linux can give, None elsewhere."""
    with suppress(OSError, IndexError, ValueError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.split("MemAvailable:")[1].split()[0]) * 1024
    return None


def csv_columns(path: Path) -> list[str]:
    """Return the columns of a CSV file.

    Raises:
        InputError: It is no CSV, or two columns have one name; pandas would rename the second.
    """
    with reading_csv(path):
        first = pd.read_csv(path, nrows=1, header=None, dtype=str, **CSV_OPTIONS).iloc[0]
        columns = [*map(str, pd.read_csv(path, nrows=0, **CSV_OPTIONS))]
    names = first.dropna()
    twice = names[names.duplicated()]
    if len(twice):
        raise InputError(
            str(path),
            expected="columns of different names",
            got=f"{in_line(twice.iloc[0])!r} twice",
            remedy="rename or drop one",
        )
    return columns


@contextmanager
def reading_csv(path: Path) -> Iterator[None]:
    """Report in one line why a file cannot be read as CSV.

    Raises:
        InputError: It is empty, or not CSV.
    """
    try:
        with warnings.catch_warnings(action="error", category=ParserWarning):
            yield
    except InputError:
        raise
    except EmptyDataError:
        raise InputError(
            str(path),
            expected="a header and rows",
            got="an empty file",
            remedy="check that it was written whole",
        ) from None
    except (ParserError, ParserWarning, ValueError, OSError, EOFError, zlib.error) as error:
        raise InputError(
            str(path),
            expected="CSV text in UTF-8",
            got=one_line(error),
            remedy="check its commas, quotes and encoding",
        ) from None


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Report in one line why a file cannot be read as Parquet.

    Raises:
        InputError: It is not Parquet, or pyarrow is not installed.
    """
    try:
        yield
    except ImportError:
        raise InputError(
            str(path),
            expected="the package pyarrow",
            got="none installed",
            remedy="pip install pyarrow",
        ) from None
    except InputError:
        raise
    except Exception as error:  # damaged metadata raise many kinds
        raise InputError(
            str(path),
            expected="a Parquet file",
            got=one_line(error),
            remedy="write it again",
        ) from None
