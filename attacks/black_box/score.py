"""Attacks that see scores: they estimate the slope by finite differences, or do without it and try at random.

    random_noise   draws from the ball; the attack that every other must beat. Labels suffice
    nes            slope from antithetic normal probes, then steepest ascent          Ilyas, Engstrom, Athalye & Lin 2018
    spsa           slope from +-1 probes, then Adam                                   Uesato et al. 2018, algorithm 1
    zoo            symmetric differences in a few coordinates, Adam on each; the least L2     Chen et al. 2017, algorithm 2
    one_pixel      differential evolution of places and values                        Su, Vargas & Sakurai 2017
    square         attacks.black_box.square

All take victim (a Victim or scores(budget=...)), x (N, ...), a goal, and return a Result with `queries` of each sample. Every
sample has its own probes. It rests at its first success, and stops before a step that its budget does not cover. The delta of
nes and spsa is trained by the optimisers of `optimise`; only its gradient is an estimate.

Imports: numpy, attacks.core, oracle.
"""

from __future__ import annotations

import math

import numpy as np

from attacks.black_box.oracle import Oracle
from attacks.core.arrays import flat, host, real, whole
from attacks.core.best import Best, Bookkeeping
from attacks.core.climb import Climb
from attacks.core.nearest import ConstantSearch
from attacks.core.optimisers import Adam, CoordinateAdam, Steepest, trainer_of
from attacks.core.parameterise import Additive
from attacks.core.result import Result, Task
from attacks.core.threat import L0, Box
from attacks.core.victim import Labels, as_scores

PROBES = 1 << 22  # numbers held in one block of probes


def random_noise(victim, x, goal, threat, draws=10_000, *, loss="margin", attack_wrong=False, rng=0) -> Result:
    """`draws` points, uniform in the ball, then in the box; the first that fools is kept (Carlini et al. 2019, section 4.3).

    victim may also be labels(budget). Draws are asked in blocks of 1, 1, 2, 4, ... up to 128: a sample rests after the block
    that fooled it.
    """
    whole("random_noise", draws=draws)
    view = victim if isinstance(victim, Labels) else as_scores(victim, "random_noise")
    with view:
        task = Task("random_noise", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        threat.check(len(task.x), "random_noise")
        ask, rows, streams = Oracle(task, view, loss), task.rows, task.streams("noise")
        best, value = task.x.copy(), np.full(len(task.x), -np.inf)
        success, done = np.zeros(len(task.x), bool), np.zeros(len(task.x), np.int64)
        asked = 0
        while asked < draws and len(rows):
            rows = rows[ask.afford(rows)]
            if not len(rows):
                break
            block = min(max(1, asked), 128, draws - asked)
            group = max(1, PROBES // max(1, block * flat(task.x).shape[1]))
            for part in np.split(rows, range(group, len(rows), group)):
                count = np.minimum(block, view.left(part)).astype(int)
                each, first = np.repeat(part, count), np.cumsum(count) - count
                ball, x0 = threat[each], task.x[each]
                points = ball.project(x0 + ball.random(x0, streams[each], task.box), x0, task.box)
                won = ask.fooled(points, each) if isinstance(view, Labels) else None
                v, won = ask(points, each) if won is None else (won.astype(np.float64), won)
                for i, start, m in zip(part, first, count, strict=True):
                    top = start + np.lexsort((v[start : start + m], won[start : start + m]))[-1]
                    if v[top] > value[i] or won[top]:
                        best[i], value[i], success[i] = points[top], v[top], won[top]
                done[part] += count
            asked += block
            rows = rows[~success[rows]]
        return task.result(best, threat=threat, objective=value, steps=done, reason=ask.reasons(), settings=dict(draws=draws))


# ---- estimated gradients ---------------------------------------------------------------------------------------------


def nes(victim, x, goal, threat, steps=100, step=None, samples=25, sigma=0.001, *, momentum=0.0, loss="ce",
        attack_wrong=False, rng=0, trace=False) -> Result:
    """Steepest ascent along g = 1/(2 n sigma) sum_k (F(x + sigma u_k) - F(x - sigma u_k)) u_k, u_k ~ N(0, 1), n = samples.

    step     2.5 * epsilon / steps by default; sigma in units of the range of the input
    A step costs 2 * samples + 1 queries: the probes, and a look at the new point. F is the sample's own loss.
    """
    momentum, steps = real("nes", "[0, inf)", momentum=momentum), whole("nes", steps=steps)
    if step is None:
        step = 2.5 * np.asarray(threat.scale(as_scores(victim, "nes").bounds)) / steps
    else:
        step = real("nes", "[0, inf)", each=True, step=step)
    return _climb("nes", victim, x, goal, threat, steps, Steepest(step, momentum), "normal", samples, sigma, loss, attack_wrong,
                  rng, trace, dict(momentum=momentum))


def spsa(victim, x, goal, threat, steps=100, lr=0.01, samples=64, sigma=0.01, *, optimiser=None, loss="margin",
         attack_wrong=False, rng=0, trace=False) -> Result:
    """Adam along g = 1/(2 n sigma) sum_k (F(x + sigma u_k) - F(x - sigma u_k)) u_k, u_k = +-1, projected after each step.

    lr and sigma in units of the range of the input; optimiser: another recipe than Adam(lr). A step costs 2 * samples + 1
    queries (the paper's batch of 8,192 is samples=4096).
    """
    lo, hi = as_scores(victim, "spsa").bounds
    lr = real("spsa", "(0, inf)", lr=lr)
    recipe = Adam(lr * (hi - lo), eps=1e-8 / (hi - lo)) if optimiser is None else optimiser
    return _climb("spsa", victim, x, goal, threat, steps, recipe, "signs", samples, sigma, loss, attack_wrong, rng, trace,
                  dict(lr=lr))


def _climb(name, victim, x, goal, threat, steps, recipe, kind, samples, sigma, loss, attack_wrong, rng, trace, settings):
    whole(name, steps=steps, samples=samples)
    real(name, "(0, inf)", sigma=sigma)
    view = as_scores(victim, name)
    with view:
        task = Task(name, view, x, goal, rng=rng, attack_wrong=attack_wrong)
        threat.check(len(task.x), name)
        p = Additive(x)
        p.begin(task.x[task.rows], task.x[task.rows], task.box)
        trainer = trainer_of(recipe, p.params, threat, name)
        climb = _Probed(Oracle(task, view, loss), p, threat, trainer, kind, samples, sigma * (task.box[1] - task.box[0]))
        best, cost = Best(task, Bookkeeping(), threat, steps - 1, trace), 2 * samples + 1
        stay = climb.ask.afford(climb.rows, cost)
        for turn in range(steps):
            if not climb.leave(~stay):
                break
            climb.backward(best)
            trainer.step()
            trainer.zero_grad()
            p.project(climb.ball, task.box)
            x_adv, value, success = climb.forward()
            best.steps[climb.rows] += 1
            best.see(turn, climb.rows, x_adv, value, success)
            stay = ~success
            stay[stay] = climb.ask.afford(climb.rows[stay], cost) if turn < steps - 1 else True
        return best.result(threat, reason=climb.ask.reasons(best.reasons()),
                           settings=dict(steps=steps, samples=samples, sigma=sigma, optimiser=repr(recipe), **settings))


class _Probed(Climb):
    """A climb by answers: forward is one question, and the gradient an estimate from probes at distance `reach`.

    kind: 'normal' or 'signs', how the directions of the probes are drawn;  samples: how many pairs of probes
    """

    def __init__(self, ask: Oracle, p, threat, trainer, kind, samples, reach):
        super().__init__(ask.task, p, ask.loss, threat, trainer)
        self.ask, self.streams = ask, ask.task.streams("probes")
        self.kind, self.pairs, self.reach = kind, samples, reach

    def forward(self):
        x_adv = self.p().array
        return x_adv, *self.ask(x_adv, self.rows)

    def slopes(self):
        """The estimate for each of the samples, from probes in blocks, none of them shared."""
        x, rows, samples, reach = self.p().array, self.rows, self.pairs, self.reach
        size, shape = max(1, flat(x).shape[1]), x.shape[1:]
        out, draw = np.empty_like(x), getattr(self.streams, self.kind)
        group = max(1, PROBES // (2 * samples * size))
        for i in range(0, len(rows), group):
            part, here = rows[i : i + group], x[i : i + group]
            u = np.asarray(draw((samples, *shape), part, x.dtype), like=x)  # (g, samples, ...)
            points = np.stack([here[:, None] + reach * u, here[:, None] - reach * u], axis=1)  # (g, 2, samples, ...)
            v = self.ask(points.reshape(-1, *shape), np.repeat(part, 2 * samples))[0].reshape(len(part), 2, samples)
            slope = np.asarray(((v[:, 0] - v[:, 1]) / (2 * reach * samples)).astype(x.dtype), like=x)
            out[i : i + group] = np.matmul(slope[:, None], u.reshape(len(part), samples, size)).reshape(here.shape)
        return [out]


# ---- coordinates -----------------------------------------------------------------------------------------------------


def zoo(victim, x, goal, steps=1000, lr=0.01, coordinates=128, h=1e-4, *, searches=3, constant=0.01, confidence=0.0,
        attack_wrong=False, rng=0) -> Result:
    """The least ||(x' - x) / range||^2 + c * max(confidence - margin, 0), by symmetric differences in some random coordinates.

    dF/dx_i = (F(x + h e_i) - F(x - h e_i)) / 2h, and Adam with a count of steps for each coordinate, within the box. The margin
    of log-probabilities is that of the logits. A step costs 2 * coordinates + 1 queries. c starts at `constant` and is searched
    for in `searches` rounds (core.nearest.ConstantSearch), each from x again. h and lr in units of the range.
    """
    whole("zoo", steps=steps, coordinates=coordinates, searches=searches)
    real("zoo", "(0, inf)", h=h, lr=lr, constant=constant)
    real("zoo", "[0, inf)", confidence=confidence)
    view = as_scores(victim, "zoo")
    with view:
        task = Task("zoo", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        ask, streams = Oracle(task, view, "margin"), task.streams("coordinates")
        best, search = Best(task, Bookkeeping(keep="distance"), Box(), 1), ConstantSearch(len(task.x), constant, searches)
        n, size = len(task.x), max(1, flat(task.x).shape[1])
        k, width = min(coordinates, size), task.box[1] - task.box[0]
        for _ in search:
            found, rows = np.zeros(n, bool), task.rows[~ask.spent[task.rows]]
            x_adv, adam = flat(task.x.copy()), CoordinateAdam((n, size))
            for _ in range(steps):
                rows = rows[ask.afford(rows, 2 * k + 1)]
                if not len(rows):
                    break
                at = (rows[:, None], streams.permutation(size, rows)[:, :k])
                slope = _differences(ask, x_adv, at, h * width, confidence) * width
                move = adam.direction(at, 2 * host(x_adv[at] - flat(task.x)[at]) / width - search.c[rows, None] * slope)
                x_adv[at] = np.clip(x_adv[at] - lr * width * np.asarray(move, like=x_adv), *task.box)
                points = x_adv[rows].reshape(-1, *task.x.shape[1:])
                margin, won = ask(points, rows)
                won &= margin >= confidence
                best.see(0, rows, points, margin, won)
                best.steps[rows] += 1
                found[rows] |= won
            search.tell(task.rows, found[task.rows])
        return best.result(Box(), found=best.success, reason=ask.reasons(),
                           settings=dict(steps=steps, lr=lr, coordinates=k, h=h, searches=searches, constant=constant,
                                         confidence=confidence))


def _differences(ask, x_adv, at, h, confidence):
    """d min(margin - confidence, 0) / d x_i at each of the coordinates `at` = (rows (n, 1), places (n, k))."""
    rows, places = at
    n, k = places.shape
    out, group = np.empty((n, k)), max(1, PROBES // (2 * k * x_adv.shape[1]))
    for i in range(0, n, group):
        part, where = rows[i : i + group, 0], places[i : i + group]
        points = np.repeat(x_adv[part][:, None], 2 * k, axis=1)  # (g, 2k, size)
        sample, probe = np.arange(len(part))[:, None], np.arange(k)
        points[sample, probe, where] += h
        points[sample, probe + k, where] -= h
        points = np.clip(points, *ask.task.box)
        apart = host(points[sample, probe, where] - points[sample, probe + k, where])  # 2h, or h at the edge of the box
        margin = ask(points.reshape(-1, *ask.task.x.shape[1:]), np.repeat(part, 2 * k))[0].reshape(len(part), 2, k)
        value = np.minimum(margin - confidence, 0)
        out[i : i + group] = (value[:, 0] - value[:, 1]) / np.where(apart > 0, apart, np.inf)
    return out


# ---- a few pixels ----------------------------------------------------------------------------------------------------


def one_pixel(victim, x, goal, pixels=1, population=400, generations=100, *, factor=0.5, loss="ce", attack_wrong=False,
              rng=0) -> Result:
    """Differential evolution of `pixels` tuples (row, column, values): at most that many places of the picture change.

    child = a + factor * (b - c) with three different members a, b, c; no crossover; a child takes its parent's place where it is
    better (a tie keeps the parent). Places start uniform, values N(middle, half the range). Costs population * (generations + 1)
    queries, asked a generation at a time. x (N, C, H, W); in other shapes every number is a place.
    """
    whole("one_pixel", pixels=pixels, generations=generations)
    whole("one_pixel", least=4, population=population)  # a child needs three others
    real("one_pixel", "(0, 2]", factor=factor)
    view = as_scores(victim, "one_pixel")
    with view:
        task = Task("one_pixel", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        ask, rows, n = Oracle(task, view, loss), task.rows, len(task.x)
        pool = _Pool(ask, pixels, population)
        success, steps = np.zeros(n, bool), np.zeros(n, np.int64)
        best, best_value = task.x.copy(), np.full(n, -np.inf)
        for generation in range(generations + 1):
            rows = rows[~success[rows]]
            rows = rows[ask.afford(rows, population)]
            if not len(rows):
                break
            new = pool.children(rows, factor) if generation else pool.first(rows)
            value, won = pool.judge(rows, new)
            pool.replace(rows, new, value)
            steps[rows] += 1
            top = np.where(won.any(axis=1), np.argmax(np.where(won, value, -np.inf), axis=1), np.argmax(value, axis=1))
            i = np.arange(len(rows))
            rise = won[i, top] | (value[i, top] > best_value[rows])
            chosen = rows[rise]
            best[chosen] = pool.pictures(chosen, new[i, top][rise][:, None])
            best_value[chosen], success[chosen] = value[i, top][rise], won[i, top][rise]
        return task.result(best, threat=L0(pixels, pixels=task.x.ndim == 4), objective=best_value, steps=steps,
                           reason=ask.reasons(), settings=dict(pixels=pixels, population=population, generations=generations,
                                                               factor=factor))


class _Pool:
    """The members that evolve: for each of N samples P tuples (row, column, C values) for each of `pixels` pixels.

    members (N, P, pixels, 2 + C), value (N, P): what each is worth
    """

    def __init__(self, ask: Oracle, pixels: int, population: int):
        x = ask.task.x
        self.ask, self.x, self.P, self.pixels, self.streams = ask, x, population, pixels, ask.task.streams("evolution")
        self.C, self.H, self.W = x.shape[1:] if x.ndim == 4 else (1, 1, math.prod(x.shape[1:]))
        if self.H * self.W == 0:
            raise ValueError(f"one_pixel: pictures of shape {x.shape[1:]} have no pixel")
        self.ends, self.box = np.array([self.H, self.W]), ask.task.box
        self.members = np.zeros((len(x), population, pixels, 2 + self.C))
        self.value = np.full((len(x), population), -np.inf)

    def first(self, rows):
        """The first generation of the samples `rows`."""
        lo, hi = self.box
        where = self.streams.uniform(0.0, 1.0, (self.P, self.pixels, 2), rows, np.float64) * self.ends
        what = self.streams.normal((self.P, self.pixels, self.C), rows, np.float64) * (hi - lo) / 2 + (lo + hi) / 2
        return self._fit(np.concatenate([where, what], axis=-1))

    def children(self, rows, factor):
        """The next one: a + factor (b - c) for each member."""
        a, b, c = _three(self.streams.uniform(0.0, 1.0, (self.P, 3), rows, np.float64), self.P)
        old, i = self.members[rows], np.arange(len(rows))[:, None]
        return self._fit(old[i, a] + factor * (old[i, b] - old[i, c]))

    def _fit(self, members):
        """Places within the picture, values within the box."""
        members[..., :2] = np.clip(members[..., :2], 0, np.nextafter(self.ends, 0))
        members[..., 2:] = np.clip(members[..., 2:], *self.box)
        return members

    def replace(self, rows, new, value):
        """A child takes its parent's place where it is better."""
        better = value > self.value[rows]
        self.members[rows] = np.where(better[:, :, None, None], new, self.members[rows])
        self.value[rows] = np.where(better, value, self.value[rows])

    def pictures(self, rows, members):
        """The samples `rows` with their members (len(rows), M, ...) painted on: (len(rows) * M, ...)."""
        out = np.repeat(self.x[rows].reshape(-1, 1, self.C, self.H, self.W), members.shape[1], axis=1)
        i, j = np.ogrid[: len(rows), : members.shape[1]]
        for k in range(self.pixels):
            place = np.floor(members[:, :, k, :2]).astype(int)
            out[i, j, :, place[..., 0], place[..., 1]] = np.asarray(members[:, :, k, 2:], like=out)
        return out.reshape(-1, *self.x.shape[1:])

    def judge(self, rows, members):
        """(value, won), (len(rows), P) each, in blocks."""
        value, won = np.empty((len(rows), self.P)), np.empty((len(rows), self.P), bool)
        group = max(1, PROBES // (self.P * self.C * self.H * self.W))
        for i in range(0, len(rows), group):
            part = rows[i : i + group]
            v, w = self.ask(self.pictures(part, members[i : i + group]), np.repeat(part, self.P))
            value[i : i + group], won[i : i + group] = v.reshape(-1, self.P), w.reshape(-1, self.P)
        return value, won


def _three(u, count):
    """Three different members out of `count`, uniformly, from u (..., 3) in [0, 1)."""
    a, b, c = ((u[..., i] * (count - i)).astype(int) for i in range(3))
    b = b + (b >= a)
    first, second = np.minimum(a, b), np.maximum(a, b)
    c = c + (c >= first)
    return a, b, c + (c >= second)
