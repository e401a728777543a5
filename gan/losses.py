"""The two players' losses.

A critic D gives one logit for each sample: large means real. With P = sigmoid(D) the game of Goodfellow et al. 2014,
equation 1, is

    min over G, max over D:   E_real log P(x) + E_fake log(1 - P(G(z)))

and since -log sigmoid(t) = softplus(-t) every loss below is written on logits, so that nothing overflows. At equilibrium
P = 1/2: the discriminator's loss is 2 log 2 = 1.386, the generator's non-saturating loss log 2 = 0.693, the value -log 4.

Each loss is a pair of functions; both are minimised:

    discriminator(real_logits, fake_logits) -> scalar
    generator(fake_logits, real_logits=None) -> scalar     (only the relativistic one looks at real logits)

Imports: minigrad.functional.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from minigrad import functional as F

softplus = partial(F.softplus, threshold=math.inf)  # exact for every logit; PyTorch's default takes t itself from 20 on


class Loss(NamedTuple):
    """The discriminator's and the generator's loss, and what the generator's step needs."""

    discriminator: Callable
    generator: Callable
    paired: bool = False  # the generator's loss compares with the logits of real samples


# ---- Goodfellow et al. 2014 ------------------------------------------------------------------------------------------


def log_loss_discriminator(real_logits, fake_logits):
    """-E log P(real) - E log(1 - P(fake)): the cross-entropy of telling real from fake (equation 1, times -1)."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def minimax_generator(fake_logits, real_logits=None):
    """E log(1 - P(fake)): the game as it stands. Its gradient, -P(fake), vanishes where the discriminator is sure."""
    return -softplus(fake_logits).mean()


def non_saturating_generator(fake_logits, real_logits=None):
    """-E log P(fake): the same fixed point, and gradient -(1 - P(fake)) where the discriminator is sure (section 3)."""
    return softplus(-fake_logits).mean()


# ---- least squares, Wasserstein, hinge, relativistic -----------------------------------------------------------------


def least_squares_discriminator(real_logits, fake_logits):
    """1/2 E (D(real) - 1)^2 + 1/2 E D(fake)^2 (Mao et al. 2017, equation 9)."""
    return ((real_logits - 1) ** 2).mean() * 0.5 + (fake_logits**2).mean() * 0.5


def least_squares_generator(fake_logits, real_logits=None):
    """1/2 E (D(fake) - 1)^2"""
    return ((fake_logits - 1) ** 2).mean() * 0.5


def wasserstein_discriminator(real_logits, fake_logits):
    """E D(fake) - E D(real): minus the estimated Wasserstein distance, for a 1-Lipschitz D (Arjovsky et al. 2017)."""
    return fake_logits.mean() - real_logits.mean()


def wasserstein_generator(fake_logits, real_logits=None):
    """-E D(fake)"""
    return -fake_logits.mean()


def hinge_discriminator(real_logits, fake_logits):
    """E max(0, 1 - D(real)) + E max(0, 1 + D(fake)) (Lim & Ye 2017; Miyato et al. 2018, equation 16)."""
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def relativistic_discriminator(real_logits, fake_logits):
    """E softplus(-(D(real_i) - D(fake_i))) over pairs (Jolicoeur-Martineau 2018; Huang et al. 2024, R3GAN)."""
    return softplus(fake_logits - real_logits).mean()


def relativistic_generator(fake_logits, real_logits):
    """E softplus(-(D(fake_i) - D(real_i)))"""
    return softplus(real_logits - fake_logits).mean()


minimax = Loss(log_loss_discriminator, minimax_generator)
non_saturating = Loss(log_loss_discriminator, non_saturating_generator)
least_squares = Loss(least_squares_discriminator, least_squares_generator)
wasserstein = Loss(wasserstein_discriminator, wasserstein_generator)
hinge = Loss(hinge_discriminator, wasserstein_generator)
relativistic = Loss(relativistic_discriminator, relativistic_generator, paired=True)
