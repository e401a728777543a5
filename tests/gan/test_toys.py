"""Toys in the plane: exact densities, the best discriminator, counting of modes; the command as a student types it."""

import math

import numpy as np
import pytest

import minigrad as mg
from gan import losses
from gan.metrics.modes import HIGHEST, count_modes, count_pieces, floor, kl_from_uniform, stacked_modes
from gan.toys import (
    Critic,
    Generator,
    Truth,
    force,
    kernel_density,
    lattice,
    lattice_density,
    optimal_discriminator,
    optimum,
    surface,
)
from minigrad import data, nn
from minigrad.random import Stream


@pytest.mark.parametrize("name", ["ring", "grid", "swissroll"])
def test_densities_integrate_to_one_and_agree_with_histograms(name):
    truth = Truth(name)
    count, blur = 300, 0.06 * truth.scale
    points = lattice(1.2 * truth.extent, count)
    cell = (2.4 * truth.extent / count) ** 2
    p = truth.density(points, blur)
    assert p.sum() * cell == pytest.approx(1, abs=2e-3)
    # the same, estimated from samples that are blurred as well
    noisy = truth.samples[:50_000] + blur * Stream(0, "blur").normal((50_000, 2))
    x = truth.samples[:200].astype(float)
    for centre in x[:5]:
        near = (np.abs(noisy - centre) < blur / 2).all(1).mean() / blur**2
        box = truth.density(centre + (lattice(blur / 2, 20)), blur).mean()
        assert near == pytest.approx(box, rel=0.25)


def test_the_density_on_a_lattice_is_the_density():
    samples = np.random.default_rng(0).normal(size=(50, 2))
    slow = kernel_density(lattice(2.0, 7), samples, 0.4)
    np.testing.assert_allclose(lattice_density(2.0, 7, samples, 0.4).ravel(), slow, rtol=1e-12)
    # one Gaussian by its formula
    assert kernel_density([[0.3, 0.0]], [[0.0, 0.0]], 0.5)[0] == pytest.approx(math.exp(-0.09 / 0.5) / (2 * math.pi * 0.25))


def test_the_best_discriminator_is_half_for_a_perfect_generator():
    np.testing.assert_allclose(optimal_discriminator([1.0, 3.0, 0.0, 0.0], [1.0, 1.0, 2.0, 0.0]), [0.5, 0.75, 0.0, np.nan])
    truth = Truth("ring")
    here = optimum(truth, truth.samples[:20_000], 0.1, 60)
    p = lattice_density(truth.extent, 60, truth.nodes, math.hypot(truth.std, 0.1))
    assert np.abs(here[p > 0.05 * p.max()] - 0.5).max() < 0.05
    fakes = np.zeros((100, 2))  # all in the middle of the ring: found out there, and the ring is real for certain
    away = optimum(truth, fakes, 0.1, 61)
    assert away[30, 30] < 0.01 and away[30, 30 + round(61 / 2 / truth.extent)] > 0.99


def test_true_samples_score_what_the_truth_scores():
    for name, modes in (("ring", 8), ("grid", 25), ("swissroll", 25)):
        truth = Truth(name)
        found = truth.count(truth.samples[:20_000])
        assert found.found == found.of == modes
        assert found.high_quality == pytest.approx(HIGHEST if truth.mixture else 0.9973, abs=0.003)
        assert found.reverse_kl < 3 * floor(20_000, modes)
        if truth.mixture:
            assert found.spread == pytest.approx(0.97, abs=0.02)  # of a normal that is cut off at 3 std
            assert np.isclose(HIGHEST, 0.98889, atol=1e-5)


def test_modes_by_hand():
    centres = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    samples = [[0.0, 0.02], [0.0, 0.031], [1.0, 0.0], [1.0, 0.5]]  # two good ones: of mode 0 and of mode 1
    found = count_modes(samples, centres, 0.01)
    assert (found.found, found.of, found.high_quality) == (2, 3, 0.5)
    assert found.reverse_kl == pytest.approx(math.log(3 / 2)) and found.histogram.tolist() == [0.5, 0.5, 0.0]
    assert kl_from_uniform([1, 0, 0, 0]) == pytest.approx(math.log(4)) and kl_from_uniform([0.25] * 4) == 0
    collapsed = count_modes(np.zeros((9, 2)), centres, 0.01)
    assert collapsed.found == 1 and collapsed.reverse_kl == pytest.approx(math.log(3)) and "1 of 3 modes" in str(collapsed)
    pieces = count_pieces([[0.0, 0.0], [9.2, 0.0], [5.0, 2.0]], np.stack([np.arange(10.0), np.zeros(10)], 1), 0.1, pieces=5)
    assert (pieces.found, pieces.of) == (2, 5) and pieces.high_quality == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="NaN"):
        count_modes([[np.nan, 0]], centres, 0.01)


def test_stacked_modes_count_combinations_and_the_floor_is_that_of_true_samples():
    assert stacked_modes(np.array([[1, 2, 3], [1, 2, 3], [3, 2, 1]]))[0] == 2
    labels = Stream(0, "stacked").integers(10, size=(26_000, 3))
    found, kl = stacked_modes(labels)
    assert found == 1000 and kl == pytest.approx(floor(26_000, 1000), rel=0.1)
    assert floor(26_000, 1000) == pytest.approx(0.0192, abs=1e-4)
    assert stacked_modes(np.full((100, 3), 7)) == (1, pytest.approx(math.log(1000)))
    with pytest.raises(ValueError, match="labels"):
        stacked_modes(np.array([[10, 0, 0]]))


def test_the_force_is_minus_the_gradient_of_the_generators_loss():
    critic = Critic(8, 2, rng=Stream(0, "critic"))
    real, x = (np.random.default_rng(i).normal(size=(5, 2)).astype(np.float32) for i in (0, 1))
    for loss in (losses.non_saturating, losses.relativistic):
        found = force(critic, loss, x, real)
        critic.double()
        eps = 1e-5
        for i, k in np.ndindex(5, 2):
            step = np.zeros((5, 2))
            step[i, k] = eps
            up, down = (loss.generator(critic(mg.tensor(x + s)), critic(mg.tensor(real.astype(float)))).item()
                        for s in (step, -step))
            assert found[i, k] == pytest.approx(-5 * (up - down) / (2 * eps), abs=1e-4)
        critic.float()


def test_critics_that_see_several_samples_have_a_surface():
    truth = Truth("ring")
    assert surface(Critic(4, 1, packed=2, rng=Stream(0, "c")), truth, 5).shape == (5, 5)
    assert surface(Critic(4, 1, group=4, rng=Stream(0, "c")), truth, 5).shape == (5, 5)
    assert Critic(4, 1, packed=2)(mg.zeros(6, 2)).shape == (3,) and Generator(3, 4, 1)(mg.zeros(6, 3)).shape == (6, 2)
    with pytest.raises(ValueError, match="points in the plane"):
        Truth("glyphs")
    assert data.load("ring").x.std() == pytest.approx(truth.scale)


def test_a_critic_with_spectral_norm_has_pytorchs_state_and_slope_one():
    critic = Critic(8, 2, spectral=lambda layer: nn.utils.spectral_norm(layer, rng=Stream(0, "norm")), rng=Stream(0, "c"))
    assert {"main.0.weight_orig", "main.0.weight_u", "main.0.weight_v", "main.0.bias"} <= set(critic.state_dict())
    x = mg.tensor(np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32), requires_grad=True)
    for _ in range(100):
        critic(x.detach())
    (g,) = mg.grad(critic(x).sum(), [x])
    assert np.linalg.norm(g.numpy(), axis=1).max() <= 1 + 1e-4  # every layer and leaky ReLU stretches by at most 1
