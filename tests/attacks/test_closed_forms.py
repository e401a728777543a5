"""On linear networks the smallest perturbation is known: |f_k - f_0| / dual norm of (w_k - w_0), the least over k."""

import numpy as np
import pytest

from attacks import L1, L2, Linf, Untargeted
from attacks.black_box.decision import boundary
from attacks.black_box.hop_skip_jump import hop_skip_jump
from attacks.black_box.score import nes
from attacks.black_box.square import square
from attacks.white_box.carlini import carlini_l2
from attacks.white_box.deepfool import deepfool
from attacks.white_box.fab import fab
from tests.attacks.linear import DUAL, classes, linear

NORMS = {"linf": Linf, "l2": L2, "l1": L1}


def exact(x, y, weight, bias, norm):
    z = x @ weight.T + bias
    found = []
    for i, k in enumerate(y):
        others = [j for j in range(len(bias)) if j != k]
        found.append(min((z[i, k] - z[i, j]) / np.linalg.norm(weight[k] - weight[j], DUAL[norm]) for j in others))
    return np.array(found)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_deepfool_and_fab_reach_the_boundary(norm):
    for seed in range(70):
        victim, x, y, weight, bias = classes(seed)
        distance = exact(x, y, weight, bias, norm)
        found = deepfool(victim, x, Untargeted(y), norm=NORMS[norm])
        assert found.success.all()
        np.testing.assert_allclose(found.distance, 1.02 * distance, rtol=2e-3, atol=1e-5)  # overshoot 0.02
        if seed < 10:
            near = fab(victim, x, Untargeted(y), norm=NORMS[norm], steps=50)
            assert near.success.all()
            np.testing.assert_allclose(near.distance, distance, rtol=1e-2, atol=1e-4)


def test_carlini_l2_comes_within_one_percent():
    victim, x, y, weight, bias = classes(0, n=12)
    found = carlini_l2(victim.within((-8, 8)), np.clip(x, -4, 4), Untargeted(y), steps=1000, search_steps=12, lr=0.002)
    distance = exact(np.clip(x, -4, 4), y, weight, bias, "l2")
    assert found.success.all()
    assert (found.distance >= distance * (1 - 1e-4)).all() and np.median(found.distance / distance) < 1.01


def test_hop_skip_jump_comes_near_from_labels_alone():
    victim, x, y, weight, bias = classes(0, n=4)
    found = hop_skip_jump(victim.labels(), x, Untargeted(y), norm="l2", steps=25)
    assert found.success.all() and np.median(found.distance / exact(x, y, weight, bias, "l2")) < 1.1
    walk = boundary(victim.labels(), x, Untargeted(y), steps=1500)
    assert walk.success.all() and (walk.queries > 1500).all()


@pytest.mark.parametrize("attack, options", [(square, {"queries": 300}), (nes, {"steps": 10})])
def test_score_attacks_stay_inside_and_count(attack, options):
    victim, x, y, weight, bias = classes(1)
    if attack is square:
        x, victim = x.reshape(len(x), 1, 2, 5), image_victim(weight, bias)
    threat = Linf(2 * float(np.median(exact(x.reshape(len(x), -1), y, weight, bias, "linf"))))
    found = attack(victim.scores(), x, Untargeted(y), threat, rng=3, **options)
    again = attack(victim.scores(), x[2:4], Untargeted(y[2:4]), threat, rng=3, **options)
    assert np.abs(found.x_adv - x).max() <= threat.epsilon * (1 + 1e-6)
    assert found.success.any() and (found.queries[~found.already_wrong] > 0).all()
    np.testing.assert_array_equal(found.x_adv[2:4], again.x_adv)


def image_victim(weight, bias):
    from attacks import Victim
    from minigrad import nn

    return Victim(nn.Sequential(nn.Flatten(), linear(weight, bias)), bounds=(-20, 20))
