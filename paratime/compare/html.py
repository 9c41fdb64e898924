"""Tables and figures of a comparison, as HTML."""

import re
from collections.abc import Iterable, Sequence

from paratime.compare import svg
from paratime.compare.charts import Figure
from paratime.compare.summary import Cell
from paratime.compare.tables import Row, exact, texts
from paratime.io.html import escaped


def table(name: str, said: str, titles: Row, columns: Sequence[Row]) -> str:
    """Return a table that a reader can sort by each column.

    Args:
        name: Its id.
        said: What a reader hears of it who cannot see it, as plain text.
        titles: Of the columns, as plain text; a line break stays one.
        columns: Cells, as HTML.
    """
    heads = "".join(
        f'<th scope="col"><button type="button">{_breaking(x)}</button></th>' for x in titles
    )
    rows = "\n".join(f"<tr>{''.join(row)}</tr>" for row in zip(*columns, strict=True))
    return _scrolling(
        f'<table id="{name}" class="sortable"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table>",
        said,
    )


def _breaking(title: str) -> str:
    """Return a title that keeps its line breaks, and may be broken behind each underscore."""
    return escaped(title).replace("\n", "<br>").replace("_", "_<wbr>")


def cell(text: str, value: str = "", mark: str = "") -> str:
    """Return a cell.

    Args:
        text: What is seen, as plain text.
        value: The number in full, where it is one.
        mark: ``best``, ``level`` or nothing.
    """
    kind = f' class="{mark}"' if mark else ""
    number = f' data-value="{value}"' if value else ""
    seen = re.sub(r"± \S+", r'<span class="soft">\g<0></span>', escaped(text))
    return f"<td{kind}{number}>{seen}</td>"


def whole(value: int | None) -> str:
    """Return a cell of a whole number; a dash for None."""
    return cell("-") if value is None else cell(f"{value:,}", str(value))


def numbers(cells: Sequence[Cell], marks: Iterable[str] = ()) -> Row:
    """Return a column of numbers over seeds.

    Args:
        cells: The numbers.
        marks: Of each of them; none by default.
    """
    values = [exact(x.mean) if x.values else "" for x in cells]
    return [*map(cell, texts(cells), values, marks or [""] * len(cells))]


def mixer(index: int, name: str) -> str:
    """Return a mixer's mark and name."""
    return f"{svg.swatch(index)}{escaped(name).replace('(', '<wbr>(', 1)}"


def mixers(names: Iterable[str]) -> Row:
    """Return the column that says which mixer a row is of."""
    return [f'<th scope="row"><div>{mixer(i, x)}</div></th>' for i, x in enumerate(names)]


def switches(names: Iterable[str]) -> str:
    """Return the legend, whose entries show and hide what belongs to a mixer in all figures."""
    buttons = (
        f'<button type="button" aria-pressed="true" data-switch="{i}">{mixer(i, name)}</button>'
        for i, name in enumerate(names)
    )
    return f'<nav class="legend" aria-label="Mixers in figures">{"".join(buttons)}</nav>'


def figures(title: str, found: Iterable[Figure | None], note: str = "", fold: bool = False) -> str:
    """Return figures under a heading; nothing where there are none.

    Args:
        title: Heading, as plain text; none where there is one already.
        found: The figures; None is left out.
        note: What a reader has to know, as plain text.
        fold: Whether they are to be hidden at first.
    """
    drawn = "\n".join(_figure(x) for x in found if x is not None)
    if not drawn:
        return ""
    body = f'{paragraph(note)}<div class="figures">{drawn}</div>'
    return folded(title, body) if fold else f"<h3>{escaped(title)}</h3>{body}"


def folded(title: str, body: str) -> str:
    """Return HTML under a heading, hidden until a reader asks for it."""
    heading = f"<summary><h3>{escaped(title)}</h3></summary>"
    return f'<details class="fold">{heading}{body}</details>'


def terms(meanings: dict[str, str]) -> str:
    """Return what names mean, as plain text, in a list; nothing for none."""
    items = (f"<dt>{escaped(x)}</dt><dd>{escaped(said)}</dd>" for x, said in meanings.items())
    return f"<dl>{''.join(items)}</dl>" if meanings else ""


def paragraph(text: str) -> str:
    """Return plain text as a paragraph; nothing for nothing."""
    return f"<p>{escaped(text)}</p>" if text else ""


def _figure(figure: Figure) -> str:
    of = "" if figure.mixer is None else f' data-mixer="{figure.mixer}"'
    title = escaped(figure.title) if figure.mixer is None else mixer(figure.mixer, figure.title)
    return (
        f"<figure{of}><figcaption>{title}</figcaption>{figure.svg}{paragraph(figure.note)}"
        f"<details><summary>Data</summary>{_data(figure)}</details></figure>"
    )


def _data(figure: Figure) -> str:
    """Return the numbers of a figure as a table."""
    header, *rows = figure.rows
    heads = "".join(f'<th scope="col">{escaped(x)}</th>' for x in header)
    lines = ("".join(f"<td>{escaped(x)}</td>" for x in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return _scrolling(
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table>",
        f"Data of {figure.title}",
    )


def _scrolling(content: str, said: str) -> str:
    label = f'role="region" aria-label="{escaped(said)}"'
    return f'<div class="wide" tabindex="0" {label}>{content}</div>'
