"""Files that hold series: tables in CSV and Parquet, and data entries in JSON Lines."""

import warnings
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import pandas as pd
from gluonts.dataset.common import MetaData, infer_file_type
from gluonts.exceptions import GluonTSDataError
from pandas.errors import EmptyDataError, ParserError, ParserWarning

from paratime.errors import InputError
from paratime.forecast.rows import Columns, Files

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet",)
JSON_LINES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")
"""What stands for a missing number in CSV. Names may well be ``NA``: they are only missing if
nothing is there."""


def find(path: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return a file, those of a folder (none hidden), or those that match a pattern.

    Raises:
        InputError: There is none, or a file with another suffix.
    """
    root = Path(path)
    if root.is_dir():
        there = [p for p in sorted(root.rglob("*")) if p.name.endswith(suffixes)]
        found = [p for p in there if not any(x[0] == "." for x in p.relative_to(root).parts)]
    else:
        found = [root] if root.exists() else [Path(p) for p in sorted(glob(path, recursive=True))]
    known = " or ".join([", ".join(suffixes[:-1]), suffixes[-1]])
    if not found:
        expected = f"files with suffix {known}" if root.is_dir() else "a file, folder or pattern"
        remedy = f"paths are taken from the working directory, {Path.cwd()}"
        raise InputError(f"path {path}", expected, "none there", remedy)
    for file in found:
        if not file.name.endswith(suffixes):
            got = "".join(file.suffixes) or "none"
            raise InputError(str(file), f"suffix {known}", got, "convert or rename the file")
    return found


def read_frames(paths: list[Path], columns: Columns) -> tuple[pd.DataFrame, Files, tuple[str, ...]]:
    """Read tables, one below the other; say how many rows each has, and which columns are unused.

    Raises:
        InputError: A file is no table, or lacks a column.
    """
    whole = [
        _parquet(path) if path.name.endswith(PARQUET) else _csv(path, columns) for path in paths
    ]
    unused = dict.fromkeys(name for frame in whole for name in columns.unused(frame))
    frames = [columns.select(x, path.name) for path, x in zip(paths, whole, strict=True)]
    files = [(path.name, len(frame)) for path, frame in zip(paths, frames, strict=True)]
    return pd.concat(frames, ignore_index=True), files, tuple(unused)


def _csv(path: Path, columns: Columns) -> pd.DataFrame:
    missing = {column: [""] for column in columns.text}
    missing |= {column: [*MISSING] for column in columns.numbers}
    options: dict[str, Any] = {
        "encoding": "utf-8-sig",
        "index_col": False,
        "skipinitialspace": True,
    }
    try:
        with warnings.catch_warnings(action="error", category=ParserWarning):
            columns.check([*pd.read_csv(path, nrows=0, **options)], path.name)
            return pd.read_csv(
                path,
                dtype=dict.fromkeys(columns.text, "str"),
                na_values=missing,
                keep_default_na=False,
                low_memory=False,
                **options,
            )
    except InputError:
        raise
    except EmptyDataError:
        remedy = "check that it was written whole"
        raise InputError(str(path), "a header and rows", "an empty file", remedy) from None
    except (ParserError, ParserWarning, ValueError, OSError, EOFError) as error:
        remedy = "check its commas, quotes and encoding"
        raise InputError(str(path), "CSV text in UTF-8", _line(error), remedy) from None


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        remedy = "pip install pyarrow"
        raise InputError(str(path), "the package pyarrow", "none installed", remedy) from None
    except (ValueError, OSError) as error:
        raise InputError(str(path), "a Parquet file", _line(error), "write it again") from None


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the data entries of a file.

    Raises:
        InputError: The file is empty, or a line of it is no JSON object.
    """
    line = 0
    try:
        loader = infer_file_type(path)
        if not len(loader):
            raise InputError(str(path), "data entries", "an empty file", "write one a line")
        for line, entry in enumerate(loader, start=1):
            if not isinstance(entry, dict):
                got = repr(str(entry)[:40])
                raise InputError(f"{path}, line {line}", "a JSON object", got, "write one a line")
            yield entry
    except GluonTSDataError:
        remedy = "write one a line, and null for what is missing"
        raise InputError(f"{path}, line {line + 1}", "a JSON object", "no JSON", remedy) from None
    except (OSError, EOFError) as error:
        raise InputError(str(path), "a readable file", _line(error), "write it again") from None


def read_metadata(folder: Path) -> Any:
    """Return GluonTS's metadata of a dataset folder.

    Raises:
        InputError: There is none, or it lacks a frequency.
    """
    places = [folder / "metadata.json", folder / "metadata" / "metadata.json"]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        got, remedy = "none", "write freq and prediction_length to it"
        raise InputError(str(folder), "a file metadata.json beside train", got, remedy)
    try:
        return MetaData.parse_file(path)
    except ValueError as error:
        raise InputError(str(path), "GluonTS metadata", _line(error), "mend it") from None


def _line(error: Exception) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split()) or type(error).__name__
