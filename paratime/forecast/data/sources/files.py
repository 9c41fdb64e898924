"""Files that hold series: tables in CSV and Parquet, and data entries in JSON Lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from gluonts.dataset.common import MetaData, infer_file_type
from gluonts.exceptions import GluonTSDataError

from paratime.errors import InputError, one_line
from paratime.forecast.data.sources.rows import Columns, Files
from paratime.io.files import CSV_OPTIONS, PARQUET, reading_csv, reading_parquet

JSON_LINES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")
"""What stands for a missing number in CSV. Names may well be ``NA``: they are only missing if
nothing is there."""


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
    with reading_csv(path):
        columns.check([*pd.read_csv(path, nrows=0, **CSV_OPTIONS)], path.name)
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(columns.text, "str"),
            na_values=missing,
            keep_default_na=False,
            low_memory=False,
            **CSV_OPTIONS,
        )


def _parquet(path: Path) -> pd.DataFrame:
    with reading_parquet(path):
        return pd.read_parquet(path)


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
        raise InputError(str(path), "a readable file", one_line(error), "write it again") from None


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
        raise InputError(str(path), "GluonTS metadata", one_line(error), "mend it") from None
