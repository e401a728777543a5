"""The benchmarks compare what they say: twins agree, FLOPs are counted right, a disagreement stops before any timing."""

import argparse

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from attacks import Linf, carlini_l2, pgd  # noqa: E402
from benchmarks import attack, common, networks, overhead, training  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.random import Stream  # noqa: E402
from nets.classifiers.strided import Strided  # noqa: E402


def test_a_peer_computes_the_same():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
                        nn.ConvTranspose2d(4, 2, 4, 2, 1), nn.Flatten(), nn.Linear(2 * 8 * 8, 5))
    x = training.draw(4, 3, 8, 8)
    ours, theirs = net(common.OURS.images(x)).array, common.peer(net)(common.THEIRS.images(x))
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_images_lie_channels_last_in_both_libraries():
    x = training.draw(2, 3, 4, 5)
    assert common.OURS.images(x).array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert common.THEIRS.images(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("duel", [
    lambda: training.dcgan(28, 8, 4), lambda: training.wgan_gp(28, 1, 4, 8), lambda: training.residual((8, 16), 1, 4),
    lambda: training.lenet(4), lambda: training.default_recipe(batch=4, width=8, latent=8), training.char_rnn,
    lambda: training.progan(16, 16, 4, 4, 8), lambda: training.cyclegan(4, 2, 16, 1, 1)])
def test_both_sides_of_a_step_have_the_same_losses(duel):
    duel = duel()
    for _ in range(2 if duel.steps == 1 else 1):  # after many steps of a game, rounding has grown into another game
        losses = [[loss.item() for loss in step()] for step in (duel.ours, duel.theirs)]
        common.check_equal(duel.name, *losses)


def test_attacks_and_chains_agree():
    images, y = abs(training.draw(4, 3, 16, 16)).clip(0, 1), training.labels(10, 4)
    ours, theirs = (attack.attack(lib, net.eval().requires_grad_(False), lib.images(images), lib.tensor(y), 2)
                    for lib, net in zip((common.OURS, common.THEIRS), networks.residuals((8,), 1), strict=True))
    common.check_equal("attack", ours[1].item(), theirs[1].item())
    assert abs(ours[0].array - images).max() <= 8 / 255 + 1e-6
    for both in (False, True):
        gradients = [np.asarray(overhead.chain(lib, both)()) if lib is common.THEIRS else overhead.chain(lib, both)().array
                     for lib in (common.OURS, common.THEIRS)]
        np.testing.assert_allclose(*gradients, rtol=1e-5)


def test_our_attacks_and_foolboxs_do_the_same_work():
    foolbox = pytest.importorskip("foolbox")
    case = attack.trained("small", Strided(width=2, rng=Stream(0, "init")), "standard", 0.0, 30, count=60, limit=300, rate=1e-2)
    options = dict(steps=60, lr=0.2, search_steps=2, c=1.0, abort_early=False)
    nearest = foolbox.attacks.L2CarliniWagnerAttack(2, 60, 0.2, initial_const=1.0, abort_early=False)
    ours, theirs = case.ours(12, carlini_l2, **options), case.theirs(12, nearest, None)
    attack.agree("C&W", ours, theirs, near=0.02)
    assert np.array_equal(ours[0], theirs[0]) and ours[0].mean() > 0.5 and ours[1] > 0
    fixed = foolbox.attacks.LinfPGD(steps=8, abs_stepsize=0.02, random_start=False)
    ours, theirs = (case.ours(60, pgd, Linf(0.05), steps=8, step=0.02, early_stop=False, random_start=False),
                    case.theirs(60, fixed, 0.05))
    attack.agree("PGD", ours, theirs)
    assert (ours[0] == theirs[0]).mean() > 0.95 and case.right[ours[0]].any() and 0 < ours[1] < 0.05 * 28
    with pytest.raises(AssertionError, match="PGD: success .* do not do the same work"):
        attack.agree("PGD", ours, (~ours[0], ours[1]))
    with pytest.raises(AssertionError):
        attack.agree("C&W", ours, (ours[0], 1.03 * ours[1]), near=0.02)


def test_without_foolbox_its_rows_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(attack, "foolbox", None)
    monkeypatch.setattr(attack, "measure", lambda *_: ("work",) * len(common.HEAD))
    monkeypatch.setattr(attack, "start", lambda *_: argparse.Namespace(quick=True, cpu_time=True, threads=1))
    attack.main([])
    assert "pip install foolbox==" in capsys.readouterr().out


def test_flops_are_two_for_each_multiplication():
    x, w = torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)
    with common.FlopCounter() as counter:
        torch.nn.functional.conv2d(x, w, padding=1)
        torch.ones(5, 6) @ torch.ones(6, 7)
    assert counter.flops == 2 * (2 * 8 * 8 * 4 * 3 * 3 * 3 + 5 * 6 * 7)


def test_a_disagreement_stops_the_benchmark():
    common.check_equal("step", [1.0, 2.0], [1.0005, 2.0])
    with pytest.raises(AssertionError, match="step: the two libraries disagree"):
        common.check_equal("step", [1.0], [1.01])
    with pytest.raises(AssertionError):
        common.check_equal("step", [np.nan], [1.0])


def test_a_row_and_a_table_are_markdown(capsys, monkeypatch):
    monkeypatch.setattr(common, "peak", lambda threads: 100e9)
    options = argparse.Namespace(quick=True, cpu_time=True)
    timing = common.interleaved(lambda: sum(range(1000)), lambda: sum(range(3000)), options)
    assert timing.ratio[1] <= timing.ratio[0] <= timing.ratio[2] and timing.per(2).ours == timing.ours / 2
    line = common.row("work", common.Timing(10.0, 20.0, (2.0, 1.9, 2.1)), 5e8, 2)
    assert line == ("work", "10", "20", "2.00", "1.90-2.10", "0.5", "50", "50 %")
    common.table("Title", [line])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Title" and lines[3].startswith("| work") and set(lines[4]) <= set("|-:")
