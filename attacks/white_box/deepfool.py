"""DeepFool: step by step to the nearest boundary, as if boundaries were straight (Moosavi-Dezfooli, Fawzi & Frossard 2016).

The smallest perturbation is sought, so there is no epsilon; `attacks.core.nearest` says what the boundaries are.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import flat, host, raw, real, rows_of, whole
from attacks.core.best import Best, Bookkeeping
from attacks.core.goal import clear
from attacks.core.nearest import boundaries, norm_of, rivals
from attacks.core.projections import nearest_within
from attacks.core.result import Result, Task
from attacks.core.threat import L2
from attacks.core.victim import as_white_box

LATE = 0.1  # of the first step: what is left is straight enough to go there at once


def deepfool(victim, x, goal, norm=L2, steps=50, overshoot=0.02, candidates=10, *, rng=0, trace=False) -> Result:
    """Walk to the nearest linearised boundary until the class changes (Moosavi-Dezfooli, Fawzi & Frossard 2016, algorithm 2).

        r_i = |f_k| / dual(w_k) * steepest(w_k) at x_i, for the k whose boundary is nearest
        x_{i+1} = clip(x_0 + (1 + overshoot) * (r_0 + ... + r_i))

    The paper has no box. Clipped, a step closes only part of the gap, and the sum goes on growing until the boundary is crossed:
    many short steps, which feel that the boundary is curved. (For straight boundaries x_0 + t w, clipped, leads to the nearest
    point within the box, and in Linf x_0 + t sign(w) does.) Going to the nearest point of the linearised boundary within the box
    each time takes few steps and overshoots: 9 to 15 % farther on networks for MNIST. That step (attacks.core.projections) is
    taken only at the end, where the gap is below LATE of the first or where clipping left nine tenths of it, and always in L1,
    whose steps of one coordinate hit the box at once. It also says which boundary is nearest within the box.

    norm        L2: r = |f| / ||w||_2^2 * w;  Linf: |f| / ||w||_1 * sign(w);  L1: the largest |w| first, as far as it has room
    candidates  classes looked at: the true one and the candidates - 1 most likely others at the start; None: all
    goal        also Targeted(t): towards the boundary of t with the strongest other class, until t is predicted
    overshoot   how far beyond the boundary; with 0 only as far as counts as across
    steps       at most; a sample rests when it succeeds, and when no boundary has a gradient
    trace       margin, success and distance at each step.  rng is not used: nothing is drawn
    A point counts as across where its margin is clear of rounding (attacks.core.goal.clear).
    `rho(result)` is the paper's measure of robustness.
    """
    measure, white, steps = norm_of(norm, "deepfool"), as_white_box(victim, "deepfool"), whole("deepfool", steps=steps)
    overshoot = real("deepfool", "[0, inf)", overshoot=overshoot)
    with white:
        task = Task("deepfool", white, x, goal, rng=rng)
        others = rivals(task, None if candidates is None else whole("deepfool", least=2, candidates=candidates) - 1)
        best = Best(task, Bookkeeping(keep="distance"), measure, steps, trace)
        walk = _Walk(task.x, measure, task.box, 1 + overshoot)
        rows = task.rows
        point = task.x[rows]
        for step in range(steps + 1 if len(rows) else 0):
            z = white(point, rows)
            success = host(task.goal[rows].success(z))
            best.see(step, rows, point, host(task.goal[rows].margin(z)), success)
            stay = np.flatnonzero(~success)
            rows, point, z = rows[stay], point[stay], z[stay]
            if step == steps or not len(rows) or white.stopped:
                break
            f, w = boundaries(white, task.goal[rows], z, point, rows, None if others is None else others[rows])
            enough = (2 * clear(z)[:, None] - f) / (1 + overshoot)  # where the overshoot is less than rounding
            point, w = walk.step(rows, point, np.maximum(np.maximum(-f, enough), 0), w, best)
            best.steps[rows] += 1
            stay = np.flatnonzero(host(flat(w != 0).any(axis=1)))
            rows, point = rows[stay], point[stay]
            if not len(rows):
                break
        settings = dict(steps=steps, overshoot=overshoot, candidates=candidates)
        return best.result(measure, found=best.success, objective=None, zero_gradient=best.zero & ~best.success, settings=settings)


class _Walk:
    """The sums r_0 + ... + r_i of all samples, and how the next point follows from them. beyond: 1 + overshoot."""

    def __init__(self, x, measure, box, beyond):
        n = len(x)
        self.x, self.measure, self.box, self.beyond, self.total = x, measure, box, beyond, np.zeros_like(x)
        self.first, self.gap = np.full(n, np.nan), np.full(n, np.inf)  # the first distance to the boundary, and the last

    def step(self, rows, point, rise, w, notes):
        """(next points (n, ...), w (n, ...)) of the samples `rows`, which stand at `point`; w is 0 where there is no boundary.

        rise (n, K), w (n, K, ...): what is missing to each boundary, and its gradient there
        """
        ahead, which = nearest_within(point, w, rise, self.box, self.measure)
        i = np.arange(len(rows))
        rise, w = rise[i, which], w[i, which]
        (w,) = notes.gradients([w], rows)  # notes what vanishes, and puts 0 for what is not finite
        dual = self.measure.dual(w)
        free = host(np.where(dual > 0, rise / np.where(dual > 0, dual, 1), 0.0))
        self.first[rows] = np.where(np.isnan(self.first[rows]), free, self.first[rows])
        late = (free <= LATE * self.first[rows]) | (free > 0.9 * self.gap[rows]) | (self.measure.order == 1)
        self.gap[rows] = free
        x0, late = self.x[rows], rows_of(late, point) > 0
        there = np.clip(point + self.beyond * (ahead - point), *self.box)
        total = np.where(late, (there - x0) / self.beyond, self.total[rows] + rows_of(free, point) * self.measure.steepest(w))
        self.total[rows] = total
        return np.where(late, there, np.clip(x0 + self.beyond * total, *self.box)), w


def rho(result: Result) -> float:
    """The mean of ||x' - x||_2 / ||x||_2 over the samples fooled (section 4.1 of the paper): larger is more robust."""
    x, x_adv = (host(raw(a)) for a in (result.original, result.x_adv))
    won = result.success
    if not won.any():
        return float("nan")
    return float(np.mean(L2(0).size(x_adv[won] - x[won]) / L2(0).size(x[won])))
