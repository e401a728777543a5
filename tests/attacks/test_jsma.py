"""JSMA: the pair is the best of all pairs, the domain is kept, and linear models are turned with the fewest coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import L0, Targeted, Untargeted, Victim, jsma
from attacks.white_box.jsma import NO_PAIR, best_pair
from minigrad.random import Stream
from tests.attacks.linear import images, linear, small_network


def brute(a, c):
    up, down = np.add.outer(a, a), np.add.outer(c, c)
    score = np.where((up > 0) & (down > 0), up * down, -np.inf)
    np.fill_diagonal(score, -np.inf)
    return score.max(initial=-np.inf)


@given(st.integers(0, 40), st.integers(0, 10**6), st.booleans(), st.floats(-1, 1))
def test_the_pair_is_the_best_of_all_pairs(d, seed, coarse, tilt):
    s = Stream(seed, "pairs")
    a, c = s.normal((d,), np.float64), s.normal((d,), np.float64)
    c = c + tilt * 3 * a
    if coarse:  # many ties
        a, c = np.rint(a), np.rint(c)
    pair = best_pair(a, c)
    if pair is None:
        assert brute(a, c) == -np.inf
    else:
        p, q = pair
        assert p != q and (a[p] + a[q]) * (c[p] + c[q]) == brute(a, c)


@pytest.mark.parametrize("theta", [1.0, -1.0, 0.25])
@pytest.mark.parametrize("targeted", [True, False])
def test_only_coordinates_with_room_move_and_only_one_way(theta, targeted):
    victim, x = Victim(small_network(side=8)), images(n=16, side=8)
    y = victim.predict(x).argmax(1)
    goal = Targeted((y + 1) % 4, y) if targeted else Untargeted(y)
    found = jsma(victim, x, goal, theta, share=0.5, trace=True)
    moved = found.candidate - x
    assert found.success.sum() > 3 and (moved * np.sign(theta) >= 0).all()
    assert ((moved != 0).sum((1, 2, 3)) <= 2 * found.steps).all() and found.steps.max() <= 0.5 * 64 / 2
    if abs(theta) == 1:
        assert (found.candidate[moved != 0] == (theta + 1) / 2).all()
        assert ((moved != 0).sum((1, 2, 3))[found.success] == 2 * found.steps[found.success]).all()
    np.testing.assert_array_equal(found.distance[found.success], L0(0).size(found.x_adv - x)[found.success])
    for i in np.flatnonzero(found.success):
        alone = victim.predict(found.x_adv[i : i + 1]).argmax(1)[0]
        assert alone == goal.labels[i] if targeted else alone != y[i]
    one = jsma(victim, x[5:6], goal[[5]], theta, share=0.5)
    np.testing.assert_array_equal(one.x_adv, found.x_adv[5:6])


def test_two_classes_of_a_linear_model_need_the_largest_weights():
    """z = (0, w x + b): the saliency of a pair is (w_p + w_q)^2 -> 0 for the other class, so the largest weights go first."""
    s = Stream(1, "weights")
    w = np.abs(s.normal((20,))) + 0.1
    victim = Victim(linear(np.stack([-w, w]), np.array([0.0, -1.2 * w.sum()])))
    found = jsma(victim, np.zeros((1, 20), np.float32), Targeted(1), share=1.0)
    order = np.sort(w)[::-1]
    need = 2 * next(k for k in range(1, 11) if 2 * order[: 2 * k].sum() > 1.2 * w.sum())
    assert found.success.all() and found.distance[0] == need
    assert set(np.flatnonzero(found.x_adv[0])) == set(np.argsort(-w)[:need])


def test_more_targets_never_need_more_coordinates():
    victim, x = Victim(small_network(side=8)), images(n=16, side=8)
    goal = Untargeted(victim.predict(x).argmax(1))
    one, all_ = (jsma(victim, x, goal, share=0.5, targets=k) for k in (1, 3))
    assert (all_.distance <= one.distance).all() and (all_.queries >= one.queries).all() and all_.success.sum() >= one.success.sum()


def test_failures_say_why_and_wrong_arguments_are_refused():
    victim = Victim(linear(np.array([[1.0, 1, 1, 1], [-1, -1, -1, -1]]), np.array([9.0, 0])))
    x = np.full((1, 4), 0.5, np.float32)
    assert jsma(victim, x, Untargeted(0), share=1.0).reason[0] == NO_PAIR  # every weight points the wrong way
    np.testing.assert_array_equal(jsma(victim, x, Untargeted(0)).x_adv, x)
    for options in (dict(theta=0), dict(theta=2), dict(share=0), dict(share=1.5), dict(targets=0)):
        with pytest.raises(ValueError, match="jsma"):
            jsma(victim, x, Untargeted(0), **options)
