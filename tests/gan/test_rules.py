"""The rule of `shapes`, read off a picture: the data keeps it, and each sort of violation is found and called by its kind."""

import numpy as np
import pytest

from gan.metrics.rules import KINDS, broken_rules, rule_breaking
from minigrad import data
from minigrad.data.synthetic import count_parts, label_parts

SIZE = 32


def drawn(part, count, rows=200, size=SIZE):
    return data.load("shapes", part=part, count=count, size=size, limit=rows, seed=count).x.copy()


def broken(images, part="discs", count=3):
    """The kinds that every one of the pictures breaks; and none breaks another."""
    found = broken_rules(images, part, count)
    for kind, each in found.items():
        assert each.all() or not each.any(), kind
    return {kind for kind, each in found.items() if each.all()}


@pytest.mark.parametrize("size", [16, 28, 32, 48])
@pytest.mark.parametrize("part, most", [("discs", 9), ("bars", 3)])
def test_the_data_keeps_its_own_rule(part, most, size):
    for count in range(1, max(most, size // 5 if part == "bars" else 0) + 1):
        images = drawn(part, count, 100, size)
        assert rule_breaking(images, part, count) == dict.fromkeys([*KINDS, "any"], 0.0), count
        assert rule_breaking(images / np.float32(127.5) - 1, part, count)["any"] == 0  # as a generator draws them


@pytest.mark.parametrize("part", ["discs", "bars"])
@pytest.mark.parametrize("count", [2, 4])
def test_a_part_too_many_or_too_few_is_a_wrong_count(part, count):
    assert broken(drawn(part, count), part, 3) == {"count"}


def board(*spots, size=SIZE):
    """A picture with white rectangles (top, left, height, width) and discs (row, column, radius)."""
    picture, (rows, columns) = np.zeros((size, size)), np.mgrid[:size, :size]
    for spot in spots:
        if len(spot) == 4:
            top, left, height, width = spot
            picture[top : top + height, left : left + width] = 1
        else:
            picture = np.maximum(picture, np.hypot(rows - spot[0], columns - spot[1]) <= spot[2])
    return np.uint8(255 * picture)[None, None]


GOOD = [(5, 5, 3.2), (5, 26, 3.2), (26, 5, 3.2)]


@pytest.mark.parametrize("spots, kinds", [
    (GOOD, set()),
    ([*GOOD, (26, 26, 3.2)], {"count"}),
    (GOOD[:2], {"count"}),
    ([], {"count"}),
    ([*GOOD[:2], (22, 10, 8, 8)], {"shape"}),  # a square
    ([*GOOD[:2], (20, 5, 1, 9), ], {"shape"}),  # a stroke
    ([*GOOD[:2], (26, 5, 3.2), (25, 5, 2, 6)], {"shape"}),  # a disc with a tail
    ([*GOOD[:2], (20, 20, 1, 1)], {"size"}),  # a speck
    ([*GOOD[:2], (22, 16, 7.2)], {"size"}),
    ([*GOOD[:2], (16, 3, 3.2)], {"border"}),
], ids=str)
def test_each_sort_of_wrong_disc_is_called_by_its_kind(spots, kinds):
    assert broken(board(*spots)) == kinds


BARS = [(8, 4, 18, 4), (10, 13, 16, 4), (6, 22, 20, 4)]


@pytest.mark.parametrize("spots, kinds", [
    (BARS, set()),
    (BARS[:2], {"count"}),
    ([*BARS[:2], (20, 21, 4, 4), (24, 23, 4, 2), (8, 22, 12, 2)], {"shape"}),  # ragged
    ([*BARS[:2], (22, 19, 4, 11)], {"shape", "size"}),  # lying
    ([*BARS[:2], (2, 22, 28, 4)], {"size"}),  # too long
    ([*BARS[:2], (20, 22, 5, 2)], {"size"}),  # too short
    ([*BARS[:2], (12, 28, 16, 4)], {"border"}),
], ids=str)
def test_each_sort_of_wrong_bar_is_called_by_its_kind(spots, kinds):
    assert broken(board(*spots), "bars") == kinds


def test_two_parts_that_touch_are_one_and_wrong():
    merged = np.maximum(board((10, 10, 3.2), (26, 5, 3.2), (5, 26, 3.2)), board((10, 16, 3.2)))
    assert broken(merged, "discs", 4) == {"count", "shape", "size"}


def test_shares_count_each_picture_once():
    images = np.concatenate([board(*GOOD), board(*GOOD[:2]), board(*GOOD[:2], (20, 20, 1, 1)), board((20, 20, 1, 1))])
    assert rule_breaking(images, "discs", 3) == {"count": 0.5, "shape": 0.0, "size": 0.5, "border": 0.0, "any": 0.75}


def test_labels_number_the_parts_and_corners_touch():
    picture = np.uint8([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 0, 0]])[None, None]
    np.testing.assert_array_equal(label_parts(picture)[0], [[6, 0, 0, 8], [0, 6, 0, 8], [0, 0, 0, 0]])
    assert count_parts(picture).tolist() == [2] and count_parts(picture[:0]).shape == (0,)


def test_wrong_arguments_are_told():
    for wrong, message in (((board(*GOOD), "stars", 3), "'discs' or 'bars'"), ((board(*GOOD), "discs", 0), "count"),
                           ((np.zeros((2, 3, 8, 8)), "discs", 3), "one channel")):
        with pytest.raises(ValueError, match=message):
            broken_rules(*wrong)
