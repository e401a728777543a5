"""Two domains by name: what is paired and what is not, files that are missing or wrong, beasts that differ in their coat alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import data
from minigrad.data import DataError, Pair, Paired
from minigrad.data.pairs import TESTED


@given(size=st.integers(16, 48), seed=st.integers(0, 99))
def test_the_partners_differ_in_their_coat_alone(size, seed):
    test = data.load("beasts", train=False, size=size, seed=seed, limit=8)
    assert isinstance(test, Paired) and test.a.x.shape == test.b.x.shape == (8, 3, size, size)
    moved = (test.a.x != test.b.x).any(1).mean((1, 2))
    assert (moved > 0.03).all() and (moved < 0.5).all()  # the beast, and not the meadow
    a, b = (side.x.astype(int) for side in test)
    coat = (a != b).any(1)
    assert np.ptp(b.transpose(0, 2, 3, 1)[coat], axis=1).mean() < np.ptp(a.transpose(0, 2, 3, 1)[coat], axis=1).mean()  # grey


def test_no_training_picture_has_its_partner():
    train = data.load("beasts", limit=100)
    assert type(train) is Pair and len(train.a) == len(train.b) == 100
    twins = data.load("beasts", train=False, limit=100)

    def shared(x, y):  # the share of equal pixels of each two
        return (x[:, None] == y[None]).all(2).mean((2, 3))

    assert np.diagonal(shared(twins.a.x[:30], twins.b.x[:30])).min() > 0.65
    for x, y in ((train.a.x, train.b.x), (train.a.x, twins.b.x), (train.b.x, twins.a.x)):
        assert shared(x[:60], y[:60]).max() < 0.65


def test_the_same_seed_gives_the_same_beasts():
    a, b, c = (data.load("beasts", limit=5, seed=s).a.x for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    for bad in (8, 500):
        with pytest.raises(ValueError, match="between 16 and 128"):
            data.load("beasts", size=bad)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    for name in ("emoji", "horse2zebra"):
        (tmp_path / name).mkdir()
    return tmp_path


def numbered(n, add=0):
    """Picture i is i everywhere."""
    return np.broadcast_to((np.arange(n) % 256 + add).astype(np.uint8)[:, None, None, None], (n, 8, 8, 3)).copy()


def test_emoji_are_split_so_that_only_test_pictures_have_partners(root):
    np.savez(root / "emoji" / "emoji_noto_twemoji_64.npz", noto=numbered(250), twemoji=numbered(250))
    train, test = (data.load("emoji", train=t) for t in (True, False))
    kinds = [set(side.x[:, 0, 0, 0].tolist()) for side in (*train, *test)]
    assert not kinds[0] & kinds[1] and kinds[2] == kinds[3] and not (kinds[0] | kinds[1]) & kinds[2]
    assert (len(train.a), len(train.b), len(test.a)) == (25, 25, TESTED) and isinstance(test, Paired)
    np.testing.assert_array_equal(test.a.x, test.b.x)
    assert data.load("emoji", size=16).a.x.shape[2:] == (16, 16)


@pytest.mark.parametrize("arrays", [{"noto": numbered(250)}, {"noto": numbered(250), "twemoji": numbered(249)},
                                    {"noto": numbered(TESTED), "twemoji": numbered(TESTED)},
                                    {"noto": numbered(250).astype(float), "twemoji": numbered(250)}])
def test_other_emoji_are_refused(root, arrays):
    np.savez(root / "emoji" / "emoji_noto_twemoji_64.npz", **arrays)
    with pytest.raises(DataError, match="needs noto and twemoji"):
        data.load("emoji")


def test_horses_and_zebras(root):
    np.savez(root / "horse2zebra" / "horse2zebra_64.npz", trainA=numbered(3), trainB=numbered(4, 100), testA=numbered(2),
             testB=numbered(5))
    train, test = (data.load("horse2zebra", train=t) for t in (True, False))
    assert [len(side) for side in (*train, *test)] == [3, 4, 2, 5] and type(test) is Pair
    assert (train.a.name, train.b.name) == ("horse", "zebra") and train.b.x.min() == 100


@pytest.mark.parametrize("name", ["horse2zebra", "summer2winter", "monet2photo", "emoji"])
def test_what_is_not_there_says_what_to_do(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"MINIGRAD_DATA.*{name}.*beasts is built in"):
        data.load(name)


def test_one_set_is_no_pair():
    with pytest.raises(ValueError, match="translation needs two"):
        data.load_pair("glyphs")
    with pytest.raises(ValueError, match="no images"):
        data.load_images("beasts")
