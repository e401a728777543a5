"""The Frechet distance at closed forms, class reports by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.metrics import class_report, disjoint, fingerprint, frechet_distance, judge
from minigrad.random import Stream
from nets.classifiers.lenet import LeNet


@given(seed=st.integers(0, 999), d=st.integers(1, 6))
def test_of_a_set_with_itself_is_zero(seed, d):
    a = np.random.default_rng(seed).normal(size=(40, d))
    assert abs(frechet_distance(a, a)) < 1e-6


@given(seed=st.integers(0, 999), d=st.integers(1, 5), shift=st.floats(-3, 3), scale=st.floats(0.1, 3))
def test_of_a_scaled_and_shifted_set(seed, d, shift, scale):
    """X and scale*X + shift share eigenvectors: ||dm||^2 + (scale - 1)^2 tr(S)."""
    a = np.random.default_rng(seed).normal(size=(50, d))
    b = scale * a + shift
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + (scale - 1) ** 2 * np.atleast_2d(np.cov(a, rowvar=False)).trace()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 999))
def test_is_symmetric_and_invariant_to_rotation(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(35, 4)) * [1, 2, 0.5, 1] + 1
    q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a @ q, b @ q), rel=1e-6)


def test_singular_covariances_are_no_obstacle():
    a = np.zeros((10, 3))
    a[:, 0] = np.arange(10)
    assert frechet_distance(a, a + [0, 2, 0]) == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize("a, b", [((1, 3), (5, 3)), ((5, 3), (5, 2)), ((5,), (5,))])
def test_wrong_shapes_are_refused(a, b):
    with pytest.raises(ValueError, match="frechet_distance"):
        frechet_distance(np.zeros(a), np.zeros(b))


def test_class_report():
    found = class_report(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]))
    assert found["histogram"] == [0.75, 0.25] and found["confidence"] == pytest.approx(0.75)
    assert str(class_report(np.eye(3)[[1, 1]])["entropy"]) == "0.0"  # not -0.0
    assert found["entropy"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_judge_agrees_with_the_classifier_and_refuses_training_mode():
    network = LeNet(width=2, rng=Stream(0, "init"))
    images = np.random.default_rng(0).normal(size=(7, 1, 28, 28)).astype(np.float32)
    with pytest.raises(ValueError, match="evaluation mode"):
        judge(network, images)
    features, probabilities = judge(network.eval(), images)
    assert features.shape == (7, 84) and probabilities.shape == (7, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_fingerprint_follows_the_weights():
    a, b = LeNet(width=2, rng=Stream(0, "a")), LeNet(width=2, rng=Stream(0, "b"))
    assert fingerprint(a) == fingerprint(LeNet(width=2, rng=Stream(0, "a"))) != fingerprint(b)


@given(n=st.integers(0, 40), count=st.integers(1, 50), seed=st.integers(0, 9))
def test_reference_and_floor_share_no_image_and_are_equally_large(n, count, seed):
    order = np.random.default_rng(seed).permutation(n)
    if min(count, n // 2) < 2:
        with pytest.raises(ValueError, match=f"there are {n} images"):
            disjoint(order, count)
        return
    a, b = disjoint(order, count)
    assert len(a) == len(b) == min(count, n // 2) and not set(a) & set(b)


@given(n=st.integers(2, 30), d=st.integers(1, 12), seed=st.integers(0, 99))
def test_no_distance_is_below_zero(n, d, seed):
    a = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    assert frechet_distance(a, a) >= 0 and "-" not in f"{frechet_distance(a, a):.2f}"


def test_a_floor_of_a_small_set_is_as_large_as_the_distance_of_perfect_samples():
    """More from the same source than half of the set: as far from the reference as the floor is, on average, and not nearer."""
    rng = np.random.default_rng(0)
    floors, distances = [], []
    for _ in range(30):
        real, fakes = rng.normal(size=(60, 5)), rng.normal(size=(60, 5))
        a, b = (real[rows] for rows in disjoint(rng.permutation(60), 60))
        floors.append(frechet_distance(a, b))
        distances.append(frechet_distance(fakes[: len(a)], a))
    assert np.mean(floors) > 0.1 and np.mean(distances) == pytest.approx(np.mean(floors), rel=0.2)
