"""The Dirac-GAN: the smallest game, of one number against one number (Mescheder, Geiger & Nowozin 2018, section 2).

    data       always 0
    theta      the generator: it always draws theta
    psi        the discriminator D(x) = psi x
    rate h     of both players' gradient descent

The only equilibrium is (0, 0). What happens near it can be written down, and depends on the loss and on the penalty:

    minimax, hinge and Wasserstein   as a flow they run around circles: theta^2 + psi^2 stands still, because the two forces are
                                     (-psi f', theta f') with one f' (lemma 2.3)
    non-saturating, relativistic     d/dt (theta^2 + psi^2)/2 = -theta psi tanh(theta psi / 2): inwards, but of fourth order in the
                                     distance, so ever more slowly
    Wasserstein in steps             both players at once: the radius grows by sqrt(1 + h^2) each step; in turns: a closed curve,
                                     theta^2 + psi^2 - h theta psi stands still (one player moves by the other's new number)
    Wasserstein with R1              a linear map (`wasserstein_matrix`) whose eigenvalues lie inside the unit circle: it converges

Everything is computed by the losses of `gan.losses` and their derivatives; the closed forms are what tests compare with.

Imports: numpy, minigrad, losses, penalties.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan import losses, penalties


def trajectory(loss: losses.Loss, steps: int, rate: float, *, r1=0.0, gradient_penalty=0.0, clip=0.0, noise=0.0, at_once=False,
               start=(1.0, 1.0)) -> np.ndarray:
    """(steps + 1, 2): (theta, psi) after each step of gradient descent, float64.

    r1: gamma of the R1 penalty, gamma/2 psi^2 here. gradient_penalty: weight of (|psi| - 1)^2. clip: largest |psi|.
    noise: instance noise, as two equally likely values -noise and +noise on what D sees. at_once: both players move by the same
    numbers; otherwise the discriminator moves first and the generator answers to it."""
    theta, psi = (mg.tensor([float(value)], dtype=mg.float64, requires_grad=True) for value in start)
    both = mg.tensor([-noise, noise] if noise else [0.0], dtype=mg.float64)
    path = [start]

    def discriminator(x):
        return x * psi

    for _ in range(steps):
        real, fake = both, theta + both
        total = loss.discriminator(discriminator(real), discriminator(fake.detach()))
        if r1:
            total = total + penalties.r1_penalty(discriminator, both.reshape(-1, 1)) * r1
        if gradient_penalty:
            total = total + (psi.abs() - 1).sum() ** 2 * gradient_penalty
        (push,) = mg.grad(total, [psi])
        moved = psi.array - rate * push.array
        moved = np.clip(moved, -clip, clip) if clip else moved
        if not at_once:
            psi = mg.tensor(moved, requires_grad=True)
        (pull,) = mg.grad(loss.generator(discriminator(theta + both), discriminator(real)), [theta])
        theta = mg.tensor(theta.array - rate * pull.array, requires_grad=True)
        psi = mg.tensor(moved, requires_grad=True)
        path.append((theta.item(), psi.item()))
    return np.array(path)


def wasserstein_matrix(rate: float, gamma: float = 0.0, at_once: bool = False) -> np.ndarray:
    """The step of the Wasserstein game as a matrix M (2, 2): (theta, psi) <- M (theta, psi).

    Its losses are psi theta for D and -psi theta for G, with R1 gamma/2 psi^2 beside the first:
    psi' = psi (1 - gamma h) - h theta,  theta' = theta + h psi'  (in turns), or + h psi (at once)."""
    d = np.array([[1.0, 0.0], [-rate, 1 - gamma * rate]])
    g = np.array([[1.0, rate], [0.0, 1.0]])
    return d + g - np.eye(2) if at_once else g @ d


def flow(loss: losses.Loss, theta, psi) -> tuple[np.ndarray, np.ndarray]:
    """(d theta/dt, d psi/dt) at arrays theta, psi of one shape: where the two players push."""
    shape = np.shape(theta)
    t, p = (mg.tensor(np.ravel(x), dtype=mg.float64, requires_grad=True) for x in (theta, psi))
    count = t.shape[0]
    real = mg.zeros(count, dtype=mg.float64) * p
    (down,) = mg.grad(loss.discriminator(real, t.detach() * p), [p])
    real = mg.zeros(count, dtype=mg.float64)
    (pull,) = mg.grad(loss.generator(t * p.detach(), real), [t])
    return -count * pull.array.reshape(shape), -count * down.array.reshape(shape)
