"""The commands as a student types them, on a network trained for half a second: files, figures, errors in one line."""

import json
import os
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minigrad as mg
from attacks import Linf, Result, Victim
from attacks import __main__ as attacks_main
from attacks.commands import curve, table
from attacks.commands.attack import typical
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS
from attacks.commands.panda import class_number, eight_bit, fool
from attacks.defend import Smoothed
from minigrad import data, optim
from minigrad import functional as F
from minigrad.checkpoint import load, save_weights
from minigrad.data import DataError, save_png
from minigrad.random import Stream
from minigrad.run import Run
from minigrad.words import percent
from nets.classifiers.lenet import LeNet
from nets.imagenet import squeezenet
from nets.imagenet import weights as imagenet


def attacks(*argv):
    try:
        return attacks_main.main(list(argv))
    except SystemExit as leaving:
        return leaving.code


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def weights():
    """Of a small LeNet that knows some glyphs."""
    train = data.load("glyphs", size=16, limit=512)
    network = LeNet(1, 10, 16, 4, dropout=0.0, rng=Stream(3, "init"))
    adam = optim.Adam(network.parameters(), 1e-2)
    loader = data.DataLoader(train, 64, shuffle=True, drop_last=True, rng=Stream(0, "data")).forever()
    for _ in range(60):
        images, labels = next(loader)
        adam.zero_grad()
        F.cross_entropy(network(mg.tensor(images)), labels).backward()
        adam.step()
    return network.state_dict()


@pytest.fixture
def model(weights):
    """The folder of a run of `nets classifier`."""
    config = {"data": "glyphs", "size": 16, "channels": 1, "classes": 10, "width": 4}
    run = Run.create("classifier", config, quiet=True)
    run.checkpoint(1, {"network": weights})
    run.close()
    return run.path


def picture(path):
    """Its array, after a look that something is drawn on it."""
    pixels = np.asarray(Image.open(path))
    assert pixels.std() > 5
    return pixels


# ---- one attack


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_dry_run_of_every_attack_in_every_norm_leaves_nothing(name, model):
    for norm in ATTACKS[name].norms:
        options = ["--targeted"] if ATTACKS[name].targeted else []
        assert attacks(name, "--model", model, "--dry-run", "--norm", norm) == 0
        assert attacks(name, "--model", model, "--dry-run", "--norm", norm, *options) == 0
    assert os.listdir("runs") == ["classifier-0001"]


def test_an_attack_keeps_numbers_result_and_picture_that_agree(model, capsys):
    assert attacks("pgd", "--model", model, "--count", "60", "--steps", "5", "--epsilon", "80/255") == 0
    said = capsys.readouterr().out
    numbers = json.load(open("runs/pgd-0001/result.json"))
    result = Result.load_npz("runs/pgd-0001/result.npz")
    assert numbers["count"] == len(result) == 60
    for name in ("clean_accuracy", "robust_accuracy", "success_rate"):
        assert numbers[name] == pytest.approx(getattr(result, name))
        assert name.replace("_", " ") in said and percent(numbers[name]) in said
    assert numbers["clean_accuracy"] > 0.5 > numbers["robust_accuracy"]
    assert numbers["mean_distance"] == pytest.approx(result.distance[result.success].mean())
    assert f"mean {numbers['mean_distance']:.4f}, median {numbers['median_distance']:.4f} (linf" in said
    assert (result.distance[result.success] <= 80 / 255 + 1e-6).all()
    assert picture("runs/pgd-0001/samples/pgd_000005.png").shape[0] > 3 * 104
    report = open("runs/pgd-0001/report.html").read()
    assert "data:image/png;base64" in report and "success rate" in report and "src='http" not in report
    assert json.load(open("runs/pgd-0001/config.json"))["epsilon"] == pytest.approx(80 / 255)


def test_equal_seeds_attack_equal_images_equally(model):
    for folder in ("one", "two"):
        assert attacks("pgd", "--model", model, "--count", "20", "--steps", "3", "--seed", "7", "--out", folder) == 0
    one, two = (Result.load_npz(f"{folder}/pgd-0001/result.npz") for folder in ("one", "two"))
    np.testing.assert_array_equal(one.x_adv, two.x_adv)


def test_the_samples_shown_are_one_of_each_class_fooled_or_not():
    wrong = np.array([True, False, False, False, False])
    found = Result(*[None] * 13)
    found.already_wrong, found.success = wrong, np.zeros(5, bool)
    assert typical(found, np.array([2, 1, 1, 0, 2])).tolist() == [3, 1, 4, 2]


# ---- the exhibits


def test_the_table_counts_every_pair_of_classes(model, capsys):
    assert attacks("table", "--model", model, "--count", "2", "--steps", "2") == 0
    table = json.load(open("runs/table-0001/table.json"))
    tried, won = np.array(table["tried"], int), np.array(table["won"], int)
    assert tried.shape == (10, 10) and (np.diag(tried) == 0).all() and (won <= tried).all()
    assert tried.sum() > 90 and won.sum() > 0
    assert picture("runs/table-0001/samples/table_000002.png").shape[2] == 3
    out = capsys.readouterr().out
    assert "true \\ target" in out and f"of {tried.sum()} attacks" in out


def test_the_table_in_letters():
    text = table.text(np.array([[np.nan, 0.5], [1.0, np.nan]]), ("cat", "dog"))
    assert [line.split() for line in text.splitlines()[1:]] == [["cat", "-", "50", "50"], ["dog", "100", "-", "100"]]


def test_the_curve_starts_at_the_clean_accuracy_and_ends_at_epsilon(model):
    assert attacks("curve", "--model", model, "--count", "20", "--steps", "2", "--epsilon", "0.2", "--norm", "l2") == 0
    found = json.load(open("runs/curve-0001/curve.json"))
    epsilon = found.pop("epsilon")
    assert epsilon[0] == 0 and epsilon[-1] == pytest.approx(0.2) and len(found) == 3
    assert len({v[0] for v in found.values()}) == 1 and all(len(v) == len(epsilon) for v in found.values())
    picture("runs/curve-0001/samples/curve_000002.png")


@given(st.sampled_from(["linf", "l2", "l1"]), st.floats(0.01, 3), st.integers(0, 99))
def test_noise_has_the_norm_that_the_attack_may_use(norm, epsilon, seed):
    x = np.full((3, 1, 4, 4), 0.5, np.float32)
    threat = setting.ball(norm, epsilon)
    np.testing.assert_allclose(threat.size(curve.noisy(x, threat, (-9, 9), seed) - x), epsilon, rtol=1e-4)


def test_crossing_lies_on_the_line():
    assert curve.crossing([0, 1, 2], [1.0, 0.8, 0.4], 0.5) == pytest.approx(1.75)
    assert curve.crossing([0, 1], [1.0, 0.8], 0.5) is None


def test_certificates_are_kept_counted_and_bounded_by_the_draws(model, capsys):
    options = ["--count", "12", "--sigma", "0.25", "--draws", "60", "--select", "20", "--alpha", "0.01", "--attacked", "3"]
    assert attacks("certify", "--model", model, *options) == 0
    said, kept = capsys.readouterr().out, load("runs/certify-0001/certificate.npz")
    found = json.load(open("runs/certify-0001/certify.json"))
    y, radius = kept.pop("y"), kept["radius"]
    assert found["ceiling"] == pytest.approx(0.25 * NormalDist().inv_cdf(0.01 ** (1 / 60))) and f"{found['ceiling']:.3f}" in said
    assert (kept["votes"].sum(1) == 60).all() and radius.max() <= found["ceiling"] * (1 + 1e-12)
    right = kept["prediction"] == y
    assert found["radius"][0] == 0 and found["ceiling"] in found["radius"] and found["certified"][-1] == 0
    for r, share in zip(found["radius"], found["certified"], strict=True):
        assert share == pytest.approx((right & (radius >= r - 1e-9)).mean())
    assert found["mean_radius"] == pytest.approx((right * radius).mean()) and found["abstains"] == (kept["prediction"] < 0).sum()
    assert found["certified_wrong"] + found["abstains"] + right.sum() == 12 and right.any()
    tried = found["attacked"]
    assert tried["count"] == 3 and len(tried["accuracy"]) == len(found["radius"]) and tried["certified"] == pytest.approx(
        [(right & (radius >= r - 1e-9))[:3].mean() for r in found["radius"]])
    assert "of the first 3: certified  under PGD" in said and "trained without this noise" in said
    assert picture("runs/certify-0001/samples/certified_000000.png").shape[2] == 3


def test_equal_seeds_certify_equally_in_parts_of_any_size(model, monkeypatch):
    """The command certifies image by image; all of them at once have the same votes."""
    seen, alone = [], Smoothed.certify
    monkeypatch.setattr(Smoothed, "certify", lambda self, x, *how: seen.append((self, x, how)) or alone(self, x, *how))
    assert attacks("certify", "--model", model, "--count", "7", "--draws", "30", "--out", "one") == 0
    found, (smoothed, _, (select, draws, alpha, _)) = load("one/certify-0001/certificate.npz"), seen[0]
    together = alone(smoothed, np.concatenate([x for _, x, _ in seen]), select, draws, alpha)
    assert len(seen) == 7 and all(np.array_equal(found[k], v) for k, v in together._asdict().items())
    assert attacks("certify", "--model", model, "--dry-run") == 0 and os.listdir("runs") == ["classifier-0001"]


def test_the_loss_falls(model):
    assert attacks("loss", "--model", model, "--count", "12", "--steps", "6") == 0
    found = json.load(open("runs/loss-0001/loss.json"))
    assert len(found) == 5
    for name, values in found.items():
        assert values["median_loss"][-1] < values["median_loss"][0], name
    for name in ("loss", "on_the_way"):
        picture(f"runs/loss-0001/samples/{name}_000006.png")


def test_a_universal_perturbation_is_tried_on_images_held_out(model, capsys):
    for options in (["--method", "deepfool", "--passes", "1"], ["--target", "3", "--passes", "1"], ["--passes", "6"]):
        size = ["--count", "30", "--held-out", "50", "--epsilon", "0.4"]
        assert attacks("universal", "--model", model, *size, *options) == 0
    assert "of 50 images held out" in capsys.readouterr().out
    found = json.load(open("runs/universal-0003/universal.json"))
    assert found["fooling_rate"] > found["noise"] >= 0 and len(found["training_rates"]) == 7
    assert np.load("runs/universal-0003/universal.npz")["delta"].shape == (1, 1, 16, 16)
    assert picture("runs/universal-0003/samples/universal_000006.png").shape[1] > 10 * 92
    assert attacks("universal", "--model", model, "--dry-run") == 0 and len(os.listdir("runs")) == 4


def test_linear_tells_found_against_exact(capsys):
    assert attacks("linear", "--models", "5", "--only", "DeepFool", "FGSM") == 0
    table = json.load(open("runs/linear-0001/linear.json"))
    assert [row["attack"] for row in table] == ["FGSM"] * 3 + ["DeepFool"] * 3 and all(row["failed"] == 0 for row in table)
    assert "1.0200  1.0200  1.0200" in capsys.readouterr().out
    picture("runs/linear-0001/samples/linear_000005.png")
    assert attacks("linear", "--dry-run") == 0 and os.listdir("runs") == ["linear-0001"]
    assert attacks("linear", "--only", "Deepfol") == 2 and "'DeepFool'" in capsys.readouterr().err


def test_rho_is_measured_in_the_open_and_in_the_box(capsys):
    assert attacks("rho", "--data", "glyphs", "--steps", "60", "--count", "20") == 0
    found = json.load(open("runs/rho-0001/rho.json"))
    assert 0 < found["rho"] <= 1.05 * found["rho_within_the_box"] and found["test_error"] < 0.7
    assert "published" in capsys.readouterr().out
    picture("runs/rho-0001/samples/rho_000060.png")
    assert attacks("rho", "--data", "glyphs", "--dry-run") == 0 and os.listdir("runs") == ["rho-0001"]


# ---- panda


@pytest.fixture
def tiny_imagenet(tmp_path):
    """Options that give `panda` random weights, a thousand made-up names and a picture."""
    network = squeezenet.SqueezeNet(rng=Stream(0, "init"))
    names = [(squeezenet.file_name(name), value) for name, value in network.state_dict().items()]
    turned = {name: value[:, ::-1] if name == "conv1.weight" else value for name, value in names}
    save_weights("weights.npz", turned)
    with open("names.txt", "w") as file:
        file.writelines(f"n{i:08d} thing {i}, object {i}\n" for i in range(1000))
    pixels = np.random.default_rng(0).integers(0, 256, (227, 227, 3), dtype=np.uint8)
    save_png("cat.png", pixels)
    return ["--network", "squeezenet", "--weights", "weights.npz", "--names", "names.txt", "--image", "cat.png"]


def test_panda_writes_a_picture_within_epsilon_and_says_when_it_falls_short(tiny_imagenet, capsys):
    # a thousand random classes are about equally likely: 99 % is out of reach, and that must be said
    assert attacks("panda", *tiny_imagenet, "--target", "object 7", "--steps", "2", "--epsilon", "3") == 1
    assert "not reached: thing 7" in capsys.readouterr().out
    before, after = (np.asarray(Image.open(f"runs/panda-0001/{name}.png")).astype(int) for name in ("original", "adversarial"))
    assert before.shape == (227, 227, 3) and 0 < abs(after - before).max() <= 3
    np.testing.assert_array_equal(before, np.asarray(Image.open("cat.png")))
    assert picture("runs/panda-0001/samples/panda_000002.png").shape[1] > 3 * 227
    assert "data:image/png;base64" in open("runs/panda-0001/report.html").read()


def test_panda_dry_run_leaves_nothing(tiny_imagenet):
    assert attacks("panda", *tiny_imagenet, "--target", "7", "--dry-run") == 0
    assert not os.path.exists("runs")


def test_eight_bit_rounds_forward_and_not_backward():
    x = mg.tensor(np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32), requires_grad=True)
    y = eight_bit(x)
    np.testing.assert_allclose(y.array * 255, np.rint(x.array * 255), atol=1e-4)
    np.testing.assert_array_equal(mg.grad(y.sum(), [x])[0].array, 1)


def test_fool_turns_the_rounded_picture(weights):
    network = LeNet(1, 10, 16, 4)
    network.load_state_dict(weights)
    victim = Victim(network, normalize=(0.5, 0.5))
    x = data.load("glyphs", train=False, size=16, limit=1).normalised((0, 1))
    target = int(victim.predict(x).argsort()[0, -2])
    found = fool(victim, x, target, 20, 20)
    rounded = np.rint(found.candidate * 255) / np.float32(255)
    assert victim.predict(rounded).argmax() == target
    assert Linf(0).size(rounded - x)[0] <= 20 / 255 + 1e-6


def test_classes_are_found_by_number_name_and_id():
    classes = [imagenet.Synset("n00000001", "giant panda, panda"), imagenet.Synset("n00000002", "gibbon, Hylobates lar")]
    assert [class_number(t, classes) for t in ("1", "Panda", "hylobates LAR", "n00000001")] == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="did you mean 'gibbon'"):
        class_number("gibon", classes)


@pytest.mark.parametrize("text, found", [
    ("gibbon", 368), ("tabby", 281), ("tiger", 292), ("Ice  Cream", 928), ("military uniform", 652), ("388", 388),
    ("n02123045", 281), ("cat", ["'tabby' (281)", "'Egyptian cat' (285)", "'lesser panda' (387)"]),
    ("frog", ["'tree frog' (31)", "'tailed frog' (32)"]),
    ("panda", ["(387)", "'giant panda' (388)"]), ("crane", ["'crane' (134), 'crane' (517)"]), ("dog", ["and 6 more"]),
    ("catt", ["is none of"]), ("cata", ["is none of"]), ("", ["is none of"]), ("1000", ["is none of"]), (".", ["is none of"]),
])
def test_names_mean_whole_words_and_a_choice_is_listed(text, found):
    """"cat" is no catamount, "frog" no bullfrog."""
    classes = imagenet.synsets()
    if isinstance(found, int):
        assert class_number(text, classes) == found
    else:
        with pytest.raises(ValueError) as caught:
            class_number(text, classes)
        assert all(words in str(caught.value) for words in found)


def test_without_a_panda_the_photograph_is_matplotlibs(monkeypatch, tmp_path, tiny_imagenet, capsys):
    from attacks.commands.panda import panda

    monkeypatch.setenv("MINIGRAD_DATA", "nowhere")
    monkeypatch.setenv("HOME", "nowhere")
    assert os.path.isfile(panda()) and os.path.basename(panda()) == "grace_hopper.jpg"
    assert "--image PATH takes a panda of your own" in capsys.readouterr().out
    assert attacks("panda", *tiny_imagenet[:-2], "--dry-run") == 1  # of a person nobody makes a gibbon unasked
    assert "--target 'desktop computer' is none of the 1000" in capsys.readouterr().err
    assert attacks("panda", *tiny_imagenet, "--dry-run") == 1 and "'gibbon' is none" in capsys.readouterr().err
    monkeypatch.setattr("matplotlib.get_data_path", lambda: "nowhere")
    with pytest.raises(DataError, match="--image PATH"):
        panda()
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    (tmp_path / "imagenet" / "samples").mkdir(parents=True)
    (tmp_path / "imagenet" / "samples" / "n02510455_giant_panda.jpg").write_bytes(b"")
    assert panda().endswith("n02510455_giant_panda.jpg")


@pytest.mark.data
@pytest.mark.parametrize("network", ["squeezenet", "efficientnet-lite0"])
def test_a_panda_file_is_a_gibbon_at_99_percent(network, real_data, capsys):
    assert attacks("panda", "--network", network, "--steps", "20") == 0
    assert "original      giant panda" in (out := capsys.readouterr().out) and "adversarial   gibbon" in out
    assert "Linf distance 2/255" in out


# ---- wrong calls


def test_every_command_has_help(capsys):
    for name in attacks_main.COMMANDS:
        assert attacks(name, "--help") == 0
        assert f"python -m attacks {name}" in capsys.readouterr().out
    assert attacks("--help") == 0 and all(name in capsys.readouterr().out for name in ["panda"])


@pytest.mark.parametrize("argv, status, message", [
    (["pdg"], 2, "did you mean 'pgd'"),
    (["pgd"], 2, "python -m nets classifier"),
    (["table"], 2, "python -m nets classifier"),
    (["pgd", "--model", "nowhere"], 1, "python -m nets classifier"),
    (["pgd", "--model", "MODEL", "--epsilom", "1"], 2, "did you mean '--epsilon'"),
    (["pgd", "--model", "MODEL", "--epsilon", "0"], 2, "0.3 or 8/255"),
    (["pgd", "--model", "MODEL", "--epsilon", "1/0"], 2, "0.3 or 8/255"),
    (["pgd", "--model", "MODEL", "--data", "ring"], 1, "does not hold pictures"),
    (["pgd", "--model", "MODEL", "--data", "mnits"], 1, "did you mean 'mnist'"),
    (["pgd", "--model", "MODEL", "--norm", "l7"], 2, "invalid choice"),
    (["apgd_targeted", "--model", "MODEL", "--targeted"], 2, "unknown option '--targeted'"),
    (["fgsm", "--model", "MODEL", "--steps", "3"], 2, "unknown option '--steps'"),
    (["universal", "--model", "MODEL", "--target", "10"], 2, "classes 0 to 9"),
    (["universal", "--model", "MODEL", "--target", "1", "--method", "deepfool"], 2, "--method sgd"),
    (["certify", "--model", "MODEL", "--sigma", "0"], 2, "--sigma"),
    (["certify", "--model", "MODEL", "--alpha", "1"], 2, "--alpha"),
    (["certify", "--model", "MODEL", "--attacked", "-1"], 2, "at least 0"),
    (["certify", "--model", "MODEL", "--epsilon", "1"], 2, "unknown option '--epsilon'"),
    (["panda", "--epsilon", "0.003"], 2, "less than one grey level"),
])
def test_wrong_calls_are_told_in_one_line(argv, status, message, model, capsys):
    found = attacks(*[model if word == "MODEL" else word for word in argv])
    err = capsys.readouterr().err
    assert found == status and message in err and "Traceback" not in err
    assert os.listdir("runs") == ["classifier-0001"]


def test_a_run_without_a_classifier_is_told(capsys):
    Run.create("dcgan", {}, quiet=True).close()
    assert attacks("pgd", "--model", "runs/dcgan-0001") == 1
    assert "holds no checkpoint of a classifier" in capsys.readouterr().err
