"""Built-in sources (glyphs, mixtures, shapes), sources from disk, and `load` by name."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad.data import DataError, Pair, count_parts, load, load_images, load_labelled, save_png
from minigrad.data.glyphs import FONTS
from minigrad.data.photos import decoder

PICTURES = [("glyphs", {}), ("shapes", {}), ("shapes", {"part": "bars"})]
POINTS = ["ring", "grid", "swissroll"]


@pytest.mark.parametrize("name, options", [*PICTURES, *((name, {}) for name in POINTS)])
def test_made_by_seed_alone(name, options):
    data = load(name, limit=300, seed=3, **options)
    again = load(name, limit=300, seed=3, **options)
    assert np.array_equal(data.x, again.x)
    assert not np.array_equal(data.x, load(name, limit=300, seed=4, **options).x)
    assert not np.array_equal(data.x, load(name, limit=300, seed=3, train=False, **options).x)
    if (name, options) in PICTURES:  # a smaller limit is a prefix
        assert np.array_equal(data.x[:100], load(name, limit=100, seed=3, **options).x)
        assert data.x.dtype == np.uint8 and data.x.transpose(0, 2, 3, 1).flags.c_contiguous
    else:
        assert data.x.dtype == np.float32 and data.x.shape == (300, 2)


@pytest.mark.parametrize("size", [8, 28, 33, 64])
def test_glyphs_of_any_size(size):
    data = load("glyphs", limit=200, size=size)
    assert data.x.shape == (200, 1, size, size) and set(data.y) == set(range(10)) and data.classes[3] == "3"
    # every picture has ink, most of it is ground, and the border is (nearly) free
    assert (data.x.max(axis=(1, 2, 3)) > 100).all() and 0.05 < data.x.mean() / 255 < 0.35
    assert (data.x[:, :, [0, -1]] == 0).mean() > 0.8


def test_glyphs_are_balanced_and_legible():
    """A nearest-mean classifier, the weakest there is, must already tell most of them apart."""
    data, test = load("glyphs", limit=6000), load("glyphs", limit=500, train=False)
    assert np.bincount(data.y).min() > 500 and len(FONTS) >= 12
    means = np.stack([data.normalised()[data.y == k].mean(0) for k in range(10)])
    away = ((test.normalised()[:, None] - means) ** 2).sum(axis=(2, 3, 4))
    assert (away.argmin(1) == test.y).mean() > 0.7


def test_ring_and_grid_modes():
    ring, grid = load("ring", limit=20_000), load("grid", limit=20_000)
    assert ring.centres.shape == (8, 2) and grid.centres.shape == (25, 2)
    gaps = np.linalg.norm(ring.centres[:, None] - ring.centres, axis=-1) + 9 * np.eye(8)
    assert np.allclose(gaps.min(1), gaps.min()) and gaps.min() > 0.7  # the end point is not a second beginning
    assert sorted(set(grid.centres[:, 0])) == [-4, -2, 0, 2, 4]
    for data in (ring, grid):
        away = data.x - data.centres[data.y]
        assert abs(away.std() / data.std - 1) < 0.02 and np.bincount(data.y).min() > 600
        assert abs((np.linalg.norm(away, axis=1) < 3 * data.std).mean() - (1 - np.exp(-4.5))) < 0.003
    assert load("ring", limit=5, modes=3, radius=2.0).centres.shape == (3, 2)
    assert load("ring:modes=3,std=0.5", limit=5).std == 0.5
    assert load("shapes:part=bars,count=2", limit=5).classes == ("1 bar", "2 bars")


@given(st.integers(16, 48), st.sampled_from(["discs", "bars"]), st.integers(0, 1000), st.data())
@settings(max_examples=25)
def test_shapes_have_exactly_the_number_of_parts(size, part, seed, data):
    most = 9 if part == "discs" else size // 5
    count = data.draw(st.one_of(st.none(), st.integers(1, most)))
    made = load("shapes", limit=40, size=size, part=part, count=count, most=most, seed=seed)
    assert np.array_equal(count_parts(made.x), made.y + 1)
    assert np.array_equal(count_parts(made.normalised()), made.y + 1)
    assert count is None or (made.y + 1 == count).all()
    assert (made.x[:, :, [0, -1]] < 128).all() and (made.x[..., [0, -1]] < 128).all()


def flood(mask):
    """Connected parts by definition: pick, spread, remove."""
    todo, parts = {tuple(p) for p in np.argwhere(mask)}, 0
    while todo:
        parts, stack = parts + 1, [todo.pop()]
        while stack:
            i, j = stack.pop()
            for near in [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if near in todo:
                    todo.remove(near)
                    stack.append(near)
    return parts


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 0.9))
@settings(max_examples=50)
def test_count_parts_equals_flood_fill(seed, height, width, density):
    masks = np.random.default_rng(seed).random((5, height, width)) < density
    assert count_parts((masks[:, None] * 255).astype(np.uint8)).tolist() == [flood(mask) for mask in masks]


# ---- from disk


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "data"))
    for i, (where, box) in enumerate([("a", (60, 40)), ("a", (40, 60)), ("b", (10, 10))]):
        os.makedirs(tmp_path / "photos" / where, exist_ok=True)
        Image.new("RGB", box, (100 * i, 50, 200)).save(tmp_path / "photos" / where / f"{i}.png")
    (tmp_path / "photos" / "readme.txt").write_text("no picture")
    return tmp_path / "photos"


def test_folder(photos):
    for _ in range(2):  # the second time from the cache
        data = load(f"folder:{photos}", size=16)
        assert data.x.shape == (3, 3, 16, 16) and data.classes == ("a", "b") and data.y.tolist() == [0, 0, 1]
        assert data.x[:, :, 8, 8].tolist() == [[0, 50, 200], [100, 50, 200], [200, 50, 200]]
        assert data.x.transpose(0, 2, 3, 1).flags.c_contiguous
    cached = os.path.join(os.environ["HOME"], ".cache", "minigrad", "decoded")
    assert len(os.listdir(cached)) == 1 and not os.path.exists(os.environ["MINIGRAD_DATA"])
    with open(os.path.join(cached, os.listdir(cached)[0]), "r+b") as file:
        file.truncate(100)  # a damaged copy is made afresh
    assert load(f"folder:{photos}", size=16, grey=True).x.shape == (3, 1, 16, 16)
    assert load(f"folder:{photos}", size=16).x.shape == (3, 3, 16, 16)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(photos / "b" / "3.png")
    assert len(load(f"folder:{photos}", size=16)) == 4


def test_folder_with_train_and_test(photos):
    os.rename(photos / "a", photos / "train")
    os.rename(photos / "b", photos / "test")
    assert len(load(f"folder:{photos}", size=8)) == 2 and len(load(f"folder:{photos}", size=8, train=False)) == 1


def test_transparent_pictures_lie_on_white_and_exif_turns(photos):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(photos / "a" / "0.png")
    assert (load(f"folder:{photos}/a", size=8, limit=1).x == 255).all()
    turned = Image.new("RGB", (20, 10), "black")
    turned.paste("white", (0, 0, 10, 10))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera lay on its side: the left half belongs at the top
    turned.save(photos / "b" / "2.png", exif=exif)
    picture = load(f"folder:{photos}/b", size=8).x[0, 0]
    assert picture[0].min() > 200 and picture[-1].max() < 50


@given(st.binary(max_size=40), st.integers(0, 200))
@settings(max_examples=40)
def test_damaged_pictures_are_the_one_error_naming_the_file(tmp_path_factory, noise, at):
    where = tmp_path_factory.mktemp("damaged")
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(where / "x.png")
    content = bytearray((where / "x.png").read_bytes())
    content[at:at + len(noise)] = noise
    (where / "x.png").write_bytes(content)
    try:
        data = load(f"folder:{where}", size=8, cache=False)
    except DataError as error:
        assert error.path == str(where) and "1 of 1 pictures cannot be read: x.png (" in str(error)
    else:
        assert data.x.shape == (1, 3, 8, 8)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(ran) (w) file closefile\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("ending, content", [
    (".png", EPS), (".jpg", b"8BPS\0\1" + bytes(600)), (".png", b"SIMPLE  =                    T" + bytes(3000)),
    (".gif", b"\x00\x00\x01\x00\x01\x00" + bytes(600)), (".bmp", b"%PDF-1.4\n"), (".png", b"P3\nstuff"),
])
def test_only_a_few_formats_are_opened_whatever_the_name(tmp_path, monkeypatch, ending, content):
    def never(*args, **kwargs):
        raise AssertionError("another program was started")

    monkeypatch.setattr("subprocess.Popen", never)
    (tmp_path / f"a{ending}").write_bytes(content)
    with pytest.raises(DataError, match=f"a{ending}"):
        load(f"folder:{tmp_path}", size=8)
    with pytest.raises((OSError, ValueError)), decoder(tmp_path / f"a{ending}") as picture:
        picture.load()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in files on this system")
def test_a_pipe_among_the_pictures_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match="a pipe"):
        load(f"folder:{tmp_path}", size=8)
    with pytest.raises(DataError, match="a pipe"):
        load(f"text:{tmp_path / 'a.png'}")


def test_npz(tmp_path):
    images = np.arange(2 * 6 * 6 * 3, dtype=np.uint8).reshape(2, 6, 6, 3)
    path = tmp_path / "d.npz"
    np.savez(path, x_train=images, y_train=np.array([1, 0]), x_test=images[:1], y_test=np.array([1]),
             classes=["u", "v"])
    train, test = load(f"npz:{path}"), load(f"npz:{path}", train=False)
    assert np.array_equal(train.x, images.transpose(0, 3, 1, 2)) and train.y.tolist() == [1, 0]
    assert len(test) == 1 and train.classes == ("u", "v")
    assert load(f"npz:{path}#x_test").x.shape == (1, 3, 6, 6)
    assert load(f"npz:{path}", size=12).x.shape == (2, 3, 12, 12)
    np.savez(path, points=np.ones((4, 2)))
    assert load(f"npz:{path}").x.dtype == np.float32
    np.savez_compressed(path, x=images[..., 0])
    assert load(f"npz:{path}").x.shape == (2, 1, 6, 6)


def test_npz_mistakes(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, a=np.ones((2, 2)), b=np.ones((3, 2)))
    for name, words in ((f"npz:{path}", "cannot tell which"), (f"npz:{path}#c", "no array 'c'; it has: a float64")):
        with pytest.raises(DataError, match=words) as caught:
            load(name)
        assert "#KEY" in caught.value.remedy
    for key, value, words in (("x", np.ones((2, 2, 2, 2)), "neither"), ("x", np.array([["u"]]), "neither"),
                              ("x", np.full((2, 2), np.nan), "NaN")):
        np.savez(path, **{key: value})
        with pytest.raises(DataError, match=words):
            load(f"npz:{path}")
    np.savez(path, x=np.ones((3, 2)), y=np.ones(2, int))
    with pytest.raises(DataError, match="labels must be 3 integers"):
        load(f"npz:{path}")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="damaged"):
        load(f"npz:{path}")


def test_pair(photos, tmp_path):
    pair = load(f"pair:{photos}/a,{photos}/b", size=8)
    assert isinstance(pair, Pair) and len(pair.a) == 2 and len(pair.b) == 1 and len(load(
        f"pair:{photos}/a,{photos}/b", size=8, limit=1).a) == 1
    images = np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "p.npz", trainA=images, trainB=images[:1], testA=images[:1], testB=images)
    assert [len(side) for side in load(f"pair:{tmp_path}/p.npz")] == [2, 1]
    assert [len(side) for side in load(f"pair:{tmp_path}/p.npz", train=False)] == [1, 2]
    assert load(f"pair:{tmp_path}/p.npz#trainA,{photos}/a", size=8).b.x.shape == (2, 3, 8, 8)
    np.savez(tmp_path / "q.npz", noto=images, twemoji=images, category=np.arange(2))
    assert load(f"pair:{tmp_path}/q.npz", size=4).b.x.shape == (2, 3, 4, 4)
    for name in (f"pair:{photos}/a", "pair:a,b,c", "pair:,"):
        with pytest.raises(DataError, match="two sides"):
            load(name)
    np.savez(tmp_path / "q.npz", one=images)
    with pytest.raises(DataError, match="two domains"):
        load(f"pair:{tmp_path}/q.npz")


def test_text(tmp_path):
    (tmp_path / "t.txt").write_text("hällo 🐼\r\n" * 10, encoding="utf-8", newline="")
    train, test = load(f"text:{tmp_path}/t.txt"), load(f"text:{tmp_path}/t.txt", train=False)
    assert train.text(train.x) + test.text(test.x) == "hällo 🐼\r\n" * 10
    assert len(test) == 9 and train.classes == test.classes == tuple(sorted(set("hällo 🐼\r\n")))
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="UTF-8"):
        load(f"text:{tmp_path}/t.txt")
    (tmp_path / "t.txt").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        load(f"text:{tmp_path}/t.txt")


@pytest.mark.parametrize("name, options, error, words", [
    ("mnit", {}, ValueError, "did you mean 'mnist'.* There are: glyphs"),
    ("folder", {}, ValueError, "needs a path: folder:PATH"),
    ("glyphs:7", {}, ValueError, "key=value.*got '7'"),
    ("ring:modes=12,x", {}, ValueError, "got 'x'"),
    ("ring:modes=[1]", {}, ValueError, "a number or a word"),
    ("ring:moods=1", {}, ValueError, "no option moods"),
    ("ring:seed=1", {}, ValueError, "no option seed"),
    ("mnist:x=1", {}, ValueError, "no option x; it has: none"),
    ("glyphs", {"limit": 0}, ValueError, "limit"),
    ("glyphs", {"size": 4}, ValueError, "size"),
    ("ring", {"size": 28}, ValueError, "pictures"),
    ("ring", {"moods": 3}, ValueError, "no option moods; it has: modes, radius, std"),
    ("ring", {"modes": 0}, ValueError, "modes"),
    ("grid", {"modes": 24}, ValueError, "square"),
    ("shapes", {"part": "stars"}, ValueError, "stars"),
    ("shapes", {"count": 10}, ValueError, "between 1 and 9 discs"),
    ("folder:absent", {}, DataError, "no such folder"),
    ("npz:absent.npz", {}, DataError, "no such file"),
    ("text:absent.txt", {}, DataError, "no such file"),
])
def test_wrong_names_and_options_say_what_there_is(name, options, error, words):
    with pytest.raises(error, match=words):
        load(name, **options)


def test_folders_without_pictures_or_test_set(photos):
    with pytest.raises(DataError, match="no test set"):
        load(f"folder:{photos}", train=False)
    os.makedirs(photos / "empty")
    with pytest.raises(DataError, match="no pictures"):
        load(f"folder:{photos}/empty")
    save_png(photos / "empty" / "x.png", np.zeros((4, 4), np.uint8))
    assert len(load(f"folder:{photos}/empty", size=4)) == 1


def test_what_a_classifier_needs_is_asked_once():
    found = load_labelled("glyphs", train=False, size=8, limit=5)
    assert found.x.shape == (5, 1, 8, 8) and len(found.y) == 5
    assert load_images("glyphs", limit=2).is_images
    with pytest.raises(ValueError, match="'ring' has no labelled images; try glyphs"):
        load_labelled("ring")
    with pytest.raises(ValueError, match="'ring' holds no images; try glyphs"):
        load_images("ring")
