"""The smallest perturbation that fools: what such attacks share, and DeepFool.

An attack here has no epsilon. It returns for each sample the nearest adversarial example that it met, `Result.distance` says
how far that is, `Result.at(epsilon)` is its result at any radius, and `Result.curve()` the accuracy at all of them.

Seen from a point x, class k is taken where its boundary is crossed: f_k(x) = z_k(x) - z_ref(x) >= 0. Linearised,
f_k(x + d) = f_k(x) + <w_k, d>, the nearest point beyond is |f_k| / dual(w_k) away, in the direction of steepest ascent of w_k
in the norm of the distance (`Threat.dual`, `Threat.steepest`). That is exact for linear models, one step for all norms.

    Untargeted(y)   ref = y, k = every other class
    Toward(y, t)    ref = y, k = t only
    Targeted(t)     ref = the strongest class but t, k = t

Imports: the core of attacks (optimise and below), NumPy.
"""

from __future__ import annotations

import numpy as np

from attacks.core.goal import Toward
from attacks.core.optimise import Best
from attacks.core.projections import nearest_within
from attacks.core.result import NAN, NOT_FOUND, Result, Task
from attacks.core.threat import L1, L2, Linf, Threat, flat
from attacks.core.victim import as_white_box

NORMS = {"l2": L2, "linf": Linf, "l1": L1}
CLEAR = 16 * float(np.finfo(np.float32).eps)  # of the largest logit: more than what another batch size changes


def norm_of(norm, name: str) -> Threat:
    """L2, Linf, L1 or its name, as a ball without end: a measure. TypeError for anything else."""
    kind = NORMS.get(norm.lower()) if isinstance(norm, str) else norm
    if kind not in (L2, Linf, L1):
        raise TypeError(f"{name}: norm must be L2, Linf or L1 (the class or its name), got {norm!r}; a smallest perturbation has "
                        f"no epsilon: for the result at one, call {name}(...).at(epsilon)")
    return kind(np.inf)


def whole(name: str, what: str, value, least: int = 1) -> int:
    """value as an int, if it is an integer >= least; else ValueError."""
    if isinstance(value, bool) or int(value) != value or value < least:
        raise ValueError(f"{name}: {what} must be an integer >= {least}, got {value!r}")
    return int(value)


def deepfool(victim, x, goal, norm=L2, steps=50, overshoot=0.02, candidates=10, *, rng=0, trace=False) -> Result:
    """Walk to the nearest linearised boundary until the class changes (Moosavi-Dezfooli, Fawzi & Frossard 2016, algorithm 2).

        r_i = |f_k| / dual(w_k) * steepest(w_k) at x_i, for the k with the smallest |f_k| / dual(w_k)
        x_{i+1} = x_0 + (1 + overshoot) * (r_0 + ... + r_i)

    The paper knows no box. Where that step would leave it, r_i leads to the nearest point of the boundary within the box, and k
    is the class for which that is nearest (attacks.core.projections): a clipped step would close only part of the gap each time.

    norm        L2: r = |f| / ||w||_2^2 * w;  Linf: |f| / ||w||_1 * sign(w);  L1: the largest |w| first, as far as it has room
    candidates  classes looked at: the true one and the candidates - 1 most likely others at the start; None: all
    goal        also Targeted(t): towards the boundary of t with the strongest other class, until t is predicted
    overshoot   0 stands on the boundary itself; beyond it by no more than what counts as across
    steps       at most; a sample rests when it succeeds, and when no boundary has a gradient
    trace       margin, success and distance at each step.  rng is not used: nothing is drawn
    Across is a margin of CLEAR times the largest logit: less is rounding, and may not hold when a sample is seen alone.
    `rho(result)` is the paper's measure of robustness.
    """
    measure, white, steps = norm_of(norm, "deepfool"), as_white_box(victim, "deepfool"), whole("deepfool", "steps", steps)
    if not (np.ndim(overshoot) == 0 and overshoot >= 0):
        raise ValueError(f"deepfool: overshoot must be a number >= 0, got {overshoot!r}")
    with white:
        task = Task("deepfool", white, x, goal, rng=rng)
        others = rivals(task, None if candidates is None else whole("deepfool", "candidates", candidates, 2) - 1)
        best = Best(task, "distance", measure, True, steps, trace)
        rows = task.rows
        point = task.x[rows]
        for step in range(steps + 1 if len(rows) else 0):
            z = white(point, rows)
            margin, clear = host(task.goal[rows].margin(z)), CLEAR * host(np.abs(z).max(axis=1)).astype(np.float64)
            success = host(task.goal[rows].success(z)) & (margin >= clear)
            best.see(step, rows, point, margin, success, None)
            stay = np.flatnonzero(~success)
            rows, point, clear = rows[stay], point[stay], clear[stay]
            if step == steps or not len(rows):
                break
            f, w = boundaries(white, task.goal[rows], z[stay], point, rows, None if others is None else others[rows])
            enough = (2 * np.asarray(clear, like=f)[:, None] - f) / (1 + overshoot)  # where the overshoot is less than rounding
            ahead, w = nearest_within(point, w, np.maximum(np.maximum(-f, enough), 0), task.box, measure)
            gradient = [w]
            best.gradients(gradient, rows)  # notes what vanishes, and puts 0 for what is not finite
            point = np.clip(point + (1 + overshoot) * (ahead - point), *task.box)
            best.steps[rows] += 1
            stay = np.flatnonzero(host(flat(gradient[0] != 0).any(axis=1)))
            rows, point = rows[stay], point[stay]
            if not len(rows):
                break
        settings = dict(steps=steps, overshoot=overshoot, candidates=candidates)
        return task.result(best.x, threat=measure, found=best.success, steps=best.steps, zero_gradient=best.zero & ~best.success,
                           reason=best.reasons(), trace=best.trace, settings=settings)


def rho(result: Result) -> float:
    """The mean of ||x' - x||_2 / ||x||_2 over the samples fooled (section 4.1 of the paper): larger is more robust."""
    x, x_adv = (host(a.array if hasattr(a, "array") else a) for a in (result.original, result.x_adv))
    won = result.success
    if not won.any():
        return float("nan")
    return float(np.mean(L2(0).size(x_adv[won] - x[won]) / L2(0).size(x[won])))


# ---- boundaries ------------------------------------------------------------------------------------------------------


def rivals(task, count: int | None):
    """(N, count) the most likely classes but the goal's label, from the clean logits; all of them for None. NumPy integers.

    None for goals that look at one boundary only.
    """
    if task.goal.targeted or isinstance(task.goal, Toward):
        return None
    order = np.argsort(-task.clean, axis=1, kind="stable")
    n, classes = task.clean.shape
    return order[order != task.goal.labels[:, None]].reshape(n, classes - 1)[:, :count]


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


def nearest(f, w, measure):
    """(f_k (n,), w_k (n, ...)) of the boundary with the smallest |f_k| / dual(w_k); without a gradient it is no boundary."""
    n, k = f.shape
    dual = measure.dual(w.reshape(n * k, *w.shape[2:])).reshape(n, k)
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.where(dual > 0, np.abs(f) / np.where(dual > 0, dual, 1), np.inf)
    away = np.where(np.isfinite(away), away, np.inf)
    row, which = np.arange(n), host(away.argmin(axis=1))
    return f[row, which], w[row, which]


# ---- the nearest of several runs -------------------------------------------------------------------------------------


class Nearest:
    """The nearest success of each sample over several runs, or its strongest failure; what the runs cost is added up.

    x (N, ...), distance (N,) (inf where none), found (N,), value (N,) margin of the strongest failure, steps, queries,
    zero, nan. `measure(d) -> (n,)` is what "near" means.
    """

    per_sample, gradients = True, Best.gradients  # notes gradients that vanish or are not finite

    def __init__(self, task: Task, measure):
        n = len(task.x)
        self.task, self.measure = task, measure
        self.x, self.distance, self.value = task.x.copy(order="K"), np.full(n, np.inf), np.full(n, -np.inf)
        self.steps, self.queries = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.zero, self.nan = np.zeros(n, bool), np.zeros(n, bool)

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


def host(a):
    """A NumPy array, from the device if need be."""
    return a.get() if hasattr(a, "get") and not isinstance(a, np.ndarray) else np.asarray(a)
