"""DeepFool: step by step to the nearest boundary, as if boundaries were straight (Moosavi-Dezfooli, Fawzi & Frossard 2016).

The smallest perturbation is sought, so there is no epsilon; `attacks.core.nearest` says what the boundaries are.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import flat, host, raw, whole
from attacks.core.best import Best, Bookkeeping
from attacks.core.nearest import boundaries, norm_of, rivals
from attacks.core.projections import nearest_within
from attacks.core.result import Result, Task
from attacks.core.threat import L2
from attacks.core.victim import as_white_box

CLEAR = 16 * float(np.finfo(np.float32).eps)  # of the largest logit: more than what another batch size changes


def deepfool(victim, x, goal, norm=L2, steps=50, overshoot=0.02, candidates=10, *, rng=0, trace=False) -> Result:
    """Walk to the nearest linearised boundary until the class changes (Moosavi-Dezfooli, Fawzi & Frossard 2016, algorithm 2).

        r_i = |f_k| / dual(w_k) * steepest(w_k) at x_i, for the k with the smallest |f_k| / dual(w_k)
        x_{i+1} = x_0 + (1 + overshoot) * (r_0 + ... + r_i)

    The paper has no box. Where that step would leave the box, r_i leads to the nearest point of the boundary within the box, and
    k is the class for which that point is nearest (attacks.core.projections). A clipped step would close only part of the gap.

    norm        L2: r = |f| / ||w||_2^2 * w;  Linf: |f| / ||w||_1 * sign(w);  L1: the largest |w| first, as far as it has room
    candidates  classes looked at: the true one and the candidates - 1 most likely others at the start; None: all
    goal        also Targeted(t): towards the boundary of t with the strongest other class, until t is predicted
    overshoot   how far beyond the boundary; with 0 only as far as counts as across
    steps       at most; a sample rests when it succeeds, and when no boundary has a gradient
    trace       margin, success and distance at each step.  rng is not used: nothing is drawn
    A point counts as across where its margin is at least CLEAR times its largest logit. A smaller margin may be rounding, and may
    be gone when the sample is seen alone.
    `rho(result)` is the paper's measure of robustness.
    """
    measure, white, steps = norm_of(norm, "deepfool"), as_white_box(victim, "deepfool"), whole("deepfool", steps=steps)
    if not (np.ndim(overshoot) == 0 and overshoot >= 0):
        raise ValueError(f"deepfool: overshoot must be a number >= 0, got {overshoot!r}")
    with white:
        task = Task("deepfool", white, x, goal, rng=rng)
        others = rivals(task, None if candidates is None else whole("deepfool", least=2, candidates=candidates) - 1)
        best = Best(task, Bookkeeping(keep="distance"), measure, steps, trace)
        rows = task.rows
        point = task.x[rows]
        for step in range(steps + 1 if len(rows) else 0):
            z = white(point, rows)
            margin, clear = host(task.goal[rows].margin(z)), CLEAR * host(np.abs(z).max(axis=1)).astype(np.float64)
            success = host(task.goal[rows].success(z)) & (margin >= clear)
            best.see(step, rows, point, margin, success)
            stay = np.flatnonzero(~success)
            rows, point, clear = rows[stay], point[stay], clear[stay]
            if step == steps or not len(rows):
                break
            f, w = boundaries(white, task.goal[rows], z[stay], point, rows, None if others is None else others[rows])
            enough = (2 * np.asarray(clear, like=f)[:, None] - f) / (1 + overshoot)  # where the overshoot is less than rounding
            ahead, w = nearest_within(point, w, np.maximum(np.maximum(-f, enough), 0), task.box, measure)
            (w,) = best.gradients([w], rows)  # notes what vanishes, and puts 0 for what is not finite
            point = np.clip(point + (1 + overshoot) * (ahead - point), *task.box)
            best.steps[rows] += 1
            stay = np.flatnonzero(host(flat(w != 0).any(axis=1)))
            rows, point = rows[stay], point[stay]
            if not len(rows):
                break
        settings = dict(steps=steps, overshoot=overshoot, candidates=candidates)
        return best.result(measure, found=best.success, objective=None, zero_gradient=best.zero & ~best.success, settings=settings)


def rho(result: Result) -> float:
    """The mean of ||x' - x||_2 / ||x||_2 over the samples fooled (section 4.1 of the paper): larger is more robust."""
    x, x_adv = (host(raw(a)) for a in (result.original, result.x_adv))
    won = result.success
    if not won.any():
        return float("nan")
    return float(np.mean(L2(0).size(x_adv[won] - x[won]) / L2(0).size(x[won])))
