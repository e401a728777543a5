"""Attacks that see labels only: they walk along the boundary, from far away towards the original.

    boundary        a random step on the sphere around the original, then one towards it; kept where it still fools and is
                    closer                                                        Brendel, Rauber & Bethge 2018
    hop_skip_jump   attacks.black_box.hop_skip_jump: the normal of the boundary from +-1 answers

Both start from an adversarial point: `start`, or uniform noise, brought close by bisection. A targeted attack mostly needs
`start`, pictures that the victim takes for t. Both return the closest point that the victim itself called adversarial.

Imports: numpy, attacks.core, oracle.
"""

from __future__ import annotations

import numpy as np

from attacks.black_box.oracle import Oracle
from attacks.core.arrays import flat, host, real, rows_of, whole
from attacks.core.result import Result, Task
from attacks.core.threat import L2, Box, Linf
from attacks.core.victim import as_labels

NO_START = "no adversarial starting point found; give start=, inputs that are adversarial already"


def boundary(victim, x, goal, steps=25_000, *, spherical_step=0.01, source_step=0.01, adaptation=1.5, convergence=1e-7,
             every=10, start=None, tries=1000, attack_wrong=False, rng=0, trace=False) -> Result:
    """The smallest L2 distance that a random walk along the boundary finds.

    victim  Victim or labels(budget)
    A turn  a random step at right angles to the line to x, of length spherical_step * distance; back onto the sphere around x
            through the present point; then source_step * distance towards x. It costs one query, and every `every`-th turn one
            more for the point on the sphere.
    steps   times `adaptation`, or divided by it: both where more than 50 % (fewer than 20 %) of the last 100 points on the
            sphere were adversarial; source_step where more than 25 % (fewer than 10 %) of the last 30 candidates were
    stop    a sample rests when its source_step falls below `convergence`
    start   (N, ...) adversarial inputs; None: up to `tries` draws uniform in the box
    trace   {'distance': (steps, N)}
    Raises ValueError for steps that are not positive and adaptation <= 1.  The result lies INSIDE of its distance beyond the last
    point on the boundary: see `settled`.
    """
    whole("boundary", steps=steps, every=every, tries=tries)
    real("boundary", "(0, inf)", spherical_step=spherical_step, source_step=source_step)
    real("boundary", "(1, inf)", adaptation=adaptation)
    real("boundary", "[0, inf)", convergence=convergence)
    view = as_labels(victim, "boundary")
    with view:
        task = Task("boundary", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        ask, streams, norm, n = Oracle(task, view, reserve=len(INSIDE)), task.streams("walk"), L2(0), len(task.x)
        here, found, why = begin(task, ask, start, tries)
        rows = task.rows[found[task.rows]]
        here[rows] = bisect(ask, norm, rows, here[rows], np.full(len(rows), 1e-3))[0]
        around, towards = np.full(n, spherical_step), np.full(n, source_step)
        spheres, candidates = _Share(n, 100), _Share(n, 30)
        taken, record = np.zeros(n, np.int64), np.full((steps, n), np.nan) if trace else None
        for turn in range(1, steps + 1):
            look = turn % every == 0
            rows = rows[towards[rows] >= convergence]
            rows = rows[ask.afford(rows, 1 + look)]
            if not len(rows):
                break
            x0, x_adv = task.x[rows], here[rows]
            eta = np.asarray(streams.normal(x0.shape[1:], rows, x0.dtype), like=x0)
            sphere, candidate, distance = _propose(eta, x0, x_adv, around[rows], towards[rows], task.box)
            won = ask.fooled(candidate, rows)
            better = won & (host(norm.size(candidate - x0)) < distance)
            here[rows[better]] = candidate[better]
            taken[rows] += 1
            if look:
                up, down = spheres.add(rows, ask.fooled(sphere, rows), 0.5, 0.2)
                factor = np.where(up, adaptation, np.where(down, 1 / adaptation, 1.0))
                around[rows] *= factor
                up, down = candidates.add(rows, won, 0.25, 0.1)
                towards[rows] *= factor * np.where(up, adaptation, np.where(down, 1 / adaptation, 1.0))
            if trace:
                record[turn - 1, rows] = host(norm.size(here[rows] - x0))
        here = settled(ask, norm, here, found)
        return task.result(here, threat=Box(), measure=norm, found=found, steps=taken, reason=ask.reasons(why),
                           trace={"distance": record} if trace else None,
                           settings=dict(steps=steps, spherical_step=spherical_step, source_step=source_step,
                                         adaptation=adaptation, start="noise" if start is None else "given"))


def _propose(eta, x0, x_adv, around, towards, box):
    """(point on the sphere around x0, candidate closer to x0, distance of x_adv), in float64 until the end."""
    home, eta = flat(x0).astype(np.float64) - flat(x_adv), flat(eta).astype(np.float64)
    distance = np.maximum(np.sqrt(np.sum(home * home, axis=1)), 1e-300)
    unit = home / distance[:, None]
    eta -= np.sum(eta * unit, axis=1, keepdims=True) * unit
    around, towards = np.asarray(around, like=home), np.asarray(towards, like=home)
    eta *= (around * distance / np.maximum(np.sqrt(np.sum(eta * eta, axis=1)), 1e-300))[:, None]
    base = flat(x0).astype(np.float64)
    sphere = np.clip(base + (eta - home) / np.sqrt(1 + around**2)[:, None], *box)
    back = base - sphere
    length = np.maximum(np.sqrt(np.sum(back * back, axis=1)), 1e-300)
    share = np.maximum(towards * distance + length - distance, 0) / length  # clipping left the sphere: corrected here
    candidate = np.clip(sphere + share[:, None] * back, *box)
    return sphere.reshape(x0.shape).astype(x0.dtype), candidate.reshape(x0.shape).astype(x0.dtype), host(distance)


class _Share:
    """How many of the last `length` answers were yes, for each of n samples."""

    def __init__(self, n, length):
        self.yes, self.count = np.zeros((n, length), bool), np.zeros(n, np.int64)

    def add(self, rows, answers, above, below):
        """Note the answers. -> (share > above, share < below), of the samples with a full record, which then starts anew."""
        length = self.yes.shape[1]
        self.yes[rows, self.count[rows] % length] = answers
        self.count[rows] += 1
        share, full = self.yes[rows].mean(axis=1), self.count[rows] >= length
        up, down = full & (share > above), full & (share < below)
        self.count[rows[up | down]] = 0
        return up, down


# ---- what both attacks share -----------------------------------------------------------------------------------------


def begin(task, ask, start, tries):
    """(points (N, ...), found (N,) bool, {row: reason}): an adversarial point for each sample, or none."""
    here, found, rows = task.x.copy(), np.zeros(len(task.x), bool), task.rows
    if start is not None:
        given = task.victim.take(start, f"{task.name}: start")
        if given.shape != task.x.shape:
            raise ValueError(f"{task.name}: start has shape {given.shape}, x {task.x.shape}; give one point for each sample")
        rows = rows[ask.afford(rows)]
        won = ask.fooled(given[rows], rows)
        here[rows[won]], found[rows[won]] = given[rows[won]], True
    else:
        streams = task.streams("start")
        for _ in range(tries):
            rows = rows[~found[rows]]
            rows = rows[ask.afford(rows)]
            if not len(rows):
                break
            points = np.asarray(streams.uniform(*task.box, task.x.shape[1:], rows, task.x.dtype), like=task.x)
            won = ask.fooled(points, rows)
            here[rows[won]], found[rows[won]] = points[won], True
    return here, found, {int(i): NO_START for i in task.rows[~found[task.rows]]}


INSIDE = (1e-3, 3e-3, 1e-4)  # how far a result goes beyond the boundary, in shares of its distance: the first that fools


LEAST = 1e-5  # and how far at least, of the way across the box: pictures that are beside the boundary anyway


def settled(ask, norm, here, found):
    """`here` (N, ...) with the points `found` (N,) moved a little away from their originals: x0 + (1 + t) (x - x0), in the box.

    A walk ends on the boundary to the last digit of float32, where another batch size may answer otherwise, and labels do not
    tell how near that is. t is the first of INSIDE (LEAST across the box is added) where the victim still calls the point
    adversarial; the Oracle keeps the queries for it in reserve. Where none is, the point stays, and the judge decides
    (attacks.core.goal.clear).
    """
    ask.reserve, out = 0, here.copy()
    rows, (lo, hi) = ask.task.rows[found[ask.task.rows]], ask.task.box
    least = LEAST * host(norm.size(np.full_like(here[:1], hi - lo)))
    for t in INSIDE:
        rows = rows[ask.view.left(rows) >= 1]
        if not len(rows):
            break
        x0 = ask.task.x[rows].astype(np.float64)
        beyond = here[rows] - x0
        t = t + least / np.maximum(host(norm.size(beyond)), least)
        points = np.clip(x0 + (1 + rows_of(t, beyond)) * beyond, lo, hi).astype(here.dtype)
        won = ask.fooled(points, rows)
        out[rows[won]] = points[won]
        rows = rows[~won]
    return out


def bisect(ask, norm, rows, far, threshold):
    """Towards the originals of `rows`, from `far` (n, ...), which is adversarial, to the boundary.

    L2: x0 + a (far - x0), a from [0, 1]; Linf: clip(far, x0 - a, x0 + a), a from [0, distance]; until the bracket of a is no
    wider than threshold (n,). -> (points, on the adversarial side and confirmed by the victim; distances of `far`).
    """
    x0, best = ask.task.x[rows], far.copy()
    distance = host(norm.size(far - x0))
    linf = isinstance(norm, Linf)
    low, high = np.zeros(len(rows)), distance.copy() if linf else np.ones(len(rows))
    active = np.arange(len(rows))
    for _ in range(60):
        active = active[(high - low)[active] > threshold[active]]
        active = active[ask.afford(rows[active])]
        if not len(active):
            break
        middle = (low[active] + high[active]) / 2
        base = x0[active].astype(np.float64)
        a = rows_of(middle, base)
        points = np.clip(far[active], base - a, base + a) if linf else base + a * (far[active] - base)
        points = points.astype(x0.dtype)
        won = ask.fooled(points, rows[active])
        best[active[won]] = points[won]
        high[active[won]], low[active[~won]] = middle[won], middle[~won]
    return best, distance
