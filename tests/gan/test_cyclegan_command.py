"""`gan cyclegan` and `gan translate` as they are typed: resuming with a pool half full, folders of pictures, what is refused."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from gan import __main__ as gan_main
from gan.commands import cyclegan
from minigrad import command
from minigrad.checkpoint import load
from tests.trees import newest, same, same_runs

TINY = ["--size", "16", "--width", "2", "--blocks", "1", "--patch", "1", "--pool", "5"]


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert gan("cyclegan", *TINY, "--steps", "24", "--out", str(folder)) == 0
    return str(folder / "cyclegan-0001")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("cut", [3, 11])  # a pool that fills, one that is full
def test_a_run_goes_on_to_the_bit(cut, whole):
    assert gan("cyclegan", *TINY, "--fall", "0", "--steps", str(cut)) == 0
    assert gan("cyclegan", "--resume", "runs/cyclegan-0001", "--steps", "24") == 0
    assert gan("cyclegan", *TINY, "--fall", "0", "--steps", "24") == 0
    a, b = (f"runs/cyclegan-000{i}" for i in (1, 2))
    same_runs(a, b)
    assert "pool_a" in load(newest(a))["tree"]


def test_what_a_run_leaves(whole):
    found = json.load(open(os.path.join(whole, "result.json")))
    assert {"fooled_ab", "fooled_ba", "back_ab", "back_ba", "partner_ab", "rank_ba", "off the partner, untranslated"} <= set(found)
    assert 0 <= found["fooled_ab"] <= 1 and found["told rightly, real b"] > 0.9
    names = os.listdir(os.path.join(whole, "samples"))
    assert {"a_to_b_000020.png", "b_to_a_000024.png"} <= set(names)


def test_the_published_numbers_are_the_defaults():
    o = cyclegan.options(["--data", "horse2zebra"])
    assert (o.batch, o.cycle, o.identity, o.pool, o.rate, o.fall, o.size, o.patch) == (1, 10.0, 0.5, 50, 2e-4, 0.5, 64, 3)
    assert cyclegan.options([]).size == 32


@pytest.fixture
def folders(tmp_path):
    """Two folders of pictures of mixed sizes and modes."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for i, (size, mode) in enumerate([((20, 31), "RGB"), ((16, 16), "L"), ((40, 18), "RGBA"), ((33, 33), "CMYK")] * 6):
            x = np.clip(rng.normal(level, 20, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(x).convert(mode).save(tmp_path / name / f"{i:02}.{'jpg' if mode == 'CMYK' else 'png'}")
    return tmp_path


def test_folders_of_ones_own_pictures(folders, whole):
    assert gan("cyclegan", "--data", "pair:dark,light", *TINY, "--steps", "2") == 0
    found = json.load(open("runs/cyclegan-0001/result.json"))
    assert "partner_ab" not in found and found["off the partner, untranslated"] is None
    assert gan("translate", "runs/cyclegan-0001", "dark", "light/00.png", "--out", "made") == 0
    assert len(os.listdir("made")) == 25 and "00-2.png" in os.listdir("made")
    assert gan("translate", whole, "light/01.png", "--to", "a") == 0
    width, height = Image.open(os.path.join(whole, "translated", "01.png")).size
    assert width > 2.5 * height


@pytest.mark.parametrize("words, status, message", [
    (["--size", "30"], 1, "multiple of 4"), (["--data", "glyphs"], 1, "translation needs two"),
    (["--data", "pair:dark,empty"], 1, "empty"), (["--data", "pair:dark,light", "--size", "16", "--batch", "90"], 1, "--batch 90"),
])
def test_what_is_refused_leaves_no_run(folders, capsys, words, status, message):
    (folders / "empty").mkdir()
    assert gan("cyclegan", *words) == status
    assert message in capsys.readouterr().err and not os.path.exists("runs")


def test_a_run_of_another_kind_and_a_picture_that_is_none(folders, capsys, whole):
    assert gan("dcgan", "--steps", "1", "--size", "8", "--width", "2", "--batch", "4") == 0
    assert gan("translate", "runs/dcgan-0001", "dark") == 1
    assert "gan cyclegan" in capsys.readouterr().err
    (folders / "no.png").write_text("no picture")
    assert gan("translate", whole, "no.png") == 1
    assert "no.png" in capsys.readouterr().err


def test_a_run_with_its_diagnosis_is_the_same_game(whole, monkeypatch):
    monkeypatch.setattr(cyclegan.TranslationHealth, "pulse", lambda *args: None)
    monkeypatch.setattr(cyclegan.TranslationHealth, "look", lambda *args, **more: {})
    assert gan("cyclegan", *TINY, "--steps", "24") == 0
    one, two = (load(newest(run))["tree"] for run in (whole, "runs/cyclegan-0001"))
    for part in ("g", "f", "d_a", "d_b", "adam_g", "pool_a", "streams"):
        same(one[part], two[part])


def test_a_number_that_is_not_finite_ends_the_run_and_is_a_finding(monkeypatch):
    assert gan("cyclegan", *TINY, "--steps", "20", "--rate", "1e20") == 3
    (found,) = (json.loads(line) for line in open("runs/cyclegan-0001/diagnosis.jsonl"))
    assert found["name"] == "not finite" and "--rate" in found["remedy"]
