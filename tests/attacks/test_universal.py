"""Universal perturbations: inside the ball, better than noise of the same size, and on a linear model the known answer."""

import dataclasses

import numpy as np
import pytest

from attacks import L1, L2, Linf, Targeted, Untargeted, Victim, deepfool
from attacks.white_box.universal import shuffled, universal, universal_sgd
from minigrad.random import Stream
from tests.attacks.linear import images, linear, small_network

METHODS = {"deepfool": universal, "sgd": universal_sgd}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.fixture(scope="module")
def victim():
    return Victim(small_network(side=8))


@methods
@pytest.mark.parametrize("threat", [Linf(0.15), L2(0.8), L1(5.0, top=0.1)])
def test_it_lies_in_the_ball_fools_pictures_never_seen_and_beats_noise(method, threat, victim):
    x = images(n=140, side=8) * 0.6 + 0.2
    goal = Untargeted(victim.predict(x).argmax(1))
    found = method(victim, x[:40], goal[:40], threat, 2, rng=1)
    zero = np.zeros_like(found.delta)
    assert found.delta.shape == (1, 1, 8, 8) and found.delta.dtype == np.float32
    assert threat.size(found.delta)[0] <= threat.epsilon * (1 + 1e-6) and (found.delta != zero).any()
    assert found.rates[0] == 0 and found.rates[-1] > 0.2
    fresh = found.on(victim, x[40:], goal[40:])
    noises = [dataclasses.replace(found, delta=shuffled(found.delta, i)).on(victim, x[40:], goal[40:]) for i in range(5)]
    assert fresh.success_rate > 0.2 and fresh.success_rate > 1.5 * np.mean([noise.success_rate for noise in noises])
    assert (fresh.distance[fresh.success] <= threat.epsilon * (1 + 1e-6)).all()
    seen = found.on(victim, x[:40], goal[:40])
    assert seen.success_rate == pytest.approx(found.rate)
    np.testing.assert_array_equal(method(victim, x[:40], goal[:40], threat, 2, rng=1).delta, found.delta)


def test_for_two_classes_of_a_linear_model_training_finds_the_worst_direction():
    """Every gradient of class 0 is w: the best delta of Linf(eps) is eps sign(w), and it fools where eps ||w||_1 > margin."""
    s = Stream(0, "weights")
    w = s.normal((12,))
    victim = Victim(linear(np.stack([0 * w, w]), np.array([0.0, -1.0])), bounds=(-9, 9))
    x = s.normal((80, 12)).astype(np.float32)
    x = x[victim.predict(x).argmax(1) == 0]
    found = universal_sgd(victim, x, Untargeted(0), Linf(0.2), 4, batch=10)
    np.testing.assert_allclose(found.delta[0], 0.2 * np.sign(w), atol=1e-6)
    fooled = x @ w - 1 + 0.2 * np.abs(w).sum() > 0
    assert 0 < fooled.sum() < len(x)
    np.testing.assert_array_equal(found.on(victim, x, Untargeted(0)).success, fooled)


def test_a_class_can_be_named(victim):
    x = images(n=120, side=8)
    y = victim.predict(x).argmax(1)
    for t in range(4):
        some = y != t
        found = universal_sgd(victim, x[some], Targeted(t, y[some]), Linf(0.4), 5, batch=25)
        rate = found.on(victim, x[some], Targeted(t, y[some])).success_rate
        assert rate == pytest.approx(found.rates[-1]) and rate > 0.6


def test_passes_end_when_the_rate_is_reached_and_pictures_that_are_wrong_take_no_part(victim):
    x = images(n=60, side=8)
    y = victim.predict(x).argmax(1)
    quick = universal(victim, x, Untargeted(y), Linf(0.3), 20, rate=0.3)
    assert len(quick.rates) == 2 and quick.rates[-1] >= 0.3
    wrong = np.where(np.arange(60) % 2, y, (y + 1) % 4)
    for method in METHODS.values():
        assert method(victim, x, Untargeted(wrong), Linf(0.1), 1).settings["pictures"] == 30
    none = universal(victim, x, Untargeted((y + 1) % 4), Linf(0.1))
    assert np.isnan(none.rates[0]) and not none.delta.any()


def test_another_minimal_attack_may_be_handed_in(victim):
    asked = []

    def counted(*a, **k):
        asked.append(a[3])
        return deepfool(*a, **k)

    x = images(n=20, side=8)
    universal(victim, x, Untargeted(victim.predict(x).argmax(1)), L2(0.5), 1, smallest=counted)
    assert asked and set(asked) == {"l2"}


def test_wrong_calls_are_refused(victim):
    x = images(n=4, side=8)
    for method in METHODS.values():
        with pytest.raises(TypeError, match="one finite radius"):
            method(victim, x, Untargeted(0), Linf(np.full(4, 0.1)))
        with pytest.raises(ValueError, match="no pictures"):
            method(victim, x[:0], Untargeted(0), Linf(0.1))
        with pytest.raises(TypeError, match="gradients"):
            method(victim.labels(), x, Untargeted(0), Linf(0.1))
    with pytest.raises(ValueError, match="rate"):
        universal(victim, x, Untargeted(0), Linf(0.1), rate=0)
