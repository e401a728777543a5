"""`folder:` has one scanning rule. Random trees, built on disk, against the rule written down a second time in a few lines."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad.data import DataError, load

NAMES = st.sampled_from(["cat", "dog", "eel", "val", "Ünicode", "10", "9"])
FILES = st.lists(st.sampled_from(["a.png", "b.PNG", ".c.png", "notes.txt", "._a.png"]), unique=True, max_size=3)
HIDDEN = (".", "__MACOSX")
# a class: the files in it, and those in a folder below it, whose name may be hidden
CLASS = st.tuples(FILES, st.sampled_from(["deeper", ".hidden", "__MACOSX"]), FILES)
PART = st.tuples(st.dictionaries(st.one_of(NAMES, st.just(".git")), CLASS, max_size=3), FILES)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "x.png"
    Image.new("L", (2, 2), 7).save(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write(where, names, picture):
    os.makedirs(where, exist_ok=True)
    for name in names:
        with open(os.path.join(where, name), "wb") as file:
            file.write(picture)


def build(where, part, picture, link):
    """The part of a tree on disk; with `link`, each class is a link to a folder elsewhere and leads back to the top."""
    classes, loose = part
    write(where, loose, picture)
    for i, (name, (files, deeper, below)) in enumerate(classes.items()):
        real = where + f"-elsewhere-{i}" if link else os.path.join(where, name)
        write(real, files, picture)
        write(os.path.join(real, deeper), below, picture)
        if link:
            os.symlink(real, os.path.join(where, name))
            os.symlink(where, os.path.join(real, "back"))
            os.symlink(real, os.path.join(real, "self"))


def seen(names):
    return [name for name in names if name.lower().endswith(".png") and not name.startswith(HIDDEN)]


def held(part):
    """{class: how many pictures}, of the visible ones."""
    return {name: len(seen(files)) + (0 if deeper.startswith(HIDDEN) else len(seen(below)))
            for name, (files, deeper, below) in part[0].items() if not name.startswith(HIDDEN)}


def wrong(part, known=None):
    """Whether something in a split does not fit."""
    counts = held(part)
    full = [name for name, n in counts.items() if n]
    loose = bool(seen(part[1])) and bool(full or known)
    if known is None:
        return loose or bool(full) and len(full) < len(counts)
    return loose or any(name not in known and (known or n) for name, n in counts.items())


@given(PART, st.one_of(st.none(), PART), st.sampled_from(["test", "val"]), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_tree_is_read_by_the_rule(picture, tmp_path_factory, train, other, name, link):
    top = str(tmp_path_factory.mktemp("tree"))
    if other is None:
        train[0].pop("val", None)
        build(os.path.join(top, "all"), train, picture, link)
        path = os.path.join(top, "all")
    else:
        path = os.path.join(top, "all")
        build(os.path.join(path, "train"), train, picture, False)
        build(os.path.join(path, name), other, picture, False)
    counts = held(train)
    classes = sorted(n for n, count in counts.items() if count)
    total = sum(counts.values()) + len(seen(train[1]))
    if wrong(train) or not total:
        with pytest.raises(DataError):
            load(f"folder:{path}", size=1, cache=False)
    else:
        data = load(f"folder:{path}", size=1, cache=False)
        assert len(data) == total
        assert data.classes == (tuple(classes) if len(classes) > 1 else ())
        if len(classes) > 1:
            assert np.bincount(data.y, minlength=len(classes)).tolist() == [counts[c] for c in classes]
    if other is not None and not wrong(train):
        there = held(other)
        if wrong(other, classes) or not sum(there.values()) + len(seen(other[1])):
            with pytest.raises(DataError):
                load(f"folder:{path}", size=1, train=False, cache=False)
        else:
            data = load(f"folder:{path}", size=1, train=False, cache=False)
            if len(classes) > 1:  # numbers come from train/, whatever is absent here
                assert data.classes == tuple(classes)
                assert np.bincount(data.y, minlength=len(classes)).tolist() == [there.get(c, 0) for c in classes]


def test_a_test_folder_that_lacks_a_class_keeps_the_numbers_of_train(picture, tmp_path):
    for where in ("train/ant", "train/bee", "train/cow", "test/bee", "test/cow", "val/ant"):
        write(str(tmp_path / where), ["a.png"], picture)
    for train, classes, y in ((True, 3, [0, 1, 2]), (False, 3, [1, 2])):
        data = load(f"folder:{tmp_path}", size=1, train=train)
        assert len(data.classes) == classes and data.y.tolist() == y
    os.rename(tmp_path / "test", tmp_path / ".test")  # then val/ is the test set
    assert load(f"folder:{tmp_path}", size=1, train=False).y.tolist() == [0]


def test_all_that_does_not_fit_is_named_in_one_message(picture, tmp_path):
    for where in ("train/ant", "train/bee", "test/wasp", "test/ant", "extra"):
        write(str(tmp_path / where), ["a.png"], picture)
    write(str(tmp_path / "train"), [f"{i}.png" for i in range(9)], picture)
    write(str(tmp_path / "test"), ["loose.png"], picture)
    os.makedirs(tmp_path / "train" / "cow")
    os.symlink("nowhere", tmp_path / "train" / "bee" / "lost.png")
    with pytest.raises(DataError) as caught:
        load(f"folder:{tmp_path}", train=False)
    for words in ("extra", "train/: ", "0.png, 1.png", "and 4 more", "classes without pictures: cow", "bee/lost.png", "test/: ",
                  "loose.png", "classes that train/ does not have (it has ant, bee): wasp", "Move or remove"):
        assert words in str(caught.value), words


def test_a_folder_called_train_is_a_class_where_it_is_one(picture, tmp_path):
    for where in ("train", "bus", "car"):
        write(str(tmp_path / where), ["a.png"], picture)
    assert load(f"folder:{tmp_path}", size=1).classes == ("bus", "car", "train")


def test_what_is_no_file_is_no_picture(picture, tmp_path):
    write(str(tmp_path / "x"), ["a.png"], picture)
    os.mkfifo(tmp_path / "x" / "pipe.png")  # opening it would wait for ever
    os.symlink("loop.png", tmp_path / "x" / "loop")
    os.symlink("loop", tmp_path / "x" / "loop.png")
    os.makedirs(tmp_path / "x" / "album.png")
    with pytest.raises(DataError, match="lead nowhere: loop.png"):
        load(f"folder:{tmp_path}/x", size=1)
    os.unlink(tmp_path / "x" / "loop.png")
    assert len(load(f"folder:{tmp_path}/x", size=1)) == 1
