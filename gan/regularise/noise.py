"""Noise on what the discriminator sees, and on what it is told.

Where real and generated samples do not overlap, a discriminator can be perfect and teaches nothing. Noise on both makes them
overlap (instance noise: Sonderby et al. 2017; Arjovsky & Bottou 2017). A target below 1 for real samples keeps its logits small
(one-sided label smoothing: Salimans et al. 2016, section 3.4).

Imports: gan.losses, minigrad.
"""

from __future__ import annotations

import minigrad as mg
from gan import losses


def add_noise(x, std: float, rng):
    """x + std * N(0, 1), fresh for every sample; x itself for std = 0. Differentiable: the gradient reaches x unchanged."""
    if std < 0:
        raise ValueError(f"add_noise: std must be at least 0, got {std}")
    return x + mg.tensor(rng.normal(x.shape) * std, dtype=x.dtype, device=x.device) if std else x


def falling(std: float, step: int, steps: int) -> float:
    """Noise that falls along a line: `std` at step 1, 0 from the step after `steps` on."""
    return std * max(0.0, 1 - (step - 1) / steps)


def one_sided(loss: losses.Loss, amount: float) -> losses.Loss:
    """The same game, with the discriminator's target for real samples 1 - amount in place of 1; fakes keep their 0.

    With target t the cross-entropy is -t log P - (1 - t) log(1 - P) = softplus(-D) + (1 - t) D, so the loss gains amount * D(real):
    its optimum is P = 1 - amount instead of certainty. Least squares takes the target as it is. ValueError for other losses: they
    know no target."""
    if not 0 <= amount < 1:
        raise ValueError(f"one_sided: amount must lie in [0, 1), got {amount}")
    if not amount:
        return loss
    if loss.discriminator is losses.log_loss_discriminator:
        return loss._replace(discriminator=lambda real, fake: losses.log_loss_discriminator(real, fake) + real.mean() * amount)
    if loss.discriminator is losses.least_squares_discriminator:
        return loss._replace(discriminator=lambda real, fake: losses.least_squares_discriminator(real + amount, fake))
    raise ValueError("one-sided label smoothing needs a loss with targets: minimax, non_saturating or least_squares")
