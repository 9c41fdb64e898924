"""``paratime forecast plot``: a figure of forecasts with their intervals."""

from dataclasses import replace
from difflib import get_close_matches

from paratime.cli.arguments import chosen
from paratime.errors import InputError
from paratime.forecast.commands.predict import print_note
from paratime.forecast.data.features import check_ahead, in_roles, unseen_labels
from paratime.forecast.data.labels import label_text, shorten
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.evaluation.rolling import with_future
from paratime.forecast.model.calibration import doubts
from paratime.io.figures import check_figure, save_figure


def run(
    model: str,
    out: str,
    data: str | None = None,
    source: Source | None = None,
    items: tuple[str, ...] = (),
) -> None:
    """Draw forecasts with their intervals after the end of each series.

    Args:
        model: Folder that ``paratime forecast fit`` wrote, or checkpoint of ``paratime fit``.
        out: Figure to write, .png, .svg or .pdf.
        data: Table (.csv, .parquet) or data entries of GluonTS, as for paratime forecast fit.
        source: A source with options, instead of a path.
        items: Names of the series to draw; the first twelve by default.
    """
    from paratime.forecast.evaluation.backtest import backtest
    from paratime.forecast.gluonts.loading import load_network

    check_figure(out)
    from paratime.forecast.evaluation.charts import PANELS, fans

    task = load_network(model)
    found = chosen(data, source, series_source).at(task.spec.freq).read()
    given = in_roles(select_series(found, items), task.spec.roles)
    check_ahead(given.entries, task.spec.prediction_length)
    if not any(entry["target"].size for entry in given.entries):
        raise InputError("series", "some with a history", "none", "plot other items")
    ahead = with_future(given, task.spec.prediction_length)
    drawn = backtest(task, ahead, windows=1)
    doubt = doubts(task.network.calibration)
    save_figure(fans(drawn, note=doubt), out)
    print_note(unseen_labels(given, task.spec))
    empty, panels = drawn.windows.left_out, drawn.mean.shape[0] * drawn.mean.shape[2]
    print_note(f"{len(empty)} series without history not drawn ({shorten(empty)})" * bool(empty))
    print_note(f"drew the first {PANELS} of {panels} forecasts; see --items" * (panels > PANELS))
    print_note(doubt)
    print(f"{'figure':<20} {out}")


def select_series(data: Collection, items: tuple[str, ...]) -> Collection:
    """Return the named series, by default all."""
    named = {entry["item_id"]: entry for entry in data.entries}
    items = tuple(map(label_text, items))
    for name in items:
        if name not in named:
            near = get_close_matches(name, named, n=1)
            hint = f"nearest: {near[0]}" if near else "see paratime forecast data"
            raise InputError("items", "names of series", repr(name), hint)
    return replace(data, entries=[named[name] for name in items]) if items else data
