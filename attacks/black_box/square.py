"""Square: random search over square patches at the corners of the ball (Andriushchenko, Croce, Flammarion & Hein 2020).

A turn costs each sample one query. A candidate replaces the best where its margin is larger, or where it fools. p is the share
of the picture that a square covers, and falls on a schedule:

    p       0.8 (or `p`) halved at turns 10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000 of 10,000
    Linf    start: vertical stripes of +-epsilon; then a square of +-epsilon in each channel (algorithm 2)
    L2      start: a 5 x 5 grid of pyramids; then a pair of pyramids in one window, with the mass of a second window, which is
            emptied, and what the radius still allows (algorithm 3)

A vector (N, d) counts as a picture of one line, and a square as a stretch of it. Each sample has its own windows and signs.

Imports: numpy, attacks.core, oracle.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from attacks.black_box.oracle import Draws, Oracle
from attacks.core.arrays import flat, host, real, rows_of, whole
from attacks.core.result import Result, Task
from attacks.core.threat import L2, Linf
from attacks.core.victim import as_scores

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def share(p: float, turn: int, turns: int | None = None) -> float:
    """p at a turn; `turns` stretches the schedule, which is written for 10,000, to that many."""
    at = turn if turns is None else int(turn / turns * 10_000)
    return p / 2 ** sum(at > h for h in HALVINGS)


def square(victim, x, goal, threat, queries=5000, p=0.8, *, loss="margin", rescale=True, attack_wrong=False, rng=0,
           trace=False) -> Result:
    """Random search for the largest margin in the ball, by at most `queries` scores a sample.

    victim   Victim or scores(budget); x (N, C, H, W), (N, H, W) or (N, d); threat: Linf or L2
    p        share of the picture that the first squares cover
    rescale  fit the schedule of p to `queries`; False follows it as written for 10,000 (AutoAttack)
    trace    {'objective': (queries, N)}: the best value after each query
    Raises TypeError for another threat or a view of labels, ValueError for p outside (0, 1] and inputs that are no pictures.
    """
    if not isinstance(threat, (Linf, L2)):
        raise TypeError(f"square: threat must be Linf or L2, got {threat!r}")
    whole("square", queries=queries)
    real("square", "(0, 1]", p=p)
    view = as_scores(victim, "square")
    with view:
        task = Task("square", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        threat.check(len(task.x), "square")
        ask, rows = Oracle(task, view, loss), task.rows
        search = (_Stripes if isinstance(threat, Linf) else _Pyramids)(task, threat)
        best, value = task.x.copy(), np.full(len(task.x), -np.inf)
        success, steps = np.zeros(len(task.x), bool), np.zeros(len(task.x), np.int64)
        record = np.full((queries, len(task.x)), np.nan) if trace else None
        for turn in range(queries):
            rows = rows[~success[rows]]
            rows = rows[ask.afford(rows)]
            if not len(rows):
                break
            new = search.start(rows) if turn == 0 else search.move(rows, best[rows], share(p, turn, queries if rescale else None))
            v, won = ask(new, rows)
            better = (v > value[rows]) | won | (turn == 0)
            chosen = rows[better]
            best[chosen], value[chosen], success[chosen] = new[better], v[better], won[better]
            steps[rows] += 1
            if trace:
                record[turn, rows] = value[rows]
        return task.result(best, threat=threat, objective=value, steps=steps, reason=ask.reasons(),
                           trace={"objective": record} if trace else None,
                           settings=dict(queries=queries, p=p, rescale=rescale, loss=getattr(ask.loss, "__name__", "")))


class _Search:
    """Candidates for the samples `rows`. Pictures (n, C, H, W) inside, the victim's shape outside."""

    def __init__(self, task, threat, count):
        shape = task.x.shape[1:]
        if len(shape) > 3:
            raise ValueError(f"square: x must be pictures (N, C, H, W), (N, H, W) or vectors (N, d), got shape {task.x.shape}")
        self.C, self.H, self.W = (1,) * (3 - len(shape)) + tuple(shape)
        self.task, self.threat, self.box = task, threat, task.box
        self.x0 = self.picture(task.x)
        self.streams = task.streams("start")
        self.draws = Draws(task.streams("windows"), count + self.C)

    def picture(self, x):
        return x.reshape(len(x), self.C, self.H, self.W)

    def shaped(self, x):
        return x.reshape(len(x), *self.task.x.shape[1:])

    def window(self, p, least=1):
        """(height, width) of a square of p H W pixels; of a line, the length."""
        if self.H == 1:
            return 1, min(max(round(p * self.W), least), self.W)
        side = max(round(math.sqrt(p * self.H * self.W)), least)
        side += 1 - side % 2 if least > 1 else 0  # pyramids have a middle
        return min(side, self.H), min(side, self.W)

    def corner(self, u, v, h, w):
        """First row and column of windows, uniform over all places."""
        return (u * (self.H - h + 1)).astype(int), (v * (self.W - w + 1)).astype(int)

    def signs(self, u, like):
        return np.asarray(np.where(u < 0.5, -1, 1), like=like).astype(like.dtype)


class _Stripes(_Search):
    """Linf."""

    def __init__(self, task, threat):
        super().__init__(task, threat, 2)

    def start(self, rows):
        x0 = self.x0[rows]
        stripes = np.asarray(self.streams.signs((self.C, 1, self.W), rows, x0.dtype), like=x0)
        return self.shaped(self.threat[rows].project(x0 + stripes * rows_of(self.threat[rows].epsilon, x0), x0, self.box))

    def move(self, rows, best, p):
        x0, best, u = self.x0[rows], self.picture(best), self.draws(rows)
        h, w = self.window(p)
        top, left = self.corner(u[:, 0], u[:, 1], h, w)
        high = (np.arange(self.H) >= top[:, None]) & (np.arange(self.H) < top[:, None] + h)
        wide = (np.arange(self.W) >= left[:, None]) & (np.arange(self.W) < left[:, None] + w)
        inside = np.asarray(high[:, None, :, None] & wide[:, None, None, :], like=x0)
        step = self.signs(u[:, 2:], x0)[:, :, None, None] * rows_of(self.threat[rows].epsilon, x0)
        return self.shaped(self.threat[rows].project(np.where(inside, best + 2 * step, best), x0, self.box))


class _Pyramids(_Search):
    """L2."""

    def __init__(self, task, threat):
        super().__init__(task, threat, 5)

    def start(self, rows):
        n, tile = len(rows), max(1, min(self.H, self.W) // 5) if self.H > 1 else max(1, self.W // 5)
        h = tile if self.H > 1 else 1
        tops = [t for t in range((self.H - 5 * h) // 2 if self.H >= 5 * h else 0, self.H - h + 1, h)]
        lefts = [t for t in range((self.W - 5 * tile) // 2 if self.W >= 5 * tile else 0, self.W - tile + 1, tile)]
        u = self.streams.uniform(0.0, 1.0, (len(tops), len(lefts), 1 + self.C), rows, np.float64)
        delta = np.zeros_like(self.x0[rows])
        for i, t in enumerate(tops):
            for j, l in enumerate(lefts):
                delta[:, :, t : t + h, l : l + tile] = self._pair(u[:, i, j], h, tile, delta)
        return self._placed(rows, delta, n)

    def move(self, rows, best, p):
        x0, u, n = self.x0[rows], self.draws(rows), len(rows)
        delta = self.picture(best) - x0
        h, w = self.window(p, least=3)
        one, two = (self._places(*self.corner(u[:, i], u[:, i + 1], h, w), h, w, n) for i in (0, 2))
        eps = rows_of(self.threat[rows].epsilon, x0)
        rest = delta.copy()
        rest[one] = 0
        rest[two] = 0

        def squares(d, *axes):
            return np.sum(np.square(d, dtype=np.float64), axis=axes, keepdims=True)

        both = squares(delta, 2, 3) - squares(rest, 2, 3)  # (n, C, 1, 1) mass of the two windows
        old = delta[one]
        new = self._pair(u[:, 4:], h, w, delta) + old / np.maximum(np.sqrt(squares(old, 2, 3)), 1e-12)
        spare = np.maximum(eps**2 - squares(delta, 1, 2, 3), 0) / self.C
        new = new / np.maximum(np.sqrt(squares(new, 2, 3)), 1e-12) * np.sqrt(np.maximum(spare + both, 0))
        rest[one] = new.astype(delta.dtype)
        return self._placed(rows, rest, n)

    def _places(self, top, left, h, w, n):
        """An index that takes the windows of n pictures: (n, C, h, w)."""
        i, j = top[:, None] + np.arange(h), left[:, None] + np.arange(w)
        return np.arange(n)[:, None, None, None], np.arange(self.C)[None, :, None, None], i[:, None, :, None], j[:, None, None, :]

    def _pair(self, u, h, w, like):
        """(n, C, h, w) of norm 1 in each channel: a pair of pyramids, upright or lying, with a sign for each channel."""
        kinds = np.stack([pair(h, w), pair(w, h).T]) if h == w else np.stack([pair(h, w)] * 2)
        chosen = kinds[(u[:, 0] < 0.5).astype(int)][:, None]
        return np.asarray(chosen, like=like).astype(like.dtype) * self.signs(u[:, 1:], like)[:, :, None, None]

    def _placed(self, rows, delta, n):
        """On the sphere, then in the box."""
        x0 = self.x0[rows]
        size = np.maximum(np.sqrt(np.sum(np.square(flat(delta), dtype=np.float64), axis=1)), 1e-12)
        x = x0 + delta * rows_of(np.asarray(self.threat[rows].epsilon) / host(size), x0)
        return self.shaped(np.clip(self.threat[rows].settle(x, x0), *self.box))


@functools.lru_cache(maxsize=256)
def pair(h: int, w: int):
    """A pyramid and its negative, one above the other (side by side in one line), of L2 norm 1 (equation 2)."""
    if h == 1:
        return np.concatenate([_pyramid(1, w // 2), -_pyramid(1, w - w // 2)], axis=1) / math.sqrt(2 if w > 1 else 1)
    d = np.concatenate([_pyramid(h // 2, w), -_pyramid(h - h // 2, w)], axis=0)
    return d / np.linalg.norm(d)


def _pyramid(h, w):
    """sum of 1 / (k + 1)^2 over all rings k >= max(|i - middle|, |j - middle|), of norm 1."""
    if h * w == 0:
        return np.zeros((h, w))
    ring = np.maximum(np.abs(np.arange(h) - h // 2)[:, None], np.abs(np.arange(w) - w // 2)[None])
    terms = 1 / np.arange(1, max(h // 2, w // 2) + 2) ** 2.0
    d = np.cumsum(terms[::-1])[::-1][ring]
    return d / np.linalg.norm(d)
