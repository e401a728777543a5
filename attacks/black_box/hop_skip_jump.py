"""HopSkipJump: gradient descent on the boundary, by labels alone (Chen, Jordan & Wainwright 2020, algorithm 2).

x' is a point on the boundary, D its distance from the original, d the number of coordinates, phi(x) = +1 where the victim's
answer is adversarial and -1 where it is not. At turn t = 1, 2, ... of each sample:

    normal   v = mean of (phi(x' + delta u_b) - mean phi) u_b over B_t = min(B_1 sqrt(t), most) probes
             u_b uniform on the sphere (L2) or normalised uniform noise (Linf); delta = 0.1 of the range at t = 1, then
             sqrt(d) theta D' (L2), d theta D' (Linf), D' the distance before the last bisection
    jump     x' + xi v (L2) or x' + xi sign(v) (Linf), xi = D / sqrt(t), halved until it is adversarial
    bisect   back to the boundary, to theta = gamma / d^1.5 (L2) of the way, or gamma / d^2 of the distance (Linf)

Imports: numpy, attacks.core, decision, oracle.
"""

from __future__ import annotations

import math

import numpy as np

from attacks.black_box.decision import INSIDE, begin, bisect, settled
from attacks.black_box.oracle import Oracle
from attacks.core.arrays import flat, host, real, rows_of, whole
from attacks.core.result import Result, Task
from attacks.core.threat import L2, Box, Linf
from attacks.core.victim import as_labels

PROBES = 1 << 21  # numbers held in one block of probes


def hop_skip_jump(victim, x, goal, norm="l2", steps=40, *, probes=100, most=10_000, gamma=1.0, start=None, tries=1000,
                  attack_wrong=False, rng=0, trace=False) -> Result:
    """The smallest distance, in L2 or Linf, that the walk finds; the closest adversarial point of all turns is returned,
    moved a little inside (decision.settled).

    victim   Victim or labels(budget); a sample stops before a turn whose probes its budget does not cover
    norm     'l2' or 'linf'
    probes   B_1;  most: the largest B_t;  gamma: see above
    start    (N, ...) adversarial inputs; None: up to `tries` draws uniform in the box
    trace    {'distance': (steps, N)}: after each turn
    Raises ValueError for another norm.
    """
    whole("hop_skip_jump", steps=steps, probes=probes, most=most, tries=tries)
    if norm not in ("l2", "linf"):
        raise ValueError(f"hop_skip_jump: norm must be 'l2' or 'linf', got {norm!r}")
    real("hop_skip_jump", "(0, inf)", gamma=gamma)
    view, linf = as_labels(victim, "hop_skip_jump"), norm == "linf"
    measure = Linf(0) if linf else L2(0)
    with view:
        task = Task("hop_skip_jump", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        ask, streams, n = Oracle(task, view, reserve=len(INSIDE)), task.streams("probes"), len(task.x)
        width = task.box[1] - task.box[0]
        size = max(1, flat(task.x).shape[1])
        theta = gamma / (size**2 if linf else size**1.5)
        here, found, why = begin(task, ask, start, tries)
        best, nearest, before, taken = here.copy(), np.full(n, np.inf), np.zeros(n), np.zeros(n, np.int64)
        record = np.full((steps, n), np.nan) if trace else None

        def land(rows, far):
            """Bisect from `far` and keep what is closest."""
            reach = host(measure.size(far - task.x[rows]))
            ends = np.minimum(reach, width) * theta if linf else np.full(len(rows), theta)
            here[rows], before[rows] = bisect(ask, measure, rows, far, ends)
            distance = host(measure.size(here[rows] - task.x[rows]))
            closer = distance < nearest[rows]
            best[rows[closer]], nearest[rows[closer]] = here[rows[closer]], distance[closer]
            return distance

        rows = task.rows[found[task.rows]]
        distance = np.full(n, np.inf)
        distance[rows] = land(rows, here[rows])
        for turn in range(1, steps + 1):
            count = min(int(probes * math.sqrt(turn)), most)
            rows = rows[ask.afford(rows, count + 1) & (distance[rows] > 0)]
            if not len(rows):
                break
            delta = np.full(len(rows), 0.1 * width) if turn == 1 else (size if linf else math.sqrt(size)) * theta * before[rows]
            v = _normal(ask, streams, rows, here[rows], np.maximum(delta, 1e-12 * width), count, linf)
            far = _jump(ask, rows, here[rows], np.sign(v) if linf else v, distance[rows] / math.sqrt(turn))
            distance[rows] = land(rows, far)
            taken[rows] += 1
            if trace:
                record[turn - 1, rows] = distance[rows]
        best = settled(ask, measure, best, found)
        return task.result(best, threat=Box(), measure=measure, found=found, steps=taken, reason=ask.reasons(why),
                           trace={"distance": record} if trace else None,
                           settings=dict(norm=norm, steps=steps, probes=probes, most=most, gamma=gamma,
                                         start="noise" if start is None else "given"))


def _normal(ask, streams, rows, x, delta, count, linf):
    """(n, ...) of L2 norm 1, towards the adversarial side; each sample asks `count` probes at distance delta (n,)."""
    shape, size, n = x.shape[1:], max(1, flat(x).shape[1]), len(rows)
    block = max(1, min(count, PROBES // size))
    group = max(1, PROBES // (block * size))
    out = np.zeros((n, size), np.float64)
    for i in range(0, n, group):
        part, here = rows[i : i + group], x[i : i + group][:, None]
        reach = rows_of(delta[i : i + group], here)
        plus, total, yes = 0.0, 0.0, np.zeros(len(part))
        for first in range(0, count, block):
            m = min(block, count - first)
            draw = streams.uniform(-1.0, 1.0, (m, *shape), part) if linf else streams.normal((m, *shape), part)
            u = np.asarray(draw, like=x).astype(x.dtype, copy=False)
            u /= np.maximum(np.sqrt(np.sum(u * u, axis=tuple(range(2, u.ndim)), keepdims=True)), 1e-12)
            points = np.clip(here + reach * u, *ask.task.box)
            u = flat(((points - here) / reach).reshape(-1, *shape)).reshape(len(part), m, size)  # what the box left of it
            won = ask.fooled(points.reshape(-1, *shape), np.repeat(part, m)).reshape(len(part), m)
            phi = np.asarray(2.0 * won - 1, like=u)
            plus, total, yes = plus + np.matmul(phi[:, None], u)[:, 0], total + u.sum(axis=1), yes + won.sum(axis=1)
        mean = np.asarray(2 * yes / count - 1, like=plus)[:, None]
        v = np.where(np.abs(mean) == 1, mean * total, plus - mean * total)  # all answers alike: nothing to subtract
        out[i : i + group] = host(v / np.maximum(np.sqrt(np.sum(v * v, axis=1, keepdims=True)), 1e-12))
    return np.asarray(out.reshape(x.shape).astype(x.dtype), like=x)


def _jump(ask, rows, x, v, xi):
    """The first of x + xi v, x + xi / 2 v, ... that is adversarial; x itself where none is or the budget ends."""
    far, active, xi = x.copy(), np.arange(len(rows)), xi.copy()
    for _ in range(40):
        active = active[ask.afford(rows[active])]
        if not len(active):
            break
        points = np.clip(x[active] + rows_of(xi[active], x) * v[active], *ask.task.box)
        won = ask.fooled(points, rows[active])
        far[active[won]] = points[won]
        xi[active] /= 2
        active = active[~won]
    return far
