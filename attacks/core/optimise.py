"""The one loop: a network is frozen, the input's parameters are trained, by the optimisers that train networks.

    p = Additive(x)                                        x' = x + delta, delta is the parameter
    optimise(p, victim, goal, Linf(0.3), SignSGD(0.01), steps=40)

At each step   value_i = mean over draws t of  weight_i * loss(victim(t(x'_i)), goal_i) - penalty(t(x'_i), t(x_i))   is climbed:

    forward; keep the best so far of each sample; backward to p.params; optimiser step; projection

and once more forward after the last step. Values are summed over the batch, never averaged: no sample feels another. Samples
that are done leave the batch, and take their rows of the parameters and of the optimiser's state with them.

What happens in a step: forward and backward in `core.climb`, the best so far in `core.best`, optimisers in `core.optimisers`.

Imports: numpy, arrays, best, climb, goal, optimisers, parameterise, result, threat, victim.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import whole
from attacks.core.best import Best, Bookkeeping
from attacks.core.climb import Climb
from attacks.core.goal import Goal
from attacks.core.optimisers import Recipe, Steepest, trainer_of
from attacks.core.parameterise import Parameterisation
from attacks.core.result import Result, Task
from attacks.core.threat import Box, Threat
from attacks.core.victim import as_white_box


def optimise(p: Parameterisation, victim, goal: Goal, threat: Threat | None = None, optimiser=None, steps: int = 100, *,
             loss="ce", weight=None, penalty=None, transforms=None, samples: int = 1, start="zero", rng=0, trace: bool = False,
             name: str = "optimise", settings: dict | None = None, **bookkeeping) -> Result:
    """Train p's parameters until victim(p()) does what goal says. Returns a Result for the batch p.given.

    victim       Victim or its white_box(); a black box raises TypeError
    threat       ball for projection and norm of the distance (default Box(): the bounds only)
    optimiser    recipe; default Steepest(2.5 * epsilon / steps)
    loss         'ce', 'margin', 'dlr' or loss(logits, goal) -> (N,) Tensor, to be climbed; weight: (N,) factors of it
    penalty      None or penalty(x_adv, x, rows) -> (N,) Tensor, subtracted; x is p.reference(), rows the places in the batch
    transforms   None, or draw(count, stream) -> that many functions Tensor -> Tensor: the value is the mean over `samples`
                 fresh draws at each step (expectation over transformation); one draw serves all samples, x_adv and x alike
    samples      draws per step; without transforms the victim's own randomness is averaged
    start        'zero', 'random' (uniform in the ball, a stream for each sample), or an array like x
    rng          int, Stream, Generator or None;  trace: record value, success and distance at each step
    bookkeeping  keep, measure, confidence, early_stop, abort_early, attack_wrong: see core.best.Bookkeeping
    """
    rules, white = Bookkeeping.of(name, bookkeeping), as_white_box(victim, name)
    threat, steps, samples = Box() if threat is None else threat, whole(name, least=0, steps=steps), whole(name, samples=samples)
    with white:
        task = Task(name, white, p.given, goal, rng=rng, attack_wrong=rules.attack_wrong,
                    looks=samples if transforms is None else 1)
        threat.check(len(task.x), name)
        p.begin(task.x[task.rows], _start(start, task, threat), task.box)
        if optimiser is None:
            optimiser = Steepest(2.5 * np.asarray(threat.scale(task.box)) / max(steps, 1))
        trainer = trainer_of(optimiser, p.params, threat, name)
        climb = Climb(task, p, loss, threat, trainer, weight=weight, penalty=penalty, transforms=transforms, samples=samples,
                      confidence=rules.confidence)
        best = Best(task, rules, threat, steps, trace, p)

        for step in range(steps + 1 if len(climb.rows) else 0):
            x_adv, value, success = climb.forward(gradient=step < steps)
            best.see(step, climb.rows, x_adv, value, success)
            if step == steps or white.stopped:
                break
            climb.backward(best)
            if not climb.leave(best.done(step, climb.rows, value, success)):
                break
            best.steps[climb.rows] += 1
            trainer.step()
            trainer.zero_grad()
            p.project(climb.ball, task.box)

        used = dict(parameterisation=type(p).__name__, steps=steps, loss=getattr(climb.loss, "__name__", repr(climb.loss)),
                    optimiser=repr(optimiser) if isinstance(optimiser, Recipe) else type(trainer).__name__, samples=samples,
                    start=start if isinstance(start, str) else "given", **rules.plain())
        return best.result(threat, judge=climb.judge if climb.random else None, settings={**used, **(settings or {})})


def _start(start, task, threat):
    """x' to begin with, for the samples that are attacked."""
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
