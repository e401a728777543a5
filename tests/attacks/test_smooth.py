"""Randomized smoothing: the binomial bounds, the closed form on linear models, abstention, and the level of the test."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import binary, classes, images, small_network

from attacks import L2, Untargeted, Victim, pgd
from attacks.defend.binomial import (
    beta_quantile,
    clopper_pearson,
    incomplete_beta,
    lower_bound,
    normal_cdf,
    normal_quantile,
    two_sided_p_value,
    upper_bound,
)
from attacks.defend.smooth import ABSTAIN, Certificate, Smoothed, largest_radius, radius_of
from minigrad.random import Stream

# ---- the binomial distribution ---------------------------------------------------------------------------------------


def tail(k, n, p):
    """P(Bin(n, p) >= k), exactly."""
    p = Fraction(p)
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))), st.integers(1, 63))
def test_the_incomplete_beta_function_is_the_tail_of_the_binomial_distribution(kn, p):
    k, n = kn
    assert incomplete_beta(k, n - k + 1, p / 64) == pytest.approx(float(tail(k, n, Fraction(p, 64))), rel=1e-12)


@given(st.floats(0.05, 300), st.floats(0.05, 300), st.floats(1e-6, 1 - 1e-6))
def test_the_incomplete_beta_function_is_symmetric_and_its_quantile_inverts_it(a, b, x):
    value = incomplete_beta(a, b, x)
    assert 0 <= value <= 1 and value + incomplete_beta(b, a, 1 - x) == pytest.approx(1, abs=1e-10)
    if 1e-9 < value < 1 - 1e-6:
        assert incomplete_beta(a, b, beta_quantile(value, a, b)) == pytest.approx(value, rel=1e-9)


def test_the_incomplete_beta_function_at_known_points():
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3, rel=1e-14)
    assert incomplete_beta(2, 3, 0.5) == pytest.approx(11 / 16, rel=1e-14)
    assert incomplete_beta(0.5, 0.5, 0.25) == pytest.approx(1 / 3, rel=1e-13)  # 2/pi arcsin(sqrt x)
    assert incomplete_beta(5e4, 5e4, 0.5) == pytest.approx(0.5, rel=1e-9)
    assert (incomplete_beta(3, 4, 0.0), incomplete_beta(3, 4, 1.0)) == (0, 1)
    for wrong in ((0, 1, 0.5), (1, -1, 0.5), (1, 1, 1.5), (1, 1, math.nan)):
        with pytest.raises(ValueError, match="incomplete_beta"):
            incomplete_beta(*wrong)


@pytest.mark.parametrize("n", [1, 5, 100, 1000, 100_000])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_n_successes_of_n_give_the_nth_root_of_alpha(n, alpha):
    """(1 - alpha)-bound p with p^n = alpha; the same by bisection of the incomplete beta function."""
    assert lower_bound(n, n, alpha) == pytest.approx(alpha ** (1 / n), rel=1e-14)
    assert beta_quantile(alpha, n, 1) == pytest.approx(alpha ** (1 / n), rel=1e-9)
    assert upper_bound(0, n, alpha) == pytest.approx(1 - alpha ** (1 / n), rel=1e-9)
    assert lower_bound(0, n, alpha) == 0 and upper_bound(n, n, alpha) == 1


@pytest.mark.parametrize("k, n, low, high", [
    (0, 10, 0.0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (8, 10, 0.4439, 0.9748),
    (10, 10, 0.6915, 1.0), (1, 20, 0.0013, 0.2487), (10, 20, 0.2720, 0.7280), (50, 100, 0.3983, 0.6017),
])
def test_the_two_sided_intervals_of_clopper_and_pearson_at_95_percent(k, n, low, high):
    assert clopper_pearson(k, n, 0.05) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(1, n - 1 or 1), st.just(n))), st.sampled_from([0.001, 0.05]))
def test_at_the_bound_the_tail_is_alpha_and_more_votes_give_a_larger_bound(kn, alpha):
    k, n = kn
    p = lower_bound(k, n, alpha)
    assert float(tail(k, n, p)) == pytest.approx(alpha, rel=1e-9)
    assert p < k / n and lower_bound(k - 1, n, alpha) < p


def test_wrong_counts_are_refused():
    for wrong in ((5, 4, 0.05), (-1, 4, 0.05), (1, 0, 0.05), (1, 4, 0.0), (1, 4, 1.0)):
        with pytest.raises(ValueError, match="lower_bound: needs 0 <= successes <= n"):
            lower_bound(*wrong)


def test_the_two_sided_test_of_a_fair_coin():
    assert two_sided_p_value(5, 10) == 1 and two_sided_p_value(0, 0) == 1
    assert two_sided_p_value(8, 10) == pytest.approx(2 * (45 + 10 + 1) / 1024, rel=1e-12)
    assert two_sided_p_value(2, 10) == two_sided_p_value(8, 10)
    assert two_sided_p_value(30, 30) == pytest.approx(2.0**-29, rel=1e-12)


@given(st.floats(1e-9, 1 - 1e-9))
def test_the_normal_quantile_inverts_the_distribution(p):
    assert normal_cdf(normal_quantile(p)) == pytest.approx(p, rel=1e-9)


# ---- radii -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, largest", [(100, 1.50), (1000, 2.46), (10_000, 3.20), (100_000, 3.81)])
def test_the_largest_radius_that_n_votes_certify(n, largest):
    assert largest_radius(n, 1.0, 0.001) == pytest.approx(largest, abs=6e-3)
    assert largest_radius(n, 0.25, 0.001) == pytest.approx(0.25 * largest_radius(n, 1.0, 0.001))


@pytest.mark.parametrize("block", range(4))
def test_on_200_logistic_models_the_radius_is_the_margin(block):
    """p_A = Phi(margin / sigma) gives R = margin exactly; the estimate stays below it and close."""
    n, sigma, above = 4000, 0.5, 0
    for seed in range(50 * block, 50 * block + 50):
        victim, x, y, w, b = binary(seed, n=1)
        margin = abs(x @ w + b) / np.linalg.norm(w)
        exact = np.array([radius_of(normal_cdf(m / sigma), sigma) for m in margin])
        assert exact[margin < 6 * sigma] == pytest.approx(margin[margin < 6 * sigma], rel=1e-6)
        found = Smoothed(victim, sigma, rng=seed, batch=n).certify(x, 1000, n, alpha=0.001)
        ceiling = largest_radius(n, sigma)
        assert (found.radius <= ceiling + 1e-12).all()
        above += int((found.radius > margin).sum())
        clear = margin > 0.1  # else the looks may choose the other class, or not tell
        assert (found.prediction == y)[clear].all()
        p = np.array([normal_cdf(m / sigma) for m in margin])
        fewest = np.maximum(n * p - 4 * np.sqrt(n * p * (1 - p)) - 2, 0).astype(int)  # of the votes, but for 1 in 30,000
        least = np.array([radius_of(lower_bound(int(k), n, 0.001), sigma) for k in fewest])
        assert (found.radius >= least)[clear].all(), (found, margin)
        assert (found.radius >= margin - 0.25 * sigma)[clear & (margin < 1.5 * sigma)].all()
    assert above <= 1  # each is false with probability 0.001


def test_a_certificate_depends_neither_on_the_batch_nor_on_the_size_of_a_pass():
    victim, x, *_ = classes(1, n=5)
    whole = Smoothed(victim, 0.5, rng=3).certify(x, 20, 300)
    parts = [Smoothed(victim, 0.5, rng=3, batch=70).certify(x[[i]], 20, 300) for i in range(5)]
    assert np.array_equal(np.concatenate([p.votes for p in parts]), whole.votes)
    assert np.array_equal(np.concatenate([p.radius for p in parts]), whole.radius)
    assert (whole.votes.sum(1) == 300).all()
    assert not np.array_equal(Smoothed(victim, 0.5, rng=4).certify(x, 20, 300).votes, whole.votes)


def test_on_the_boundary_it_abstains_and_far_from_it_not():
    victim, x, y, w, b = binary(0, n=6)
    on = (x - ((x @ w + b) / (w @ w))[:, None] * w).astype(np.float32)
    far = (on + 3 * np.where(y == 1, 1, -1)[:, None] * w / np.linalg.norm(w)).astype(np.float32)
    smoothed = Smoothed(victim, 1.0)
    assert (smoothed.predict(on, 200) == ABSTAIN).all()
    certificate = smoothed.certify(on, 50, 500)
    assert (certificate.prediction == ABSTAIN).all() and (certificate.radius == 0).all() and (certificate.p_lower <= 0.5).all()
    assert (smoothed.predict(far, 200) == y).all() and (smoothed.certify(far, 50, 500).prediction == y).all()


def test_certified_accuracy_counts_right_classes_with_room():
    c = Certificate(np.array([1, 1, ABSTAIN, 0]), np.array([0.5, 1.0, 0.0, 2.0]), np.zeros(4), np.zeros((4, 2)))
    assert c.accuracy([1, 1, 1, 1]) == 0.5 and c.accuracy([1, 1, 1, 0]) == 0.75
    assert np.array_equal(c.accuracy([1, 1, 1, 0], [0, 0.5, 0.7, 1.5, 3]), [0.75, 0.75, 0.5, 0.25, 0])


def test_within_the_certified_radius_no_attack_changes_the_answer():
    victim, x = Victim(small_network(), bounds=(0, 1)), images(n=4)
    smoothed = Smoothed(victim, 0.5)
    certificate = smoothed.certify(x, 50, 1000)
    sure = np.flatnonzero(certificate.prediction != ABSTAIN)
    assert len(sure)
    x, y = x[sure], certificate.prediction[sure]
    attack = pgd(smoothed.noisy(rng=Stream(0, "attack")), x, Untargeted(y), L2(0.9 * certificate.radius[sure]), 5, samples=5)
    again = smoothed.predict(np.asarray(attack.candidate), 1000)
    assert ((again == y) | (again == ABSTAIN)).all()


def test_the_bounds_do_not_cut_the_noise_and_the_normalisation_comes_after_it():
    seen = []

    def net(x):
        seen.append(x.array.copy())
        return x.flatten(1)[:, :2]

    x = images(n=1)
    Smoothed(Victim(net, normalize=(0.5, 0.25)), 0.5).votes(x, 400)
    noise = (np.concatenate(seen[-1:]) * 0.25 + 0.5 - x) / 0.5
    assert noise.std() == pytest.approx(1, abs=0.03) and abs(noise.mean()) < 0.03
    assert seen[-1].min() * 0.25 + 0.5 < -0.5


def test_the_network_is_as_it_was_afterwards():
    net = small_network()
    Smoothed(Victim(net), 0.3).certify(images(n=2), 10, 20)
    victim = Smoothed(Victim(net, normalize=(0.5, 0.5)), 0.3).noisy(3)
    with victim:
        assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert net.training and net[4].training and all(p.requires_grad for p in net.parameters())


def test_wrong_arguments_are_refused():
    victim = Victim(small_network())
    with pytest.raises(TypeError, match="wrap the network"):
        Smoothed(small_network(), 0.3)
    with pytest.raises(ValueError, match="sigma must be a number above 0"):
        Smoothed(victim, 0)
    with pytest.raises(ValueError, match="alpha"):
        Smoothed(victim, 1.0).certify(images(n=1), 5, 5, alpha=1)
    with pytest.raises(ValueError, match="n0 must be an integer"):
        Smoothed(victim, 1.0).certify(images(n=1), 0, 5)
    with pytest.raises(ValueError, match="probability"):
        radius_of(1.2, 1.0)
