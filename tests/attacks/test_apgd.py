"""APGD: the published schedule, the rule that halves steps, and its strength next to plain PGD."""

import numpy as np
import pytest
from linear import classes, images, small_network

from attacks import L1, L2, Box, Linf, Targeted, Untargeted, Victim, apgd, apgd_targeted, pgd
from attacks.white_box.apgd import checkpoints


def setting(n=16):
    victim, x = Victim(small_network()), images(n=n)
    return victim, x, victim.predict(x).argmax(1)


def test_the_checkpoints_of_a_hundred_steps():
    """0.22 N, then intervals shorter by 0.03 N down to 0.06 N (Croce & Hein 2020, section 3.1)."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1000)[:3] == [220, 410, 570] and np.diff(checkpoints(1000)).min() == 60
    assert checkpoints(1) == [1] and checkpoints(10) == [2, 3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("kind, eps", [(Linf, 0.1), (L2, 0.5)])
def test_steps_are_halved_exactly_where_the_rule_says(kind, eps):
    """Replays the rule on the trace: rises <= 0.75 * period, or neither step nor best changed since the last checkpoint."""
    victim, x, y = setting()
    trace = apgd(victim, x, Untargeted(y), kind(eps), 60, early_stop=False, trace=True).trace
    value, step, when = trace["objective"], trace["step"], checkpoints(60)
    n = len(x)
    assert (step[: when[0]] == 2 * eps).all()
    standing, best, eta = value[0].copy(), value[0].copy(), np.full(n, 2 * eps)
    checked, reduced, rises, last = best.copy(), np.ones(n, bool), np.zeros(n), 0
    halvings = 0
    for k in range(1, 61):
        rises += value[k] > standing
        standing, best = value[k].copy(), np.maximum(best, value[k])
        assert np.allclose(step[k], eta)
        if k in when:
            halve = (rises <= 0.75 * (k - last)) | (~reduced & (checked >= best))
            eta = np.where(halve, eta / 2, eta)
            standing = np.where(halve, best, standing)
            reduced, checked, rises, last = halve, best.copy(), np.zeros(n), k
            halvings += halve.sum()
    assert halvings > 0 and halvings < n * len(when)


@pytest.mark.parametrize("loss", ["ce", "dlr", "margin"])
@pytest.mark.parametrize("kind, eps", [(Linf, 0.06), (L2, 0.3), (L1, 1.5)])
def test_it_finds_what_pgd_finds(kind, eps, loss):
    victim, x, y = setting(24)
    plain = pgd(victim, x, Untargeted(y), kind(eps), 40, loss=loss, rng=0)
    adaptive = apgd(victim, x, Untargeted(y), kind(eps), 60, loss=loss, rng=0)
    assert 0 < adaptive.success.mean() < 1 and adaptive.success.sum() >= plain.success.sum() - 1


def test_the_first_point_lies_on_the_sphere():
    """x + eps t / ||t|| (in the norm of the ball) before the box is applied."""
    victim, x, y, _, _ = classes(0)
    for threat in (Linf(0.5), L2(0.5), L1(0.5)):
        first = apgd(victim, x, Untargeted(y), threat, 1, early_stop=False, trace=True).trace["distance"][0]
        measured = threat.size(np.zeros_like(x))
        assert np.allclose(first, 0.5, rtol=1e-4) and (measured == 0).all()


def test_targets_are_the_most_likely_wrong_classes_and_any_error_counts():
    victim, x, y, _, _ = classes(3, n=20)
    alone = apgd(victim, x, Untargeted(y), L2(0.3), 20, loss="dlr", rng=0)
    result = apgd_targeted(victim, x, Untargeted(y), L2(0.3), 20, targets=4, rng=0)
    assert result.settings["targets"] == 4 and result.success.sum() >= alone.success.sum()
    assert (result.queries[~result.success] == 4 * 21).all()
    one = apgd_targeted(victim, x, Untargeted(y), L2(5.0), 20, 1, "margin", rng=0, early_stop=False)
    z = victim.predict(x)
    z[np.arange(20), y] = -np.inf
    assert (victim.predict(one.x_adv).argmax(1)[one.success] == z.argmax(1)[one.success]).mean() > 0.8


def test_towards_a_target_values_rise_too():
    """ART #840: with a target the direction of improvement must not flip."""
    victim, x, y, _, _ = classes(1)
    trace = apgd(victim, x, Targeted((y + 1) % 5, y), L2(1.0), 30, early_stop=False, trace=True).trace["objective"]
    assert (trace[-1] > trace[0]).all()


def test_wrong_calls():
    victim, x, y = setting()
    with pytest.raises(TypeError, match="Linf, L2 or L1"):
        apgd(victim, x, Untargeted(y), Box())
    with pytest.raises(TypeError, match="Untargeted"):
        apgd_targeted(victim, x, Targeted(0), Linf(0.1))
    with pytest.raises(ValueError, match="rho"):
        apgd(victim, x, Untargeted(y), Linf(0.1), rho=0)
    with pytest.raises(ValueError, match="steps"):
        apgd(victim, x, Untargeted(y), Linf(0.1), 0)
