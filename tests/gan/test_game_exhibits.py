"""The exhibits as a student types them, in few steps: they repeat to the bit, and their numbers are the closed forms."""

import json
import os

import numpy as np
import pytest

import minigrad as mg
from gan import __main__ as gan_main
from gan import penalties
from gan.commands.curve import spearman
from gan.commands.leak import dead_units, silent_units
from gan.toys import perceptron
from minigrad import command, nn
from minigrad.random import Stream


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("argv", [
    ["losses"], ["dirac", "--steps", "8"], ["toogood", "--steps", "3"], ["curve", "--steps", "4"], ["leak", "--steps", "3"],
    ["batchnorm", "--steps", "2"], ["collapse", "--steps", "2", "--width", "2"],
    ["structure", "--steps", "2", "--width", "2", "--size", "20"],
], ids=lambda argv: argv[0])
def test_an_exhibit_repeats_to_the_bit(argv, capsys):
    assert gan(*argv, "--out", "a.png") == 0 and gan(*argv, "--out", "b.png") == 0
    assert "picture: a.png" in capsys.readouterr().out
    for kind in ("png", "json"):
        first, second = (open(f"{name}.{kind}", "rb").read() for name in "ab")
        assert first == second and len(first) > 100
    assert sorted(os.listdir(".")) == ["a.json", "a.png", "b.json", "b.png"]


def test_the_gradients_of_the_two_losses_are_p_and_one_minus_p(capsys):
    assert gan("losses", "--at", "0.001") == 0
    found = json.load(open("losses.json"))
    assert found["ratio"] == pytest.approx(999, rel=1e-6)
    assert found["value and gradient"]["minimax"][1] == pytest.approx(-0.001)
    assert found["value and gradient"]["non_saturating"] == [pytest.approx(-np.log(0.001)), pytest.approx(-0.999)]
    with pytest.raises(SystemExit):
        gan("losses", "--at", "2")
    assert "below 1" in capsys.readouterr().err


def test_too_good_a_discriminator_stops_minimax_and_nothing_else():
    assert gan("toogood", "--steps", "60") == 0
    falls = json.load(open("toogood.json"))["largest / last"]
    assert falls["minimax"] > 100 and falls["non_saturating"] < 2 and falls["wasserstein"] < 2


def test_rank_correlation_by_hand():
    assert spearman([1, 2, 3, 4], [10, 20, 25, 90]) == pytest.approx(1) and spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486832980505138)  # a tie has the mean rank 2.5
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert abs(spearman(*np.random.default_rng(0).normal(size=(2, 2000)))) < 0.06


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_a_silent_unit_is_dead_only_without_a_leak(slope):
    network = perceptron(2, 4, 1, 1, slope=slope, rng=Stream(0, "leak"))
    network[0].bias.assign_(np.array([-100, 100, 100, 100], np.float32))
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    assert silent_units(network, x) == 0.25 and dead_units(network, x) == (0.25 if slope == 0 else 0.0)


def test_drift_clipping_and_lazy_penalties():
    logits = mg.tensor(np.array([1.0, -2.0]))
    assert penalties.drift_penalty(logits).item() == 2.5
    layer = nn.Linear(30, 4, rng=Stream(0, "clip"))
    before = layer.weight.array.copy()
    penalties.clip_weights(layer, 0.05)
    np.testing.assert_array_equal(layer.weight.array, np.clip(before, np.float32(-0.05), np.float32(0.05)))
    assert layer.weight.requires_grad and layer.weight.node is None
    with pytest.raises(ValueError, match="above 0"):
        penalties.clip_weights(layer, 0)
    assert [penalties.lazy(step, 4) for step in range(1, 9)] == [0, 0, 0, 4, 0, 0, 0, 4]


def test_the_slope_from_logits_at_hand_is_the_slope():
    critic = perceptron(2, 8, 2, 1, rng=Stream(0, "critic"))
    x = mg.tensor(np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32), requires_grad=True)
    found = penalties.squared_gradient_of(critic(x), x)
    np.testing.assert_array_equal(found.detach().numpy(), penalties.squared_gradient(critic, x).detach().numpy())
