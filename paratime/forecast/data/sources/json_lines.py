"""Series from JSON Lines, and from the dataset folders of GluonTS."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gluonts.dataset.common import MetaData, infer_file_type
from gluonts.exceptions import GluonTSDataError

from paratime.errors import InputError, naming, one_line
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.base import Source
from paratime.io.files import PARQUET, find
from paratime.io.paths import expanded
from paratime.io.processes import read_on_trial

JSON_LINES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the data entries of a file.

    Raises:
        InputError: The file is empty, or a line is not a JSON object.
    """
    if path.name.endswith(".arrow"):
        read_on_trial(path, "paratime.forecast.data.sources.arrow", "validate_file")
    line = 0
    try:
        loader = infer_file_type(path)
        if not len(loader):
            raise InputError(str(path), "data entries", "an empty file", "write one a line")
        for line, entry in enumerate(loader, start=1):
            if not isinstance(entry, dict):
                raise InputError(
                    f"{path}, line {line}", "a JSON object", repr(str(entry)[:40]), "one a line"
                )
            yield entry
    except GluonTSDataError:
        raise InputError(
            f"{path}, line {line + 1}", "a JSON object", "no JSON", "one a line, null where missing"
        ) from None
    except (OSError, EOFError) as error:
        raise InputError(str(path), "a readable file", one_line(error), "write it again") from None


def read_metadata(folder: Path) -> Any:
    """Return GluonTS's metadata of a dataset folder.

    Raises:
        InputError: It is missing, or lacks a frequency.
    """
    places = [folder / "metadata.json", folder / "metadata" / "metadata.json"]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise InputError(
            str(folder), "metadata.json next to train", "none", "write freq and prediction_length"
        )
    try:
        return MetaData.parse_file(path)
    except ValueError as error:
        raise InputError(str(path), "GluonTS metadata", one_line(error), "mend it") from None


@dataclass(frozen=True)
class JsonLines(Source):
    """GluonTS data entries, one JSON object a line, or a GluonTS dataset folder.

    A dataset folder holds ``metadata.json``, ``train`` and, usually, ``test``, whose entries are
    those of ``train`` with later steps. If it exists, ``test`` is read; of an item that it holds
    several times, for rolling evaluation, the longest entry. The metadata has the horizon.

    Args:
        path: A file (``.json``, ``.jsonl``, also with ``.gz``), a folder, or a pattern.
        freq: Frequency; that of a dataset folder's metadata by default.
    """

    path: str
    freq: str | None = None

    def at(self, freq: str) -> Source:
        """Return the source with this frequency, unless it has one."""
        return replace(self, freq=self.freq or freq)

    def read(self) -> Collection:
        """Return the series, in the order of their lines."""
        root = Path(expanded(self.path))
        if (root / "train").is_dir():
            return self._read_dataset(root)
        entries = [entry for path in find(self.path, JSON_LINES) for entry in read_entries(path)]
        with naming(self.path):
            return from_gluonts(entries, self.freq)

    def _read_dataset(self, root: Path) -> Collection:
        about = read_metadata(root)
        split = root / "test" if (root / "test").is_dir() else root / "train"
        paths = find(str(split), (*JSON_LINES, ".arrow", *PARQUET))
        entries = [entry for path in paths for entry in read_entries(path)]
        with naming(root):
            data = from_gluonts(entries, self.freq or about.freq)
        longest: dict[str, dict[str, Any]] = {}
        for entry in data.entries:
            known = longest.setdefault(entry["item_id"], entry)
            if entry["target"].shape[-1] > known["target"].shape[-1]:
                longest[entry["item_id"]] = entry
        return replace(data, entries=[*longest.values()], prediction_length=about.prediction_length)
