"""Everything about a run's samples at once: the ladder's rungs fail where they should, and each kind of generator is drawn from."""

import json
import os

import numpy as np
import pytest

import minigrad as mg
from gan import __main__ as gan_main
from gan.commands import evaluate
from gan.drawing import KINDS, drawer
from gan.generate import trained_generator
from gan.metrics import ladder
from minigrad import command, nn
from minigrad.kinds import RunError
from minigrad.run import Run
from nets import __main__ as nets_main
from nets.classifiers import trained


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """With a small set of pictures in ten classes, and few of them for the costly numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ladder, "PICTURES", 30)
    monkeypatch.setattr(ladder, "SUBSETS", 2)
    monkeypatch.setattr(evaluate, "PATHS", 5)
    rng = np.random.default_rng(0)
    np.savez("small.npz", x_train=rng.integers(0, 256, (90, 16, 16), np.uint8), y_train=np.arange(90) % 10,
             x_test=rng.integers(0, 256, (40, 16, 16), np.uint8), y_test=np.arange(40) % 10, classes=list("abcdefghij"))


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


def nets(*argv):
    return command.main("nets", nets_main.COMMANDS, list(argv))


TINY = ["--size", "16", "--batch", "4", "--steps", "2"]
SMALL = ["--data", "npz:small.npz", *TINY]


# ---- the ladder


class Quadrants(nn.Module):
    """Features: the mean of each quarter of a picture. Classes: which quarter is brightest."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.head.weight.assign_(20 * np.eye(4, dtype=np.float32))
        self.head.bias.assign_(np.zeros(4, np.float32))

    def features(self, images):
        n, _, height, width = images.shape
        quarters = images.mean(1).reshape(n, 2, height // 2, 2, width // 2).mean((2, 4))
        return quarters.reshape(n, 4)

    def forward(self, images):
        return self.head(self.features(images))


def pictures(n, seed):
    """A bright square at a random place of one quarter, and the quarter's number."""
    rng = np.random.default_rng(seed)
    x, y = np.full((n, 1, 16, 16), -1, np.float32), rng.integers(0, 4, n)
    for picture, quarter in zip(x[:, 0], y, strict=True):
        top, left = rng.integers(0, 4, 2) + (8 * (quarter // 2), 8 * (quarter % 2))
        picture[top : top + 4, left : left + 4] = rng.uniform(0, 1)
    return x, y


@pytest.fixture(scope="module")
def scored():
    """The numbers of real pictures and of each rung of the ladder."""
    judge = Quadrants().eval()
    (real, _), (other, y), (test, _) = (pictures(600, seed) for seed in range(3))
    reference, floor = ladder.look(judge, real), ladder.look(judge, other)
    scale = ladder.scale(floor, reference.features, ladder.look(judge, test).features)
    sets = {"real": other, **ladder.rungs(other, y, real)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "PICTURES", 80)
        patch.setattr(ladder, "SUBSETS", 5)
        return {name: ladder.measure(ladder.look(judge, images), reference, scale) for name, images in sets.items()}


def test_every_set_has_every_number_and_the_parts_are_counted(scored):
    assert list(scored) == ["real", "blur", "noise", "2 classes", "duplicates", "copies"]
    assert all(set(found) == {row.key for row in ladder.ROWS} for found in scored.values())
    calls = []
    seen = ladder.look(Quadrants().eval(), pictures(40, 0)[0])
    ladder.measure(seen, seen, ladder.scale(seen, seen.features, None), done=lambda: calls.append(1))
    assert len(calls) == ladder.PARTS


def test_real_pictures_score_the_floor(scored):
    real = scored["real"]
    assert real["frechet_distance"] < 0.05 and abs(real["kernel_distance"]) < 20
    assert real["two_sample"] == pytest.approx(0.5, abs=0.06)
    assert real["entropy"] == pytest.approx(np.log(4), abs=0.01) and real["classifier_score"] > 3.5
    assert real["density"] == pytest.approx(1, abs=0.1) and real["coverage"] > 0.9
    assert real["sharpness"] == pytest.approx(1, abs=0.05)
    assert real["memorisation"] == pytest.approx(1, abs=0.35) and real["duplicates"] >= 1


def test_each_rung_fails_where_it_should(scored):
    real = scored["real"]
    assert scored["blur"]["sharpness"] < 0.6 * real["sharpness"] and scored["noise"]["sharpness"] > 1.5
    assert scored["blur"]["sliced"] > 2 * real["sliced"] < scored["noise"]["sliced"]
    half = scored["2 classes"]
    assert half["entropy"] == pytest.approx(np.log(2), abs=0.01) and half["recall"] < 0.6 and half["precision"] > 0.9
    assert half["frechet_distance"] > 50 * real["frechet_distance"] and half["kernel_distance"] > 5 * abs(real["kernel_distance"])
    twins = scored["duplicates"]
    assert twins["duplicates"] >= 60 * 45 and twins["coverage"] < 0.7 * real["coverage"] and twins["two_sample"] > 0.8
    copies = scored["copies"]
    assert copies["frechet_distance"] < 1e-6 and copies["two_sample"] == 0 == copies["memorisation"]
    assert copies["coverage"] == copies["precision"] == 1


def test_nothing_but_the_costly_rows_depends_on_the_order(monkeypatch):
    judge, order = Quadrants().eval(), np.random.default_rng(5).permutation(300)
    (real, _), (fake, _) = pictures(300, 0), pictures(300, 1)
    reference, seen = ladder.look(judge, real), ladder.look(judge, fake)
    scale = ladder.scale(reference, reference.features, None)
    a, b = (ladder.measure(x, reference, scale) for x in (seen, seen.rows(order)))
    assert "memorisation" not in a  # nothing was held out
    for key in ("frechet_distance", "confidence", "entropy", "precision", "recall", "density", "coverage", "two_sample",
                "duplicates"):
        assert a[key] == pytest.approx(b[key], rel=1e-6), key


def test_a_judge_of_one_channel_reads_each_channel():
    judge, (x, _) = Quadrants().eval(), pictures(30, 0)
    stacks = np.concatenate([x[:10], x[10:20], x[20:]], 1)
    seen = ladder.look(judge, stacks, single=True)
    assert seen.features.shape == (10, 12) and seen.probabilities.shape == (30, 4)
    part = seen.rows([3, 1])
    np.testing.assert_array_equal(part.features[1], seen.features[1])
    np.testing.assert_array_equal(part.probabilities, seen.probabilities[[9, 10, 11, 3, 4, 5]])


# ---- generators of all kinds


@pytest.mark.parametrize("main, words, name", [
    (gan, ["dcgan", "--width", "2", "--latent", "3", "--no-conditional"], "dcgan"),
    (gan, ["mlp", "--hidden", "8", "--latent", "3"], "mlp"),
    (gan, ["progan", "--without", "growing", "--base", "16", "--most", "4", "--latent", "3"], "progan"),
    (nets, ["vae", "--width", "2", "--latent", "3"], "vae"),
    (nets, ["autoencoder", "--width", "2", "--latent", "3"], "autoencoder"),
])
def test_every_generator_is_evaluated_and_says_what_its_latents_are(main, words, name, capsys):
    assert main(*words, *SMALL) == 0
    run = Run.open(f"runs/{name}-0001")
    source = drawer(run)
    assert source.latent == 3 and not source.network.training
    drawn = source.pictures(np.zeros((7, 3), np.float32), batch=2)
    assert drawn.shape == (7, 1, 16, 16) and np.abs(drawn).max() <= 1 and (drawn == drawn[:1]).all()
    source.network.double()
    exact = source.pictures(np.zeros((1, 3)))
    assert exact.dtype == np.float64 and np.allclose(exact, drawn[:1], atol=1e-5)
    capsys.readouterr()
    assert gan("evaluate", f"runs/{name}-0001", "--count", "40") == 1
    err = capsys.readouterr().err
    assert "make one with: python -m nets classifier --data npz:small.npz --size 16" in err and "Traceback" not in err
    assert nets("classifier", "--width", "2", *SMALL) == 0
    capsys.readouterr()
    assert gan("evaluate", f"runs/{name}-0001", "--count", "40") == 0
    out, found = capsys.readouterr().out, json.load(open(f"runs/{name}-0001/evaluation.json"))
    assert "judge: runs/classifier-0001, the newest classifier of npz:small.npz nearby" in out
    assert found["latents"] == source.prior and source.prior in out
    assert list(found["numbers"]) == ["samples", "real", "blur", "noise", "5 classes", "duplicates", "copies"]
    assert all(row.name in out for row in ladder.ROWS) and "path length" in out and "FID" not in out
    assert found["path_length"]["of_real"] >= 0 and found["numbers"]["copies"]["frechet_distance"] < 1e-3
    page = open(f"runs/{name}-0001/evaluation.html", encoding="utf-8").read()
    assert page.count("data:image/png;base64,") == 4 and "FD-lenet-small.npz-" in page and "FID" not in page


def test_what_a_gan_draws_is_its_trained_generator():
    assert gan("dcgan", "--width", "2", "--latent", "3", "--no-conditional", *SMALL) == 0
    run, latents = Run.open("runs/dcgan-0001"), np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with mg.no_grad():
        expected = trained_generator(run)(mg.tensor(latents)).array
    np.testing.assert_allclose(drawer(run).pictures(latents), expected, atol=1e-6)


def test_a_judge_of_other_data_or_pixels_and_a_run_of_another_command_are_refused(capsys):
    assert gan("dcgan", "--width", "2", "--latent", "3", *SMALL) == 0
    assert nets("classifier", "--width", "2", "--data", "shapes", *TINY) == 0
    assert nets("classifier", "--width", "2", "--data", "npz:small.npz", "--size", "20", "--batch", "4", "--steps", "2") == 0
    for judge, message in (("classifier-0001", "trained on shapes, the generator on npz:small.npz"),
                           ("classifier-0002", "reads pictures of 20 pixels, the generator draws 16; train one with: python")):
        capsys.readouterr()
        assert gan("evaluate", "runs/dcgan-0001", "--judge", f"runs/{judge}") == 1
        assert message in capsys.readouterr().err
    with pytest.raises(RunError, match="nets autoencoder"):
        drawer(Run.open("runs/classifier-0001"))
    assert set(KINDS) == {"gan dcgan", "gan mlp", "gan progan", "nets vae", "nets autoencoder"}


def test_a_network_that_has_not_grown_up_is_not_judged(capsys):
    assert gan("progan", "--base", "16", "--most", "4", "--fade", "0.1", "--steady", "0.1", *SMALL) == 0
    with pytest.raises(RunError, match="draws 4 pixels so far, and is to have 16; grow it further with: python -m gan progan"):
        drawer(Run.open("runs/progan-0001"))


def test_shapes_are_asked_for_their_rule(capsys):
    data = ["--data", "shapes:count=2", "--size", "20", "--batch", "4", "--steps", "2"]
    assert gan("dcgan", "--width", "2", "--latent", "3", *data) == 0 and nets("classifier", "--width", "2", *data) == 0
    assert gan("evaluate", "runs/dcgan-0001", "--count", "100") == 0
    found = json.load(open("runs/dcgan-0001/evaluation.json"))
    assert found["rules_real"]["any"] == 0 and found["rules"]["any"] > 0.9
    assert "rule broken" in capsys.readouterr().out


def test_stacked_digits_are_read_by_a_judge_of_single_ones(capsys, monkeypatch):
    rng = np.random.default_rng(0)
    stacks = rng.integers(0, 256, (80, 16, 16, 3), np.uint8)
    np.savez("stacks.npz", x_train=stacks[:60], x_test=stacks[60:])
    assert gan("dcgan", "--width", "2", "--latent", "3", "--data", "npz:stacks.npz", *TINY) == 0
    assert nets("classifier", "--width", "2", *SMALL) == 0
    monkeypatch.setattr(evaluate, "SAMPLES", 300)
    capsys.readouterr()
    assert gan("evaluate", "runs/dcgan-0001", "--judge", "runs/classifier-0001", "--count", "30") == 0
    found, out = json.load(open("runs/dcgan-0001/evaluation.json")), capsys.readouterr().out
    assert found["stacked"]["of"] == 1000 and found["stacked"]["samples"] == 300 and "of 1000 modes, KL" in out
    assert sum(found["histogram"].values()) == pytest.approx(1) and os.path.getsize("runs/dcgan-0001/evaluation.html")


# ---- data without labels


def test_data_without_labels_is_judged_by_a_network_that_knows_how_far_a_picture_is_turned(capsys):
    rng = np.random.default_rng(0)
    np.savez("plain.npz", x_train=rng.integers(0, 256, (90, 16, 16, 3), np.uint8),
             x_test=rng.integers(0, 256, (40, 16, 16, 3), np.uint8))
    plain = ["--data", "npz:plain.npz", *TINY]
    assert gan("dcgan", *plain) == 0
    assert "nets classifier --data npz:plain.npz --size 16 --turns" in capsys.readouterr().out  # what comes next, as it is typed
    assert gan("evaluate", "runs/dcgan-0001", "--count", "40") == 1
    assert "--turns" in capsys.readouterr().err
    assert nets("classifier", *plain, "--turns") == 0
    capsys.readouterr()
    assert gan("evaluate", "runs/dcgan-0001", "--count", "40") == 0
    said = capsys.readouterr().out
    assert "FD-lenet-plain.npz-turns-" in said and "confidence" not in said
    with open("runs/dcgan-0001/evaluation.json") as file:
        found = json.load(file)
    for numbers in found["numbers"].values():
        assert not set(numbers) & set(ladder.OF_CLASSES) and "frechet_distance" in numbers
    assert not {"histogram", "confidence", "as_asked"} & set(found) and found["judge_test_accuracy"] is None


def test_a_judge_of_turns_is_no_model_to_attack_and_comes_after_one_that_knows_the_classes(capsys):
    assert nets("classifier", *SMALL) == 0 and nets("classifier", *SMALL, "--turns") == 0 and gan("dcgan", *SMALL) == 0
    capsys.readouterr()
    assert gan("evaluate", "runs/dcgan-0001", "--count", "40") == 0
    assert "judge: runs/classifier-0001" in capsys.readouterr().out
    with pytest.raises(RunError, match="how far a picture is turned"):
        trained(Run.open("runs/classifier-0002"))
