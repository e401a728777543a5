"""Training against attacks: one function for each method, from a batch to the loss that the optimiser descends.

    batch = pgd(victim, x, y, Linf(0.3 * warmup(step, steps)), rng=stream)
    batch.loss.backward(); adam.step()

    standard  CE(f(x), y)
    noise     CE(f(x + noise), y)                              noise at training time: fails against any gradient
    fgsm      a CE(f(x), y) + (1 - a) CE(f(x'), y), one step, no random start      Goodfellow et al. 2014, section 6: fails
    fast      CE(f(x'), y), one step of 1.25 epsilon from a random start           Wong, Rice & Kolter 2020: holds, with luck
    pgd       CE(f(x'), y), many steps from a random start                         Madry et al. 2017: holds
    trades    CE(f(x), y) + beta KL(f(x) || f(x'))                                 Zhang et al. 2019, equation 5: holds

x (N, ...) arrays in the victim's bounds, y (N,) labels. The attack sees the network in evaluation mode with frozen
parameters (running statistics of batch norm), the loss sees it in the mode it is in; both are restored.

Imports: numpy, attacks.core, attacks.white_box.gradient, minigrad, noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import minigrad as mg
from attacks.core.arrays import real, rows_of, said, whole
from attacks.core.goal import Untargeted
from attacks.core.victim import Taken
from attacks.defend.noise import draw
from attacks.white_box.gradient import perturb
from minigrad import functional as F
from minigrad.random import as_stream
from minigrad.tensor import Tensor


class Batch(NamedTuple):
    """loss: Tensor () to call backward on. logits: (N, classes) Tensor, of x_adv. x_adv: (N, ...) array, what was trained on."""

    loss: Tensor
    logits: Tensor
    x_adv: object

    def accuracy(self, y) -> float:
        """Share of x_adv that was classified as y."""
        return float((said(self.logits.array) == np.asarray(y, like=self.logits.array)).mean())


def warmup(step: int, steps: int, share: float = 0.3) -> float:
    """min(1, step / (share * steps)), step from 1: the factor of epsilon.

    At the full radius from the start, a small network learns to answer with one class only, and never leaves that
    (Madry et al. 2017, section 5, on capacity).
    """
    share, step, steps = real("warmup", "[0, 1]", share=share), *whole("warmup", step=step, steps=steps)
    return min(1.0, step / (share * steps)) if share else 1.0


def logits_of(victim, x) -> Tensor:
    """Logits of an array with their graph to the parameters, in the network's present mode (a Victim's call would freeze it)."""
    return victim.net(victim.normalized(Tensor.wrap(x)))


def _cross_entropy(victim, x, y) -> Batch:
    logits = logits_of(victim, x)
    return Batch(F.cross_entropy(logits, y), logits, x)


def standard(victim, x, y, threat=None, *, rng=None) -> Batch:
    """CE(f(x), y)."""
    return _cross_entropy(victim, victim.take(x, "standard training"), y)


def noise(victim, x, y, threat, *, kind="uniform", clip=None, rng=None) -> Batch:
    """CE(f(x + noise), y), noise of size threat.epsilon (see noise.draw).

    clip: into the bounds; by default 'uniform' and 'sign' are, and 'gaussian' is not, because randomized smoothing needs it whole.
    """
    x = victim.take(x, "noise training")
    noisy = x + np.asarray(draw(kind, threat.epsilon, x.shape, rng, x.dtype), like=x)
    clip = kind != "gaussian" if clip is None else clip
    return _cross_entropy(victim, np.clip(noisy, *victim.bounds) if clip else noisy, y)


def fgsm(victim, x, y, threat, *, alpha=0.5, rng=None) -> Batch:
    """alpha CE(f(x), y) + (1 - alpha) CE(f(x + epsilon sign), y), without a random start.

    The network learns to mask its gradient at x: FGSM then finds little, PGD everything (label leaking, Kurakin et al.
    2017; Madry et al. 2017, table of CIFAR10: 95.1 % under FGSM, 0.0 % under PGD).
    """
    alpha = real("fgsm training", "[0, 1]", alpha=alpha)
    x = victim.take(x, "fgsm training")
    x_adv = perturb(victim, Taken(victim, x), Untargeted(y), threat, 1, threat.epsilon, random_start=False)
    batch = _cross_entropy(victim, x_adv, y)
    if alpha == 0:
        return batch
    return batch._replace(loss=alpha * _cross_entropy(victim, x, y).loss + (1 - alpha) * batch.loss)


def fast(victim, x, y, threat, *, step=1.25, clip_start=False, rng=None) -> Batch:
    """CE(f(x'), y), x' = P(x + u + step * epsilon * sign gradient at x + u), u uniform in the ball; step in units of epsilon.

    x + u may leave the box, as in the paper's code for MNIST; only x' is put back. With clip_start=True x + u is cut to the box
    first. A step of 1.25 epsilon from there ends at 0 or epsilon at every black pixel, whatever u was. So the start is lost where
    most pixels are black, and training collapses (98.5 % clean and 21 % under PGD-20 on MNIST, against 98.8 % and 85 %).
    Without the start, or with a step above about 1.25 to 1.5, training can also collapse within one epoch, to what `fgsm` gives
    (catastrophic overfitting): watch accuracy under a few steps of PGD.
    """
    x, step = victim.take(x, "fast training"), real("fast training", "[0, inf)", step=step)
    x_adv = perturb(victim, Taken(victim, x), Untargeted(y), threat, 1, step * np.asarray(threat.epsilon), rng=as_stream(rng),
                    clip_start=clip_start)
    return _cross_entropy(victim, x_adv, y)


def pgd(victim, x, y, threat, *, steps=10, step=None, loss="ce", random_start=True, rng=None) -> Batch:
    """CE(f(x'), y), x' the last point of PGD; step in input units (default 2.5 * epsilon / steps)."""
    x = victim.take(x, "pgd training")
    x_adv = perturb(victim, Taken(victim, x), Untargeted(y), threat, steps, step, loss=loss, random_start=random_start,
                    rng=as_stream(rng))
    return _cross_entropy(victim, x_adv, y)


def divergence(logits, other):
    """(N,) KL(softmax(logits) || softmax(other)) = sum_k p_k (log p_k - log q_k), from logits (N, classes)."""
    log_p = logits.log_softmax(1)
    return (log_p.exp() * (log_p - other.log_softmax(1))).sum(1)


def kl_perturb(victim, x, threat, *, steps=10, step=None, start=0.001, rng=None):
    """TRADES' inner maximisation: the last point of steepest ascent on KL(f(x) || f(x')), from x + start * range * N(0, 1).

    It starts beside x, because at x itself the divergence is at its minimum and has no gradient. Returns an array like x.
    """
    white, clean = victim.white_box(), victim.take(x, "trades")
    threat = threat.check(len(clean), "trades")
    steps, start = whole("trades", least=0, steps=steps), real("trades", "[0, inf)", start=start)
    if step is None:
        step = 2.5 * np.asarray(threat.scale(white.bounds)) / max(steps, 1)
    step = rows_of(real("trades", "[0, inf)", each=True, step=step), clean)
    start = start * (white.bounds[1] - white.bounds[0])
    noise = np.asarray(as_stream(rng).normal(clean.shape, clean.dtype, std=start), like=clean)
    x_adv = threat.project(clean + noise, clean, white.bounds)
    with white:
        with mg.no_grad():
            natural = Tensor.wrap(white(clean))
        for _ in range(steps):
            _, g, _ = white.gradient(x_adv, lambda logits: divergence(natural, logits))
            x_adv = threat.project(x_adv + step * threat.steepest(g), clean, white.bounds)
    return x_adv


def trades(victim, x, y, threat, *, beta=6.0, steps=10, step=None, start=0.001, rng=None) -> Batch:
    """CE(f(x), y) + beta * mean KL(f(x) || f(x')), x' by `kl_perturb`. Both terms train the network through both arguments.

    beta weighs robustness against clean accuracy; the paper's code takes 1 for MNIST and 6 for CIFAR10.
    """
    beta = real("trades", "[0, inf)", beta=beta)
    x = victim.take(x, "trades")
    x_adv = kl_perturb(victim, Taken(victim, x), threat, steps=steps, step=step, start=start, rng=rng)
    natural, robust = logits_of(victim, x), logits_of(victim, x_adv)
    loss = F.cross_entropy(natural, y) + beta * divergence(natural, robust).mean()
    return Batch(loss, robust, x_adv)


METHODS = {"standard": standard, "noise": noise, "fgsm": fgsm, "fast": fast, "pgd": pgd, "trades": trades}
