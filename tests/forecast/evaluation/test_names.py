"""Series may have any names: figures, tables, pages and CSV show them as text."""

from dataclasses import replace

import pandas as pd
import pytest
from forecast.backtests import series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paratime.forecast.commands.predict import write_table
from paratime.forecast.data.labels import label_text
from paratime.forecast.data.sources.table import Table, read_table
from paratime.forecast.evaluation import charts
from paratime.forecast.evaluation.baselines import seasonal_naive
from paratime.forecast.evaluation.report import score_table, write_backtest_report, write_series
from paratime.forecast.evaluation.rolling import rolling
from paratime.io.figures import save_figure

NAMES = ["$x$", "a_b^{c}", "_x", "\\frac{", '<b>&"', "a\nb", "\x1b[2J", "=1+1", "-7", "\ud800"]
NAMES += ["x" * 999]
NASTY = st.sampled_from("$_^\\{}<&=+-@\t\n\r \x1b\ud800")
ANY = st.text(st.one_of(NASTY, st.characters()), max_size=9)


def show(folder, name):
    data = series(channels=2, lengths=(60, 31), nan=False)
    entries = [entry | {"item_id": f"{name}{i or ''}"} for i, entry in enumerate(data.entries)]
    data = replace(data, entries=entries, channels=(name, f"{name}2"))
    found = seasonal_naive(rolling(data, 6))
    backtests = {name or "model": found, "other": found}
    lines = score_table(backtests).splitlines()
    assert len(lines) == 3 and all(x.isprintable() for x in lines)
    save_figure(charts.fans(found, note=name), str(folder / "fans.png"))
    write_backtest_report(backtests, folder / "report.html", note=name, fans=1)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page.split("<body>")[1]
    write_series(backtests, folder / "series.csv")
    assert len(pd.read_csv(folder / "series.csv", lineterminator="\n")) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_known_names_are_shown(tmp_path, name):
    show(tmp_path, name)


@pytest.mark.slow
@settings(deadline=None, max_examples=30, derandomize=True)
@given(ANY)
def test_any_name_is_shown(tmp_path_factory, name):
    show(tmp_path_factory.mktemp("names"), name)


@settings(
    deadline=None,
    max_examples=15,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ANY.map(label_text).filter(lambda x: x and "\x00" not in x))
def test_a_table_of_forecasts_is_read_with_the_names_that_it_was_written_with(tmp_path, name):
    steps = pd.date_range("2024-01-01", periods=4, freq="D")
    frame = pd.DataFrame({"item_id": name, "timestamp": steps, "target": [-1.5, 2.0, 3.0, 4.0]})
    write_table(frame, str(tmp_path / "a.csv"))
    found, expected = Table(str(tmp_path / "a.csv")).read(), read_table(frame)
    assert (
        [x["item_id"] for x in found.entries] == [x["item_id"] for x in expected.entries] == [name]
    )
    assert found.entries[0]["target"].tolist() == expected.entries[0]["target"].tolist()
