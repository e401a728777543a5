"""`gan cartoon` and its ablation as they are typed: resuming in both phases, sets of one's own, feature nets, what is refused."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from gan import __main__ as gan_main
from gan.commands import cartoon
from gan.commands.helpers import cartoons
from minigrad import checkpoint, command, data
from minigrad.random import Stream
from nets.imagenet import squeezenet
from tests.trees import newest, same_runs

TINY = ["--size", "16", "--width", "2", "--blocks", "1", "--judge-width", "2", "--batch", "4", "--initial", "6"]


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert gan("cartoon", *TINY, "--steps", "24", "--out", str(folder)) == 0
    return str(folder / "cartoon-0001")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("cut, features", [(3, "random"), (11, "own")])  # in the first phase, in the game
def test_a_run_goes_on_to_the_bit(cut, features, monkeypatch):
    monkeypatch.setattr(cartoons.features, "STEPS", 2)
    monkeypatch.setattr(cartoons.features.own, "__defaults__", (None, 2, None))
    more = [*TINY, "--fall", "0", "--features", features]
    assert gan("cartoon", *more, "--steps", str(cut)) == 0
    assert gan("cartoon", "--resume", "runs/cartoon-0001", "--steps", "16") == 0
    assert gan("cartoon", *more, "--steps", "16") == 0
    a, b = (f"runs/cartoon-000{i}" for i in (1, 2))
    same_runs(a, b)
    lines = [[line for line in open(f"{run}/metrics.jsonl") if '"balance"' in line] for run in (a, b)]
    assert lines[0] == lines[1] and len(lines[0]) == 1
    assert os.path.exists(f"{a}/features.npz") == (features == "own")


def test_only_the_generator_moves_before_the_game(whole):
    assert gan("cartoon", *TINY, "--steps", "6") == 0
    first = checkpoint.load(newest("runs/cartoon-0001"))["tree"]
    last = checkpoint.load(newest(whole))["tree"]
    assert first["drawings"] != last["drawings"] and not first["adam_d"]["state"] and last["adam_d"]["state"]


def test_what_a_run_leaves(whole):
    found = json.load(open(os.path.join(whole, "result.json")))
    assert {"content_distance", "clear_edges", "fooled", "partner_ab", "rank_ab", "clear_edges, smoothed cartoons",
            "fooled, photographs", "fooled, cartoons", "features"} <= set(found)
    assert found["fooled, cartoons"] > 0.9 > 0.1 > found["fooled, photographs"]
    assert found["clear_edges, cartoons"] > found["clear_edges, smoothed cartoons"]
    names = os.listdir(os.path.join(whole, "samples"))
    assert {"before_and_after_000020.png", "before_and_after_000024.png", "real.png"} <= set(names)
    config = json.load(open(os.path.join(whole, "config.json")))
    assert config["loss"] == "cartoon"  # the dashed line at 3 log 2
    page = open(os.path.join(whole, "report.html")).read()
    assert "side by side" in page and "--without edges" in page and "3 log 2" in page


def test_the_defaults():
    o = cartoon.options(["--data", "photos2ghibli"])
    assert (o.omega, o.content, o.rate, o.batch, o.blocks, o.size, o.loss) == (30.0, "l1", 2e-4, 8, 8, 64, "cartoon")
    assert cartoon.options([]).size == 32
    assert cartoon.options(["--without", "initialization"]).initial == 0
    assert cartoon.options(["--without", "edges"]).loss == "non_saturating"


def test_a_cartoon_and_its_smoothed_self_come_in_one_batch():
    side = data.load_pair("scenes", limit=9).b
    both = next(iter(data.DataLoader(cartoons.with_smoothed(side), 4, shuffle=True, drop_last=True, rng=Stream(0))))[0]
    pairs = {x.tobytes(): y for x, y in zip(side.normalised(), cartoons.with_smoothed(side).normalised()[:, 3:], strict=True)}
    for row in both:
        np.testing.assert_array_equal(row[3:], pairs[np.ascontiguousarray(row[:3]).tobytes()])


def test_mirrored_pictures_are_trained_on_as_well():
    side = data.load_pair("scenes", limit=3).a
    twice = cartoons.mirrored(side)
    np.testing.assert_array_equal(twice.x, np.concatenate([side.x, side.x[..., ::-1]]))


class Nothing:
    """A generator that changes nothing."""

    def modules(self):
        return []

    def parameters(self):
        return [mg.zeros(1)]

    def eval(self):
        return self

    def __call__(self, x):
        return x


def test_the_numbers_of_a_generator_that_changes_nothing():
    test = data.load_pair("scenes", train=False, limit=20)
    real = cartoons.real_numbers(test, lambda x: (x.mean((1, 2, 3)) > 0).astype(int))
    found = cartoons.measured(Nothing(), Nothing(), test, lambda x: (x.mean((1, 2, 3)) > 0).astype(int))
    assert found["content_distance"] == 0 and found["clear_edges"] == real["clear_edges, photographs"]
    assert found["fooled"] == real["fooled, photographs"] and found["partner_ab"] == pytest.approx(real["partner_ab, photographs"])
    assert "(0.0 % " in cartoons.in_words(found, real)["the true cartoon"]


# ---- pictures of one's own


@pytest.fixture
def folders(tmp_path):
    """Two folders of pictures of mixed sizes and modes, one more that is empty, and arrays."""
    rng = np.random.default_rng(0)
    for name, level in (("photographs", 90), ("frames", 180)):
        (tmp_path / name).mkdir()
        for i, (size, mode) in enumerate([((20, 31), "RGB"), ((16, 16), "L"), ((40, 18), "RGBA"), ((33, 33), "CMYK")] * 6):
            x = np.clip(rng.normal(level, 20, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(x).convert(mode).save(tmp_path / name / f"{i:02}.{'jpg' if mode == 'CMYK' else 'png'}")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "grey.npz", x=rng.integers(0, 256, (30, 20, 20)).astype(np.uint8))
    np.savez(tmp_path / "large.npz", x_train=rng.integers(0, 256, (30, 40, 24, 3)).astype(np.uint8),
             x_test=rng.integers(0, 256, (5, 40, 24, 3)).astype(np.uint8))
    return tmp_path


def test_sets_of_ones_own_of_unlike_sizes_and_a_way_through_translate(folders, whole):
    assert gan("cartoon", *TINY, "--photos", "folder:photographs", "--cartoons", "npz:large.npz", "--steps", "8") == 0
    config = json.load(open("runs/cartoon-0001/config.json"))
    assert config["folder"]["train a"]["pictures"] == 24 and config["photos"] == "folder:photographs"
    found = json.load(open("runs/cartoon-0001/result.json"))
    assert "partner_ab" not in found
    assert gan("translate", "runs/cartoon-0001", "photographs", "frames/00.png", "--out", "made") == 0
    assert len(os.listdir("made")) == 25
    width, height = Image.open("made/00.png").size
    assert 1.8 * height < width < 2.2 * height  # before, after, and no way back
    Image.new("RGB", (9, 9)).save("photographs/new.png")
    assert gan("cartoon", "--resume", "runs/cartoon-0001", "--steps", "9") == 1


def test_grey_pictures_on_both_sides_and_a_feature_net_in_colour(folders):
    path = str(folders / "s.npz")
    checkpoint.save_weights(path, {squeezenet.file_name(name): value for name, value in
                                   squeezenet.SqueezeNet(rng=Stream(0)).state_dict().items()})
    words = ["--photos", "npz:grey.npz", "--cartoons", "npz:grey.npz#x", "--features", path, "--size", "24", "--steps", "7"]
    assert gan("cartoon", *TINY[2:], *words) == 0
    assert json.load(open("runs/cartoon-0001/result.json"))["features"].startswith("squeezenet1_0 at fire8")


def test_what_is_held_out_is_no_picture_that_is_trained_on(folders):
    class Options:
        data, photos, cartoons, size, seed, batch = "scenes", "npz:grey.npz#x", "npz:grey.npz", 16, 0, 4

    train, test = cartoons.both_sets(Options())
    assert [len(side) for side in (*train, *test)] == [23, 27, 7, 3]
    for side, held in zip(train, test, strict=True):
        assert not {x.tobytes() for x in side.x} & {x.tobytes() for x in held.x}


@pytest.mark.parametrize("words, status, message", [
    (["--size", "30"], 1, "multiple of 4"), (["--data", "glyphs"], 1, "translation needs two"),
    (["--photos", "folder:photographs"], 1, "--cartoons is missing"), (["--cartoons", "folder:frames"], 1, "--photos is missing"),
    (["--photos", "folder:photographs", "--cartoons", "folder:empty"], 1, "empty"),
    (["--photos", "folder:photographs", "--cartoons", "npz:grey.npz", "--size", "16"], 1, "make both grey or both RGB"),
    (["--photos", "folder:photographs", "--cartoons", "folder:frames", "--size", "16", "--batch", "90"], 1, "(--batch, or 3)"),
    (["--features", "none.npz"], 1, "no such file of weights"), (["--content", "l3"], 2, "--content"),
    (["--photos", "folder:nowhere", "--cartoons", "folder:frames"], 1, "no such folder"),
])
def test_what_is_refused(folders, capsys, words, status, message):
    try:
        found = gan("cartoon", *words)
    except SystemExit as leaving:
        found = leaving.code
    assert found == status and message in capsys.readouterr().err
    if "--features" not in words:
        assert not os.path.exists("runs")


def test_broken_pictures_are_named_or_left_out(folders, capsys):
    (folders / "frames" / "bad.png").write_text("no picture")
    words = ["cartoon", *TINY, "--photos", "folder:photographs", "--cartoons", "folder:frames", "--steps", "2"]
    assert gan(*words) == 1
    assert "bad.png" in capsys.readouterr().err
    assert gan(*words, "--skip-broken") == 0


def test_a_run_of_another_kind_and_no_way_back(folders, capsys, whole):
    assert gan("translate", whole, "frames/00.png", "--to", "a") == 1
    assert "no way back" in capsys.readouterr().err
    assert gan("dcgan", "--steps", "1", "--size", "8", "--width", "2", "--batch", "4") == 0
    assert gan("translate", "runs/dcgan-0001", "frames") == 1
    assert "gan cartoon" in capsys.readouterr().err
    assert gan("cartoon", "--resume", "runs/dcgan-0001") == 1


def test_the_ablation_has_a_row_for_each_part_and_its_first_row_is_the_run(whole):
    assert gan("cartoon-ablation", *TINY, "--steps", "24", "--out", "a.png") == 0
    found = json.load(open("a.json"))
    assert len(found["games"]) == 4 and found["held-out photographs"] == 256
    run = json.load(open(os.path.join(whole, "result.json")))
    assert {name: run[name] for name in found["games"]["CartoonGAN"]} == found["games"]["CartoonGAN"]
    assert len({json.dumps(numbers) for numbers in found["games"].values()}) == 4
    assert Image.open("a.png").size[0] > 1000
