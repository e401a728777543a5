"""Attacks that see scores: the slope is felt by finite differences, or there is none and chance decides.

    random_noise   draws from the ball; the attack that every other must beat. Labels suffice
    nes            slope from antithetic normal probes, then steepest ascent          Ilyas, Engstrom, Athalye & Lin 2018
    spsa           slope from +-1 probes, then Adam                                   Uesato et al. 2018, algorithm 1
    zoo            symmetric differences in a few coordinates, Adam on each; the least L2     Chen et al. 2017, algorithm 2
    one_pixel      differential evolution of places and values                        Su, Vargas & Sakurai 2017
    square         attacks.black_box.square

All take victim (a Victim or scores(budget=...)), x (N, ...), a goal, and return a Result with `queries` of each sample. Every
sample has its own probes and its own acceptance, rests at its first success, and stops before a step that its budget does
not cover. The delta of nes and spsa is trained by the optimisers of `optimise`; only its gradient is an estimate.

Imports: attacks.core.optimise and what it imports, attacks.black_box.oracle.
"""

from __future__ import annotations

import math

import numpy as np

from attacks.black_box.oracle import Oracle
from attacks.core.arrays import flat, host, whole
from attacks.core.optimise import Adam, Best, Steepest, _make, _shrink
from attacks.core.parameterise import Additive
from attacks.core.result import Result, Task
from attacks.core.threat import L0, L2, Box
from attacks.core.victim import Labels, as_scores
from minigrad.tensor import Tensor

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
    step = 2.5 * np.asarray(threat.scale(_box(victim, "nes"))) / steps if step is None else step
    return _climb("nes", victim, x, goal, threat, steps, Steepest(step, momentum), "normal", samples, sigma, loss, attack_wrong,
                  rng, trace, dict(momentum=momentum))


def spsa(victim, x, goal, threat, steps=100, lr=0.01, samples=64, sigma=0.01, *, optimiser=None, loss="margin",
         attack_wrong=False, rng=0, trace=False) -> Result:
    """Adam along g = 1/(2 n sigma) sum_k (F(x + sigma u_k) - F(x - sigma u_k)) u_k, u_k = +-1, projected after each step.

    lr and sigma in units of the range of the input; optimiser: another recipe than Adam(lr). A step costs 2 * samples + 1
    queries (the paper's batch of 8,192 is samples=4096).
    """
    lo, hi = _box(victim, "spsa")
    recipe = Adam(lr * (hi - lo)) if optimiser is None else optimiser
    return _climb("spsa", victim, x, goal, threat, steps, recipe, "signs", samples, sigma, loss, attack_wrong, rng, trace,
                  dict(lr=lr))


def _climb(name, victim, x, goal, threat, steps, recipe, kind, samples, sigma, loss, attack_wrong, rng, trace, settings):
    whole(name, steps=steps, samples=samples)
    if not sigma > 0:
        raise ValueError(f"{name}: sigma must be positive, the length of a probe, got {sigma!r}")
    view = as_scores(victim, name)
    with view:
        task = Task(name, view, x, goal, rng=rng, attack_wrong=attack_wrong)
        threat.check(len(task.x), name)
        ask, rows, streams = Oracle(task, view, loss), task.rows, task.streams("probes")
        best = Best(task, "success", threat, True, steps - 1, trace)
        p = Additive(x)
        p.begin(task.x[rows], task.x[rows], task.box)
        trainer = _make(recipe, p.params, threat, name)
        _shrink(trainer, rows, len(task.x))
        reach, cost = sigma * (task.box[1] - task.box[0]), 2 * samples + 1
        stay = ask.afford(rows, cost)
        for turn in range(steps):
            if not stay.all():
                keep, n = np.flatnonzero(stay), len(rows)
                rows = rows[keep]
                p.keep(keep)
                _shrink(trainer, keep, n)
            if not len(rows):
                break
            g = _slope(ask, streams, kind, _point(p), rows, samples, reach)
            best.gradients([g], rows)
            p.params[0].grad = Tensor.wrap(-g)
            trainer.step()
            trainer.zero_grad()
            p.project(threat[rows], task.box)
            x_adv = p().array
            value, success = ask(x_adv, rows)
            best.steps[rows] += 1
            best.see(turn, rows, x_adv, value, success, p)
            stay = ~success
            stay[stay] = ask.afford(rows[stay], cost) if turn < steps - 1 else True
        return task.result(best.x, threat=threat, objective=best.value, steps=best.steps, zero_gradient=best.zero,
                           reason=ask.reasons(best.reasons()), trace=best.trace,
                           settings=dict(steps=steps, samples=samples, sigma=sigma, optimiser=repr(recipe), **settings))


def _point(p):
    """Where the parameters stand, without a graph."""
    return p().detach().array


def _slope(ask, streams, kind, x, rows, samples, reach):
    """The estimate for each of the samples `rows`, which stand at x (n, ...); probes in blocks, none shared."""
    size, shape = max(1, flat(x).shape[1]), x.shape[1:]
    out = np.empty_like(x)
    group = max(1, PROBES // (2 * samples * size))
    for i in range(0, len(rows), group):
        part, here = rows[i : i + group], x[i : i + group]
        u = np.asarray(getattr(streams, kind)((samples, *shape), part, x.dtype), like=x)  # (g, samples, ...)
        points = np.stack([here[:, None] + reach * u, here[:, None] - reach * u], axis=1)  # (g, 2, samples, ...)
        v = ask(points.reshape(-1, *shape), np.repeat(part, 2 * samples))[0].reshape(len(part), 2, samples)
        slope = np.asarray(((v[:, 0] - v[:, 1]) / (2 * reach * samples)).astype(x.dtype), like=x)
        out[i : i + group] = np.matmul(slope[:, None], u.reshape(len(part), samples, size)).reshape(here.shape)
    return out


def _box(victim, name):
    return as_scores(victim, name).bounds


# ---- coordinates -----------------------------------------------------------------------------------------------------


def zoo(victim, x, goal, steps=1000, lr=0.01, coordinates=128, h=1e-4, *, searches=3, constant=0.01, confidence=0.0,
        attack_wrong=False, rng=0) -> Result:
    """The least ||x' - x||^2 + c * max(confidence - margin, 0), by symmetric differences in `coordinates` random coordinates.

    dF/dx_i = (F(x + h e_i) - F(x - h e_i)) / 2h, and Adam with a count of steps for each coordinate, within the box. The margin
    of log-probabilities is that of the logits. A step costs 2 * coordinates + 1 queries. c starts at `constant`, times ten
    until it succeeds, then bisected, `searches` times in all, each from x again. h and lr in units of the range.
    """
    whole("zoo", steps=steps, coordinates=coordinates, searches=searches)
    if not (h > 0 and lr > 0 and constant > 0):
        raise ValueError(f"zoo: h, lr and constant must be positive, got {h!r}, {lr!r} and {constant!r}")
    view = as_scores(victim, "zoo")
    with view:
        task = Task("zoo", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        ask, streams = Oracle(task, view, "margin"), task.streams("coordinates")
        best = Best(task, "distance", L2(0), True, 1, False)
        n, size = len(task.x), max(1, flat(task.x).shape[1])
        k, width = min(coordinates, size), task.box[1] - task.box[0]
        c, low, high = np.full(n, constant), np.zeros(n), np.full(n, np.inf)
        for _ in range(searches):
            found, rows = np.zeros(n, bool), task.rows[~ask.spent[task.rows]]
            x_adv = flat(task.x.copy())
            m, v, count = np.zeros((n, size)), np.zeros((n, size)), np.zeros((n, size))
            for _ in range(steps):
                rows = rows[ask.afford(rows, 2 * k + 1)]
                if not len(rows):
                    break
                at = (rows[:, None], streams.permutation(size, rows)[:, :k])
                g = 2 * host(x_adv[at] - flat(task.x)[at]) - c[rows, None] * _differences(ask, x_adv, at, h * width, confidence)
                m[at], v[at], count[at] = 0.9 * m[at] + 0.1 * g, 0.999 * v[at] + 0.001 * g**2, count[at] + 1
                move = m[at] / (1 - 0.9 ** count[at]) / (np.sqrt(v[at] / (1 - 0.999 ** count[at])) + 1e-8)
                x_adv[at] = np.clip(x_adv[at] - lr * width * np.asarray(move, like=x_adv), *task.box)
                points = x_adv[rows].reshape(-1, *task.x.shape[1:])
                margin, won = ask(points, rows)
                won &= margin >= confidence
                best.see(0, rows, points, margin, won, None)
                best.steps[rows] += 1
                found[rows] |= won
            high = np.where(found, np.minimum(high, c), high)
            low = np.where(found, low, np.maximum(low, c))
            c = np.where(np.isfinite(high), (low + np.minimum(high, 1e30)) / 2, 10 * c)
        return task.result(best.x, threat=Box(), measure=L2(0), found=best.success, objective=best.value, steps=best.steps,
                           reason=ask.reasons(), settings=dict(steps=steps, lr=lr, coordinates=k, h=h, searches=searches,
                                                               constant=constant, confidence=confidence))


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
        out[i : i + group] = (value[:, 0] - value[:, 1]) / np.maximum(apart, 1e-12)
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
    if isinstance(population, bool) or int(population) != population or population < 4:
        raise ValueError(f"one_pixel: population must be an integer >= 4, three others for a child, got {population!r}")
    view = as_scores(victim, "one_pixel")
    with view:
        task = Task("one_pixel", view, x, goal, rng=rng, attack_wrong=attack_wrong)
        ask, rows, streams = Oracle(task, view, loss), task.rows, task.streams("evolution")
        shape, (lo, hi) = task.x.shape[1:], task.box
        C, H, W = shape if len(shape) == 3 else (1, 1, math.prod(shape))
        if H * W == 0:
            raise ValueError(f"one_pixel: pictures of shape {shape} have no pixel")
        n, P, genes = len(task.x), population, (pixels, 2 + C)
        ends = np.array([H, W])

        def fit(members):
            """Places within the picture, values within the box."""
            members[..., :2] = np.clip(members[..., :2], 0, np.nextafter(ends, 0))
            members[..., 2:] = np.clip(members[..., 2:], lo, hi)
            return members

        def paint(rows, members):
            """(len(rows), P, C, H, W)."""
            out = np.repeat(task.x[rows].reshape(-1, 1, C, H, W), members.shape[1], axis=1)
            i, j = np.ogrid[: len(rows), : members.shape[1]]
            for k in range(pixels):
                place = np.floor(members[:, :, k, :2]).astype(int)
                out[i, j, :, place[..., 0], place[..., 1]] = np.asarray(members[:, :, k, 2:], like=out)
            return out

        def judge(rows, members):
            value, won = np.empty((len(rows), P)), np.empty((len(rows), P), bool)
            group = max(1, PROBES // (P * C * H * W))
            for i in range(0, len(rows), group):
                part = rows[i : i + group]
                points = paint(part, members[i : i + group]).reshape(-1, *shape)
                v, w = ask(points, np.repeat(part, P))
                value[i : i + group], won[i : i + group] = v.reshape(-1, P), w.reshape(-1, P)
            return value, won

        everyone, values, success = np.zeros((n, P, *genes)), np.full((n, P), -np.inf), np.zeros(n, bool)
        best, best_value, steps = task.x.copy(), np.full(n, -np.inf), np.zeros(n, np.int64)
        for generation in range(generations + 1):
            rows = rows[~success[rows]]
            rows = rows[ask.afford(rows, P)]
            if not len(rows):
                break
            if generation == 0:
                where = streams.uniform(0.0, 1.0, (P, pixels, 2), rows, np.float64) * ends
                what = streams.normal((P, pixels, C), rows, np.float64) * (hi - lo) / 2 + (lo + hi) / 2
                new = np.concatenate([where, what], axis=-1)
            else:
                a, b, c = _three(streams.uniform(0.0, 1.0, (P, 3), rows, np.float64), P)
                old, i = everyone[rows], np.arange(len(rows))[:, None]
                new = old[i, a] + factor * (old[i, b] - old[i, c])
            new = fit(new)
            v, won = judge(rows, new)
            better = v > values[rows]
            everyone[rows] = np.where(better[:, :, None, None], new, everyone[rows])
            values[rows] = np.where(better, v, values[rows])
            steps[rows] += 1
            top = np.where(won.any(axis=1), np.argmax(np.where(won, v, -np.inf), axis=1), np.argmax(v, axis=1))
            i = np.arange(len(rows))
            rise = won[i, top] | (v[i, top] > best_value[rows])
            chosen = rows[rise]
            best[chosen] = paint(chosen, new[i, top][rise][:, None]).reshape(-1, *shape)
            best_value[chosen], success[chosen] = v[i, top][rise], won[i, top][rise]
        return task.result(best, threat=L0(pixels, pixels=len(shape) == 3), objective=best_value, steps=steps,
                           reason=ask.reasons(), settings=dict(pixels=pixels, population=P, generations=generations,
                                                               factor=factor))


def _three(u, count):
    """Three different members out of `count`, uniformly, from u (..., 3) in [0, 1)."""
    a, b, c = ((u[..., i] * (count - i)).astype(int) for i in range(3))
    b = b + (b >= a)
    first, second = np.minimum(a, b), np.maximum(a, b)
    c = c + (c >= first)
    return a, b, c + (c >= second)
