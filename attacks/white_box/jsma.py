"""JSMA: two coordinates at a time, those that the Jacobian says help the target most (Papernot et al. 2016, algorithms 2 and 3).

t is the target class, a_i = d z_t / d x_i says how coordinate i helps it, b_i = sum_{j != t} d z_j / d x_i how it helps the others.
Of the domain, which are the coordinates that may still move, the pair (p, q) with the largest

    -(a_p + a_q) (b_p + b_q),    a_p + a_q > 0,    b_p + b_q < 0                      (theta > 0; for theta < 0 both change sign)

is moved by theta. Coordinates at the end of the box leave the domain. The Jacobian is that of the logits. Probabilities sum to 1:
with them b = -a, and the second condition would say nothing.

The pair is found without looking at all d^2 (`best_pair`).

Imports: numpy, attacks.core, minigrad.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from attacks.core.arrays import flat, host, real, whole
from attacks.core.goal import Toward
from attacks.core.nearest import Nearest, rivals
from attacks.core.result import NOT_FOUND, Result, Task
from attacks.core.threat import L0
from attacks.core.victim import as_white_box
from minigrad.tensor import Tensor

NO_PAIR = f"{NOT_FOUND}: no pair of coordinates is left that helps the target"


def jsma(victim, x, goal, theta=1.0, share=0.1, targets=1, *, rng=0, trace=False) -> Result:
    """Few coordinates, changed as far as they go. The distance of the result is L0: how many coordinates differ.

    theta    what a turn adds to both, as a part of the range, in [-1, 1] but not 0; at +1 or -1 each moves once
    share    of the coordinates that may change (gamma in the paper): at most share * d / 2 turns, but one at least
    goal     Targeted(t): towards t, only t counts;  Untargeted(y): any error counts, on the way to the likeliest wrong class,
             or to each of the `targets` likeliest, of which the one with the fewest changes is returned;  Toward(y, t): t alone
    trace    'margin', 'success' and 'distance' at each turn of the first target (turns + 1, N), NaN where a sample rested
    rng is not used: nothing is drawn. A turn costs one query and two backward passes.
    Raises ValueError for theta = 0 or beyond 1, and for share outside (0, 1].
    """
    theta, share = real("jsma", "[-1, 1]", theta=theta), real("jsma", "(0, 1]", share=share)
    if theta == 0:
        raise ValueError("jsma: theta must not be 0, which moves nothing; it is what a turn adds, a part of the range, got 0")
    white, targets = as_white_box(victim, "jsma"), whole("jsma", targets=targets)
    with white:
        task = Task("jsma", white, x, goal, rng=rng)
        near, turns = Nearest(task, L0(0).size), max(1, int(share * flat(task.x).shape[1] / 2))
        aims = _aims(task, targets)
        log = {k: np.full((turns + 1, len(task.x)), np.nan) for k in ("margin", "success", "distance")} if trace else None
        stuck = np.ones(len(task.x), bool)
        for k in range(aims.shape[1]):
            stuck[_walk(task, near, aims[:, k], theta, turns, log if k == 0 else None)] = False
        near.queries = white.queries.copy()
        result = near.result(L0(np.inf), settings=dict(theta=theta, share=share, targets=aims.shape[1]), trace=log)
        result.reason[stuck & (result.reason == NOT_FOUND)] = NO_PAIR
        return result


def _aims(task, targets):
    """(N, K) the classes that are walked to in turn."""
    if task.goal.targeted:
        return task.goal.labels[:, None]
    return task.goal.t[:, None] if isinstance(task.goal, Toward) else rivals(task, targets)


def _walk(task, near, aim, theta, turns, log):
    """One walk of all samples towards `aim` (N,) -> the samples that had a pair left at the end of their turns."""
    (lo, hi), white, rows = task.box, task.view, task.rows
    sign, step = np.sign(theta), theta * (hi - lo)
    point = task.x[rows]
    for turn in range(turns + 1 if len(rows) else 0):
        z, toward, others = _slopes(white, point, rows, aim[rows])
        goal = task.goal[rows]
        margin, success = goal.margin(z), goal.success(z)
        near.see(rows, point, margin, success)
        if log is not None:
            for key, value in (("margin", margin), ("success", success), ("distance", host(L0(0).size(point - task.x[rows])))):
                log[key][turn, rows] = value
        stay = np.flatnonzero(~success)
        if turn == turns or not len(stay) or white.stopped:
            return rows[stay]
        rows, point = rows[stay], point[stay]
        grads = near.gradients([toward[stay], others[stay]], rows)
        near.steps[rows] += 1
        a, c = (flat(host(g)).astype(np.float64) * s for g, s in zip(grads, (sign, -sign), strict=True))
        values, found = flat(point).copy(), np.ones(len(rows), bool)
        free = host(values < hi if sign > 0 else values > lo)
        for i in range(len(rows)):
            domain = np.flatnonzero(free[i])
            pair = best_pair(a[i, domain], c[i, domain])
            found[i] = pair is not None
            if found[i]:
                at = domain[list(pair)]
                values[i, at] = np.clip(values[i, at] + step, lo, hi)
        rows, point = rows[found], values[found].reshape(-1, *point.shape[1:])
        if not len(rows):
            break
    return rows


def best_pair(a, c):
    """(p, q), p != q, with the largest (a_p + a_q)(c_p + c_q) where both sums are positive, or None. a, c (d,).

    The product rises with either sum. So a coordinate is not needed if two others match or exceed it in both a and c: whatever
    its partner, one of the two would do as well in its place. The rest are the first two layers of maxima, a few dozen of d;
    they are found by sorting.
    """
    order, layers = np.lexsort((-c, -a)), []
    for _ in range(2):
        if len(order):
            height = c[order]
            top = np.concatenate([[True], height[1:] > np.maximum.accumulate(height)[:-1]])
            layers.append(order[top])
            order = order[~top]
    if len(a) < 2:
        return None
    few = np.sort(np.concatenate(layers))
    up, down = np.add.outer(a[few], a[few]), np.add.outer(c[few], c[few])
    score = np.where((up > 0) & (down > 0), up * down, -np.inf)
    np.fill_diagonal(score, -np.inf)
    p, q = np.unravel_index(score.argmax(), score.shape)
    return (int(few[p]), int(few[q])) if np.isfinite(score[p, q]) else None


def _slopes(white, x, rows, t):
    """(z (n, classes), d z_t / d x (n, ...), d sum_{j != t} z_j / d x), arrays; z NumPy."""
    x = Tensor.wrap(x).requires_grad_()
    with mg.enable_grad():
        logits = white(x, rows)
        toward = np.zeros_like(logits.array)
        toward[np.arange(len(t)), t] = 1
        slopes = [mg.grad([logits], [x], [Tensor.wrap(v)], retain_graph=True)[0].array for v in (toward, 1 - toward)]
    return host(logits.array), *slopes
