"""APGD: projected gradient ascent whose step sizes adapt to each sample (Croce & Hein 2020, algorithm 1; L1: 2021).

x_k is the point after k steps, eta the length of a step, P the projection onto ball and box, steepest(g) the unit step along g:

    z       = P(x_k + eta * steepest(gradient))
    x_{k+1} = P(x_k + 0.75 (z - x_k) + 0.25 (x_k - x_{k-1}))          the first step is z itself

eta starts at 2 epsilon and is reconsidered at checkpoints: the first after 22 % of the steps, then at intervals that shrink by
3 % of the steps down to 6 %. There eta is halved, and the sample goes back to its best point and the gradient there, if

    the value rose in at most rho = 75 % of the steps since the last checkpoint, or
    neither eta nor the best value has changed since then

In L1 a step moves only a share of the coordinates, which follows the sparsity of the best point, and P is the exact projection
onto what ball and box have in common. Values grow towards the attacker's goal, also a targeted one, so "rose" means the same
everywhere.

Imports: numpy, attacks.core, gradient.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import flat, host, real, rows_of, whole
from attacks.core.best import Best, Bookkeeping
from attacks.core.climb import Climb
from attacks.core.goal import Toward, Untargeted, likeliest
from attacks.core.parameterise import Direct
from attacks.core.result import Result, Task
from attacks.core.threat import L1, L2, Linf
from attacks.core.victim import as_white_box
from attacks.white_box.gradient import with_restarts


def checkpoints(steps: int) -> list[int]:
    """The steps after which step sizes are reconsidered: 22, 41, 57, 70, 80, 87, 93, 99 for 100 steps."""
    period, least, less = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    out, at = [], period
    while at <= steps:
        out.append(at)
        period = max(period - less, least)
        at += period
    return out


def apgd(victim, x, goal, threat, steps=100, restarts=1, loss="ce", *, rho=0.75, transforms=None, samples=1, early_stop=True,
         attack_wrong=False, rng=0, trace=False) -> Result:
    """The largest loss that adaptive steps find in the ball. threat: Linf, L2 or L1. loss: 'ce', 'dlr', 'margin', callable.

    restarts: from other random points, on samples still standing. samples, transforms: as in optimise (the paper's
    "rand" version is samples=20). trace also holds 'step', the step size of each sample.
    """
    if not isinstance(threat, (Linf, L2, L1)):
        raise TypeError(f"apgd: threat must be Linf, L2 or L1, got {threat!r}")
    white = as_white_box(victim, "apgd")
    x, restarts = white.victim.taken(x, "apgd"), whole("apgd", restarts=restarts)

    def run(again, rows, seed):
        return _run("apgd", white, x[rows], goal[rows], threat[rows], steps, loss, rho, transforms, samples,
                    early_stop, attack_wrong, seed, trace and not again, dict(restarts=restarts))

    return with_restarts(run, restarts, rng)


def apgd_targeted(victim, x, goal, threat, steps=100, targets=9, loss="dlr", *, rho=0.75, transforms=None, samples=1,
                  early_stop=True, attack_wrong=False, rng=0, trace=False) -> Result:
    """APGD towards each of the `targets` most likely wrong classes in turn, on samples still standing; any error counts.

    goal: Untargeted(y). By default the targeted DLR loss, which needs 4 classes (Croce & Hein 2020, section 6).
    """
    if not isinstance(goal, Untargeted):
        raise TypeError(f"apgd_targeted: goal must be Untargeted(y): it chooses the targets itself, got {goal!r}; for one "
                        "target use apgd(..., Targeted(t), loss='dlr')")
    view = as_white_box(victim, "apgd_targeted")
    x, targets = view.victim.taken(x, "apgd_targeted"), whole("apgd_targeted", targets=targets)
    clean = view.victim.logits(x.array)
    goal = goal.on(len(clean), clean.shape[1], "apgd_targeted")
    likely = likeliest(clean, goal.y, targets)

    def run(turn, rows, seed):
        towards = Toward(goal.y[rows], likely[rows, turn])
        return _run("apgd_targeted", view, x[rows], towards, threat[rows], steps, loss, rho, transforms, samples,
                    early_stop, attack_wrong, seed, trace and not turn, dict(targets=likely.shape[1]))

    return with_restarts(run, likely.shape[1], rng)


def _run(name, white, x, goal, threat, steps, loss, rho, transforms, samples, early_stop, attack_wrong, rng, trace, settings):
    (steps, samples), rho = whole(name, steps=steps, samples=samples), real(name, "(0, 1]", rho=rho)
    with white:
        task = Task(name, white, x, goal, rng=rng, attack_wrong=attack_wrong, looks=samples if transforms is None else 1)
        threat.check(len(task.x), name)
        best = Best(task, Bookkeeping(early_stop=early_stop), threat, steps, trace)
        if best.trace is not None:
            best.trace["step"] = np.full((steps + 1, len(task.x)), np.nan)
        p = Direct(x)
        climb = Climb(task, p, loss, threat, transforms=transforms, samples=samples)
        walk = _Walk(task.x[task.rows], threat[task.rows], task, rho)
        when, last = checkpoints(steps), 0
        point = walk.start(task)
        for step in range(steps + 1 if len(climb.rows) else 0):
            p.at(task.x[climb.rows], point)
            x_adv, value, success = climb.forward()
            best.see(step, climb.rows, x_adv, value, success)
            (g,) = climb.backward(best)
            walk.see(x_adv, value, g, first=step == 0)
            if best.trace is not None:
                best.trace["step"][step, climb.rows] = walk.eta
            if step == steps or white.stopped:
                break
            done = best.done(step, climb.rows, value, success)
            if done.any():
                walk.keep(~done)
            if not climb.leave(done):
                break
            if step in when:
                walk.reconsider(step - last)
                last = step
            best.steps[climb.rows] += 1
            point = walk.step()
        used = dict(steps=steps, loss=getattr(climb.loss, "__name__", repr(climb.loss)), rho=rho, samples=samples,
                    early_stop=early_stop, attack_wrong=attack_wrong)
        return best.result(threat, judge=climb.judge if climb.random else None, settings={**used, **settings})


class _Walk:
    """Where each sample stands, where it was best, and how long its steps are. Arrays of one row for each sample."""

    ARRAYS = ("x0", "x", "before", "g", "value", "best_x", "best_g", "best", "checked", "reduced", "rises", "eta", "full",
              "share", "sparsity")

    def __init__(self, x0, threat, task, rho):
        n = len(x0)
        self.x0, self.threat, self.box, self.rho, self.taken = x0, threat, task.box, rho, 0
        self.full = np.broadcast_to(np.asarray(threat.epsilon, np.float64), (n,)) * (1 if isinstance(threat, L1) else 2)
        self.eta, self.rises, self.reduced = self.full.copy(), np.zeros(n), np.ones(n, bool)
        self.x = self.before = self.best_x = x0
        self.g = self.best_g = np.zeros_like(x0)
        self.value, self.best = np.full(n, -np.inf), np.full(n, -np.inf)
        self.checked = self.best
        self.size = max(1, int(np.prod(x0.shape[1:])))
        self.share, self.sparsity = np.full(n, 0.2), np.full(n, float(self.size))

    def start(self, task):
        """A random point: of the surface of the ball (in the norm's own sense), then in the box."""
        streams, shape, rows = task.streams("start"), self.x0.shape[1:], task.rows
        if isinstance(self.threat, Linf):
            t = streams.uniform(-1.0, 1.0, shape, rows, self.x0.dtype)
        else:
            t = streams.normal(shape, rows, self.x0.dtype)
        t = np.asarray(t, like=self.x0)
        if isinstance(self.threat, L1):
            return self.threat.nearest(self.x0 + t * (self.box[1] - self.box[0]), self.x0, self.box)
        t = t / rows_of(np.maximum(self.threat.size(t), 1e-12), t) * rows_of(self.threat.epsilon, t)
        return self.threat.project(self.x0 + t, self.x0, self.box)

    def see(self, x, value, g, first):
        """The value and gradient at the new point."""
        value = value.astype(np.float64)
        self.before = x if first else self.x
        if not first:
            self.rises = self.rises + (value > self.value)
        better = value > self.best
        mask = rows_of(better, x) > 0
        self.x, self.g, self.value = x, g, value
        self.best_x, self.best_g = np.where(mask, x, self.best_x), np.where(mask, g, self.best_g)
        self.best = np.where(better, value, self.best)
        if first:
            self.checked = self.best

    def step(self):
        """The next point."""
        a = 0.75 if self.taken else 1.0
        self.taken += 1
        eta = rows_of(self.eta, self.x)
        if isinstance(self.threat, L1):
            return self.threat.nearest(self.x + eta * self._sparse(), self.x0, self.box)
        z = self.threat.project(self.x + eta * self.threat.steepest(self.g), self.x0, self.box)
        return self.threat.project(self.x + a * (z - self.x) + (1 - a) * (self.x - self.before), self.x0, self.box)

    def reconsider(self, period):
        """At a checkpoint, `period` steps after the last one."""
        if isinstance(self.threat, L1):
            now = host(np.sum(flat(self.best_x != self.x0), axis=1)).astype(np.float64)
            back = now / np.maximum(self.sparsity, 1) < 0.95
            self.share = now / self.size / 1.5
            self.eta = np.clip(np.where(back, self.full, self.eta / 1.5), self.full / 10, self.full)
            self.sparsity = now
        else:
            back = (self.rises <= self.rho * period) | (~self.reduced & (self.checked >= self.best))
            self.eta = np.where(back, self.eta / 2, self.eta)
            self.reduced, self.checked = back, self.best
        self.rises = np.zeros(len(self.x0))
        mask = rows_of(back, self.x) > 0
        self.x, self.g = np.where(mask, self.best_x, self.x), np.where(mask, self.best_g, self.g)
        self.value = np.where(back, self.best, self.value)

    def _sparse(self):
        """The sign of the gradient on the `share` of its coordinates that are largest, with L1 norm 1."""
        size = flat(np.abs(self.g))
        count = np.clip((self.share * self.size).astype(np.int64), 1, self.size)  # rounded down, so that 2 can become 1
        least = np.take_along_axis(np.sort(size, axis=1), np.asarray(self.size - count, like=size)[:, None], axis=1)
        chosen = ((size >= least) & (size > 0)).reshape(self.g.shape)
        count = flat(chosen).sum(axis=1)
        return np.sign(self.g) * chosen / rows_of(np.maximum(count, 1), self.g)

    def keep(self, rows):
        for name in self.ARRAYS:
            setattr(self, name, getattr(self, name)[rows])
        self.threat = self.threat[rows]
