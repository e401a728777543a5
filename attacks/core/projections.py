"""Exact projections within the box of valid inputs: onto a hyperplane (where FAB and DeepFool step to), onto a ball.

    onto_hyperplane(x, w, b, box, measure)     the point of {z : <w, z> = b, lo <= z <= hi} nearest to x
    rise_towards(x, w, rise, box, measure)     the same for b = <w, x> + rise, without the cancellation
    nearest_within(x, w, rise, box, measure)   the nearest of K such points
    onto_l1_ball_in_box, onto_l2_ball_in_box(x, x0, box, epsilon)   the point of the ball around x0, within the box, nearest to x

measure is a threat (`attacks.core.threat`): its `order` says which norm. All are by sorting, in float64, each row for itself.

Imports: numpy, arrays.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import flat, rows_of


def onto_hyperplane(x, w, b, box, measure):
    """The point of {z : <w, z> = b, lo <= z <= hi} nearest to x, for each row; where there is none, the corner nearest to b.

    x, w (N, ...), b (N,), measure L1, L2 or Linf.
    """
    v, p = flat(w.astype(np.float64)), flat(x.astype(np.float64))
    return rise_towards(x, w, np.asarray(b, np.float64, like=p) - np.sum(v * p, axis=1), box, measure)


def rise_towards(x, w, rise, box, measure):
    """The point z of the box nearest to x with <w, z - x> = rise (N,); where there is none, the corner that comes nearest.

    All coordinates move the way that brings <w, z> there, coordinate i by m_i in [0, room_i], sum_i |w_i| m_i = |rise|:

        Linf   m_i = min(t, room_i)            L2   m_i = min(t |w_i|, room_i)            t >= 0 from the sorted kinks
        L1     the largest |w_i| first, each as far as it has room                        (Croce & Hein, section 2.2)
    """
    p = flat(x.astype(np.float64))
    way, size, room = _rooms(x, w, rise, box)
    missing = np.abs(rise)
    if measure.order == 1:
        order = np.argsort(-size, axis=1, kind="stable")
        w_, r_ = np.take_along_axis(size, order, axis=1), np.take_along_axis(room, order, axis=1)
        done = np.cumsum(w_ * r_, axis=1) - w_ * r_
        taken = np.clip((missing[:, None] - done) / np.where(w_ > 0, w_, 1.0), 0.0, r_)
        moved = np.take_along_axis(taken, np.argsort(order, axis=1, kind="stable"), axis=1)
    elif measure.order == 2:
        kinks = np.where(size > 0, room / np.where(size > 0, size, 1.0), 0.0)
        moved = np.minimum(_level(np.square(size), kinks, missing)[:, None] * size, room)
    else:
        moved = np.minimum(_level(size, room, missing)[:, None], room)
    return np.clip((p + way * moved).reshape(x.shape).astype(x.dtype), *box)


def nearest_within(x, w, rise, box, measure):
    """(z (N, ...), k (N,)): the nearest of the points of the box with <w_k, z - x> = rise_k, for w (N, K, ...), rise (N, K).

    Without the box boundary k is rise_k / dual(w_k) away; within it no nearer, so those are looked at in that order and only
    while one can still win. Where the box holds none of them the step is the free one, clipped. A boundary without a
    (finite) gradient is none; where all are, z is x.
    """
    n, count = rise.shape
    dual = measure.dual(w.reshape(n * count, *w.shape[2:])).reshape(n, count)
    with np.errstate(over="ignore", invalid="ignore"):
        free = np.where(dual > 0, rise / np.where(dual > 0, dual, 1), np.inf)
    free = np.where(np.isfinite(free), free, np.inf)
    order, row = np.argsort(free, axis=1, kind="stable"), np.arange(n, like=free)
    chosen = order[:, 0].copy()
    usable = np.isfinite(free[row, chosen])
    away = np.where(rows_of(usable, x) > 0, w[row, chosen], 0)
    step = rows_of(np.where(usable, free[row, chosen], 0.0), x) * measure.steepest(away)
    z, best = np.clip(x + step, *box), np.full_like(free[:, 0], np.inf)
    for j in range(count):
        some = np.flatnonzero(free[row, order[:, j]] < best)
        if not len(some):
            break
        k = order[some, j]
        v, up = w[some, k], rise[some, k]
        there = rise_towards(x[some], v, up, box, measure)
        _, size, room = _rooms(x[some], v, up, box)
        far = np.where(np.sum(size * room, axis=1) >= up, measure.size(there - x[some]), np.inf)
        better = far < best[some]
        some = some[better]
        z[some], chosen[some], best[some] = there[better], k[better], far[better]
    return z, chosen


def _rooms(x, w, rise, box):
    """(which way each coordinate moves, |w|, how far it can), (N, d) each."""
    v, p = flat(w.astype(np.float64)), flat(x.astype(np.float64))
    way = np.sign(v) * np.where(rise < 0, -1.0, 1.0)[:, None]
    room = np.where(way > 0, box[1] - p, np.where(way < 0, p - box[0], 0.0))
    return way, np.abs(v), np.maximum(room, 0.0)


def _level(weight, kink, total):
    """t (N,) with sum_i weight_i min(t, kink_i) = total, for weight, kink (N, d) >= 0; inf where the sum never gets there."""
    order = np.argsort(kink, axis=1, kind="stable")
    weight, kink = np.take_along_axis(weight, order, axis=1), np.take_along_axis(kink, order, axis=1)
    full = np.cumsum(weight * kink, axis=1)
    below = full - weight * kink  # what the coordinates before i give when they are all at their kinks
    slope = np.maximum(weight.sum(axis=1, keepdims=True) - np.cumsum(weight, axis=1) + weight, 0.0)  # of i and those after
    reached = below + slope * kink >= total[:, None]
    i = reached.argmax(axis=1)[:, None]
    below, slope, last = (np.take_along_axis(a, i, axis=1)[:, 0] for a in (below, slope, kink))
    t = np.where(slope > 0, (total - below) / np.where(slope > 0, slope, 1.0), last)
    return np.where(reached.any(axis=1), np.maximum(t, 0.0), np.inf)


# ---- onto ball and box ----------------------------------------------------------------------------------------------


def onto_l1_ball_in_box(x, x0, box, epsilon):
    """The point of ||y - x0||_1 <= epsilon within the box that is nearest to x: _onto_ball with the multiplier of L1."""
    return _onto_ball(x, x0, box, epsilon, _shrink_l1)


def onto_l2_ball_in_box(x, x0, box, epsilon):
    """The same for ||y - x0||_2 <= epsilon."""
    return _onto_ball(x, x0, box, epsilon, _shrink_l2)


def _onto_ball(x, x0, box, epsilon, shrink):
    """argmin ||y - x||_2 over ||y - x0|| <= epsilon, lo <= y <= hi, for x0 in the box.

    The optimality conditions make |y - x0|_i a falling piecewise function of one multiplier per sample, which `shrink`
    finds; the room of coordinate i is its way to the box in the direction of x - x0.
    """
    d = flat((x - x0).astype(np.float64))
    base = flat(x0.astype(np.float64))
    room = np.where(d > 0, box[1] - base, base - box[0])
    size = np.minimum(np.abs(d), room)
    eps = np.broadcast_to(np.asarray(epsilon, np.float64, like=d), (len(d),))
    moved = np.sign(d) * np.maximum(shrink(np.abs(d), np.maximum(room, 0), size, eps), 0)
    return np.clip((base + moved).reshape(x.shape).astype(x.dtype), *box)


def _bracket(points, value, eps):
    """The last of the sorted points (N, m) where the falling `value(point)` (N,) is still at least eps, by bisection."""
    row = np.arange(len(points), like=points)
    low, high = np.zeros_like(row), np.full_like(row, points.shape[1] - 1)
    while (low < high).any():
        middle = (low + high + 1) // 2
        above = value(points[row, middle]) >= eps
        low, high = np.where(above, middle, low), np.where(above, high, middle - 1)
    return points[row, low]


def _shrink_l1(size, room, start, eps):
    # sum_i min(max(|d_i| - theta, 0), room_i) = eps is linear in theta between the points |d_i| and |d_i| - room_i
    def at(theta):
        return np.minimum(np.maximum(size - theta[:, None], 0), room)

    points = np.sort(np.maximum(np.concatenate([np.zeros_like(size[:, :1]), size, size - room], axis=1), 0), axis=1)
    theta = _bracket(points, lambda t: at(t).sum(axis=1), eps)
    free = (size > theta[:, None]) & (size - room <= theta[:, None])  # these shrink as theta goes on
    excess = at(theta).sum(axis=1) - eps
    theta = theta + np.where(excess > 0, excess / np.maximum(free.sum(axis=1), 1), 0.0)
    return np.where((start.sum(axis=1) > eps)[:, None], at(theta), start)


def _shrink_l2(size, room, start, eps):
    # sum_i min(s |d_i|, room_i)^2 = eps^2 for s in [0, 1] is quadratic between the points s = room_i / |d_i|
    ratio = np.minimum(room / np.maximum(size, 1e-300), 1.0)

    def squares(minus):
        return np.square(np.minimum(-minus[:, None] * size, room)).sum(axis=1)

    ends = np.zeros_like(size[:, :1])
    points = np.sort(np.concatenate([ends - 1, -ratio, ends], axis=1), axis=1)  # -s rises
    s = -_bracket(points, squares, eps**2)
    free = ratio >= s[:, None]  # these shrink as s goes on falling
    walls = np.square(np.where(free, 0, room)).sum(axis=1)
    rest = np.square(np.where(free, size, 0)).sum(axis=1)
    s = np.where(rest > 0, np.sqrt(np.maximum(eps**2 - walls, 0) / np.maximum(rest, 1e-300)), s)
    return np.where((np.square(start).sum(axis=1) > eps**2)[:, None], np.minimum(s[:, None] * size, room), start)
