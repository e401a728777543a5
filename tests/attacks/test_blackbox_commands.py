"""`substitute`, `transfer` and `extract` as a student types them, on a network trained for half a second."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from attacks import Linf, Victim
from attacks import __main__ as attacks_main
from attacks.commands import transfer
from attacks.commands.helpers import copies
from attacks.commands.substitute import by_round
from attacks.copying.extract import fit
from attacks.copying.transfer import Matrix
from minigrad import data
from minigrad.pictures import heat
from minigrad.random import Stream
from minigrad.run import Run
from nets.classifiers.lenet import LeNet


def attacks(*argv):
    try:
        return attacks_main.main([str(word) for word in argv])
    except SystemExit as leaving:
        return leaving.code


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def weights():
    """Of a small LeNet that knows some glyphs."""
    train = data.load("glyphs", size=16, limit=512)
    victim = Victim(LeNet(1, 10, 16, 4, dropout=0.0, rng=Stream(3, "init")), normalize=(0.5, 0.5))
    fit(victim, train.normalised((0, 1)), train.y, epochs=6, batch=64, lr=1e-2)
    return victim.net.state_dict()


@pytest.fixture
def model(weights):
    """The folder of a run of `nets classifier`."""
    config = {"data": "glyphs", "size": 16, "channels": 1, "classes": 10, "width": 4}
    run = Run.create("classifier", config, quiet=True)
    run.checkpoint(1, {"network": weights})
    run.close()
    return run.path


def drawn(path):
    """Its width, after a look that something is on it."""
    pixels = np.asarray(Image.open(path))
    assert pixels.std() > 5
    return pixels.shape[1]


@pytest.mark.parametrize("name", ["substitute", "transfer", "extract"])
def test_a_dry_run_without_a_model_goes_all_the_way_and_leaves_nothing(name):
    assert attacks(name, "--dry-run") == 0
    assert not os.path.exists("runs")


def test_substitute_counts_what_it_asked_and_its_numbers_agree(model, capsys):
    argv = ["substitute", "--model", model, "--seeds", 20, "--budget", 100, "--rounds", 3, "--count", 100, "--repeats", 2,
            "--epochs", 5]
    assert attacks(*argv) == 0
    out = capsys.readouterr().out
    found = json.load(open("runs/substitute-0001/substitute.json"))
    for attacker in found["attackers"]:
        assert [r["queries"] for r in attacker] == [20, 40, 80, 100]
        assert all(0 <= r["transfer"] <= 1 and r["tried"] > 50 for r in attacker)
    last = [a[-1]["transfer"] for a in found["attackers"]]
    assert copies.spread(last) in out and "84.24 %" in out and "100 of 100" in out
    assert max(last) <= min(found["white_box"]) and min(found["white_box"]) > 0.5
    for picture in ("by_round", "examples"):
        assert drawn(f"runs/substitute-0001/samples/{picture}_000000.png") > 1000
    assert attacks(*argv, "--out", "again") == 0
    assert json.load(open("again/substitute-0001/substitute.json")) == found  # equal seeds


def test_more_seeds_than_budget_is_one_line(model, capsys):
    assert attacks("substitute", "--model", model, "--seeds", 20, "--budget", 10, "--repeats", 1) == 1
    assert "budget of 10" in (err := capsys.readouterr().err) and "Traceback" not in err


def test_transfer_keeps_a_matrix_with_rows_for_noise_and_ensembles(model, capsys):
    assert attacks("transfer", "--model", model, "--networks", "softmax", "mlp", "--images", 500, "--count", 60,
                   "--attack", "fgsm", "--disjoint") == 0
    found = json.load(open("runs/transfer-0001/transfer.json"))
    right, fooled = np.array(found["right"]), np.array(found["fooled"])
    assert found["targets"] == ["classifier-0001", "softmax", "mlp"] and fooled.shape == (6, 3)
    assert found["sources"][3:] == ["random signs", "all others, mean logits", "all others, mean probability"]
    assert (fooled <= right).all() and (right <= 60).all() and (np.diag(fooled) == fooled[:3].max(0)).all()
    assert drawn("runs/transfer-0001/samples/matrix_000000.png") > 300
    assert "one other network" in capsys.readouterr().out


def test_extract_keeps_fidelity_and_accuracy_apart_and_solves_the_linear_model(model, capsys):
    assert attacks("extract", "--model", model, "--queries", 200, 60, "--count", 300, "--steps", 60) == 0
    found = json.load(open("runs/extract-0001/extract.json"))
    points = {(p["kind"], p["images"]): p for p in found["points"]}
    assert len(points) == 8 and all(p["queries"] == (0 if "true" in kind else n) for (kind, n), p in points.items())
    assert points["probabilities", 200]["fidelity"] > 0.6 and points["labels", 200]["fidelity"] > 0.6
    assert any(p["fidelity"] != p["accuracy"] for p in points.values())
    assert found["linear"]["queries"] == 257 and found["linear"]["error"] < 1e-4 and found["linear"]["fidelity"] == 1.0
    assert drawn("runs/extract-0001/samples/copies_000000.png") > 1000
    assert "fidelity / accuracy" in capsys.readouterr().out


def test_more_questions_than_images_are_one_line(model, capsys):
    assert attacks("extract", "--model", model, "--queries", 9999) == 1
    assert "ask fewer" in capsys.readouterr().err


def test_disjoint_networks_get_other_images_and_too_many_are_told(monkeypatch, capsys):
    seen = []
    fit = transfer.fit
    monkeypatch.setattr(transfer, "fit", lambda victim, x, y, **how: seen.append(x) or fit(victim, x, y, **how))
    for extra in ([], ["--disjoint"]):
        argv = ["transfer", "--networks", "softmax", "mlp", "--images", 100, "--epochs", 1, "--count", 10, "--attack", "fgsm"]
        assert attacks(*argv, *extra) == 0
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    assert len(seen[3]) == 100 and not (seen[2][:, None] == seen[3][None]).all((2, 3, 4)).any()
    assert attacks(*argv, "--disjoint", "--images", 40_000) == 1
    assert "give fewer --images" in capsys.readouterr().err


def test_noise_is_as_large_as_the_attack_may_be():
    x = np.full((3, 1, 4, 4), 0.5, np.float32)
    np.testing.assert_allclose(np.abs(copies.noise(x, Linf(0.3), 0) - x), 0.3, atol=1e-6)


def test_rounds_that_the_budget_cut_off_stay_at_their_last_value():
    rounds = [[{"q": 1}, {"q": 2}, {"q": 3}], [{"q": 5}]]
    np.testing.assert_array_equal(by_round([{"rounds": r} for r in rounds], "q"), [[1, 2, 3], [5, 5, 5]])


def test_the_matrix_in_letters_and_in_means():
    n = np.array([[10, 2], [4, 10], [1, 0]])
    found = Matrix(("a", "b", "signs"), ("a", "b"), np.array([10, 10]), n, n, n, 12)
    rows = [line.split() for line in transfer.text(found).splitlines()[1:]]
    assert rows == [["a", "100.0", "20.0"], ["b", "40.0", "100.0"], ["signs", "10.0", "0.0"]]
    means = transfer.means(found)
    assert means["one other network"].startswith("30.0 %") and means["signs"].startswith("5.0 %")
    assert heat(found.rates, ("a", "b"), "t", rows=found.sources).ndim == 3
