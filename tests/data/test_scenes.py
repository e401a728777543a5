"""Landscapes drawn as photographs and as cartoons: the same scenes in the test set, others in training, and what tells them
apart."""

import numpy as np
import pytest

from gan.translate import clear_share, oracle
from minigrad import data
from minigrad.data.scenes import NUMBERS, TESTED, TRAINED, drawn, texture
from minigrad.random import Stream


def test_what_is_there_and_the_same_seed_repeats_it():
    train, test = (data.load_pair("scenes", train=t, limit=20) for t in (True, False))
    assert isinstance(test, data.Paired) and not isinstance(train, data.Paired)
    for side, name in zip(train, ("photographs", "cartoons"), strict=True):
        assert side.x.shape == (20, 3, 32, 32) and side.x.dtype == np.uint8 and side.name == name
    again, other = data.load_pair("scenes", limit=20), data.load_pair("scenes", limit=20, seed=1)
    for a, b, c in zip(train, again, other, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        assert (a.x != c.x).any()
    few = data.load_pair("scenes", limit=7)
    np.testing.assert_array_equal(few.b.x, train.b.x[:7])
    assert (TRAINED, TESTED) == (1000, 256)


def test_test_scenes_are_drawn_twice_and_training_scenes_once():
    """The place of picture i of the other side among all, the nearest to photograph i first: without translation."""
    test, train = (data.load_pair("scenes", train=t, limit=100) for t in (False, True))
    ranks = [oracle(pair.a.normalised(), pair.b.normalised(), pair.a.normalised()).rank for pair in (test, train)]
    assert ranks[0] < 15 and 35 < ranks[1] < 65  # by chance 50.5


@pytest.mark.parametrize("size", [16, 32, 64])
def test_cartoons_have_clear_edges_and_flat_parts_and_photographs_have_neither(size):
    pair = data.load_pair("scenes", size=size, limit=30)
    assert clear_share(pair.b.x) > 1.5 * clear_share(pair.a.x)
    flat = [(np.diff(side.x.astype(int), axis=3) == 0).mean() for side in pair]
    assert flat[1] > 3 * flat[0]


def test_any_numbers_make_a_picture():
    for u in (np.zeros((1, NUMBERS)), np.ones((1, NUMBERS)), np.full((2, NUMBERS), 0.5)):
        for grain in (None, texture(Stream(0), len(u), 24)):
            x = drawn(u.astype(np.float32), 24, grain)
            assert x.shape == (len(u), 3, 24, 24) and x.min() >= 0 and x.max() <= 1 and x.std() > 0.05


@pytest.mark.parametrize("size", [15, 257])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="scenes: size must lie between 16 and 256"):
        data.load_pair("scenes", size=size)


def test_sets_of_one_side_are_named_and_without_them_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(data.DataError, match="Set MINIGRAD_DATA"):
        data.load_pair("photos2ghibli")
    for name in ("photos", "ghibli"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / f"{name}.npz", x=np.zeros((3, 8, 8, 3), np.uint8))
    pair = data.load_pair("photos2ghibli", size=4)
    assert (pair.a.name, pair.b.name, pair.b.x.shape) == ("photos", "ghibli", (3, 3, 4, 4))
    assert data.load_images("photos").name == "photos"
    with pytest.raises(data.DataError, match="cannot tell which array is the test data"):
        data.load_images("ghibli", train=False)
