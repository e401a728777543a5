"""FAB: the fast adaptive boundary attack (Croce & Hein 2020, algorithm 1), in L1, L2 and Linf.

x_0 is the sample and x_k the point after k steps. At x_k the nearest boundary is taken as straight, {z : <w, z> = b}, with a
margin there that counts as a success (core.goal.clear), and P projects onto it within the box:

    d_k = P(x_k) - x_k,   d_0 = P(x_0) - x_0,   a = min(||d_k|| / (||d_k|| + ||d_0||), alpha_max)
    x_{k+1} = clip((1 - a) (x_k + eta d_k) + a (x_0 + eta d_0))

eta >= 1 steps a little beyond the boundary. The pull of d_0 makes x_k slide along the boundary towards the point nearest to x_0.
An adversarial x_{k+1} is kept if it is the nearest so far; then the walk goes on from x_0 + beta (x_{k+1} - x_0), on the near side
of the boundary.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import math

import numpy as np

from attacks.core.arrays import flat, host, real, rows_of, whole
from attacks.core.best import Best, Bookkeeping
from attacks.core.goal import Toward, Untargeted, clear
from attacks.core.nearest import boundaries, nearest_boundary, norm_of, rivals
from attacks.core.projections import onto_hyperplane
from attacks.core.result import Result, Task
from attacks.core.threat import Linf
from attacks.core.victim import as_white_box


def fab(victim, x, goal, norm=Linf, steps=100, restarts=1, *, alpha_max=0.1, eta=1.05, beta=0.9, epsilon=None, rng=0,
        trace=False) -> Result:
    """The smallest perturbation in norm = Linf, L2 or L1.

    goal      Untargeted(y): the nearest of all boundaries at each step; Toward(y, t): always that of t, any error counts;
              Targeted(t): that of t with the strongest other class, only t counts
    restarts  further runs, each from a random point. It lies at half the distance found so far, or at half of `epsilon` where
              that is less; where neither is known, at half the range of the box
    trace     margin, success and distance at each step of the first run
    """
    task, best = _open("fab", victim, x, goal, norm, steps, restarts, alpha_max, eta, beta, epsilon, rng, trace)
    others = rivals(task, None)
    for turn in range(restarts):
        _walk(task, task.goal, others, best, steps, alpha_max, eta, beta, epsilon, turn, log=turn == 0)
    return _close(best, steps=steps, restarts=restarts, alpha_max=alpha_max, eta=eta, beta=beta, epsilon=epsilon)


def fab_targeted(victim, x, goal, norm=Linf, steps=100, restarts=1, targets=9, *, alpha_max=0.1, eta=1.05, beta=0.9,
                 epsilon=None, rng=0, trace=False) -> Result:
    """FAB towards the boundary of each of the `targets` most likely wrong classes in turn; any error counts (FAB-T).

    goal: Untargeted(y). A step costs one gradient instead of one for each class. All samples meet all targets: the nearest
    example of all runs is returned.
    """
    if not isinstance(goal, Untargeted) or isinstance(goal, Toward):
        raise TypeError(f"fab_targeted: goal must be Untargeted(y): it chooses the targets itself, got {goal!r}; for one use "
                        "fab(..., Targeted(t)) or fab(..., Toward(y, t))")
    whole("fab_targeted", targets=targets)
    task, best = _open("fab_targeted", victim, x, goal, norm, steps, restarts, alpha_max, eta, beta, epsilon, rng, trace)
    likely = rivals(task, targets)
    for turn in range(restarts):
        for k in range(likely.shape[1]):
            _walk(task, Toward(task.goal.labels, likely[:, k]), None, best, steps, alpha_max, eta, beta, epsilon, turn,
                  log=turn == k == 0)
    return _close(best, steps=steps, restarts=restarts, targets=likely.shape[1], alpha_max=alpha_max, eta=eta, beta=beta,
                  epsilon=epsilon)


def _open(name, victim, x, goal, norm, steps, restarts, alpha_max, eta, beta, epsilon, rng, trace):
    measure, white = norm_of(norm, name), as_white_box(victim, name)
    whole(name, steps=steps)
    whole(name, restarts=restarts)
    real(name, "[0, 1]", alpha_max=alpha_max)
    real(name, "[1, inf)", eta=eta)
    real(name, "(0, 1)", beta=beta)
    if epsilon is not None:
        real(name, "[0, inf)", epsilon=epsilon)
    task = Task(name, white, x, goal, rng=rng)
    best = Best(task, Bookkeeping(keep="distance"), measure, steps, trace)
    best.starts = task.streams("start") if restarts > 1 else None
    return task, best


def _close(best, **settings):
    return best.result(best.measure, objective=None, zero_gradient=best.zero & ~best.success, settings=settings)


def _walk(task, goal, others, best, steps, alpha_max, eta, beta, epsilon, turn, log):
    """One run on all samples; turn 0 starts at x_0, the others at random points."""
    white, rows, measure, trace = task.view, task.rows, best.measure, best.trace
    best.trace = trace if log else None
    with white:
        x = x0 = task.x[rows]
        if turn and len(rows):
            x = x0 + _random(best, rows, x0, task.box, epsilon)
            x = np.clip(x, *task.box)
        z = white(x, rows) if len(rows) else None
        for step in range(steps if len(rows) else 0):
            if white.stopped:
                break
            f, w = nearest_boundary(*boundaries(white, goal[rows], z, x, rows, None if others is None else others[rows]), measure)
            (w,) = best.gradients([w], rows)
            alive = host(flat(w != 0).any(axis=1))
            if not alive.all():  # no boundary in sight from here
                rows, x, x0, f, w, z = rows[alive], x[alive], x0[alive], f[alive], w[alive], z[alive]
                if not len(rows):
                    break
            b = np.sum(flat(w.astype(np.float64)) * flat(x), axis=1) - f + 2 * clear(z)  # as near as counts as across
            near, far = onto_hyperplane(x, w, b, task.box, measure) - x, onto_hyperplane(x0, w, b, task.box, measure) - x0
            a, a0 = (np.maximum(measure.size(d), 1e-8 * (task.box[1] - task.box[0])) for d in (near, far))
            a = rows_of(np.minimum(a / (a + a0), alpha_max), x)
            x = np.clip((1 - a) * (x + eta * near) + a * (x0 + eta * far), *task.box)
            best.steps[rows] += 1
            z = white(x, rows)
            success = host(task.goal[rows].success(z))
            best.see(step + 1, rows, x, host(task.goal[rows].margin(z)), success)
            if success.any() and step < steps - 1:
                back = rows_of(np.where(success, beta, 1.0), x)
                x = np.where(rows_of(success, x) > 0, x0 + back * (x - x0), x)
                if goal.targeted:  # which class is the strongest other has to be looked at where we stand
                    z = white(x, rows)
    best.trace = trace


def _random(best, rows, x0, box, epsilon):
    """A perturbation of norm half the smallest distance known (half of epsilon, if that is less)."""
    known = np.where(best.success[rows], best.distance[rows], np.inf)
    known = np.minimum(known, math.inf if epsilon is None else epsilon)
    reach = np.full(len(rows), box[1] - box[0]) * best.measure.size(np.ones_like(x0[:1]))  # across the box
    radius = np.where(np.isfinite(known), known, host(reach)) / 2
    if isinstance(best.measure, Linf):
        t = best.starts.uniform(-1.0, 1.0, x0.shape[1:], rows, x0.dtype)
    else:
        t = best.starts.normal(x0.shape[1:], rows, x0.dtype)
    t = np.asarray(t, like=x0)
    return t * rows_of(radius / np.maximum(host(best.measure.size(t)), 1e-12), t)
