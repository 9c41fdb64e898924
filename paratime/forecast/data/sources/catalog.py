"""The sources of series by name, and the source of a path."""

from pathlib import Path

from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.competitions import Competition, TsData
from paratime.forecast.data.sources.json_lines import JSON_LINES, JsonLines
from paratime.forecast.data.sources.table import Table
from paratime.io.paths import expanded

SOURCES = (Competition, JsonLines, Table, TsData)
"""Sources that every command line accepts without their modules."""


def series_source(path: str) -> Source:
    """Return the source of a path by its suffix: data entries, or else a table."""
    entries = path.endswith(JSON_LINES) or (Path(expanded(path)) / "train").is_dir()
    return JsonLines(path) if entries else Table(path)
