"""Exhibits with pictures: batch norm in the wrong mode, games that are played for an exhibit, stacked digits and their modes."""

import gzip
import json
import struct

import numpy as np
import pytest

import minigrad as mg
from gan import __main__ as gan_main
from gan.commands.batchnorm import SIZES, batch_statistics, through_depth
from gan.commands.helpers.short_game import Rules, play
from gan.critics import Critic
from gan.metrics.stacked import read_stack
from minigrad import command, data, nn
from minigrad.random import Stream, Streams
from nets import __main__ as nets_main
from nets.classifiers import LeNet
from nets.generators.dcgan import Generator


def run(package, *argv):
    commands = {"gan": gan_main.COMMANDS, "nets": nets_main.COMMANDS}
    return command.main(package, commands[package], list(argv))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# ---- batch norm


def test_with_batch_norm_activations_keep_their_size_and_without_they_vanish():
    images = data.load("glyphs", size=8, limit=64).normalised()
    (plain, gradients), (normed, _) = (through_depth(images, norm, 0.02, 0) for norm in (False, True))
    assert plain[-1] < 1e-9 < 1e-4 < plain[1] and gradients[0] < 1e-9
    assert all(0.4 < spread < 0.8 for spread in normed)  # of max(0, N(0, 1)): sqrt(1/2 - 1/(2 pi)) = 0.58


def test_the_wrong_mode_is_of_batch_norm_alone_and_leaves_nothing_behind():
    classifier = LeNet(1, 10, 16, 2, rng=Stream(0, "net")).eval()
    before = {name: array.copy() for name, array in classifier.state_dict().items()}
    x = mg.tensor(Stream(0, "x").normal((6, 1, 16, 16)))
    right = classifier(x).detach().numpy()
    with batch_statistics(classifier):
        assert [m.training for m in classifier.modules() if isinstance(m, nn.Dropout)] == [False]
        wrong = classifier(x).detach().numpy()
        alone = classifier(x[:2]).detach().numpy()
    assert np.abs(wrong - right).max() > 1e-3 and np.abs(alone - wrong[:2]).max() > 1e-3  # the company counts
    np.testing.assert_array_equal(classifier(x).detach().numpy(), right)
    assert not any(m.training for m in classifier.modules())
    for name, array in classifier.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_small_batches_cost_the_most_in_the_wrong_mode():
    assert run("gan", "batchnorm", "--steps", "20") == 0
    found = json.load(open("batchnorm.json"))
    mixed, sorted_ = (found["accuracy, batch statistics"][kind] for kind in ("mixed", "sorted"))
    assert list(mixed) == [str(n) for n in SIZES] and mixed["2"] < mixed["128"] and sorted_["128"] < mixed["128"]
    assert set(found["success of the attack"]) == {"saved", *mixed}


# ---- games for an exhibit


@pytest.mark.parametrize("changed", [dict(stddev=4), dict(pack=2), dict(unroll=1), dict(spectral_norm=True), dict(noise=0.5),
                                     dict(gamma=1.0), dict(gradient_penalty=1.0, loss="wasserstein", critic_steps=2)], ids=str)
def test_a_remedy_changes_the_game_and_the_same_seed_repeats_it(changed):
    images = data.load("glyphs", size=8, limit=64)

    def played(rules):
        streams = Streams(0)
        generator = Generator(8, 1, rules.latent, 2, rng=streams["g"])
        critic = Critic(8, 1, 2, packed=rules.pack, group=rules.stddev, spectral=rules.spectral_norm, rng=streams["d"])
        batches = data.DataLoader(images, rules.batch, shuffle=True, drop_last=True, rng=streams["data"]).forever()
        losses = [(step, d.item(), g.item()) for step, d, g in play(generator, critic, batches, 3, rules, streams)]
        assert [step for step, _, _ in losses] == [1, 2, 3] and np.isfinite(losses).all()
        return np.concatenate([np.ravel(array) for array in generator.state_dict().values()])

    plain, remedy = Rules(batch=8, latent=3), Rules(batch=8, latent=3, **changed)
    np.testing.assert_array_equal(played(remedy), played(remedy))
    assert (played(plain) != played(remedy)).any()


def test_the_judge_of_a_collapse_must_know_the_pictures(capsys):
    assert run("nets", "classifier", "--size", "20", "--width", "2", "--batch", "8", "--steps", "2") == 0
    assert run("gan", "collapse", "--judge", "runs/classifier-0001") == 1
    assert "20 pixels; this needs glyphs of 16" in capsys.readouterr().err


# ---- stacked digits


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """A set of ten pictures, each of one grey for its digit, where MNIST is looked for."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    x, y = np.repeat(np.arange(10, dtype=np.uint8) * 20, 784).reshape(10, 28, 28), np.arange(10, dtype=np.uint8)
    for stem in ("train", "t10k"):
        for name, array in ((f"{stem}-images-idx3-ubyte.gz", x), (f"{stem}-labels-idx1-ubyte.gz", y)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes(gzip.compress(header + array.tobytes()))
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "data"))


def test_stacked_digits_are_three_pictures_of_mnist_and_their_label(small_mnist):
    found = data.load("stacked-mnist", limit=300, seed=3)
    assert found.x.shape == (300, 3, 28, 28) and len(found.classes) == 1000 and found.classes[7] == "007"
    np.testing.assert_array_equal(found.x[:, :, 5, 5] // 20 @ np.array([100, 10, 1]), found.y)
    assert len(np.unique(found.y)) > 200  # of 300 draws from 1,000
    np.testing.assert_array_equal(data.load("stacked-mnist", limit=40, seed=3).x, found.x[:40])
    for other in (data.load("stacked-mnist", limit=300, seed=4), data.load("stacked-mnist", limit=300, seed=3, train=False)):
        assert (other.y != found.y).any()


def test_each_colour_is_judged_for_itself():
    classifier = LeNet(1, 10, 28, 2, rng=Stream(0, "net")).eval()
    images = Stream(0, "x").normal((4, 3, 28, 28))
    labels = read_stack(classifier, images)
    assert labels.shape == (4, 3)
    np.testing.assert_array_equal(labels[:, 1], read_stack(classifier, images[:, [1, 1, 1]])[:, 0])


def test_modes_of_a_run_are_counted_and_wrong_runs_are_told(small_mnist, capsys):
    tiny = ["--batch", "4", "--width", "2", "--steps", "2"]
    assert run("gan", "dcgan", "--preset", "stacked", "--latent", "3", *tiny) == 0
    assert run("nets", "classifier", "--data", "mnist", *tiny) == 0
    assert run("gan", "dcgan", "--data", "mnist", "--latent", "3", "--out", "grey", *tiny) == 0
    assert run("gan", "modes", "runs/dcgan-0001", "--judge", "runs/classifier-0001", "--count", "50") == 0
    found = json.load(open("runs/dcgan-0001/modes.json"))
    assert 1 <= found["modes"] <= 50 and found["samples"] == 50 and found["floor_of_kl"] == pytest.approx(999 / 100)
    capsys.readouterr()
    assert run("gan", "modes", "grey/dcgan-0001", "--judge", "runs/classifier-0001") == 1
    assert "trained on mnist" in capsys.readouterr().err
    assert run("nets", "classifier", "--size", "28", "--data", "stacked-mnist", "--out", "wrong", *tiny) == 0
    assert run("gan", "modes", "runs/dcgan-0001", "--judge", "wrong/classifier-0001") == 1
    assert "in 3 channels" in capsys.readouterr().err
