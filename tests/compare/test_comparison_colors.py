"""Colours of mixers: they stand out from the paper, and are told apart by who sees fewer."""

import re
from itertools import combinations

import numpy as np
import pytest

from paratime.compare import report, svg
from paratime.io.html import STYLE

TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
"""Oklab, https://bottosson.github.io/posts/oklab."""

SEEN_BY = {
    "most": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
"""Machado, Oliveira and Fernandes, 2009, at a severity of one; of linear red, green and blue."""


def colors(scheme: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the colour of the paper, and those of mixers, as linear red, green and blue."""
    index = ("light", "dark").index(scheme)
    paper = re.findall(r"--paper: (#\w+);", STYLE)[index]
    found = [re.findall(rf"--c{i}: (#\w+);", report.STYLE)[index] for i in range(svg.COLORS)]
    return linear(paper), [*map(linear, found)]


def linear(color: str) -> np.ndarray:
    wide = color[1:] if len(color) == 7 else "".join(2 * x for x in color[1:])
    value = np.array([int(wide[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_colors_stand_out_from_the_paper(scheme):
    paper, found = colors(scheme)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for color in found:
        high, low = sorted((float(x @ weights) for x in (color, paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3, "WCAG 2.1, contrast of graphics"


@pytest.mark.parametrize("seen_by", SEEN_BY)
@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_colors_are_told_apart_by_who_sees_fewer(scheme, seen_by):
    seen = np.clip(np.array(colors(scheme)[1]) @ np.transpose(SEEN_BY[seen_by]), 0, 1)
    lab = np.cbrt(seen @ np.transpose(TO_LMS)) @ np.transpose(TO_LAB)
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 0.1
