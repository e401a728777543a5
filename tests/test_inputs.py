"""What commands do with --data: a default that is not there, too few pictures for a batch, pictures that cannot be read."""

import argparse
import contextlib
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from attacks import __main__ as attacks_main
from minigrad import command, data, inputs
from minigrad.data import DataError, disk, load
from minigrad.data.standard import SETS, is_here
from minigrad.kinds import RunError
from minigrad.random import Stream
from tests.parsers import COMMANDS, PACKAGES, parser_of


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def run(package, name, *words):
    """(exit status, what was printed) of a command in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main = attacks_main.main if package == "attacks" else lambda argv: command.main(package, PACKAGES[package], argv)
            status = main([name, *words])
        except SystemExit as leaving:
            status = leaving.code
    return status, out.getvalue()


class Loaded(Exception):
    """Carries the name of the data that a command asks for first."""


# ---- a default that is not there


@pytest.mark.parametrize("package, name", COMMANDS)
def test_without_any_data_no_command_stops_for_want_of_it(package, name, monkeypatch):
    """It asks for data that is made here, or for a model, and then the advice needs no data either."""
    def load_(name, **options):
        raise Loaded(name)

    monkeypatch.setattr(data, "load", load_)
    needed = {("nets", "classify"): ["x.png"], ("nets", "generate"): ["runs/x"], ("gan", "sample"): ["runs/x"],
              ("gan", "evaluate"): ["runs/x", "--judge", "runs/y"]}.get((package, name), [])
    dry = [] if package == "attacks" and name == "panda" or needed else ["--dry-run"]
    pictures = package != "gan" or name in ("dcgan", "toogood", "mlp", "progan", "cyclegan", "cartoon")
    if (package, name) in (("attacks", "linear"), ("attacks", "panda")) or not pictures:
        pytest.skip("pictures of digits are not what it is about")
    try:
        status, said = run(package, name, *dry)
    except Loaded as loaded:
        assert is_here(loaded.args[0]) or loaded.args[0].startswith("text"), loaded.args[0]
    else:
        assert status in (1, 2) and "--data mnist" not in said and "download" not in said, said
        if package == "attacks":
            assert "python -m nets classifier" in said


DIGITS = [(p, n) for p, n in COMMANDS if n in ("defenses", "goodfellow", "rho", "train")]


def parsed(package, name, *words):
    return parser_of(package, name).parse(list(words))


@pytest.mark.parametrize("package, name", DIGITS)
def test_the_default_stays_where_it_is_there_and_what_is_typed_wins(package, name, monkeypatch, tmp_path, capsys):
    assert "mnist, or glyphs where that is not here" in " ".join(parser_of(package, name).format_help().split())
    assert parsed(package, name).data == "glyphs"
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("mnist is not here: taking glyphs") and "--data mnist --download" in said
    assert parsed(package, name, "--data", "mnist").data == parsed(package, name, "--download").data == "mnist"
    (tmp_path / "there" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "there"))
    for i, file in enumerate(SETS["mnist"][1]):
        assert not is_here("mnist")  # of four files some lack
        (tmp_path / "there" / "mnist" / (file if i % 2 else file.removesuffix(".gz"))).write_bytes(b"")
    capsys.readouterr()
    assert parsed(package, name).data == "mnist" and capsys.readouterr().out == ""


@pytest.mark.parametrize("package, name", DIGITS)
def test_the_data_that_was_taken_is_in_the_configuration(package, name, monkeypatch):
    def start(name, o):
        raise Loaded(vars(o)["data"])

    source, text = data.SOURCES["glyphs"]

    def few(*, train=True, size=28, limit=None, seed=0):
        return source(train=train, size=size, limit=200)

    monkeypatch.setitem(data.SOURCES, "glyphs", (few, text))
    monkeypatch.setattr(command, "start", start)
    with pytest.raises(Loaded, match="^glyphs$"):
        run(package, name)


# ---- folders


def picture(kind: str, path):
    """A picture of an unusual kind, all of which are readable."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (9, 9), np.uint8)
    if kind == "turned.jpg":
        image = Image.fromarray(levels)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    elif kind == "moving.gif":
        Image.fromarray(levels).save(path, save_all=True, append_images=[Image.fromarray(255 - levels)])
    elif kind == "deep.png":
        Image.fromarray(levels.astype(np.uint16) * 257).save(path)
    else:
        mode = {"grey.png": "L", "clear.png": "RGBA", "print.jpg": "CMYK", "bits.png": "1"}[kind]
        Image.fromarray(levels).convert(mode).save(path)


GOOD = ["grey.png", "clear.png", "print.jpg", "deep.png", "turned.jpg", "moving.gif", "bits.png"]
BAD = {"empty.png": b"", "text.jpg": b"no picture", "cut.png": None, "cut.jpg": None, "postscript.png": b"%!PS-Adobe-3.0\n"}


@pytest.fixture
def folder(tmp_path):
    """Two classes; readable pictures of all kinds in each, and broken ones in the first."""
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for kind in GOOD:
            picture(kind, tmp_path / "photos" / name / kind)
    return tmp_path / "photos"


def spoil(folder, more: int = 0):
    for name, content in BAD.items():
        if content is None:
            path = folder / "a" / f"whole.{name[-3:]}"
            Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
            content = path.read_bytes()[:2000]
            path.unlink()
        (folder / "a" / name).write_bytes(content)
    for i in range(more):
        (folder / "a" / f"z{i:02d}.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def test_all_broken_pictures_are_named_at_once_or_left_out(folder):
    spoil(folder)
    name = f"folder:{folder}"
    for _ in range(2):  # the second time from the cache
        with pytest.raises(DataError) as caught:
            load(name, size=8)
        text = str(caught.value)
        assert f"{len(BAD)} of {2 * len(GOOD) + len(BAD)} pictures cannot be read" in text and "--skip-broken" in text
        assert all(f"a/{bad} (" in text for bad in BAD) and "a/empty.png (it is empty)" in text and str(folder / "a") not in text
    for _ in range(2):
        found = load(name, size=8, skip_broken=True)
        assert len(found) == 2 * len(GOOD) and found.skipped == tuple(sorted(f"a/{bad}" for bad in BAD))
        assert np.bincount(found.y).tolist() == [len(GOOD)] * 2 and found.x.shape[1:] == (3, 8, 8)
    alone = load(f"folder:{folder}/b", size=8)
    assert np.array_equal(found.x[len(GOOD):], alone.x) and alone.skipped == () and alone.listing != found.listing
    assert np.array_equal(load(name, size=8, skip_broken=True, limit=3).x, found.x[:3])


def test_of_many_broken_pictures_ten_are_named(folder):
    spoil(folder, more=20)
    with pytest.raises(DataError, match=r"25 of 39 pictures cannot be read: a/cut.jpg .* and 15 more\.") as caught:
        load(f"folder:{folder}", size=8)
    assert str(caught.value).count("a/") == 10


def test_a_class_that_loses_all_its_pictures_and_a_folder_without_any(folder):
    for kind in GOOD:
        (folder / "a" / kind).write_bytes(b"")
    with pytest.raises(DataError, match="no picture can be read of the class a"):
        load(f"folder:{folder}", size=8, skip_broken=True)
    for kind in GOOD:
        (folder / "b" / kind).write_bytes(b"")
    for skip in (True, False):
        with pytest.raises(DataError, match="14 of 14 pictures cannot be read") as caught:
            load(f"folder:{folder}", size=8, skip_broken=skip)
        assert "--skip-broken" not in str(caught.value)


def test_what_could_not_be_read_for_a_moment_is_tried_again(folder, monkeypatch):
    whole = disk.open_picture

    def refused(path, **options):
        if path.endswith("grey.png"):
            raise DataError(path, "cannot be read: Permission denied")
        return whole(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "open_picture", refused)
        assert len(load(f"folder:{folder}", size=8, skip_broken=True)) == 2 * len(GOOD) - 2
    assert len(load(f"folder:{folder}", size=8)) == 2 * len(GOOD)


def test_a_run_on_a_folder_resumes_with_the_same_pictures_or_not_at_all(folder):
    spoil(folder)
    words = ["--data", f"folder:{folder}", "--size", "16", "--width", "2", "--batch", "4"]
    (folder / "train").mkdir()
    for name in "ab":
        os.rename(folder / name, folder / "train" / name)
    (folder / "test" / "a").mkdir(parents=True)
    picture("grey.png", folder / "test" / "a" / "grey.png")
    status, said = run("nets", "classifier", *words, "--steps", "2")
    assert status == 1 and "5 of 19 pictures cannot be read" in said
    status, said = run("nets", "classifier", *words, "--steps", "2", "--skip-broken")
    assert status == 0 and "5 of 19 pictures cannot be read and are left out: a/cut.jpg" in said, said
    folders = [entry for entry in os.listdir("runs") if entry.startswith("classifier")]
    path = f"runs/{folders[0]}"
    config = json.load(open(f"{path}/config.json"))
    assert config["skip_broken"] is True and config["folder"]["train"]["pictures"] == 14
    assert config["folder"]["train"]["left_out"] == 5 and config["folder"]["test"]["pictures"] == 1
    status, said = run("nets", "classifier", "--resume", path, "--steps", "3")
    assert status == 0 and "left out" in said, said
    picture("grey.png", folder / "train" / "b" / "new.png")
    status, said = run("nets", "classifier", "--resume", path, "--steps", "4")
    assert status == 1 and "has changed since the run began: 14 pictures and 5 left out then, 15 and 5 now" in said
    (folder / "train" / "b" / "new.png").unlink()
    (folder / "train" / "a" / "cut.png").unlink()
    status, said = run("nets", "classifier", "--resume", path, "--steps", "4")
    assert status == 1 and "14 and 4 now" in said


def test_every_command_that_reads_data_can_leave_broken_pictures_out():
    for package, name in COMMANDS:
        parser = parser_of(package, name)
        dests = {action.dest for action in parser._actions}
        assert ("data" in dests) <= ("skip_broken" in dests) or name == "charrnn", f"{package} {name}"


# ---- batches


SMALL = {**dict.fromkeys("classifier autoencoder vae blur dcgan mlp progan train rho".split(), []), "defenses": ["--only", "none"]}


@pytest.mark.parametrize("package, name", [(p, n) for p, n in COMMANDS if n in SMALL])
def test_too_few_pictures_are_told_in_the_words_of_the_option(package, name, folder):
    for part in ("train", "test"):
        (folder / part).mkdir()
    for letter in "ab":
        os.rename(folder / letter, folder / "train" / letter)
        (folder / "test" / letter).mkdir()
        for kind in GOOD[:2]:
            picture(kind, folder / "test" / letter / kind)
    size = ["--size", "16"] if name not in ("rho", "defenses") else []
    status, said = run(package, name, "--data", f"folder:{folder}", *size, "--batch", "32", *SMALL[name])
    assert status == 1 and "--batch 32: train has 14 pictures to train on; use --batch 14 or fewer" in said, said


def test_batches_are_whole_and_shuffled():
    rows = data.Dataset(np.arange(20, dtype=np.float32).reshape(10, 2))
    loader = inputs.batches(rows, 4, Stream(0, "x"))
    assert len(loader) == 2 and loader.shuffle and loader.drop_last
    with pytest.raises(ValueError, match="--batch 11: data has 10 rows to train on; use --batch 10 or fewer"):
        inputs.batches(rows, 11, Stream(0, "x"))


def test_a_configuration_without_a_folder_is_resumed_as_it_is(folder, tmp_path):
    """A run from before folders were written down, or one whose configuration was cut."""
    (tmp_path / "config.json").write_text(json.dumps({"folder": {"train": 3}}))
    o = argparse.Namespace(data=f"folder:{folder}", resume=str(tmp_path), skip_broken=False, download=False)
    assert len(inputs.images(o, size=8)) == 14 and o.folder["train"]["pictures"] == 14
    (tmp_path / "config.json").write_text(json.dumps({"folder": {"train": {"pictures": 14, "left_out": 0, "digest": "x"}}}))
    with pytest.raises(RunError, match="or other files"):
        inputs.images(o, size=8)
