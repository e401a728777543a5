"""Small perturbations by training: Carlini & Wagner's attacks in L2 and Linf, and EAD for few coordinates (L1).

All three minimise   size(d) + c * f(x'),   d = (x' - x) / range,   f = max(kappa - margin, 0),   with kappa = `confidence`. f is 0
where the margin of the goal is at least kappa, and there the attack has succeeded. Sizes are parts of the range of the box (the
papers' is 1), so that all constants mean the same in any units. The constant c is searched for each sample, because a
large one insists on success and a small one on nearness. The nearest success of all constants and steps is returned.

    carlini_l2     x' = mid + half tanh(w), Adam on w; size = ||d||_2^2
    carlini_linf   the same; size = sum_i max(|d_i| - tau, 0), with tau falling as long as that succeeds
    ead            FISTA on x' itself; size = ||d||_2^2 + beta ||d||_1

The margin is one of logits. Probabilities are refused, because with them f would vanish long before the margin is won.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import warnings

import numpy as np

from attacks.core.arrays import flat, host, real, rows_of, whole
from attacks.core.best import Patience
from attacks.core.climb import Climb
from attacks.core.loss import clipped_margin
from attacks.core.nearest import ConstantSearch, Nearest
from attacks.core.optimise import optimise
from attacks.core.optimisers import Adam
from attacks.core.parameterise import Direct, TanhBox
from attacks.core.result import NOT_FOUND, Result, Task
from attacks.core.threat import L1, L2, Box, Linf
from attacks.core.victim import Taken, as_white_box

REACH = 0.75  # how far beyond the middle of the box a pixel must be able to go: (1 + tanh 0.75) / 2 = 0.82 of the range


def carlini_l2(victim, x, goal, steps=1000, lr=0.01, search_steps=9, c=1e-3, confidence=0.0, *, abort_early=True, rng=0,
               trace=False) -> Result:
    """The smallest L2 perturbation, trained (Carlini & Wagner 2017, section VI.A; their l2_attack.py).

    steps        of Adam(lr) for each constant, from w_0 and with a new state every time (10000 in the paper)
    lr           w can go as far as lr * steps. A black or white pixel starts 7.25 from the middle, so it cannot be moved
                 unless that is 8 or so; a UserWarning says when it is less
    search_steps rounds of the search for c, which starts at c = 1e-3
    confidence   kappa: the margin, in logits, that a success needs
    abort_early  a sample leaves a round when its loss has not fallen by 1e-4 over a tenth of the steps; with few steps that is
                 too soon, because Adam still swings
    An untargeted attack follows the class with the largest logit, which need not have the nearest boundary.
    trace        'c', 'distance' (inf for a failure) and 'success' of each round (search_steps, N).  rng is not used
    Raises ValueError where the victim gives probabilities.
    """
    white = as_white_box(victim, "carlini_l2")
    with white:
        task = _open("carlini_l2", white, x, goal, rng, steps, lr, c, confidence)
        why = _reach(task, lr, steps)
        near, search = Nearest(task, L2(0).size), ConstantSearch(len(task.x), c, whole("carlini_l2", search_steps=search_steps))
        log = _Log(trace, len(task.x))
        rows = task.rows
        for _ in search if len(rows) else ():
            far, won = _train(task, near, rows, Adam(lr), steps, search.c[rows], _squares(task.box), L2(0), confidence, abort_early)
            log.see(rows, c=search.c[rows], distance=far, success=won)
            search.tell(rows, won)
            if white.stopped:
                break
        settings = dict(steps=steps, lr=lr, search_steps=search_steps, c=c, confidence=confidence, abort_early=abort_early)
        return near.result(L2(np.inf), settings=settings, trace=log.trace, why=why)


def carlini_linf(victim, x, goal, steps=1000, lr=0.01, c=1e-5, confidence=0.0, *, decrease=0.9, largest_c=20.0, least=1 / 256,
                 abort_early=True, rng=0, trace=False) -> Result:
    """The smallest Linf perturbation, trained (Carlini & Wagner 2017, section VI.C; their li_attack.py).

    tau starts at 1, the range of the box. Each round Adam(lr) trains sum_i max(|d_i| - tau, 0) + c f from the last success.
    If it wins within tau, tau becomes `decrease` * min(tau, ||d||_inf); if not, c doubles. A sample is done when tau is
    below `least`, or c above largest_c. The result is accurate to about 1 - decrease.
    Their lr is 5e-3, with which no black pixel comes to the other side in 1000 steps (see lr in carlini_l2). Twice that can, and
    finds the same distances.
    Other arguments as in carlini_l2; trace: 'c', 'tau', 'distance' and 'success' of each round (rounds, N).
    """
    white = as_white_box(victim, "carlini_linf")
    real("carlini_linf", "(0, 1)", decrease=decrease, least=least)
    real("carlini_linf", "(0, inf)", largest_c=largest_c)
    with white:
        task = _open("carlini_linf", white, x, goal, rng, steps, lr, c, confidence)
        why = _reach(task, lr, steps)
        near, n, width = Nearest(task, Linf(0).size), len(task.x), task.box[1] - task.box[0]
        constant, tau, start = np.full(n, float(c)), np.full(n, width), task.x.copy(order="K")
        log = _Log(trace, n)
        rows = task.rows
        while len(rows) and not white.stopped:
            far, won = _train(task, near, rows, Adam(lr), steps, constant[rows], _excess(tau[rows], width), Linf(0), confidence,
                              abort_early, start[rows])
            won &= far <= tau[rows] * (2 / (1 + decrease))  # half way from the last distance to tau is progress
            log.see(rows, c=constant[rows], tau=tau[rows], distance=far, success=won)
            start[rows[won]] = near.x[rows[won]]
            tau[rows[won]] = decrease * np.minimum(tau[rows[won]], near.distance[rows[won]])
            constant[rows[~won]] *= 2
            rows = rows[(tau[rows] >= least * width) & (constant[rows] <= largest_c)]
        settings = dict(steps=steps, lr=lr, c=c, confidence=confidence, decrease=decrease, largest_c=largest_c, least=least,
                        abort_early=abort_early)
        return near.result(Linf(np.inf), settings=settings, trace=log.trace, why=why)


def ead(victim, x, goal, steps=1000, lr=0.01, search_steps=9, c=1e-3, confidence=0.0, *, beta=1e-2, rule="en", abort_early=True,
        rng=0, trace=False) -> Result:
    """Elastic-net attack: few coordinates, found by shrinkage (Chen et al. 2018, algorithm 1).

        x_{k+1} = S(y_k - a_k grad(||y - x_0||_2^2 + c f(y)))          a_k = lr sqrt(1 - k / steps),   the range being 1
        y_{k+1} = x_{k+1} + k / (k + 3) (x_{k+1} - x_k)                FISTA

    S moves each coordinate by beta towards x_0 (not beyond x_0), and into the box. The paper and its code move by beta and not by
    a_k beta, so that the weight of L1 is beta / a_k in effect. Success is judged at x_k, never at the extrapolated y_k; both cost
    a query.
    beta  weight of L1 (0.01; 0 is gradient descent in L2)
    rule  'en': nearest by ||d||_2^2 + beta ||d||_1; 'l1': by L1.  The distance of the result is L1 in either case
    Other arguments and the trace as in carlini_l2.
    """
    white = as_white_box(victim, "ead")
    real("ead", "[0, inf)", beta=beta)
    if rule not in ("en", "l1"):
        raise ValueError(f"ead: rule must be 'en' or 'l1', got {rule!r}")
    with white:
        task = _open("ead", white, x, goal, rng, steps, lr, c, confidence)
        width = task.box[1] - task.box[0]
        elastic = lambda d: np.square(L2(0).size(d / width)) + beta * L1(0).size(d / width)  # noqa: E731
        near = Nearest(task, L1(0).size if rule == "l1" else elastic)
        search = ConstantSearch(len(task.x), c, whole("ead", search_steps=search_steps))
        log = _Log(trace, len(task.x))
        rows = task.rows
        for _ in search if len(rows) else ():
            far = _fista(task, near, search.c, steps, lr, beta, confidence, abort_early)[rows]
            log.see(rows, c=search.c[rows], distance=far, success=np.isfinite(far))
            search.tell(rows, np.isfinite(far))
            if white.stopped:
                break
        near.queries = white.queries.copy()
        settings = dict(steps=steps, lr=lr, search_steps=search_steps, c=c, confidence=confidence, beta=beta, rule=rule,
                        abort_early=abort_early)
        return near.result(L1(np.inf), settings=settings, trace=log.trace)


def _fista(task, near, c, steps, lr, beta, confidence, abort_early):
    """One round of EAD with the constants c (N,) -> (N,) how far its nearest success is, inf where it has none."""
    p, patience, best = Direct(task.x), Patience(len(task.x), steps), np.full(len(task.x), np.inf)
    climb = Climb(task, p, clipped_margin(confidence), L2(0), weight=c, penalty=_squares(task.box))
    before, width = task.x[climb.rows], task.box[1] - task.box[0]
    y = before
    for k in range(steps):
        rows = climb.rows
        p.at(task.x[rows], y)
        _, value, _ = climb.forward()
        (g,) = climb.backward(near)
        near.steps[rows] += 1
        rate = lr * width**2 * (1 - k / steps) ** 0.5  # squared: g is per unit of the input
        point = _shrink(y + rate * g, task.x[rows], beta * width, task.box)
        goal, z = task.goal[rows], host(task.view(point, rows))
        far = near.see(rows, point, goal.margin(z), goal.success(z, confidence))
        best[rows] = np.minimum(best[rows], far)
        if task.view.stopped:
            break
        before, y = point, point + k / (k + 3) * (point - before)
        if abort_early:
            lost = patience.lost(k, rows, value)
            before, y = before[~lost], y[~lost]
            if not climb.leave(lost):
                break
    return best


def _shrink(x, x0, beta, box):
    """S_beta: sign(d) max(|d| - beta, 0) for d = x - x0, in the box (equation 5)."""
    d = x - x0
    return np.where(np.abs(d) <= beta, x0, np.clip(x - np.sign(d) * beta, *box))


# ---- what they share -------------------------------------------------------------------------------------------------


def _open(name, white, x, goal, rng, steps, lr, c, confidence):
    """The task, and the arguments checked."""
    whole(name, steps=steps)
    real(name, "(0, inf)", lr=lr, c=c)
    real(name, "[0, inf)", confidence=confidence)
    task = Task(name, white, x, goal, rng=rng)
    z = task.clean
    if len(z) and (z >= 0).all() and (np.abs(z.sum(axis=1) - 1) < 1e-5).all():
        raise ValueError(f"{name}: the victim gives probabilities (each row sums to 1), the attack needs logits: leave out the "
                         "softmax, or give its logarithm")
    return task


def _reach(task, lr, steps) -> str:
    """Warn where lr * steps cannot bring coordinates to the other side of the box; the reason for failures."""
    lo, hi = task.box
    x = flat(task.x[task.rows]).astype(np.float64)
    need = np.abs(np.arctanh((2 * x - lo - hi) / (hi - lo) * 0.999999)) + REACH
    share = float((need > lr * steps).mean()) if x.size else 0.0
    if not share:
        return NOT_FOUND
    text = f"lr * steps = {lr * steps:g} is too short for {100 * share:.3g} % of the coordinates; they need {float(need.max()):.2g}"
    warnings.warn(f"{task.name}: {text} to cross the box, black and white ones first: give more steps or a larger lr", UserWarning,
                  stacklevel=3)
    return f"{NOT_FOUND}: {text}"


def _train(task, near, rows, recipe, steps, c, penalty, measure, confidence, abort_early, start="zero"):
    """One run of the loop with the constants c (n,) on the samples `rows` -> (distance, success), (n,) each."""
    goal = task.goal[rows]
    start = start if isinstance(start, str) else Taken(task.victim, start)
    run = optimise(TanhBox(task.taken(rows)), task.view, goal, Box(), recipe, steps, loss=clipped_margin(confidence), weight=c,
                   penalty=penalty, keep="distance", measure=measure, confidence=confidence, abort_early=abort_early, start=start,
                   name=task.name)
    near.add(rows, run)
    z = task.victim.logits(run.candidate)
    won = goal.success(z, confidence)
    return near.see(rows, run.candidate, goal.margin(z), won), won


def _squares(box):
    """||(x' - x) / range||_2^2."""
    width = box[1] - box[0]

    def penalty(x_adv, x, rows):
        d = (x_adv - x) / width
        return (d * d).sum(tuple(range(1, d.ndim)))

    return penalty


def _excess(tau, width):
    """sum_i max(|x' - x|_i - tau, 0) / width, tau (n,) for the rows of the batch."""

    def penalty(x_adv, x, rows):
        d = (x_adv - x).abs()
        return (d - rows_of(tau[rows], d.array)).relu().sum(tuple(range(1, d.ndim))) / width

    return penalty


class _Log:
    """What each round did, as arrays (rounds, N), NaN where a sample was at rest."""

    def __init__(self, on: bool, n: int):
        self.on, self.n, self.rounds = on, n, []

    def see(self, rows, **values):
        if self.on:
            full = {k: np.full(self.n, np.nan) for k in values}
            for k, v in values.items():
                full[k][rows] = v
            self.rounds.append(full)

    @property
    def trace(self):
        if not self.on:
            return None
        return {k: np.stack([r[k] for r in self.rounds]) for k in (self.rounds[0] if self.rounds else ())}
