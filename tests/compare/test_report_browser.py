"""The page of a comparison in a real browser, from a file, without a network."""

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
from compare import browser, grids

from paratime.compare.report import write_page
from paratime.io.html import document

PROGRAM = browser.find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium: install it, or name it by CHROMIUM"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    found = browser.Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(grids.broken(tmp_path_factory.mktemp("broken")))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(grids.hostile(tmp_path_factory.mktemp("hostile")))


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.reader(file)]


@pytest.mark.parametrize("name", ("page", "hostile"))
@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_it_says_nothing_and_asks_for_nothing(chromium, request, name, scheme):
    path = request.getfixturevalue(name)
    chromium.open(path, prefers_color_scheme=scheme)
    chromium("document.querySelectorAll('details').forEach(x => x.open = true)")
    assert chromium.complaints == []
    assert chromium.requests == [path.resolve().as_uri()]


def test_the_console_is_heard(chromium, tmp_path):
    path = tmp_path / "loud.html"
    path.write_text("<script>console.error('no'); fetch('https://example.org'); lost()</script>")
    chromium.open(path)
    said = str(chromium.complaints)
    assert "'no'" in said and "lost is not defined" in said
    assert "https://example.org/" in chromium.requests


def test_a_script_that_got_into_a_page_does_not_run(chromium, tmp_path):
    image = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    body = f'<script>stolen = 1</script><img src="{image}"><img src="https://example.org/a.png">'
    (tmp_path / "page.html").write_text(document("page", body, script="let own = 2;"))
    chromium.open(tmp_path / "page.html")
    assert chromium("[typeof stolen, own]") == ["undefined", 2]
    assert chromium("[...document.images].map(x => x.naturalWidth)") == [9, 0]
    assert len(chromium.complaints) == 2, "one of the script, one of the image on the network"


def test_its_numbers_are_those_of_the_files(chromium, page):
    chromium.open(page)
    results, costs = (rows_of(page.parent / f"{name}.csv") for name in ("results", "costs"))
    there = 0
    for place, domain in enumerate(grids.GRID.domains):
        heads, *rows = chromium(
            f"[...document.querySelectorAll('#runs-{place} tr')].map(row => [...row.cells].map("
            "x => x.dataset.value ?? (x.textContent === '-' ? '' : x.textContent)))"
        )
        heads = [head.strip() for head in heads]
        for header, *body in (results, costs):
            found = [dict(zip(header, row, strict=True)) for row in body if row[0] == domain]
            filled = [x for x in header[1:] if any(row[x] for row in found)]
            shown = [dict(zip(heads, row, strict=True)) for row in rows]
            assert [[row[x] for x in filled] for row in shown] == [
                [x[y] for y in filled] for x in found
            ]
            assert {*filled} <= {*heads}
        there += len(rows)
    assert there == 70


def test_its_means_are_those_of_the_files(chromium, page):
    chromium.open(page)
    shown = chromium(
        "[...document.querySelectorAll('#headline tbody tr')].map(row => [...row.cells].map("
        "x => x.dataset.value ?? x.textContent))"
    )
    header, *rows = rows_of(page.parent / "results.csv")
    for mixer, *values in shown:
        for value, (domain, facts) in zip(values, grids.GRID.domains.items(), strict=True):
            column = header.index(facts["headline"])
            found = [float(x[column]) for x in rows if x[:2] == [domain, mixer]]
            assert float(value) == pytest.approx(fmean(found), rel=1e-14, nan_ok=True)


def sorted_by(chromium: browser.Browser, column: int) -> tuple[str, list[float]]:
    """Return what a column says of its order, and its numbers."""
    order = f"document.querySelector('#headline thead').rows[0].cells[{column}].ariaSort"
    cells = f"[...document.querySelectorAll('#headline tbody tr')].map(x => x.cells[{column}]"
    return chromium(order), [float(x) for x in chromium(f"{cells}.dataset.value)")]


def test_columns_are_sorted_by_click_and_what_is_no_number_stays_last(chromium, page):
    chromium.open(page)
    before = chromium("document.querySelectorAll('[aria-sort]').length")
    click = "document.querySelectorAll('#headline button')[3].click()"
    chromium(click)
    order, up = sorted_by(chromium, 3)
    assert before == 0 and order == "ascending"
    assert math.isnan(up[-1]) and up[:-1] == sorted(up[:-1]) and len(up) == 8
    chromium(click)
    order, down = sorted_by(chromium, 3)
    assert order == "descending"
    assert math.isnan(down[-1]) and down[:-1] == up[-2::-1]


def test_columns_are_sorted_by_keyboard(chromium, page):
    chromium.open(page)
    chromium("document.querySelectorAll('#headline button')[1].focus()")
    for key, code, expected in (("Enter", 13, "ascending"), (" ", 32, "descending")):
        chromium.press(key, code)
        order, found = sorted_by(chromium, 1)
        assert order == expected
        assert found == sorted(found, reverse=order == "descending")
    chromium("document.querySelectorAll('#headline button')[0].click()")
    names = chromium("[...document.querySelectorAll('#headline tbody th')].map(x => x.textContent)")
    assert names == sorted(grids.MIXERS) and sorted_by(chromium, 1)[0] is None


def test_a_mixer_is_hidden_in_every_figure_and_shown_again(chromium, page):
    chromium.open(page)
    switch = "document.querySelector('[data-switch=\"2\"]')"
    count = '[...document.querySelectorAll(\'figure [data-mixer="{}"], figure[data-mixer="{}"]\')]'
    count += ".filter(x => getComputedStyle(x).display !== 'none').length"
    shown, others = chromium(count.format(2, 2)), chromium(count.format(3, 3))
    chromium(f"{switch}.click()")
    assert shown > 10 and chromium(count.format(2, 2)) == 0
    assert chromium(count.format(3, 3)) == others
    assert chromium(f"{switch}.ariaPressed") == "false"
    chromium(f"{switch}.click()")
    assert chromium(count.format(2, 2)) == shown and chromium(f"{switch}.ariaPressed") == "true"


@pytest.mark.parametrize("name", ("page", "hostile"))
@pytest.mark.parametrize("width", (320, 360, 768, 1280))
def test_it_is_no_wider_than_the_screen(chromium, request, name, width):
    chromium.open(request.getfixturevalue(name), width=width)
    chromium("document.querySelectorAll('details').forEach(x => x.open = true)")
    assert chromium("document.documentElement.scrollWidth") <= width == chromium("innerWidth")


BOXES = """[...document.querySelectorAll('figure')].filter(x => x.querySelector('.mark')).map(
    x => [...x.querySelectorAll('[data-mixer] text, .mark')].map(y => [y.getBoundingClientRect()]
    .map(z => [y.tagName, z.left, z.top, z.right, z.bottom])[0]))"""
"""Of each figure with marks, the boxes of marks and labels."""


@pytest.mark.parametrize("width", (400, 1280))
def test_labels_of_quality_against_cost_are_all_there_and_cover_nothing(chromium, page, width):
    chromium.open(page, width=width)
    figures = [x for x in chromium(BOXES) if len(x) == 2 * len(grids.MIXERS)]
    scatters = figures[: len(grids.GRID.domains)]
    assert len(scatters) == 3
    for found in scatters:
        labels = [box[1:] for box in found if box[0] == "text"]
        assert len(labels) == len(grids.MIXERS)
        for a, b in combinations(labels, 2):
            assert min(a[2], b[2]) - max(a[0], b[0]) < 1 or min(a[3], b[3]) - max(a[1], b[1]) < 4


def test_tables_fit_a_wide_screen_and_their_rows_are_alike(chromium, tmp_path):
    mixers = ["ParaGRU(block_size=4)", "ParaLSTM(block_size=4)", "Mamba"]
    domains = {name: grids.GRID.domains[name] for name in ("tokens", "series")}
    grid = replace(grids.GRID, domains=domains, mixers=mixers)
    chromium.open(write_page(grids.make(tmp_path, grid)))
    assert chromium(CUT) == []
    tables = "[...document.querySelectorAll('.sortable')].filter(x => x.offsetHeight)"
    heights = chromium(f"{tables}.map(x => [...x.tBodies[0].rows].map(y => y.offsetHeight))")
    assert heights and all(max(x) - min(x) <= 1 for x in heights)


CUT = """[...document.querySelectorAll('.wide')].filter(x => !x.closest('details'))
    .filter(x => x.scrollWidth > x.clientWidth).map(x => x.ariaLabel)"""
"""Tables that are open, of which some is out of sight."""


def test_a_shade_says_that_a_table_can_be_scrolled(chromium, page, tmp_path):
    chromium.open(page, width=320)
    assert chromium(CUT)
    image = "getComputedStyle(document.querySelector('.wide')).backgroundAttachment"
    assert chromium(image) == "local, scroll"


def test_its_tables_fit_on_paper(chromium, page):
    chromium.open(page, width=688)  # 210 mm less two margins of 14 mm
    chromium.call("Emulation.setEmulatedMedia", media="print")
    wide = chromium(
        "[...document.querySelectorAll('.sortable')].filter("
        "x => x.offsetWidth > document.body.clientWidth).map(x => x.id)"
    )
    chromium.call("Emulation.setEmulatedMedia", media="")
    assert wide == []


def test_it_is_dark_where_the_reader_wants_that(chromium, page):
    colors = []
    for scheme in ("light", "dark"):
        chromium.open(page, prefers_color_scheme=scheme)
        colors.append(chromium("getComputedStyle(document.body).backgroundColor"))
    assert colors == ["rgb(255, 255, 255)", "rgb(21, 24, 28)"]


def test_names_and_texts_are_never_markup(chromium, hostile):
    chromium.open(hostile)
    assert chromium("[document.scripts.length, document.images.length, typeof stolen]") == [
        *(1, 0),
        "undefined",
    ]
    names = chromium("[...document.querySelectorAll('#headline tbody th')].map(x => x.textContent)")
    assert names == grids.HOSTILE
