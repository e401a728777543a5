"""Each metric by a formula, a permutation, or a case that can be done by hand; equal sets give the floor, a duplicate is found."""

import math

import numpy as np
import pytest

from gan.metrics import (
    birthday,
    classifier_score,
    kernel_distance,
    memorisation,
    mmd2,
    nearest,
    prdc,
    pyramid_distance,
    sharpness_ratio,
    sliced_wasserstein,
    two_sample,
)
from gan.metrics.kernel import polynomial_kernel
from gan.metrics.nearest import distances
from gan.metrics.precision import expected_coverage, radii
from gan.metrics.sharpness import sharpness
from gan.metrics.sliced import laplacian_descriptors, laplacian_pyramid


def normal(*shape, seed=0, mean=0.0, std=1.0):
    return mean + std * np.random.default_rng(seed).normal(size=shape)


# ---- kernel distance


def test_mmd_by_hand_without_its_diagonal():
    x, y = normal(4, 3), normal(5, 3, seed=1)
    k = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    own = np.mean([k(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
    other = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(a, b) for a in x for b in y])
    assert mmd2(x, y) == pytest.approx(own + other - 2 * between, rel=1e-12)
    assert mmd2(x, y) == pytest.approx(mmd2(y, x)) and polynomial_kernel(x, y).shape == (4, 5)


def test_mmd_is_unbiased_and_gives_the_closed_form_for_shifted_normals():
    # d = 1: k(a, b) = (ab + 1)^3; for N(m, 1): E k(x, y) = sum over r of C(3, r) E[x^r] E[y^r]
    moments = lambda m: np.array([1, m, m**2 + 1, m**3 + 3 * m])  # noqa: E731
    kernel = lambda a, b: float((np.array([1, 3, 3, 1]) * moments(a) * moments(b)).sum())  # noqa: E731
    exact = kernel(0, 0) + kernel(0.5, 0.5) - 2 * kernel(0, 0.5)
    draws = [mmd2(normal(200, 1, seed=2 * i), normal(200, 1, seed=2 * i + 1, mean=0.5)) for i in range(200)]
    assert np.mean(draws) == pytest.approx(exact, abs=4 * np.std(draws) / math.sqrt(200))
    floor = [mmd2(normal(50, 4, seed=2 * i), normal(50, 4, seed=2 * i + 1)) for i in range(300)]
    assert abs(np.mean(floor)) < 4 * np.std(floor) / math.sqrt(300) and min(floor) < 0


def test_kernel_distance_repeats_and_sees_a_shift():
    x, y = normal(300, 8), normal(300, 8, seed=1)
    assert kernel_distance(x, y, subsets=10, size=100) == kernel_distance(x, y, subsets=10, size=100)
    near, far = (kernel_distance(x, z, subsets=10, size=100)[0] for z in (y, y + 1))
    assert far > 10 * abs(near)
    with pytest.raises(ValueError, match="kernel_distance"):
        kernel_distance(x, y[:, :3])


# ---- neighbours


def test_distances_are_exact_where_they_vanish():
    x = normal(30, 5, mean=1e4)
    away = distances(x, np.concatenate([x[::-1], x + 1e-7]))
    slow = np.sqrt(((x[:, None] - np.concatenate([x[::-1], x + 1e-7])) ** 2).sum(-1))
    np.testing.assert_allclose(away, slow, atol=1e-4)
    assert (np.diag(away[:, :30][:, ::-1]) == 0).all()


def test_precision_recall_density_coverage_by_hand():
    real, fake = np.array([[0.0], [1.0], [3.0], [4.0]]), np.array([[0.5], [0.6], [9.0], [9.5]])
    found = prdc(real, fake, k=1)  # every real ball has radius 1; those of the fakes 0.1, 0.1, 0.5, 0.5
    np.testing.assert_array_equal(radii(real, 1), [1, 1, 1, 1])
    assert found.precision == 0.5 and found.coverage == 0.5
    assert found.density == pytest.approx(4 / 4)  # two fakes, each in two balls
    assert found.recall == 0.0
    with pytest.raises(ValueError, match="more than k"):
        prdc(real, fake, k=4)


def test_equal_distributions_give_the_floor_of_prdc():
    found = np.mean([prdc(normal(300, 2, seed=2 * i), normal(300, 2, seed=2 * i + 1)) for i in range(8)], axis=0)
    assert found[2] == pytest.approx(1, abs=0.05)
    assert found[3] == pytest.approx(expected_coverage(300, 300, 5), abs=0.02) and found[0] > 0.9 and found[1] > 0.9
    assert prdc(normal(300, 2), normal(300, 2, seed=1, mean=50)) == (0, 0, 0, 0)
    few = prdc(normal(300, 2), np.repeat(normal(10, 2, seed=1, std=0.05), 30, 0) + normal(300, 2, seed=2, std=1e-3))
    assert few.precision > 0.9 and few.recall < 0.1 and few.coverage < 0.3  # collapsed: good, and nearly nothing there


def test_two_sample_is_a_half_for_equal_sets_and_one_for_sets_apart():
    draws = [two_sample(normal(150, 3, seed=2 * i), normal(150, 3, seed=2 * i + 1)).accuracy for i in range(30)]
    assert np.mean(draws) == pytest.approx(0.5, abs=0.02)
    assert two_sample(normal(40, 3), normal(40, 3, seed=1, mean=99)) == (1, 1, 1)
    x = normal(200, 3)
    assert two_sample(x, x + 1e-9).accuracy == 0  # copies
    collapsed = two_sample(normal(200, 3), normal(200, 3, seed=1, std=1e-3) + x[0])
    assert collapsed.fake > 0.95 and collapsed.real > 0.9
    # a permutation of the rows changes nothing
    y, order = normal(200, 3, seed=5, mean=0.3), np.random.default_rng(0).permutation(200)
    assert two_sample(x, y) == two_sample(x[order], y[order[::-1]])


def test_birthday_finds_the_duplicate_and_the_size_of_the_support():
    x = normal(50, 4)
    x[31] = x[7]
    found = birthday(x, 1e-9)
    assert found.pairs == 1 and found.nearest[0].tolist() == [7, 31] and found.support == 50 * 49 / 2
    assert birthday(normal(50, 4), 1e-9).support == math.inf
    support = [birthday(normal(400, 3)[np.random.default_rng(i).integers(400, size=100)], 1e-9).support for i in range(40)]
    assert np.median(support) == pytest.approx(400, rel=0.15)


def test_the_nearest_training_image_is_found_and_copies_are_told():
    training = normal(60, 5)
    index, away = nearest(training[[3, 50]] + 1e-3, training)
    assert index.tolist() == [3, 50] and away == pytest.approx(math.sqrt(5) * 1e-3)
    held_out, new = normal(60, 5, seed=1), normal(60, 5, seed=2)
    assert memorisation(new, training, held_out) == pytest.approx(1, abs=0.25)
    assert memorisation(training[:20], training, held_out) == 0 and memorisation(training[:20] + 0.01, training, held_out) < 0.1


# ---- sliced Wasserstein


def test_sliced_distance_has_its_closed_forms():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1))
    assert sliced_wasserstein(x, x + 2.5) == pytest.approx(2.5)  # one dimension: the shift itself
    assert sliced_wasserstein(x, 3 * x, power=2) == pytest.approx(2 * np.sqrt((x**2).mean()))
    shift = np.array([3.0, 4.0, 0.0])
    y = rng.normal(size=(400, 3))
    found = sliced_wasserstein(y, y + shift, directions=20_000, power=2)
    assert found == pytest.approx(5 / math.sqrt(3), rel=0.02)  # |u.t|^2 is |t|^2 / d on average
    # E|u.t| in three dimensions is |t|/2
    assert sliced_wasserstein(y, y + shift, directions=20_000) == pytest.approx(2.5, rel=0.02)
    assert sliced_wasserstein(y, y[::-1]) == 0  # a permutation
    floor = sliced_wasserstein(y, rng.normal(size=(400, 3)))
    assert 0 < floor < 0.1 < sliced_wasserstein(y, 1.5 * y)


def test_the_pyramid_sums_up_to_the_images_and_blur_shows_in_its_fine_levels():
    images = normal(6, 3, 64, 64)
    levels = laplacian_pyramid(images)
    assert [level.shape[2] for level in levels] == [64, 32, 16]
    flat = laplacian_pyramid(np.full((1, 1, 32, 32), 2.0))
    np.testing.assert_allclose(flat[0], 0, atol=1e-12)
    np.testing.assert_allclose(flat[1], 2.0)
    rows = laplacian_descriptors(images, patches=10)
    assert [r.shape for r in rows] == [(60, 147)] * 3 and rows[0].std() == pytest.approx(1, abs=1e-6)
    blurred = (images + np.roll(images, 1, 2) + np.roll(images, 1, 3) + np.roll(images, (1, 1), (2, 3))) / 4
    fine, _, coarse = pyramid_distance(images, blurred)
    equal = pyramid_distance(images, images)
    assert max(equal) == 0 and fine > 0 and coarse >= 0


# ---- classifier score, sharpness


def test_classifier_score_at_its_ends():
    sure = np.eye(10)[np.arange(200) % 10]
    assert classifier_score(sure) == (pytest.approx(10), pytest.approx(0, abs=1e-12))
    assert classifier_score(np.full((200, 10), 0.1))[0] == pytest.approx(1)
    assert classifier_score(np.eye(10)[np.zeros(200, int)])[0] == pytest.approx(1)
    half = np.eye(4)[np.arange(8) % 2]
    assert classifier_score(half, splits=1)[0] == pytest.approx(2)
    p = np.random.default_rng(0).dirichlet(np.ones(5), 40)
    kl = np.mean([(row * np.log(row / p.mean(0))).sum() for row in p])
    assert classifier_score(p, splits=1)[0] == pytest.approx(math.exp(kl))
    with pytest.raises(ValueError, match="sum to 1"):
        classifier_score(np.ones((20, 3)))


def test_sharpness_by_hand_and_of_blur():
    spike = np.zeros((1, 1, 5, 5))
    spike[0, 0, 2, 2] = 1.0
    assert sharpness(spike) == pytest.approx((4 + 4 * 1) / 9)
    ramp = np.broadcast_to(np.arange(6.0), (2, 1, 6, 6))
    assert sharpness(ramp) == 0
    x = normal(5, 1, 16, 16)
    assert sharpness_ratio(x, x) == 1 and sharpness_ratio(0.5 * x, x) == pytest.approx(0.5)
    assert sharpness_ratio((x + np.roll(x, 1, 3)) / 2, x) < 0.8
    with pytest.raises(ValueError, match="flat"):
        sharpness_ratio(x, ramp)
