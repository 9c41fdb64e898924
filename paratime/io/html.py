"""Pages of HTML that need no other file and no network, and tables of plain text."""

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from paratime.errors import abridged

LONGEST = 60
"""Characters of a cell of plain text."""

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
"""What all pages look like, in light and dark, on screens and on paper."""

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def escaped(value: object) -> str:
    """Return a value escaped for HTML, inside of attributes, too, and made ``printable``."""
    return printable(escape(str(value)))


def printable(text: str) -> str:
    """Return a text whose characters a page may hold; others, such as NUL, become U+FFFD."""
    return UNPRINTABLE.sub("\ufffd", text)


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """Return a page.

    Its security policy lets it run this script and no other, and load nothing but images that it
    holds itself; so the page stays harmless even where a name was not escaped.

    Args:
        title: Plain text.
        body: HTML.
        style: CSS, after that of all pages.
        script: JavaScript, run at the end of the body.
    """
    style = STYLE + style
    end = f"<script>{script}</script>\n" if script else ""
    policy = f"style-src {_hash(style)}; script-src {_hash(script)}"
    return PAGE.format(title=escaped(title), policy=policy, style=style, body=body, end=end)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain text: the first column is left-aligned, the others right-aligned."""
    rows = [[abridged(cell, LONGEST) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; {policy}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
{end}</body>
</html>
"""
