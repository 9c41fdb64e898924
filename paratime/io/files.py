"""Files that users name: how they are found, and what is said of those that cannot be read."""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

from pandas.errors import EmptyDataError, ParserError, ParserWarning

from paratime.errors import InputError, one_line

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)
CSV_OPTIONS: dict[str, Any] = {
    "encoding": "utf-8-sig",
    "index_col": False,
    "skipinitialspace": True,
}


def find(path: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return a file, those of a folder (none hidden), or those that match a pattern, sorted.

    Raises:
        InputError: There is none, or a file with another suffix.
    """
    root = Path(path)
    if root.is_dir():
        there = [p for p in sorted(root.rglob("*")) if p.name.endswith(suffixes)]
        found = [p for p in there if not any(x[0] == "." for x in p.relative_to(root).parts)]
    else:
        found = [root] if root.exists() else [Path(p) for p in sorted(glob(path, recursive=True))]
    *others, last = suffixes
    known = f"{', '.join(others)} or {last}" if others else last
    if not found:
        expected = f"files with suffix {known}" if root.is_dir() else "a file, folder or pattern"
        remedy = f"paths are taken from the working directory, {Path.cwd()}"
        raise InputError(f"path {path}", expected, "none there", remedy)
    for file in found:
        if not file.name.endswith(suffixes):
            got = "".join(file.suffixes) or "none"
            raise InputError(str(file), f"suffix {known}", got, "convert or rename the file")
    return found


@contextmanager
def reading_csv(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a file that is read as CSV.

    Raises:
        InputError: It is empty, or no CSV.
    """
    try:
        with warnings.catch_warnings(action="error", category=ParserWarning):
            yield
    except InputError:
        raise
    except EmptyDataError:
        remedy = "check that it was written whole"
        raise InputError(str(path), "a header and rows", "an empty file", remedy) from None
    except (ParserError, ParserWarning, ValueError, OSError, EOFError, zlib.error) as error:
        remedy = "check its commas, quotes and encoding"
        raise InputError(str(path), "CSV text in UTF-8", one_line(error), remedy) from None


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a file that is read as Parquet.

    Raises:
        InputError: It is none, or pyarrow is not installed.
    """
    try:
        yield
    except ImportError:
        expected, remedy = "the package pyarrow", "pip install pyarrow"
        raise InputError(str(path), expected, "none installed", remedy) from None
    except (ValueError, OSError) as error:
        raise InputError(str(path), "a Parquet file", one_line(error), "write it again") from None
