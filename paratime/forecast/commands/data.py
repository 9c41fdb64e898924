"""``paratime forecast data``: a summary of a source of series."""

from paratime.cli.arguments import chosen
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.data.summary import summarize


def run(data: str | None = None, source: Source | None = None) -> None:
    """Summarise a source of series: number, lengths, missing values and features.

    Args:
        data: Table (.csv, .parquet) or data entries of GluonTS, as for paratime forecast fit.
        source: A source with options, instead of a path.
    """
    print(summarize(chosen(data, source, series_source).read()))
