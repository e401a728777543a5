"""Balls: projections against the optimality conditions and plain solvers, random points against their distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import L0, L1, L2, Box, Linf, SampleStreams
from minigrad.random import Stream

BOX = (-1.0, 1.0)
NORM = {Linf: np.inf, L2: 2, L1: 1}
kinds = pytest.mark.parametrize("kind", NORM)
seeds = st.integers(0, 10**6)


def draw(seed, n=6, d=9, scale=2.0):
    """(x0 in the box, x anywhere), float32; some coordinates equal, some zero perturbations."""
    s = Stream(seed, "threat")
    x0 = s.uniform(*BOX, (n, d))
    x = x0 + s.normal((n, d)) * np.float32(scale)
    x[:, 0] = x0[:, 0]
    x[0] = x0[0]
    x0[1, :3], x[1, :3] = 1.0, 2.0
    return x0, x


def norm(d, kind):
    return np.linalg.norm(d.astype(np.float64), NORM[kind], axis=1)


# ---- projections -----------------------------------------------------------------------------------------------------


@kinds
@given(seed=seeds, eps=st.floats(0, 5))
def test_the_ball_is_reached_at_its_nearest_point(kind, seed, eps):
    """p is the projection of d exactly where <d - p, q - p> <= 0 for every q of the ball, i.e. for its extreme points."""
    x0, x = draw(seed)
    d = (x - x0).astype(np.float64)
    p = kind(eps).ball(d)
    assert (norm(p, kind) <= eps + 1e-9).all()
    best = eps * kind(eps).dual(d - p)  # max of <d - p, q> over the ball
    assert (best - np.sum((d - p) * p, axis=1) <= 1e-6 * (1 + eps)).all()
    inside = norm(d, kind) <= eps
    assert np.allclose(p[inside], d[inside])
    assert np.allclose(kind(eps).ball(p), p, atol=1e-9)


@given(seed=seeds, eps=st.floats(0.01, 4))
def test_the_l1_projection_is_the_soft_threshold_of_a_bisection(seed, eps):
    x0, x = draw(seed)
    for d, p in zip(x - x0, L1(eps).ball(x - x0)):
        low, high = 0.0, float(np.abs(d).max())
        if np.abs(d).sum() > eps:
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (middle, high) if np.maximum(np.abs(d) - middle, 0).sum() > eps else (low, middle)
        assert np.allclose(p, np.sign(d) * np.maximum(np.abs(d) - low, 0), atol=1e-5)


@kinds
@given(seed=seeds, eps=st.floats(0, 5))
def test_ball_then_box_lies_in_both_and_never_moves_away(kind, seed, eps):
    x0, x = draw(seed)
    p = kind(eps).project(x, x0, BOX)
    assert p.dtype == np.float32 and (p >= BOX[0]).all() and (p <= BOX[1]).all()
    assert (norm(p - x0, kind) <= eps * (1 + 1e-5) + 1e-6).all()
    assert (norm(kind(eps).settle(p, x0) - x0, kind) <= eps * (1 + 1e-7)).all()


@kinds
@given(seed=seeds, eps=st.floats(0.05, 3))
def test_nearest_meets_the_optimality_conditions_of_ball_and_box(kind, seed, eps):
    """Against the maximiser over random feasible points: <x - p, q - p> <= 0 for all q in the intersection."""
    x0, x = draw(seed)
    p = kind(eps).nearest(x, x0, BOX)
    assert (norm(p - x0, kind) <= eps + 1e-5).all() and (np.abs(p) <= 1).all()
    s = Stream(seed, "feasible")
    for _ in range(40):
        q = kind(eps).project(x0 + s.normal(x.shape) * np.float32(s.uniform(0.1, 3)), x0, BOX)
        q = [q, kind(eps).project(x, x0, BOX)][int(s.integers(0, 2))]
        assert (np.sum((x - p).astype(np.float64) * (q - p), axis=1) <= 1e-4).all()
        assert (np.linalg.norm(x - p, axis=1) <= np.linalg.norm(x - q, axis=1) + 1e-5).all()


@pytest.mark.parametrize("kind", [L1, L2])
@given(seed=seeds, eps=st.floats(0.05, 3))
def test_nearest_is_the_limit_of_alternating_projections(kind, seed, eps):
    """Dykstra's algorithm converges to the projection on an intersection."""
    x0, x = (a.astype(np.float64) for a in draw(seed, n=3, d=5))
    y, a, b = x.copy(), np.zeros_like(x), np.zeros_like(x)
    for _ in range(1000):
        ball = x0 + kind(eps).ball(y + a - x0)
        a = y + a - ball
        y = np.clip(ball + b, *BOX)
        b = ball + b - y
    assert np.allclose(kind(eps).nearest(x, x0, BOX), y, atol=2e-3)


@given(seed=seeds, k=st.integers(0, 9))
def test_l0_keeps_the_largest_coordinates(seed, k):
    x0, x = draw(seed)
    d = x - x0
    p = L0(k).ball(d)
    assert (np.count_nonzero(p, axis=1) <= k).all()
    kept = np.sort(np.square(d), axis=1)[:, ::-1][:, :k].sum(1)
    assert np.allclose(np.square(p).sum(1), kept, rtol=1e-5)
    assert ((p == 0) | (p == d)).all()


def test_l0_of_pixels_counts_places():
    x = Stream(0, "pixels").normal((2, 3, 4, 4))
    threat = L0(2, pixels=True)
    p = threat.ball(x)
    assert (threat.size(p) == 2).all() and (threat.size(x) == 16).all() and (L0(2).size(p) == 6).all()
    with pytest.raises(ValueError, match="pixels"):
        threat.size(x.reshape(2, -1))


# ---- steepest ascent -------------------------------------------------------------------------------------------------


@kinds
@given(seed=seeds)
def test_steepest_maximises_the_inner_product_over_the_unit_ball(kind, seed):
    _, g = draw(seed)
    u = kind(1.0).steepest(g)
    assert (norm(u, kind) <= 1 + 1e-6).all()
    assert np.allclose(np.sum(u * g, axis=1), kind(1.0).dual(g), rtol=1e-5)


def test_steepest_is_zero_at_zero_and_right_for_tiny_gradients():
    g = np.zeros((3, 4), np.float32)
    g[1], g[2] = 1e-30, [1e-38, 0, 0, 0]
    for threat in (Linf(1), L2(1), L1(1), L0(2), Box()):
        u = threat.steepest(g)
        assert (u[0] == 0).all() and np.isfinite(u).all() and (u[1:] != 0).any(axis=1).all()
    assert np.allclose(L2(1).steepest(g)[1], 0.5) and np.allclose(L1(1).steepest(g)[1], 0.25)  # ties share


def test_l1_steps_can_move_a_share_of_the_coordinates():
    g = np.arange(-5, 5, dtype=np.float32)[None] + 0.5
    u = L1(1, top=0.4).steepest(g)
    assert np.count_nonzero(u) == 4 and np.allclose(np.abs(u).sum(), 1) and (np.sign(u[u != 0]) == np.sign(g[u != 0])).all()
    with pytest.raises(ValueError, match="top"):
        L1(1, top=0)


# ---- random points ---------------------------------------------------------------------------------------------------


@kinds
def test_random_points_are_uniform_in_the_ball(kind):
    """The radius of a uniform point of a d-dimensional ball has distribution function (r / eps)^d; signs are even."""
    n, d, eps = 4000, 3, 0.7
    x0 = Stream(0, "x").uniform(0, 1, (n, d))
    points = kind(eps).random(x0, 0)
    assert points.dtype == np.float32
    u = np.sort((norm(points, kind) / eps) ** d)
    assert u[-1] <= 1 + 1e-5
    assert np.abs(u - (np.arange(n) + 0.5) / n).max() < 1.63 / np.sqrt(n)  # Kolmogorov-Smirnov at 1 %
    assert (np.abs((points > 0).mean(0) - 0.5) < 0.03).all()
    octant = np.bincount((points > 0) @ [1, 2, 4], minlength=8) / n
    assert np.abs(octant - 1 / 8).max() < 0.03


def test_random_l1_points_have_the_marginal_of_the_simplex():
    """For a uniform point of the L1 ball in d dimensions P(|u_1| > t) = (1 - t)^d."""
    x0 = Stream(1, "x").uniform(0, 1, (4000, 4))
    u = np.abs(L1(1.0).random(x0, 0)[:, 0])
    for t in (0.1, 0.3, 0.5):
        assert abs((u > t).mean() - (1 - t) ** 4) < 0.03


def test_random_changes_of_few_coordinates_and_of_the_whole_box():
    x0 = Stream(2, "x").uniform(*BOX, (500, 10))
    d = L0(3).random(x0, 0, BOX)
    assert (np.count_nonzero(d, axis=1) == 3).all() and (np.abs(x0 + d) <= 1 + 1e-6).all()
    assert np.abs((d != 0).mean(0) - 0.3).max() < 0.08
    x = x0 + Box().random(x0, 0, BOX)
    assert abs(x.mean()) < 0.03 and np.abs(x).max() <= 1 + 1e-6 and x.std() == pytest.approx(1 / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("threat", [Linf(1), L2(1), L1(1), L0(2), Box()], ids=repr)
def test_a_samples_noise_is_its_own(threat):
    x0 = Stream(3, "x").uniform(0, 1, (6, 5))
    noise = threat.random(x0, 4)
    assert (threat.random(x0[[4, 1]], 4) == noise[[4, 1]]).all()
    assert (threat.random(x0, 4) == noise).all() and (threat.random(x0, 5) != noise).any()
    streams = SampleStreams(4, x0, threat.name)
    assert (threat.random(x0[2:4], streams[2:4]) == noise[2:4]).all()


# ---- streams ---------------------------------------------------------------------------------------------------------


def test_streams_draw_for_some_samples_and_let_the_others_stand():
    x = Stream(0, "x").uniform(0, 1, (4, 3))
    a, b = SampleStreams(0, x), SampleStreams(0, x)
    first = a.normal((2,))
    assert first.shape == (4, 2) and first.dtype == np.float32
    assert (b.normal((2,), rows=[3, 0]) == first[[3, 0]]).all()
    assert (b.normal((2,), rows=[1]) == first[[1]]).all()
    second = a.normal((2,))
    assert (b.normal((2,), rows=[0]) == second[[0]]).all()
    assert set(np.unique(a.signs((50,)))) == {-1, 1}
    assert (np.sort(a.permutation(7), axis=1) == np.arange(7)).all() and a.integers(0, 3, (5,)).max() < 3
    assert SampleStreams(0, x, "other").normal()[0] != SampleStreams(0, x).normal()[0]
    with pytest.raises(TypeError, match="rng"):
        SampleStreams("seed", x)
    with pytest.raises(ValueError, match="streams for 4"):
        Linf(1).random(x[:2], a)


# ---- one radius for each sample, and wrong calls ---------------------------------------------------------------------


@kinds
def test_each_sample_may_have_its_own_radius(kind):
    x0, x = draw(5)
    eps = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 9.0])
    threat = kind(eps)
    for method in ("project", "nearest"):
        together = getattr(threat, method)(x, x0, BOX)
        for i in range(6):
            assert np.allclose(together[i], getattr(kind(eps[i]), method)(x[i : i + 1], x0[i : i + 1], BOX)[0], atol=1e-6)
    assert (threat[2:4].epsilon == eps[2:4]).all() and kind(0.3)[2:4].epsilon == 0.3
    assert threat.with_epsilon(1.0).epsilon == 1.0
    with pytest.raises(ValueError, match="6 radii for 2 samples"):
        threat.check(2, "test")


@pytest.mark.parametrize("kind", [Linf, L2, L1, L0])
@pytest.mark.parametrize("epsilon", [-0.1, np.nan, [[0.1]]])
def test_a_radius_is_a_number_of_at_least_zero(kind, epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        kind(epsilon)
