"""The gradients of the penalties against a first-order oracle."""

import numpy as np
import pytest

import minigrad as mg
from gan import penalties
from minigrad import nn
from minigrad.random import Stream


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
    found = mg.grad(penalties.r1_penalty(network, mg.tensor(x)), parameters, allow_unused=True)
    found = [mg.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
    close(found, two_point_oracle(network, x, lambda norm: 1 / len(x)))


@pytest.mark.parametrize("seed", range(3))
def test_wgan_gp_through_a_conv_critic_equals_the_two_point_oracle(seed):
    rng = np.random.default_rng(seed)
    network, real, fake = critic(Stream(seed, "net")), rng.normal(size=(6, 2, 8, 8)), rng.normal(size=(6, 2, 8, 8))
    parameters = list(network.parameters())
    penalty = penalties.gradient_penalty(network, mg.tensor(real), mg.tensor(fake), Stream(seed, "place"))
    found = mg.grad(penalty, parameters, allow_unused=True)
    found = [mg.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
    place = Stream(seed, "place").uniform(0.0, 1.0, (6, 1, 1, 1)).astype(np.float64)
    x = real * (1 - place) + fake * place
    # d (n - 1)^2 = 2 (n - 1)/n * d(n^2 / 2)
    close(found, two_point_oracle(network, x, lambda norm: 2 * (norm - 1) / norm / len(x)))


def test_penalty_is_per_sample():
    """Zeleni9/pytorch-wgan#40: the norm runs over each sample, so a batch of one sample twice changes nothing."""
    network, x = critic(Stream(0, "net")), np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    once = penalties.r1_penalty(network, mg.tensor(x)).item()
    twice = penalties.r1_penalty(network, mg.tensor(np.concatenate([x, x]))).item()
    assert once == pytest.approx(twice, rel=1e-12)
