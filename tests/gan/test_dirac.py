"""The Dirac-GAN against its closed forms."""

import numpy as np
import pytest

from gan import losses
from gan.dirac import flow, trajectory, wasserstein_matrix


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_the_wasserstein_game_is_its_matrix(gamma, at_once):
    path = trajectory(losses.wasserstein, 40, 0.1, r1=gamma, at_once=at_once)
    matrix, x = wasserstein_matrix(0.1, gamma, at_once), np.array([1.0, 1.0])
    for found in path:
        np.testing.assert_allclose(found, x, rtol=1e-10)
        x = matrix @ x


def test_at_once_the_radius_grows_and_in_turns_a_quadratic_form_stands_still():
    h = 0.1
    at_once = trajectory(losses.wasserstein, 50, h, at_once=True)
    np.testing.assert_allclose(np.hypot(*at_once.T), np.sqrt(2) * (1 + h * h) ** (np.arange(51) / 2), rtol=1e-10)
    theta, psi = trajectory(losses.wasserstein, 400, h).T
    form = theta**2 + psi**2 - h * theta * psi
    np.testing.assert_allclose(form, form[0], rtol=1e-10)


@pytest.mark.parametrize("name", ["minimax", "wasserstein", "hinge"])
def test_the_zero_sum_flows_run_around_circles(name):
    theta, psi = np.random.default_rng(0).uniform(-0.9, 0.9, size=(2, 50))
    across, up = flow(getattr(losses, name), theta, psi)
    np.testing.assert_allclose(theta * across + psi * up, 0, atol=1e-12)
    assert np.hypot(across, up).min() > 0
    path = trajectory(getattr(losses, name), 2000, 1e-3, start=(0.5, 0.5))
    assert np.hypot(*path.T) == pytest.approx(np.sqrt(0.5), rel=2e-3)


@pytest.mark.parametrize("name, options", [
    ("wasserstein", dict(r1=0.5)), ("non_saturating", dict(r1=0.5)), ("relativistic", dict(r1=0.5)),
    ("non_saturating", dict(noise=1.0)),
])
def test_r1_and_noise_come_to_rest_and_without_them_nothing_does(name, options):
    start = np.sqrt(2)
    assert np.hypot(*trajectory(getattr(losses, name), 800, 0.1, **options)[-1]) < 0.01 * start
    assert np.hypot(*trajectory(getattr(losses, name), 800, 0.1)[-1]) > 0.15 * start


@pytest.mark.parametrize("name", ["non_saturating", "relativistic"])
def test_the_non_saturating_flow_creeps_inwards_by_its_formula(name):
    theta, psi = np.random.default_rng(1).uniform(-2, 2, size=(2, 50))
    across, up = flow(getattr(losses, name), theta, psi)
    np.testing.assert_allclose(theta * across + psi * up, -theta * psi * np.tanh(theta * psi / 2), atol=1e-12)


def test_clipping_and_the_gradient_penalty_do_not_come_to_rest():
    """Mescheder et al. 2018, lemmas 2.4 and 2.5: WGAN and WGAN-GP do not converge near the equilibrium."""
    for options in (dict(clip=1.0), dict(gradient_penalty=0.3)):
        path = trajectory(losses.wasserstein, 1500, 0.05, **options)
        assert np.hypot(*path[-300:].T).max() > 0.2
    assert np.abs(trajectory(losses.wasserstein, 300, 0.1, clip=0.5)[1:, 1]).max() <= 0.5


def test_r1_has_the_eigenvalues_of_its_theory():
    """As h -> 0 the step is I + h A with A = [[0, 1], [-1, -gamma]]: eigenvalues (-gamma +- sqrt(gamma^2 - 4))/2."""
    gamma, h = 0.6, 1e-6
    found = np.sort_complex((np.linalg.eigvals(wasserstein_matrix(h, gamma)) - 1) / h)
    root = np.sqrt(complex(gamma**2 - 4))
    np.testing.assert_allclose(found, np.sort_complex(np.array([(-gamma - root) / 2, (-gamma + root) / 2])), atol=1e-4)
