"""Penalties that keep a discriminator smooth: R1, R2 and WGAN-GP's gradient penalty; drift; clipped weights; and when to pay them.

    x       real samples (R1), generated ones (R2), or points between the two (gradient penalty)
    D(x)    the logits, one for each sample
    g_i     dD(x)_i / dx_i, the gradient at sample i, of the shape of a sample

The first three take a batch and return a scalar that is differentiable in D's parameters: a gradient of a gradient. It holds where
sample i's logit depends on sample i alone, so D must be without batch norm.

Imports: minigrad.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.domains import WEIGHT


def squared_gradient(discriminator, images):
    """||dD(x_i)/dx_i||^2 for each sample i (N,), differentiable in D's parameters.

    The logits are summed before differentiating: sample i's logit depends on sample i alone, as long as D has no batch
    norm. `images` counts as a constant: it is detached first.
    """
    x = images.detach().requires_grad_()
    return squared_gradient_of(discriminator(x), x)


def squared_gradient_of(logits, x):
    """The same from logits that were computed from x already: what saves a second pass through D. x must require a gradient."""
    (g,) = mg.grad(logits.sum(), [x], create_graph=True)
    return (g * g).reshape(g.shape[0], -1).sum(1)


def r1_penalty(discriminator, real):
    """E ||dD/dx||^2 / 2 on real samples (Mescheder et al. 2018, equation 9, to be multiplied by gamma)."""
    return squared_gradient(discriminator, real).mean() * 0.5


def r2_penalty(discriminator, fake):
    """E ||dD/dx||^2 / 2 on generated samples (the same paper, equation 10)."""
    return squared_gradient(discriminator, fake).mean() * 0.5


def gradient_penalty(discriminator, real, fake, rng, target=1.0):
    """E (||dD/dx|| - target)^2 at x between real and fake, one random place for each pair (Gulrajani et al. 2017).

    rng draws the place, uniformly and once for each sample; multiply by lambda = 10.
    """
    WEIGHT.check("gradient_penalty: target", target)
    if real.shape != fake.shape:
        raise ValueError(f"gradient_penalty: real {real.shape} and fake {fake.shape} must have one shape")
    u = mg.tensor(rng.uniform(0.0, 1.0, (real.shape[0],) + (1,) * (real.ndim - 1)), dtype=real.dtype)
    x = (real.detach() * (1 - u) + fake.detach() * u).requires_grad_()
    (g,) = mg.grad(discriminator(x).sum(), [x], create_graph=True)
    return ((g.reshape(g.shape[0], -1).norm(dim=1) - target) ** 2).mean()


def drift_penalty(real_logits):
    """E D(real)^2: a Wasserstein critic's logits could all drift; this keeps them near 0 (Karras et al. 2018, appendix A.1)."""
    return (real_logits * real_logits).mean()


def clip_weights(discriminator, limit: float) -> None:
    """Every parameter into [-limit, limit], after each step of the critic: the first WGAN's way to a bounded slope (Arjovsky et al.
    2017, algorithm 1: 0.01). Crude: it bounds the slope, but at an unknown value."""
    if not limit > 0:
        raise ValueError(f"clip_weights: limit must be above 0, got {limit}")
    with mg.no_grad():
        for parameter in discriminator.parameters():
            parameter.assign_(parameter.detach().clamp(-limit, limit))


def lazy(step: int, every: int) -> int:
    """The factor of a penalty that is paid at every `every`-th step only: `every` there and 0 between, so its mean stays the same
    (Karras et al. 2020, section 3.1)."""
    return every if step % every == 0 else 0
