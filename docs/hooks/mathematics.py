"""Formulas, from LaTeX to MathML, which browsers show without a script."""

import re
from html import unescape

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)


def render(html: str) -> str:
    """Replace the formulas in a page that ``pymdownx.arithmatex`` has marked."""
    return FORMULA.sub(_formula, html)


def _formula(match: re.Match[str]) -> str:
    display = "block" if match[1] == "div" else "inline"
    return str(convert(unescape(match[2]), display=display))
