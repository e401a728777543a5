"""Randomized smoothing: noise with a vote again, but this time with a proof (Cohen, Rosenfeld & Kolter 2019).

    g(x) = argmax_c P(f(x + sigma N(0, 1)) = c)

f is the network, Phi the distribution function of N(0, 1), and p_A the probability that f answers A under the noise at x. If
p_A > 1/2, then g answers A everywhere within the L2 radius R = sigma * Phi^-1(p_A) (theorem 1, with p_B <= 1 - p_A), whatever f is.
p_A is bounded from below by drawing: for each sample `certify` (section 3.2.2) is wrong with probability at most alpha, and so
is `predict` (section 3.2.1). Where the votes do not tell, both abstain. Sizes are in the input's units. The noise may leave the
bounds, as the theorem asks.

For a linear f the bound is tight: p_A = Phi(margin / sigma) and R = margin. No radius can exceed sigma Phi^-1(alpha^(1/n)):
1.50, 2.46, 3.20, 3.81 sigma for n = 100, 1e3, 1e4, 1e5 at alpha = 0.001.

Imports: numpy, attacks.core, minigrad, base, binomial, noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import minigrad as mg
from attacks.core.arrays import NO_ANSWER, real, said, whole
from attacks.core.streams import sample_streams
from attacks.core.victim import Victim
from attacks.defend.base import positive
from attacks.defend.binomial import lower_bound, normal_quantile, two_sided_p_value
from attacks.defend.noise import Noisy
from minigrad.tensor import Tensor

ABSTAIN = -1


class Certificate(NamedTuple):
    """For N samples: prediction (N,) int64, ABSTAIN where p_lower <= 1/2; radius (N,), 0 there; p_lower (N,); votes (N, K)."""

    prediction: np.ndarray
    radius: np.ndarray
    p_lower: np.ndarray
    votes: np.ndarray

    def accuracy(self, y, radii=0.0):
        """Certified accuracy at each radius: the share that is predicted as y with a certificate of at least it.

        At 0 the share that is right without abstaining. A number for a number, else an array like radii.
        """
        right = self.prediction == np.asarray(y)
        radii = np.asarray(radii, np.float64)
        if not (radii >= 0).all():
            raise ValueError(f"accuracy: radii must be at least 0, got {radii!r}")
        share = (right & (self.radius >= radii[..., None])).mean(axis=-1)
        return float(share) if radii.ndim == 0 else share


class Smoothed:
    """The smoothed classifier of a victim.

    victim  Victim; its bounds do not cut the noise, its normalisation applies after it
    sigma   standard deviation of the noise in input units: larger certifies farther and predicts worse
    rng     int, Stream, Generator or None: each sample has a stream of its own, so its votes do not depend on its batch
    batch   noisy copies in one forward pass
    """

    def __init__(self, victim, sigma, *, rng=0, batch: int = 1000):
        if not isinstance(victim, Victim):
            raise TypeError(f"Smoothed: victim must be a Victim, got {type(victim).__name__}; wrap the network: Victim(net)")
        self.victim, self.sigma, self.rng = victim, positive("Smoothed: sigma", sigma), rng
        self.batch = whole("Smoothed", batch=batch)

    def __repr__(self):
        return f"Smoothed({self.victim!r}, sigma={self.sigma:g})"

    def passes(self, n: int) -> int:
        """Forward passes that n noisy looks at a sample take."""
        return -(-n // self.batch)

    def votes(self, x, n: int, purpose: str = "predict") -> np.ndarray:
        """(N, classes) int64: how often each class was answered among n noisy looks at each sample of x (N, ...).

        A look without an answer (arrays.said) counts for no class, but among the n.
        """
        n, x = whole("votes", n=n), self.victim.take(x, "smooth")
        return self._votes(x, n, self._streams(x, purpose))

    def _streams(self, x, purpose):
        return sample_streams(self.rng, x, f"smooth/{purpose}", self.victim.bounds)

    def _votes(self, x, n, streams, bar=None):
        classes = self.victim.classes or int(self.victim(x[:1]).shape[1])
        out = np.zeros((len(x), classes), np.int64)
        with self.victim, mg.no_grad():
            for i in range(len(x)):
                for done in range(0, n, self.batch):
                    noise = streams.normal((min(self.batch, n - done), *x.shape[1:]), [i], x.dtype)[0]
                    noise *= self.sigma
                    z = self.victim(Tensor.wrap(x[i] + np.asarray(noise, like=x))).cpu().array
                    answer = said(z)
                    out[i] += np.bincount(answer[answer != NO_ANSWER], minlength=classes)
                    if bar is not None:
                        bar.spend(1)
        return out

    def certify(self, x, n0: int = 100, n: int = 10_000, alpha: float = 0.001, bar=None) -> Certificate:
        """Class and radius for each sample of x: the class is chosen by n0 looks, p_A bounded by n fresh ones.

        The two sets must differ: a class chosen by the votes that then count for it would be favoured by chance. With
        probability at least 1 - alpha a sample's certificate is true. bar: told (`spend(1)`) of each forward pass; a sample
        takes `passes(n0) + passes(n)`.
        """
        x, alpha = self.victim.take(x, "certify"), _alpha(alpha)
        chosen = self._votes(x, whole("certify", n0=n0), self._streams(x, "select"), bar).argmax(1)
        votes = self._votes(x, whole("certify", n=n), self._streams(x, "estimate"), bar)
        p = np.array([lower_bound(int(votes[i, c]), n, alpha) for i, c in enumerate(chosen)], np.float64)
        sure = p > 0.5
        radius = np.array([radius_of(v, self.sigma) if s else 0.0 for v, s in zip(p, sure, strict=True)], np.float64)
        return Certificate(np.where(sure, chosen, ABSTAIN), radius, p, votes)

    def predict(self, x, n: int = 1000, alpha: float = 0.001) -> np.ndarray:
        """(N,) int64 classes: the most frequent of n looks if the two-sided binomial test says, at level alpha, that it is more
        frequent than the second; else ABSTAIN. It differs from g(x) with probability at most alpha."""
        alpha, votes = _alpha(alpha), self.votes(x, n)
        order = np.argsort(-votes, axis=1, kind="stable")
        out = np.full(len(votes), ABSTAIN, np.int64)
        for i, (first, second) in enumerate(order[:, :2]):
            a, b = int(votes[i, first]), int(votes[i, second])
            if two_sided_p_value(a, a + b) <= alpha:
                out[i] = first
        return out

    def noisy(self, draws: int = 1, rng=None) -> Victim:
        """The same as a network to attack: a Victim that answers with a vote of `draws` noisy looks (defend.noise.Noisy).

        Attacks average over its draws: pgd(smoothed.noisy(), ..., samples=20). No certificate is broken by them within R.
        """
        victim = self.victim

        def net(x):
            return victim.net(victim.normalized(x))

        return Victim(_Around(net, victim.net, self.sigma, draws, rng), victim.bounds, classes=victim.classes)


class _Around(Noisy):
    """Noisy before a victim's normalisation; the network is a child, so that its mode and parameters are kept."""

    def __init__(self, function, net, sigma, draws, rng):
        super().__init__(function, sigma, draws=draws, rng=rng)
        if isinstance(net, mg.nn.Module):
            self.inner = net


def radius_of(p_a: float, sigma: float) -> float:
    """sigma * Phi^-1(p_A): the L2 radius that a probability p_A > 1/2 certifies; inf for 1, 0 for p_A <= 1/2."""
    p_a, sigma = real("radius_of: a probability", "[0, 1]", p_a=p_a), positive("radius_of: sigma", sigma)
    return sigma * normal_quantile(p_a) if p_a > 0.5 else 0.0


def largest_radius(n: int, sigma: float, alpha: float = 0.001) -> float:
    """What n votes for one class certify: sigma * Phi^-1(alpha^(1/n))."""
    return radius_of(_alpha(alpha) ** (1 / whole("largest_radius", n=n)), sigma)


def _alpha(alpha) -> float:
    return real("smooth", "(0, 1)", alpha=alpha)
