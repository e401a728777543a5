"""Grids, resizing and picture files."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad.data import make_grid, resize, save_gif, save_png, to_uint8


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


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 24), st.integers(1, 24), st.integers(0, 100))
@settings(max_examples=60)
def test_resize_equals_pillow(height, width, new_height, new_width, seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, 1, height, width), np.uint8)
    found = resize(images, (new_height, new_width))
    assert found.shape == (2, 1, new_height, new_width) and found.dtype == np.uint8
    for ours, image in zip(found[:, 0], images[:, 0], strict=True):
        theirs = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
        assert np.abs(ours.astype(int) - theirs).max() <= 1


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
    (lambda p: resize(np.zeros((1, 1, 2, 2), np.uint8), 0), "at least 1"),
])
def test_wrong_calls_say_what_is_wrong(tmp_path, call, words):
    with pytest.raises(ValueError, match=words):
        call(tmp_path / "x.png")
    assert os.listdir(tmp_path) == []
