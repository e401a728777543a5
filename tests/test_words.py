"""Numbers in words: shares, aligned tables, bars, and JSON that any reader takes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import words


def test_shares_in_per_cent():
    assert [words.percent(v) for v in (0, 1, 0.2567, np.float32(0.5), 1.5)] == ["0.0 %", "100.0 %", "25.7 %", "50.0 %", "150.0 %"]
    assert [words.percent(v) for v in (None, math.nan, math.inf, np.float64("nan"))] == ["-"] * 4
    assert words.percent(0.98765, 2) == "98.77 %" and words.percent(0.5, 0) == "50 %"


def test_a_summary_is_printed_aligned(capsys):
    words.show({"a": 1, "longer": "x"})
    words.show({})
    assert capsys.readouterr().out == "  a       1\n  longer  x\n"


def test_columns_are_as_wide_as_their_widest_cell():
    text = words.table(["name", "share", ""], [["a", "1.0 %", "note"], ["longer", "10.0 %", ""]], left=(0, 2))
    assert text.splitlines() == ["  name     share", "  a        1.0 %  note", "  longer  10.0 %"]
    assert words.table(["n"], [[7], [10]], left=(), indent=0).splitlines() == [" n", " 7", "10"]
    with pytest.raises(ValueError, match="1 cells below a head of 2"):
        words.table(["a", "b"], [[1]])


@given(st.lists(st.lists(st.text("abc ", max_size=6), min_size=3, max_size=3), max_size=5), st.sets(st.integers(0, 2)))
def test_every_cell_stands_in_its_column(rows, left):
    head = ["first", "second", "third"]
    lines = words.table(head, rows, left=left, indent=0).split("\n")
    wide = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells, line in zip([head, *rows], lines, strict=True):
        start = 0
        for i, (cell, w) in enumerate(zip(cells, wide, strict=True)):
            assert line.ljust(200)[start : start + w] == (cell.ljust(w) if i in left else cell.rjust(w))
            start += w + 2


def test_bars_are_as_long_as_their_shares():
    lines = words.histogram({"cat": 0.25, "a very long name": 0.005}, width=100).splitlines()
    assert lines[0] == f"  {'cat':>16}  25.0 %  {'#' * 25}" and lines[1] == "  a very long name   0.5 %  "


def test_files_hold_json_that_any_reader_takes(tmp_path):
    def refuse(name):
        raise AssertionError(name)

    path = tmp_path / "x.json"
    tree = {"nan": math.nan, "list": (1, np.inf, np.float32(0.5)), "array": np.array([[1, 2]]), "none": None, "b": True}
    words.write_json(path, tree)
    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found == {"nan": None, "list": [1, None, 0.5], "array": [[1, 2]], "none": None, "b": True}
    with pytest.raises(TypeError, match="write_json: tree must hold only"):
        words.write_json(path, {"set": {1}})
    assert json.loads(path.read_text()) == found  # the old file stands
    with pytest.raises(TypeError, match="config must hold only.*finite"):
        words.json_text({"x": math.nan}, "config")
