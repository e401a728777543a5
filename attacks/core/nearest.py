"""The smallest perturbation: what the attacks that look for it share, which is boundaries and the nearest success so far.

Such an attack has no epsilon. It returns for each sample the nearest adversarial example that it met, `Result.distance` says
how far that is, `Result.at(epsilon)` is its result at any radius, and `Result.curve()` the accuracy at all of them.

    z_k        logit of class k              f_k(x) = z_k(x) - z_ref(x): class k beats the reference class where f_k >= 0
    w_k        gradient of f_k at x          dual(w), steepest(w): `Threat.dual` and `Threat.steepest` in the norm of the distance

The boundary of class k is where f_k = 0. Taken as straight, f_k(x + d) = f_k(x) + <w_k, d>, it is |f_k| / dual(w_k) away from x,
in the direction steepest(w_k). For linear models that is exact. Which boundaries are looked at depends on the goal:

    Untargeted(y)   ref = y, k = every other class
    Toward(y, t)    ref = y, k = t only
    Targeted(t)     ref = the strongest class but t, k = t

Imports: numpy, arrays, best, goal, result, threat.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import host
from attacks.core.best import GradientNotes
from attacks.core.goal import Toward, likeliest
from attacks.core.result import NAN, NOT_FOUND, Result, Task
from attacks.core.threat import L1, L2, Linf, Threat

NORMS = {"l2": L2, "linf": Linf, "l1": L1}


def norm_of(norm, name: str) -> Threat:
    """L2, Linf, L1 or its name, as a ball without end: a measure. TypeError for anything else."""
    kind = NORMS.get(norm.lower()) if isinstance(norm, str) else norm
    if kind not in (L2, Linf, L1):
        raise TypeError(f"{name}: norm must be L2, Linf or L1 (the class or its name), got {norm!r}; a smallest perturbation has "
                        f"no epsilon: for the result at one, call {name}(...).at(epsilon)")
    return kind(np.inf)


# ---- boundaries ------------------------------------------------------------------------------------------------------


def rivals(task, count: int | None):
    """(N, count) the most likely classes but the goal's label, from the clean logits; all of them for None. NumPy integers.

    None for goals that look at one boundary only.
    """
    if task.goal.targeted or isinstance(task.goal, Toward):
        return None
    return likeliest(task.clean, task.goal.labels, count)


def boundaries(white, goal, z, x, rows, others):
    """(f (n, K), w (n, K, ...)): values and gradients of f_k = z_k - z_ref at x, where the logits are z (n, classes)."""
    if goal.targeted:
        z = np.array(host(z))
        z[np.arange(len(z)), goal.labels] = -np.inf
        pairs = np.stack([z.argmax(axis=1), goal.labels], axis=1)
    elif isinstance(goal, Toward):
        pairs = np.stack([goal.labels, goal.t], axis=1)
    else:
        pairs = np.concatenate([goal.labels[:, None], others], axis=1)
    z, w = white.jacobian(x, rows, pairs)
    z = np.take_along_axis(z, np.asarray(pairs, like=z), axis=1).astype(np.float64)
    return z[:, 1:] - z[:, :1], w[:, 1:] - w[:, :1]


def nearest_boundary(f, w, measure):
    """(f_k (n,), w_k (n, ...)) of the boundary with the smallest |f_k| / dual(w_k); without a gradient it is no boundary."""
    n, k = f.shape
    dual = measure.dual(w.reshape(n * k, *w.shape[2:])).reshape(n, k)
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.where(dual > 0, np.abs(f) / np.where(dual > 0, dual, 1), np.inf)
    away = np.where(np.isfinite(away), away, np.inf)
    row, which = np.arange(n), host(away.argmin(axis=1))
    return f[row, which], w[row, which]


# ---- the nearest of several runs -------------------------------------------------------------------------------------


class Nearest(GradientNotes):
    """The nearest success of each sample over several runs, or its strongest failure; what the runs cost is added up.

    x (N, ...), distance (N,) (inf where none), found (N,), value (N,) margin of the strongest failure, steps, queries,
    `measure(d) -> (n,)` is what "near" means.
    """

    def __init__(self, task: Task, measure):
        n = len(task.x)
        super().__init__(n)
        self.task, self.measure = task, measure
        self.x, self.distance, self.value = task.x.copy(order="K"), np.full(n, np.inf), np.full(n, -np.inf)
        self.steps, self.queries = np.zeros(n, np.int64), np.zeros(n, np.int64)

    @property
    def found(self):
        return np.isfinite(self.distance)

    def see(self, rows, x_adv, margin, won):
        """Points x_adv (n, ...) of the samples `rows`, their margins (n,), and which of them count as a success (n,).

        -> (n,) how far they are, inf for a failure.
        """
        far = host(self.measure(x_adv - self.task.x[rows]))
        far = np.where(won, far, np.inf)
        better = (far < self.distance[rows]) | (~won & ~self.found[rows] & (margin > self.value[rows]))
        chosen = rows[better]
        self.x[chosen], self.distance[chosen], self.value[chosen] = x_adv[better], far[better], margin[better]
        return far

    def add(self, rows, result: Result):
        """A run of `optimise` on the samples `rows`: what it cost and what went wrong."""
        self.steps[rows] += result.steps
        self.queries[rows] += result.queries
        self.zero[rows] |= result.zero_gradient
        self.nan[rows] |= result.reason == NAN

    def result(self, threat, *, measure=None, settings=None, trace=None, why=NOT_FOUND) -> Result:
        """Close the task. why: the reason of failures that have no other."""
        task = self.task
        task.view.begin(len(task.x))
        task.view.queries += self.queries
        zero = self.zero & ~self.found
        reason = np.where(self.nan, NAN, np.where(zero, "", why))
        return task.result(self.x, threat=threat, measure=measure, found=self.found, steps=self.steps, zero_gradient=zero,
                           reason=reason, settings=settings, trace=trace)


class ConstantSearch:
    """The binary search for the constant c of each sample (Carlini & Wagner 2017, section VI; their l2_attack.py).

    c starts at `first`. After a success c is an upper bound, after a failure a lower one; next is the middle of both, or
    10 c while there is no upper bound. With 10 rounds or more the last one takes the upper bound itself.
    """

    def __init__(self, n: int, first: float, rounds: int):
        self.c, self.low, self.high = np.full(n, float(first)), np.zeros(n), np.full(n, 1e10)
        self.rounds, self.round = rounds, 0

    def __iter__(self):
        """The rounds: c is ready at each, `tell` what came of it before the next."""
        for number in range(self.rounds):
            self.round = number
            if self.rounds >= 10 and self.round == self.rounds - 1:
                self.c = np.where(self.high < 1e9, self.high, self.c)
            yield self.round

    def tell(self, rows, success):
        c, low, high = self.c[rows], self.low[rows], self.high[rows]
        low, high = np.where(success, low, np.maximum(low, c)), np.where(success, np.minimum(high, c), high)
        self.low[rows], self.high[rows] = low, high
        self.c[rows] = np.where(success | (high < 1e9), (low + high) / 2, 10 * c)
