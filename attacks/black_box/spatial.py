"""Rotations and shifts: no pixel is painted, the picture is only turned (Engstrom et al. 2019, sections 2 and 4).

No ball bounds this attack, but the rectangle of angles and shifts. It is so small that all of it can be searched, or some of it
at random. `Result.trace` says what was found. `Result.distance` is the L2 norm of the difference of the pictures, and only there
for comparison: a shift by one pixel is far in every norm, and nobody notices it.

Imports: numpy, attacks.core, minigrad, oracle.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from attacks.black_box.oracle import Oracle
from attacks.core.arrays import real, whole
from attacks.core.result import Result, Task
from attacks.core.threat import Box
from attacks.core.victim import Labels, as_scores
from minigrad import functional as F
from minigrad.tensor import Tensor


def spatial(victim, x, goal, rotations=31, shifts=5, draws=0, *, angle=30.0, reach=3.0, loss="margin", attack_wrong=False,
            rng=0) -> Result:
    """The first rotation and shift that fools.

    victim     Victim, scores(budget) or labels(budget);  x pictures (N, C, H, W)
    rotations  how many angles, evenly from -angle to +angle degrees;  shifts: how many shifts, from -reach to +reach pixels, along
               each axis. The grid of rotations * shifts^2 without the untouched picture is tried, the mildest first (by the sum
               of squares of the three, each as a part of its largest): 774 queries at most
    draws      > 0: that many at random instead, uniform in the rectangle, other ones for each sample ("worst of k")
    A sample rests at its first success, and costs one query for each try. Where none succeeds, `candidate` is the one with the
    largest `loss` (from labels: the first).
    trace      'degrees' (counter-clockwise), 'right' and 'down' (pixels) of the candidate, (1, N) each
    Raises ValueError for other shapes than (N, C, H, W), and for an angle or a reach that is negative.
    """
    whole("spatial", rotations=rotations, shifts=shifts)
    draws = whole("spatial", least=0, draws=draws)
    real("spatial", "[0, inf)", angle=angle, reach=reach)
    view = victim if isinstance(victim, Labels) else as_scores(victim, "spatial")
    with view:
        task = Task("spatial", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        if task.x.ndim != 4:
            raise ValueError(f"spatial: x must be pictures (N, C, H, W), got shape {task.x.shape}")
        ask, rows, n, streams = Oracle(task, view, loss), task.rows, len(task.x), task.streams("spatial")
        best, value, success = task.x.copy(), np.full(n, -np.inf), np.zeros(n, bool)
        where, tried = np.full((n, 3), np.nan), np.zeros(n, np.int64)
        ends, tries = np.array([angle, reach, reach]), grid(rotations, shifts)
        for turn in range(draws or len(tries)):
            rows = rows[~success[rows]]
            rows = rows[ask.afford(rows)]
            if not len(rows):
                break
            if draws:
                moves = streams.uniform(-1.0, 1.0, (3,), rows, np.float64) * ends
            else:
                moves = np.broadcast_to(tries[turn] * ends, (len(rows), 3))
            points = warp(task.x[rows], *moves.T, black=task.box[0])
            points = np.clip(points, *task.box)
            if isinstance(view, Labels):
                won = ask.fooled(points, rows)
                v = won.astype(np.float64)
            else:
                v, won = ask(points, rows)
            better = won | (v > value[rows])
            chosen = rows[better]
            best[chosen], value[chosen], success[chosen], where[chosen] = points[better], v[better], won[better], moves[better]
            tried[rows] += 1
        settings = dict(rotations=rotations, shifts=shifts, draws=draws, angle=angle, reach=reach)
        return task.result(best, threat=Box(), objective=value, steps=tried, reason=ask.reasons(), settings=settings,
                           trace={key: where[None, :, i] for i, key in enumerate(("degrees", "right", "down"))})


def grid(rotations: int, shifts: int) -> np.ndarray:
    """(M, 3) of angle, right and down in [-1, 1], the mildest first, without the untouched picture."""
    turn, shift = (np.linspace(-1, 1, k) if k > 1 else np.zeros(1) for k in (rotations, shifts))
    points = np.stack(np.meshgrid(turn, shift, shift, indexing="ij"), axis=-1).reshape(-1, 3)
    size = np.sum(np.square(points), axis=1)
    order = np.argsort(np.round(size, 9), kind="stable")
    return points[order][size[order] > 1e-12]


def warp(x, degrees, right, down, black: float = 0.0):
    """Pictures x (N, C, H, W), turned counter-clockwise about their centre, then shifted by pixels; arrays, of x's dtype.

    degrees, right, down: numbers or (N,). Bilinear; what comes in from outside is `black`.
    """
    n, _, height, width = x.shape
    t, dx, dy = (np.broadcast_to(np.asarray(v, np.float64), (n,)) for v in (np.deg2rad(degrees), right, down))
    c, s = np.cos(t), np.sin(t)
    # out(p) = x(R^-1 (p - shift)); p in pixels from the centre, x to the right and y down; affine_grid counts in half pictures
    rows = [[c, -s * height / width, (s * dy - c * dx) * 2 / width], [s * width / height, c, -(s * dx + c * dy) * 2 / height]]
    theta = np.asarray(np.moveaxis(np.array(rows), -1, 0).astype(x.dtype), like=x)  # (N, 2, 3)
    with mg.no_grad():
        points = F.affine_grid(Tensor.wrap(theta), x.shape)
        return F.grid_sample(Tensor.wrap(x - np.asarray(black, x.dtype)), points).array + np.asarray(black, x.dtype)
