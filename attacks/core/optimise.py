"""The one loop: a network is frozen, the input's parameters are trained, by the optimisers that train networks.

    p = Additive(x)                                        x' = x + delta, delta is the parameter
    optimise(p, victim, goal, Linf(0.3), SignSGD(0.01), steps=40)

At each step   value_i = mean over draws t of  weight_i * loss(victim(t(x'_i)), goal_i) - penalty(t(x'_i), t(x_i))   is climbed:

    forward; keep the best so far of each sample; backward to p.params; optimiser step; projection

and once more forward after the last step. Values are summed over the batch, never averaged: no sample feels another, and
samples that are done leave the batch (their rows of parameters and of the optimiser's state go with them).

Optimisers are recipes without parameters: SignSGD(lr), Steepest(lr), SGD(lr), Adam(lr), or any callable params -> minigrad
optimiser, such as lambda params: optim.RMSprop(params, 0.01).   Imports: minigrad, the rest of the core of attacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import minigrad as mg
from attacks.core import loss as losses
from attacks.core.arrays import flat, host, rows_of
from attacks.core.goal import Goal
from attacks.core.parameterise import Parameterisation
from attacks.core.result import NAN, Result, Task
from attacks.core.threat import L2, Box, Linf, Threat
from attacks.core.victim import as_white_box
from minigrad import optim
from minigrad.tensor import Tensor

# ---- optimisers ------------------------------------------------------------------------------------------------------


class SteepestDescent(optim.Optimizer):
    """p -= lr * argmax <m, u> over ||u|| <= 1, in the norm of a threat, for each row of p: sign(m) in Linf, m / ||m|| in L2.

    m = momentum * m + g / ||g||_1 (Dong et al. 2018, equation 6), and m = g where momentum is 0. A gradient of 0 moves
    nothing. lr is a number, or one for each row.
    """

    def __init__(self, params, lr, momentum=0.0, norm: Threat | None = None):
        self.norm = Linf(0) if norm is None else norm
        super().__init__(params, dict(lr=lr, momentum=momentum))

    def _check(self, group):
        self._number("momentum", group["momentum"])
        if np.ndim(group["lr"]) > 1 or not np.all(np.asarray(group["lr"], float) >= 0):
            raise ValueError(f"{self._name}: lr must be at least 0, a number or one for each sample (N,), got {group['lr']!r}")

    def _prepare(self, group, p, state):
        if group["momentum"] and not state:
            state["momentum_buffer"] = np.zeros_like(p.array)

    def _age(self, state):
        return 0

    def _update(self, group, age, params, grads, states):
        for p, g, state in zip(params, grads, states, strict=True):
            if group["momentum"]:
                size = np.sum(np.abs(g), axis=tuple(range(1, g.ndim)), keepdims=True)
                m = state["momentum_buffer"]
                m *= group["momentum"]
                m += g / np.where(size > 0, size, 1)
                g = m
            p -= rows_of(group["lr"], p) * self.norm.steepest(g)


class Recipe:
    """An optimiser without its parameters: recipe(params, threat) makes it."""

    def __init__(self, text: str, make: Callable):
        self.text, self.make = text, make

    def __repr__(self):
        return self.text

    def __call__(self, params, threat):
        return self.make(params, threat)


def Steepest(lr, momentum: float = 0.0, norm: Threat | None = None) -> Recipe:
    """Steps of length lr in the direction in which the loss rises fastest for the threat's norm, or for `norm`."""
    text = f"Steepest({lr if np.ndim(lr) == 0 else 'per sample'}, momentum={momentum})"
    return Recipe(text, lambda params, threat: SteepestDescent(params, lr, momentum, threat if norm is None else norm))


def SignSGD(lr, momentum: float = 0.0) -> Recipe:
    """Steps of lr * sign(gradient)."""
    return Recipe(f"SignSGD({lr}, momentum={momentum})", Steepest(lr, momentum, Linf(0)).make)


def SGD(lr, **options) -> Recipe:
    """minigrad.optim.SGD."""
    return Recipe(f"SGD({lr}, {options})", lambda params, threat: optim.SGD(params, lr, **options))


def Adam(lr, **options) -> Recipe:
    """minigrad.optim.Adam. Its first steps have length lr whatever the scale of the gradient."""
    return Recipe(f"Adam({lr}, {options})", lambda params, threat: optim.Adam(params, lr, **options))


def _make(optimiser, params, threat, name):
    if isinstance(optimiser, optim.Optimizer):
        if {id(q) for group in optimiser.param_groups for q in group["params"]} != {id(q) for q in params}:
            raise ValueError(f"{name}: the optimiser holds other parameters than p.params; give a recipe such as Adam(0.01)")
        return optimiser
    if isinstance(optimiser, Recipe):
        return optimiser(params, threat)
    if callable(optimiser):
        return optimiser(params)
    raise TypeError(f"{name}: optimiser must be a recipe such as SignSGD(0.01), a callable params -> optimiser, or an optimiser "
                    f"of p.params, got {type(optimiser).__name__}")


def _shrink(optimiser, rows, n) -> None:
    """Keep rows of everything that the optimiser holds for each of n samples."""
    for state in optimiser.state.values():
        for key, value in state.items():
            if np.ndim(value) and len(value) == n:
                state[key] = value[rows]
    for group in optimiser.param_groups:
        for key, value in group.items():
            if key != "params" and isinstance(value, np.ndarray) and value.shape == (n,):
                group[key] = value[rows]
    if isinstance(optimiser, SteepestDescent) and np.shape(optimiser.norm.epsilon) == (n,):
        optimiser.norm = optimiser.norm[rows]


# ---- the loop --------------------------------------------------------------------------------------------------------


def optimise(p: Parameterisation, victim, goal: Goal, threat: Threat | None = None, optimiser=None, steps: int = 100, *,
             loss="ce", weight=None, penalty=None, transforms=None, samples: int = 1, keep: str = "success",
             measure: Threat | None = None, confidence: float = 0.0, start="zero", early_stop: bool = False,
             abort_early: bool = False, attack_wrong: bool = False, rng=0, trace: bool = False, name: str = "optimise",
             settings: dict | None = None) -> Result:
    """Train p's parameters until victim(p()) does what goal says. Returns a Result for the batch p.given.

    victim      Victim or its white_box(); a black box raises TypeError
    threat      ball for projection and norm of the distance (default Box(): the bounds only)
    optimiser   recipe; default Steepest(2.5 * epsilon / steps)
    loss        'ce', 'margin', 'dlr' or loss(logits, goal) -> (N,) Tensor, to be climbed; weight: (N,) factors of it
    penalty     None or penalty(x_adv, x, rows) -> (N,) Tensor, subtracted; x is p.reference(), rows the places in the batch
    transforms  None, or draw(count, stream) -> that many functions Tensor -> Tensor: the value is the mean over `samples`
                fresh draws at each step (expectation over transformation); one draw serves all samples, x_adv and x alike
    samples     draws per step; without transforms the victim's own randomness is averaged
    keep        'success': best by (success, value); 'distance': by (success, smallest distance); 'last': the last point
    measure     norm of the distance, if not the threat's (for Box: L2)
    confidence  margin that the bookkeeping asks of a success
    start       'zero', 'random' (uniform in the ball, a stream for each sample), or an array like x
    early_stop  a sample leaves at its first success;  abort_early: when its value has not risen by 1e-4 (relative) over a tenth
                of the steps (Carlini & Wagner's rule, for each sample)
    attack_wrong  attack samples that are wrong from the start, too (training does)
    rng         int, Stream, Generator or None;  trace: record value, success and distance at each step
    """
    threat = Box() if threat is None else threat
    if keep not in ("success", "distance", "last"):
        raise ValueError(f"{name}: keep must be 'success', 'distance' or 'last', got {keep!r}")
    if isinstance(steps, bool) or int(steps) != steps or steps < 0 or int(samples) != samples or samples < 1:
        raise ValueError(f"{name}: steps must be an integer >= 0 and samples >= 1, got {steps!r} and {samples!r}")
    white, loss = as_white_box(victim, name), losses.get(loss)
    with white:
        looks = samples if transforms is None else 1
        task = Task(name, white, p.given, goal, rng=rng, attack_wrong=attack_wrong, looks=looks)
        threat.check(len(task.x), name)
        rows = task.rows
        x = task.x[rows]
        p.begin(x, _start(start, task, threat), task.box)
        if optimiser is None:
            optimiser = Steepest(2.5 * np.asarray(threat.scale(task.box)) / max(steps, 1))
        trainer = _make(optimiser, p.params, threat, name)
        if p.per_sample:
            _shrink(trainer, rows, len(task.x))
        if np.ndim(weight):
            weight = np.asarray(weight, task.x.dtype, like=task.x)
        best = Best(task, keep, measure or (L2(0) if isinstance(threat, Box) else threat), p.per_sample, steps, trace)
        climb = Climb(task, p, white, loss, weight, penalty, transforms, samples, confidence)
        checkpoint = np.full(len(task.x), -np.inf)
        for step in range(steps + 1 if len(rows) else 0):
            last = step == steps
            x_adv, value, success, grads = climb(rows, gradient=not last)
            best.see(step, rows, x_adv, value, success, p)
            if last:
                break
            best.gradients(grads, rows)
            leave = success.copy() if early_stop else np.zeros(len(rows), bool)
            if abort_early and step and step % max(1, steps // 10) == 0:
                leave |= value <= checkpoint[rows]
                checkpoint[rows] = value + 1e-4 * np.abs(value)
            if leave.any() and (p.per_sample or leave.all()):
                stay = np.flatnonzero(~leave)
                n, rows = len(rows), rows[stay]
                p.keep(stay)
                if p.per_sample:
                    _shrink(trainer, stay, n)
                    grads = [g[stay] for g in grads]
                if not len(rows):
                    break
            best.steps[rows] += 1
            for parameter, g in zip(p.params, grads, strict=True):
                parameter.grad = Tensor.wrap(-g)
            trainer.step()
            trainer.zero_grad()
            p.project(threat[rows] if p.per_sample else threat, task.box)
        judge = None if transforms is None and samples == 1 else climb.judge
        recipe = repr(optimiser) if isinstance(optimiser, Recipe) else type(trainer).__name__
        options = dict(parameterisation=type(p).__name__, optimiser=recipe, steps=steps,
                       loss=getattr(loss, "__name__", repr(loss)), samples=samples, keep=keep, confidence=confidence,
                       start=start if isinstance(start, str) else "given", early_stop=early_stop, abort_early=abort_early,
                       attack_wrong=attack_wrong)
        return task.result(best.point(p), threat=threat, measure=best.measure, judge=judge,
                           objective=best.value, steps=best.steps, zero_gradient=best.zero,
                           reason=best.reasons(), trace=best.trace,
                           settings={**options, **(settings or {})})


class Climb:
    """Value, success and gradient where the parameters p stand: climb(rows, gradient) for the samples `rows` of the task.

    -> x' (n, ...), values (n,), success (n,) by majority over the draws, and gradients of the summed values (or None), arrays.
    """

    def __init__(self, task, p, white, loss, weight=None, penalty=None, transforms=None, samples=1, confidence=0.0):
        self.task, self.p, self.white, self.loss, self.weight, self.penalty = task, p, white, loss, weight, penalty
        self.transforms, self.samples, self.confidence = transforms, samples, confidence
        self.stream = mg.random.Stream(task.seed, f"{task.name}/transforms")

    def draws(self, stream):
        if self.transforms is None:
            return [None] * self.samples
        return self.transforms(self.samples, stream)

    def __call__(self, rows, gradient):
        goal, total, votes, grads = self.task.goal[rows], 0.0, 0, None
        weight = self.weight[rows] if np.ndim(self.weight) else self.weight
        draws = self.draws(self.stream)
        with mg.enable_grad() if gradient else mg.no_grad():
            for t in draws:
                x_adv = self.p()
                seen = x_adv if t is None else t(x_adv)
                logits = self.white(seen, rows)
                value = goal.objective(logits, self.loss)
                if value.shape != (len(rows),):
                    raise ValueError(f"{self.task.name}: loss must give one value for each of {len(rows)} samples, "
                                     f"got shape {value.shape}; do not average")
                if weight is not None:
                    value = value * weight
                if self.penalty is not None:
                    base = Tensor.wrap(self.p.reference())
                    value = value - self.penalty(seen, base if t is None else t(base), rows)
                if gradient:
                    g = mg.grad(value.sum(), self.p.params)
                    grads = [v.array for v in g] if grads is None else [a + v.array for a, v in zip(grads, g, strict=True)]
                total = total + value.array
                votes = votes + goal.success(logits, self.confidence)
        count = len(draws)
        grads = grads if count == 1 or grads is None else [g / count for g in grads]
        return x_adv.array, host(total / count), host(2 * votes > count), grads

    def judge(self, x):
        """Success by majority over fresh draws, which the attack has not seen. Not counted as queries."""
        goal, votes = self.task.goal, 0
        draws = self.draws(mg.random.Stream(self.task.seed, f"{self.task.name}/judge"))
        with self.white.paused(), mg.no_grad():
            for t in draws:
                seen = Tensor.wrap(x) if t is None else t(Tensor.wrap(x))
                votes = votes + goal.success(self.white(seen))
        return 2 * votes > len(draws)


class Best:
    """The best point so far of each sample; for shared parameters, the best parameters so far."""

    def __init__(self, task, keep, measure, per_sample, steps, trace):
        n = len(task.x)
        self.task, self.keep, self.measure, self.per_sample = task, keep, measure.check(n, task.name), per_sample
        self.x, self.value = task.x.copy(order="K"), np.full(n, -np.inf)
        self.success, self.distance = np.zeros(n, bool), np.full(n, np.inf)
        self.steps, self.zero, self.nan = np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool)
        self.kept, self.score = None, (-math.inf, -math.inf)
        names = ("objective", "success", "distance")
        self.trace = {k: np.full((steps + 1, n), np.nan) for k in names} if trace else None

    def see(self, step, rows, x_adv, value, success, p):
        need = self.keep == "distance" or self.trace is not None
        distance = host(self.measure.size(x_adv - self.task.x[rows])) if need else np.zeros(len(rows))
        if self.trace is not None:
            for k, v in (("objective", value), ("success", success), ("distance", distance)):
                self.trace[k][step, rows] = v
        before, old = self.success[rows], self.value[rows]
        if self.keep == "last":
            better = np.ones(len(rows), bool)
        elif self.keep == "distance":
            better = (success & (~before | (distance < self.distance[rows]))) | (~success & ~before & (value > old))
        else:
            better = (success & ~before) | ((success == before) & (value > old))
        if not self.per_sample:  # one set of parameters for all: judged by all
            score = (float(success.mean()), float(value.mean()))
            better[:] = self.keep == "last" or score > self.score
            if better.all():
                self.score, self.kept = score, [q.array.copy() for q in p.params]
        chosen = rows[better]
        self.x[chosen] = x_adv[better]
        self.value[chosen], self.success[chosen] = value[better], success[better]
        self.distance[chosen] = distance[better]

    def gradients(self, grads, rows):
        """Note samples without a gradient; one that is not finite is replaced by 0, so that no other sample is hurt."""
        for i, g in enumerate(grads):
            finite = np.isfinite(g)
            if not finite.all():
                bad = ~flat(finite).all(axis=1)
                self.nan[rows[host(bad)] if self.per_sample else rows] = True
                grads[i] = np.where(rows_of(bad, g) > 0, np.zeros_like(g), g)
        nothing = np.all([host(~flat(g != 0).any(axis=1)) for g in grads], axis=0)
        self.zero[rows[nothing] if self.per_sample else rows[: len(rows) * int(nothing.all())]] = True

    def reasons(self) -> dict:
        """Why samples failed, where that is known."""
        return {i: NAN for i in np.flatnonzero(self.nan)}

    def point(self, p):
        if self.kept is not None:
            for q, array in zip(p.params, self.kept, strict=True):
                q.assign_(array)
        return self.x


def _start(start, task, threat):
    x = task.x
    if isinstance(start, str):
        if start not in ("zero", "random"):
            raise ValueError(f"{task.name}: start must be 'zero', 'random' or an array like x, got {start!r}")
        if start == "random":
            x = threat.project(x + threat.random(x, task.streams("start"), task.box), x, task.box)
    else:
        given = task.victim.take(start, f"{task.name}: start")
        if given.shape != x.shape:
            raise ValueError(f"{task.name}: start has shape {given.shape}, x {x.shape}; they must agree")
        x = threat.project(given, x, task.box)
    return x[task.rows]
