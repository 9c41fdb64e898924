"""Labels of a comparison's figures: all are there, none covers another, and none is mistaken."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest

from paratime.compare import placing, svg


@pytest.mark.parametrize("places", ([5.0, 5.0, 5.0], [0.0, 170.0, 169.0, 168.0], [10.0], []))
def test_labels_are_moved_apart_and_stay_above_the_axis(places):
    found = placing.apart(places, 170)
    order = [found[i] for i in sorted(range(len(places)), key=lambda i: places[i])]
    assert all(b - a >= svg.LINE for a, b in pairwise(order))
    assert max(found, default=0) <= 170


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", (0.0, 3.0, 80.0))
def test_every_label_has_a_place_of_its_own_inside_the_figure(seed, spread):
    random, size = np.random.default_rng(seed), (306.0, 166.0)
    points = [(float(x), float(y)) for x, y in (120, 80) + spread * random.uniform(-1, 1, (8, 2))]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    boxes = []
    for point in points:
        box = placing.nearest(point, 100.0, taken + boxes, size)
        assert box is not None
        assert box[0] >= 0 and box[2] <= size[0] and box[1] >= 0 and box[3] <= size[1]
        boxes.append(box)
    for a, b in [*combinations(boxes, 2), *((x, y) for x in boxes for y in taken)]:
        assert not placing.overlap(a, b)


def test_a_label_is_beside_its_point_where_there_is_room():
    box = placing.nearest((50.0, 50.0), 60.0, [], (306.0, 166.0))
    assert box == (50 + placing.GAP, 44, 110 + placing.GAP, 56)
    assert placing.closest((50.0, 50.0), box) == (50 + placing.GAP, 50)
    left = placing.nearest((290.0, 50.0), 60.0, [], (306.0, 166.0))
    assert left[2] == 290 - placing.GAP
    assert placing.nearest((5.0, 5.0), 60.0, [(0, 0, 306, 166)], (306.0, 166.0)) is None
    assert placing.nearest((5.0, 5.0), 400.0, [], (306.0, 166.0)) is None


@pytest.mark.parametrize(
    "name, label",
    [
        ("ParaLSTM(block_size=4)", "ParaLSTM(block_size=4)"),
        ("mine.module.layers.MyLayer(size=4)", "MyLayer(size=4)"),
        ("mine.MyLayer", "mine.MyLayer"),
        ("ParaGRU(block_size=4, max_recurrent=0.5)", "ParaGRU(bloc…urrent=0.5)"),
    ],
)
def test_labels_keep_the_class_and_the_end(name, label):
    assert svg.shortened(name) == label and len(label) <= svg.LONGEST


def test_mixers_have_their_own_colour_and_dashes():
    groups = {svg.group(i, "").partition(" data")[0] for i in range(svg.COLORS * svg.DASHES)}
    assert len(groups) == svg.COLORS * svg.DASHES
    assert svg.group(9, "")[3:17] in svg.swatch(9).replace("swatch ", "")


def test_wide_letters_need_more_room():
    assert svg.wide("Mm") > svg.wide("ii") and math.isclose(svg.wide("abc"), 3 * svg.LETTER)
