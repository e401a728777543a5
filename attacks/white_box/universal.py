"""One perturbation for all pictures: found on some, it fools others that it has never seen.

    universal       by minimal perturbations, picture after picture           Moosavi-Dezfooli et al. 2017, algorithm 1
    universal_sgd   by minibatches: delta is the only parameter, the loop of `optimise` trains it as a network is trained

Both return a `Universal`. Its `on(victim, x, goal)` is the Result of adding the perturbation to any pictures; what counts is the
result on pictures that were held out. The paper's fooling rate is the share of predictions that change. That is the success
rate for goal = Untargeted(predictions on clean pictures).

Imports: numpy, attacks.core, minigrad.random, deepfool.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attacks.core.arrays import flat, host, real, whole
from attacks.core.goal import Goal
from attacks.core.optimise import optimise
from attacks.core.optimisers import Steepest, trainer_of
from attacks.core.parameterise import Shared
from attacks.core.result import Result, Task
from attacks.core.streams import seed_of
from attacks.core.threat import Box, Linf, Threat
from attacks.core.victim import as_white_box
from attacks.white_box.deepfool import deepfool
from minigrad.random import Stream

BLOCK = 100  # pictures looked at together, to find the next that is not fooled yet


@dataclasses.dataclass
class Universal:
    """delta (1, ...) array, within the ball; rate: its success rate on the pictures that it was found on; rates: that before the
    first pass and after each; threat; settings."""

    delta: np.ndarray
    rate: float
    rates: list
    threat: Threat
    settings: dict

    def __repr__(self):
        return f"Universal({self.settings['attack']}, {self.threat!r}: {self.rate:.3f} of the training pictures)"

    def on(self, victim, x, goal: Goal) -> Result:
        """The Result of x' = clip(x + delta): success, robust accuracy, distance, each sample for itself."""
        white = as_white_box(victim, "universal")
        task = Task("universal", white, x, goal)
        delta = np.asarray(self.delta, like=task.x).astype(task.x.dtype)
        return task.result(np.clip(task.x + delta, *task.box), threat=self.threat, settings=self.settings)


def universal(victim, x, goal, threat, passes=20, rate=0.8, *, smallest=None, rng=0, bar=None) -> Universal:
    """Gather minimal perturbations: for each x_i of the shuffled pictures where x_i + v does not fool yet,

        v <- P(v + r),   r the smallest perturbation of x_i + v;   P projects onto the ball of the threat

    until `rate` of the pictures are fooled (1 - delta in the paper, 0.8) or `passes` are over (20); the best v at the end of a
    pass is returned.

    threat    Linf, L2 or L1 with one radius;  goal: any; pictures that are wrong from the start take no part
    smallest  attack(victim, x, goal, norm) -> Result for r; None: DeepFool, in Linf for Linf and in L2 otherwise
    rng       the order of the pictures, another in each pass
    bar       None, or a progress bar (minigrad.progress.Units) that is told of each picture in each pass; once it is `stopped`, the
              best v so far is returned
    The box limits x + v, not v: what leaves it is cut off, and r is measured from there.
    """
    task, order = _open("universal", victim, x, goal, threat, passes, rng)
    rate = real("universal", "(0, 1]", rate=rate)
    norm = "linf" if isinstance(threat, Linf) else "l2"
    smallest = deepfool if smallest is None else smallest
    victim, v = task.victim, np.zeros_like(task.x[:1])
    best, rates = v, [_rate(task, v)]
    for _ in range(passes if len(task.rows) else 0):
        rows = order.permutation(len(task.rows))
        while len(rows) and not stopped(bar):
            before = len(rows)
            here = task.rows[rows[:BLOCK]]
            seen = np.clip(task.x[here] + v, *task.box)
            standing = np.flatnonzero(~host(task.goal[here].success(victim.logits(seen))))
            if not len(standing):
                rows = rows[BLOCK:]
                spend(bar, before - len(rows))
                continue
            first, rows = standing[0], rows[standing[0] + 1 :]
            found = smallest(victim, seen[first : first + 1], task.goal[here[first : first + 1]], norm)
            if found.success[0]:
                v = threat.project(v + (found.x_adv - seen[first : first + 1]), np.zeros_like(v))
            spend(bar, before - len(rows))
        rates.append(_rate(task, v))
        if rates[-1] >= max(rates):
            best = v
        if rates[-1] >= rate or stopped(bar):
            break
    return Universal(host(threat.settle(best, np.zeros_like(best))), max(rates), rates, threat,
                     _settings(task, threat, passes=passes, rate=rate))


def universal_sgd(victim, x, goal, threat, passes=10, batch=100, *, optimiser=None, loss="margin", rng=0, bar=None) -> Universal:
    """Train delta: shuffled minibatches, each one step of ascent on the summed loss and a projection, as in training.

    optimiser  recipe; None: steepest ascent in the threat's norm, in steps of 2.5 * epsilon / (all steps), as PGD
    loss       'margin', 'ce', 'dlr' or a callable; with Targeted(t) everything is pulled to t. Cross-entropy is a poor choice: it
               vanishes on the pictures that are still right and sure, and grows with those that are fooled already
    Other arguments as in `universal`. The delta after the last pass is returned, whatever its rate.
    """
    task, order = _open("universal_sgd", victim, x, goal, threat, passes, rng)
    whole("universal_sgd", batch=batch)
    parts = -(-len(task.rows) // batch)
    if optimiser is None:
        optimiser = Steepest(2.5 * threat.epsilon / max(1, passes * parts))
    zero = np.zeros_like(task.x[:1])
    p = Shared(task.x, zero)
    trainer = trainer_of(optimiser, p.params, threat, "universal_sgd")
    rates = [_rate(task, zero)]
    for _ in range(passes):
        rows = task.rows[order.permutation(len(task.rows))]
        for i in range(0, len(rows), batch):
            if stopped(bar):
                break
            here = rows[i : i + batch]
            optimise(p.on(task.taken(here)), task.victim, task.goal[here], threat, trainer, 1, loss=loss, keep="last",
                     name="universal_sgd")
            spend(bar, len(here))
        rates.append(_rate(task, p.delta.array))
        if stopped(bar):
            break
    return Universal(host(threat.settle(p.delta.array, zero)), rates[-1], rates, threat,
                     _settings(task, threat, passes=passes, batch=batch, optimiser=repr(optimiser),
                               loss=loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss))))


def stopped(bar) -> bool:
    """Whether whoever looks on has asked for an end."""
    return bar is not None and bar.stopped


def spend(bar, pictures: int) -> None:
    """So many pictures of this pass are done."""
    if bar is not None:
        bar.spend(pictures)


def shuffled(delta, rng=0):
    """delta (1, ...) with its values at random places and of random sign: noise of the same size in every norm."""
    stream = Stream(seed_of(rng), "shuffled")
    values = flat(delta)[:, stream.permutation(flat(delta).shape[1])]
    return (values * (2 * stream.integers(0, 2, values.shape) - 1)).astype(delta.dtype).reshape(delta.shape)


def _open(name, victim, x, goal, threat, passes, rng):
    """The task, and the stream that shuffles it."""
    if not isinstance(threat, Threat) or isinstance(threat, Box) or np.ndim(threat.epsilon) or not np.isfinite(threat.epsilon):
        raise TypeError(f"{name}: threat must be a ball with one finite radius, such as Linf(0.2): it bounds the one perturbation, "
                        f"got {threat!r}")
    whole(name, passes=passes)
    task = Task(name, as_white_box(victim, name), x, goal, rng=rng)
    if not len(task.x):
        raise ValueError(f"{name}: x holds no pictures; a perturbation cannot be found on none")
    return task, Stream(task.seed, f"{name}/order")


def _rate(task, v) -> float:
    """Share of the pictures that were right and that x + v fools. NaN where none was right."""
    rows = task.rows
    if not len(rows):
        return float("nan")
    return float(host(task.goal[rows].success(task.victim.logits(np.clip(task.x[rows] + v, *task.box)))).mean())


def _settings(task, threat, **more) -> dict:
    return {"attack": task.name, "threat": repr(threat), "goal": type(task.goal).__name__, "pictures": len(task.rows),
            "seed": task.seed, "victim": repr(task.victim), **more}
