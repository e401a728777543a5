"""The players' losses at known points, and the gradients of the penalties against a first-order oracle."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import minigrad as mg
from gan import losses
from minigrad import nn
from minigrad.random import Stream

ALL = ["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]


def logits(*values):
    return mg.tensor(values, dtype=mg.float64, requires_grad=True)


def test_values_at_equilibrium():
    """Goodfellow et al. 2014, section 4.1: P = 1/2 everywhere gives 2 log 2 for D, log 2 for G, value -log 4."""
    zero = logits(0.0, 0.0)
    assert losses.non_saturating.discriminator(zero, zero).item() == pytest.approx(2 * math.log(2), abs=1e-15)
    assert losses.non_saturating.generator(zero).item() == pytest.approx(math.log(2), abs=1e-15)
    assert -losses.minimax.discriminator(zero, zero).item() == pytest.approx(-math.log(4), abs=1e-15)
    assert losses.minimax.generator(zero).item() == pytest.approx(-math.log(2), abs=1e-15)


@given(p=st.floats(0.05, 0.95), q=st.floats(0.05, 0.95))
def test_optimal_discriminator_is_the_density_ratio(p, q):
    """D* = p / (p + q) (proposition 1): on one point with weights p and q the loss is stationary there."""
    logit = mg.tensor(math.log(p / q), dtype=mg.float64, requires_grad=True)
    loss = p * losses.log_loss_discriminator(logit, logits(-1e9)) + q * losses.log_loss_discriminator(logits(1e9), logit)
    (g,) = mg.grad(loss, [logit])
    assert abs(g.item()) < 1e-12


@given(t=st.floats(-30, 30))
@example(t=21.0)                                                # beyond softplus's default threshold
def test_gradient_at_the_fake_logit(t):
    """minimax: -P(fake), vanishing where D is sure; non-saturating: -(1 - P(fake)), strong there."""
    fake = logits(t)
    probability = 1 / (1 + math.exp(-t))
    (saturating,) = mg.grad(losses.minimax_generator(fake), [fake])
    (strong,) = mg.grad(losses.non_saturating_generator(fake), [fake])
    assert saturating.item() == pytest.approx(-probability, rel=1e-12)
    assert strong.item() == pytest.approx(-1 / (1 + math.exp(t)), rel=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_no_overflow_at_extreme_logits(name):
    loss = getattr(losses, name)
    real, fake = logits(1e4, -1e4), logits(-1e4, 1e4)
    value = loss.discriminator(real, fake)
    grads = mg.grad(value, [real, fake])
    assert np.isfinite(value.item()) and all(np.isfinite(g.array).all() for g in grads)
    value = loss.generator(fake, real)
    (g,) = mg.grad(value, [fake])
    assert np.isfinite(value.item()) and np.isfinite(g.array).all()


@pytest.mark.parametrize("name", ALL)
def test_each_player_pushes_its_own_way(name):
    """D's gradient raises real and lowers fake logits; G's raises fake ones."""
    loss, real, fake = getattr(losses, name), logits(0.3, -0.2), logits(0.1, 0.4)
    g_real, g_fake = mg.grad(loss.discriminator(real, fake), [real, fake])
    assert (g_real.array < 0).all() and (g_fake.array > 0).all()
    (g,) = mg.grad(loss.generator(fake, real), [fake])
    assert (g.array < 0).all()


def critic(rng):
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, 2, 1, rng=rng), nn.LeakyReLU(0.2), nn.Conv2d(5, 4, 3, 1, 0, rng=rng), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(16, 1, rng=rng), nn.Flatten(0),
    ).to(mg.float64)


def two_point_oracle(network, x, weights, eps=1e-5):
    """d/dtheta of sum_i weights_i * ||v_i||^2 / 2 from first derivatives only, with v = dD/dx held fixed:
    the derivative of (D(x + eps u) - D(x - eps u)) / (2 eps), u_i = weights_i * v_i."""
    x = mg.tensor(x, requires_grad=True)
    (v,) = mg.grad(network(x).sum(), [x])
    u = v.array * weights(np.sqrt((v.array**2).sum((1, 2, 3), keepdims=True)))
    ahead, behind = network(mg.tensor(x.array + eps * u)), network(mg.tensor(x.array - eps * u))
    parameters = list(network.parameters())
    return mg.grad(((ahead - behind) * (1 / (2 * eps))).sum(), parameters, allow_unused=True)


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        scale = max(1e-3, float(np.abs(b.array).max())) if b is not None else 1.0
        np.testing.assert_allclose(a.array, 0 if b is None else b.array, atol=1e-6 * scale)


@pytest.mark.parametrize("seed", range(3))
def test_r1_through_a_conv_critic_equals_the_two_point_oracle(seed):
    network, x = critic(Stream(seed, "net")), np.random.default_rng(seed).normal(size=(6, 2, 8, 8))
    parameters = list(network.parameters())
    found = mg.grad(losses.r1_penalty(network, mg.tensor(x)), parameters, allow_unused=True)
    found = [mg.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
    close(found, two_point_oracle(network, x, lambda norm: 1 / len(x)))


@pytest.mark.parametrize("seed", range(3))
def test_wgan_gp_through_a_conv_critic_equals_the_two_point_oracle(seed):
    rng = np.random.default_rng(seed)
    network, real, fake = critic(Stream(seed, "net")), rng.normal(size=(6, 2, 8, 8)), rng.normal(size=(6, 2, 8, 8))
    parameters = list(network.parameters())
    penalty = losses.gradient_penalty(network, mg.tensor(real), mg.tensor(fake), Stream(seed, "place"))
    found = mg.grad(penalty, parameters, allow_unused=True)
    found = [mg.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
    place = Stream(seed, "place").uniform(0.0, 1.0, (6, 1, 1, 1)).astype(np.float64)
    x = real * (1 - place) + fake * place
    # d (n - 1)^2 = 2 (n - 1)/n * d(n^2 / 2)
    close(found, two_point_oracle(network, x, lambda norm: 2 * (norm - 1) / norm / len(x)))


def test_penalty_is_per_sample():
    """Zeleni9/pytorch-wgan#40: the norm runs over each sample, so a batch of one sample twice changes nothing."""
    network, x = critic(Stream(0, "net")), np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    once = losses.r1_penalty(network, mg.tensor(x)).item()
    twice = losses.r1_penalty(network, mg.tensor(np.concatenate([x, x]))).item()
    assert once == pytest.approx(twice, rel=1e-12)
