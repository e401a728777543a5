"""The players' losses at known points."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import minigrad as mg
from gan import losses

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
