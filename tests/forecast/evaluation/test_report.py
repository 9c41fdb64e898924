"""Tables, charts and the page of a backtest: aligned, self-contained and whole."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from paratime.errors import InputError
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.evaluation import charts
from paratime.forecast.evaluation.backtest import Backtest
from paratime.forecast.evaluation.baselines import seasonal_naive
from paratime.forecast.evaluation.metrics import METRICS
from paratime.forecast.evaluation.report import (
    format_metric,
    score_table,
    write_backtest_report,
    write_series,
)
from paratime.forecast.evaluation.rolling import RollingWindows, rolling

H = 6


def series(count: int = 12, freq: str = "M", channels: int = 1) -> Collection:
    random, entries = np.random.default_rng(0), []
    for number in range(count):
        wave = (
            10
            + np.sin(np.arange(60) * np.pi / 6)
            + (0.1 + number / 9) * random.normal(size=(channels, 60))
        )
        wave[:, 5] = np.nan
        target = wave if channels > 1 else wave[0]
        entries.append({"item_id": f"<{number}>", "start": "2001-04-01", "target": target})
    return from_gluonts(entries, freq)


def models(windows: RollingWindows) -> dict[str, Backtest]:
    naive = seasonal_naive(windows)
    wide = replace(naive, quantiles=2 * naive.quantiles - naive.mean[..., None])
    return {"ours & theirs": naive, "wider": wide}


@pytest.fixture
def both() -> dict[str, Backtest]:
    return models(rolling(series(), H, windows=3))


class Page(HTMLParser):
    """Tags with their attributes, and the cells of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_table_has_one_row_a_model_and_aligned_columns(both):
    lines = score_table(both).splitlines()
    assert len(lines) == 3 and lines[0].split() == ["model", *METRICS]
    for name in METRICS[:4]:
        end = lines[0].index(name) + len(name)
        for line in lines[1:]:
            assert line[end - 1].isdigit() and line[end] == " "
    assert lines[1].startswith("ours & theirs") and len({len(x) for x in lines}) == 1
    assert format_metric("MASE", both["wider"].overall["MASE"]) in lines[2].split()


@pytest.mark.parametrize(
    "metric, value, text",
    [
        ("MASE", 0.81234, "0.8123"),
        ("mean_wQL", 0.051234, "0.0512"),
        ("mean_wQL", 0.0007123, "0.000712"),
        ("mean_wQL", 5.1e-10, "5.10e-10"),
        ("mean_wQL", 0.0, "0.0000"),
        ("coverage_80", 0.7981, "79.8 %"),
        ("RMSE", 0.0012345, "0.00123"),
        ("RMSE", 4.7123, "4.71"),
        ("RMSE", 466.4, "466"),
        ("RMSE", 123456.7, "123,457"),
        ("mean_wQL", float("inf"), "inf"),
        ("MASE", float("nan"), "nan"),
    ],
)
def test_numbers_have_the_digits_that_matter(metric, value, text):
    assert format_metric(metric, value) == text


def test_series_go_to_csv_by_model(both, tmp_path):
    path = tmp_path / "new" / "series.csv"
    write_series(both, path)
    found = pd.read_csv(path)
    assert found.columns.tolist() == ["model", "item_id", "windows", *METRICS]
    assert found.model.value_counts().to_dict() == {"ours & theirs": 12, "wider": 12}
    expected = both["wider"].per_series
    rows = found[found.model == "wider"]
    assert rows.item_id.tolist() == expected.item_id.tolist()
    np.testing.assert_allclose(rows[[*METRICS]], expected[[*METRICS]], rtol=1e-5)
    assert [p.name for p in path.parent.iterdir()] == ["series.csv"]


def test_the_page_is_one_file_that_needs_no_other(both, tmp_path):
    path = tmp_path / "report.html"
    write_backtest_report(both, path, title="Sales <2024>", fans=5)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open, "every tag is closed"
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 2 + 5
    for image in images:
        head, data = image.split(",")
        assert head == "data:image/svg+xml;base64" and b"<svg" in base64.b64decode(data)
    assert not re.findall(r"""(?:href|src)=["'](?!data:)""", text) and "@import" not in text
    assert "Sales <2024>" in page.texts and "<0>" in page.texts, "names are escaped"
    for backtest in both.values():
        for metric, value in backtest.overall.items():
            assert format_metric(metric, value) in page.texts
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_page_has_scores_by_channel(tmp_path):
    data = replace(series(channels=2), channels=("rain", "wind"))
    naive = seasonal_naive(rolling(data, H))
    write_backtest_report({"naive": naive}, tmp_path / "r.html", note="a < b", fans=3)
    texts = Page((tmp_path / "r.html").read_text(encoding="utf-8")).texts
    alone = replace(data, entries=[x | {"target": x["target"][1]} for x in data.entries])
    expected = seasonal_naive(rolling(replace(alone, channels=()), H)).overall
    for metric, value in expected.items():
        assert naive.per_channel.loc["wind", metric] == pytest.approx(value)
    row = texts.index("wind, naive")
    assert texts[row + 2] == format_metric("MASE", expected["MASE"]) and "a < b" in texts


def test_the_page_is_the_same_each_time(both, tmp_path):
    for name in ("a", "b"):
        write_backtest_report(both, tmp_path / name, fans=2)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_worst_series_come_first(both, tmp_path):
    path = tmp_path / "report.html"
    write_backtest_report(both, path, fans=1)
    texts = Page(path.read_text(encoding="utf-8")).texts
    order = both["ours & theirs"].per_series.sort_values("MASE", ascending=False).item_id.tolist()
    found = [text for text in texts if re.fullmatch(r"<\d+>", text)]
    assert found == [*order[:6], *order[6:][::-1]]


def test_a_failure_leaves_the_old_page(both, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_: object) -> str:
        raise RuntimeError("no room")

    monkeypatch.setattr(charts, "svg", fail)
    with pytest.raises(RuntimeError):
        write_backtest_report(both, path)
    assert path.read_text() == "old"


def test_models_on_other_windows_are_refused(both, tmp_path):
    other = seasonal_naive(rolling(series(), H, windows=2))
    with pytest.raises(InputError, match=r"backtest 'other'.*windows of 'ours & theirs'"):
        write_backtest_report(both | {"other": other}, tmp_path / "x.html")
    with pytest.raises(InputError, match=r"at least one model"):
        write_backtest_report({}, tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def drawn(figure: charts.Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def outside(figure: charts.Figure) -> list[str]:
    """Return titles and labels that are cut off at the edge of a figure."""
    renderer, (axes,) = drawn(figure).get_renderer(), figure.axes
    titles = [t for t in axes.get_children() if isinstance(t, Text)]
    boxes = {
        text.get_text(): text.get_window_extent(renderer)
        for text in (*titles, axes.xaxis.label, axes.yaxis.label)
        if text.get_text()
    }
    return [
        name
        for name, box in boxes.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]


@pytest.mark.parametrize("freq", ("M", "Q", "Y", "W", "D", "h", "30min"))
def test_fan_charts_show_what_the_backtest_holds(freq):
    b = seasonal_naive(rolling(series(1, freq), H, windows=2))
    figure = charts.fan(b, 1)
    (axes,) = figure.axes
    median = next(line for line in axes.lines if line.get_color() == charts.COLORS[0])
    np.testing.assert_allclose(median.get_ydata(), b.quantile(0.5)[1, :, 0])
    actual = next(line for line in axes.lines if line.get_color() == charts.INK)
    np.testing.assert_allclose(actual.get_ydata()[1:], b.windows.target[1, :, 0])
    assert {x.get_text() for x in axes.texts} == {"median", "actual", "80 %", "95 %"}
    assert axes.get_title(loc="left") == "<0>" and not outside(figure)


def test_fan_charts_of_one_step_and_of_channels():
    one = charts.fan(seasonal_naive(rolling(series(1), 1)), 0)
    two = charts.fan(seasonal_naive(rolling(series(1, channels=2), H)), 0, channel=1)
    assert two.axes[0].get_title(loc="left") == "<0>, channel 1"
    data = replace(series(1, channels=2), channels=("rain", "wind"))
    named = charts.fan(seasonal_naive(rolling(data, H)), 0, channel=1)
    assert named.axes[0].get_title(loc="left") == "<0>, wind"
    assert not outside(one) and not outside(two)
    data = series(1)
    data.entries[0]["item_id"] = 20 * "Wide Words "
    long = charts.fan(seasonal_naive(rolling(data, H)), 0)
    assert "…" in long.axes[0].get_title(loc="left") and not outside(long)


def test_comparisons_label_every_model_apart(both):
    for figure in (charts.coverage(both), charts.horizon(both), charts.horizon(both, "mean_wQL")):
        (axes,) = figure.axes
        labels = [x for x in axes.texts if x.get_text() in both]
        assert len(labels) == 2 and not outside(figure)
        renderer = drawn(figure).get_renderer()
        first, second = (x.get_window_extent(renderer) for x in labels)
        assert not first.overlaps(second)
        assert len({x.get_color() for x in labels}) == 2
    naive = both["ours & theirs"]
    line = charts.coverage(both).axes[0].lines[1]
    np.testing.assert_allclose(line.get_ydata(), naive.intervals.empirical)
    line = charts.horizon(both).axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), naive.per_step["MASE"])


def test_charts_leave_the_settings_of_matplotlib_alone(both):
    before = dict(matplotlib.rcParams)
    charts.svg(charts.coverage(both))
    buffer = BytesIO()
    charts.horizon(both).savefig(buffer, format="png")
    assert dict(matplotlib.rcParams) == before and buffer.getvalue()[:4] == b"\x89PNG"
