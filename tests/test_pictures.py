"""Grids, sheets, figures and picture files."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad.pictures import (
    Caption,
    colour,
    columns,
    confidence,
    equation,
    heat,
    lines,
    magnified,
    make_grid,
    new_figure,
    save_gif,
    save_png,
    spans,
    stacked,
    to_uint8,
)


def test_to_uint8_is_exact_at_the_ends_and_inverts_normalisation():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_uint8((levels / 127.5 - 1).astype(np.float32)), levels)
    assert to_uint8(np.float32([-9, -1, 0, 1, 9, np.nan, np.inf, -np.inf])).tolist() == [0, 0, 128, 255, 255, 0, 255, 0]
    with pytest.raises(TypeError, match="int64"):
        to_uint8(np.zeros(3, int))


@given(st.integers(1, 10), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 5), st.integers(1, 12),
       st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=60)
def test_grid_holds_every_picture_at_its_place(n, channels, height, width, columns, padding, scale):
    images = np.random.default_rng(n).integers(0, 256, (n, channels, height, width), np.uint8)
    grid = make_grid(images, columns, padding=padding, scale=scale)
    columns = min(columns, n)
    rows = -(-n // columns)
    assert grid.shape == (padding + rows * (height * scale + padding), padding + columns * (width * scale + padding), 3)
    for i, image in enumerate(images):
        top = padding + (i // columns) * (height * scale + padding)
        left = padding + (i % columns) * (width * scale + padding)
        cell = grid[top:top + height * scale:scale, left:left + width * scale:scale]
        assert np.array_equal(cell, np.broadcast_to(image.transpose(1, 2, 0), cell.shape))


def test_small_digits_are_magnified_labels_are_written_and_nan_is_seen():
    grid = make_grid(np.zeros((4, 1, 28, 28), np.uint8))
    assert grid.shape == (2 + 2 * 58, 2 + 2 * 58, 3)
    labelled = make_grid(np.zeros((2, 1, 28, 28), np.uint8), labels=["7", "a very long name indeed"])
    assert labelled.shape[0] == 2 + 56 + 14 + 2 and (labelled[60:, :, :] < 128).any()
    broken = np.zeros((1, 1, 2, 2), np.float32)
    broken[0, 0, 1, 1] = np.nan
    assert make_grid(broken, scale=1, padding=0)[1, 1].tolist() == [255, 0, 255]


def test_files_are_written_whole(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    save_png(tmp_path / "one.png", images[0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), images[0].transpose(1, 2, 0))
    save_png(tmp_path / "grid.png", images)
    save_png(tmp_path / "pil.png", Image.new("RGB", (3, 2)))
    save_gif(tmp_path / "x.gif", [images[:2], images[1:]], milliseconds=50)
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.n_frames == 2 and gif.info["duration"] == 50 and gif.info["loop"] == 0
    assert sorted(os.listdir(tmp_path)) == ["grid.png", "one.png", "pil.png", "x.gif"]


@pytest.mark.parametrize("call, words", [
    (lambda p: make_grid(np.zeros((2, 2, 4, 4), np.uint8)), r"\(2, 2, 4, 4\)"),
    (lambda p: make_grid(np.zeros((0, 1, 4, 4), np.uint8)), "N >= 1"),
    (lambda p: make_grid(np.zeros((2, 1, 4, 4), np.uint8), 0), "columns"),
    (lambda p: make_grid(np.zeros((2, 1, 4, 4), np.uint8), labels=["a"]), "2 images but 1 labels"),
    (lambda p: save_png(p, np.zeros((4, 4))), "float64"),
    (lambda p: save_gif(p, []), "one or more frames"),
])
def test_wrong_calls_say_what_is_wrong(tmp_path, call, words):
    with pytest.raises(ValueError, match=words):
        call(tmp_path / "x.png")
    assert os.listdir(tmp_path) == []


# ---- sheets and figures


@given(st.floats(0, 1), st.integers(0, 3))
def test_confidence_is_never_rounded_up_to_certainty(p, digits):
    text = confidence(p, digits)
    assert not text.startswith("100") and abs(float(text.strip("> %")) - 100 * p) <= 1.01 * 10.0**-digits


def test_whole_grey_levels_are_drawn_exactly():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(colour(levels.astype(np.float32) / np.float32(255)), np.repeat(levels, 3, axis=1))
    with pytest.raises(ValueError, match="C = 1 or 3"):
        colour(np.zeros((1, 2, 4, 4)))


def test_no_change_is_white_on_digits_and_grey_on_photographs():
    assert (magnified(np.zeros((1, 1, 4, 4)))[0] == 255).all()
    assert (magnified(np.zeros((1, 3, 4, 4)))[0] == 128).all()
    d = np.zeros((1, 1, 1, 2), np.float32)
    d[..., 0], d[..., 1] = 0.25, -0.25
    pixels, factor = magnified(d)
    red, blue = pixels[0, :, 0, 0].astype(int), pixels[0, :, 0, 1].astype(int)
    assert factor == 4 and red[0] > red[2] + 100 and blue[2] > blue[0] + 100


def test_pictures_have_the_size_of_what_they_hold():
    grey = colour(np.random.default_rng(0).random((4, 1, 8, 8)))
    sheet = columns([grey, grey], ["original", "result"], [["a\nb"] * 4, [Caption("c", fooled=True)] * 4], "title")
    assert sheet.dtype == np.uint8 and sheet.shape[0] > 2 * 104 and sheet.shape[1] > 4 * 104
    assert ((sheet == (190, 20, 30)).all(-1)).any()  # red text
    photo = colour(np.random.default_rng(0).random((3, 3, 224, 224)))
    whole = equation(list(photo), ["cat\n9 %", "noise", "dog\n9 %"])
    assert whole.shape[0] > 224 and 3 * 224 < whole.shape[1] < 3 * 224 + 200
    np.testing.assert_array_equal(whole[14 : 14 + 224, 14 : 14 + 224], photo[0].transpose(1, 2, 0))
    both = stacked([sheet, whole])
    assert both.shape == (len(sheet) + len(whole), max(sheet.shape[1], whole.shape[1]), 3) and (both[-1, -1] == 255).all()
    assert spans({"a": np.array([1.0, 2, 3]), "b": np.array([0.1])}, "t", "x").ndim == 3
    assert heat(np.array([[np.nan, 1], [0, np.nan]]), ("a", "b"), "t").ndim == 3
    assert lines([dict(x=[0, 1], series={"a": [1, 2], "b": ([1, 2], [0, 1], [2, 3])}, across="x", down="y")]).ndim == 3


def test_figures_need_no_display_and_leave_no_state():
    figure, draw = new_figure(2.0, 1.0)
    figure.add_subplot().plot([0, 1])
    assert draw().shape == (110, 220, 3) and draw().dtype == np.uint8
    code = ("import sys, numpy as np; from minigrad import pictures; pictures.bars(['a'], {'x': [0.5]}, 't', '%'); "
            "print('matplotlib.pyplot' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
