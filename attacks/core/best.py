"""The bookkeeping of an attack: which of a sample's points is kept, when a sample may rest, and where no gradient was.

    Bookkeeping     the rules, as options: keep, measure, confidence, early_stop, abort_early, attack_wrong
    Best            the best point so far of each sample, under these rules
    Patience        says which samples no longer improve
    GradientNotes   notes the samples whose gradient was 0 or not finite

Imports: numpy, arrays, result, threat.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from attacks.core.arrays import flat, host, real, rows_of
from attacks.core.result import NAN, Result, Task
from attacks.core.threat import L2, Box, Threat


@dataclasses.dataclass(frozen=True)
class Bookkeeping:
    """What counts as a success, what is kept, and when a sample may rest. `optimise` takes each of these as a keyword.

    keep          'success': best by (success, value); 'distance': by (success, smallest distance); 'last': the last point
    measure       norm of the distance, if not the threat's (for Box: L2)
    confidence    margin that the bookkeeping asks of a success
    early_stop    a sample leaves at its first success
    abort_early   a sample leaves when its value no longer rises: `Patience`
    attack_wrong  samples that are wrong from the start are attacked, too (training does)
    """

    keep: str = "success"
    measure: Threat | None = None
    confidence: float = 0.0
    early_stop: bool = False
    abort_early: bool = False
    attack_wrong: bool = False

    @classmethod
    def of(cls, name: str, options: dict) -> Bookkeeping:
        """From the keywords of the attack `name`. TypeError for an unknown one, ValueError for an unknown `keep`."""
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = [key for key in options if key not in known]
        if unknown:
            raise TypeError(f"{name} got an unexpected keyword argument {unknown[0]!r}; its bookkeeping takes {', '.join(known)}")
        rules = cls(**options)
        if rules.keep not in ("success", "distance", "last"):
            raise ValueError(f"{name}: keep must be 'success', 'distance' or 'last', got {rules.keep!r}")
        real(name, "[0, inf)", confidence=rules.confidence)
        return rules

    def plain(self) -> dict:
        """For the settings of a Result."""
        return {key: value for key, value in vars(self).items() if key != "measure"}


class Patience:
    """Gives up, sample by sample, where a value has not risen by 1e-4 (relative) over a tenth of the steps.

    Carlini & Wagner's code applies the same rule to the sum over the batch.
    """

    def __init__(self, n: int, steps: int):
        self.least, self.every = np.full(n, -np.inf), max(1, steps // 10)

    def lost(self, step: int, rows, value):
        """(len(rows),) bool: which of the samples `rows`, whose values are these, have not improved. Looks at every tenth."""
        if not step or step % self.every:
            return np.zeros(len(rows), bool)
        lost = value <= self.least[rows]
        self.least[rows] = value + 1e-4 * np.abs(value)
        return lost


class GradientNotes:
    """zero, nan (N,): samples whose gradient was 0 in all coordinates, or not finite in some, at any step."""

    per_sample = True

    def __init__(self, n: int):
        self.zero, self.nan = np.zeros(n, bool), np.zeros(n, bool)

    def gradients(self, grads, rows) -> list:
        """Note the gradients (n, ...) of the samples `rows`. Returns them with 0 for those that are not finite.

        So no other sample is hurt: a step along NaN would spread it through shared parameters and norms.
        """
        grads = list(grads)
        for i, g in enumerate(grads):
            finite = np.isfinite(g)
            if not finite.all():
                bad = ~flat(finite).all(axis=1)
                self.nan[rows[host(bad)] if self.per_sample else rows] = True
                grads[i] = np.where(rows_of(bad, g) > 0, np.zeros_like(g), g)
        nothing = np.all([host(~flat(g != 0).any(axis=1)) for g in grads], axis=0)
        self.zero[rows[nothing] if self.per_sample else rows[: len(rows) * int(nothing.all())]] = True
        return grads

    def reasons(self) -> dict:
        """Why samples failed, where that is known."""
        return {i: NAN for i in np.flatnonzero(self.nan)}


class Best(GradientNotes):
    """The best point so far of each sample; for shared parameters, the best parameters so far.

    threat  its norm measures the distance unless `rules` name another;  p: the parameterisation that is trained, if any
    x (N, ...), value, success, distance, steps (N,): of the point that is kept. trace: see Result
    """

    def __init__(self, task: Task, rules: Bookkeeping, threat: Threat, steps: int, trace: bool = False, p=None):
        n = len(task.x)
        super().__init__(n)
        self.task, self.rules, self.p, self.per_sample = task, rules, p, p is None or p.per_sample
        self.measure = (rules.measure or (L2(0) if isinstance(threat, Box) else threat)).fits(n, task.name)
        self.x, self.value = task.x.copy(order="K"), np.full(n, -np.inf)
        self.success, self.distance, self.steps = np.zeros(n, bool), np.full(n, np.inf), np.zeros(n, np.int64)
        self.patience, self.kept, self.score = Patience(n, steps), None, (-math.inf, -math.inf)
        names = ("objective", "success", "distance")
        self.trace = {k: np.full((steps + 1, n), np.nan) for k in names} if trace else None

    def see(self, step: int, rows, x_adv, value, success) -> None:
        """The samples `rows` stand at x_adv (n, ...), with these values and successes (n,): keep what is better."""
        need = self.rules.keep == "distance" or self.trace is not None
        distance = host(self.measure.size(x_adv - self.task.x[rows])) if need else np.zeros(len(rows))
        if self.trace is not None:
            for k, v in (("objective", value), ("success", success), ("distance", distance)):
                self.trace[k][step, rows] = v
        before, old = self.success[rows], self.value[rows]
        if self.rules.keep == "last":
            better = np.ones(len(rows), bool)
        elif self.rules.keep == "distance":
            better = (success & (~before | (distance < self.distance[rows]))) | (~success & ~before & (value > old))
        else:
            better = (success & ~before) | ((success == before) & (value > old))
        if not self.per_sample:  # one set of parameters for all: judged by all
            score = (float(success.mean()), float(value.mean()))
            better[:] = self.rules.keep == "last" or score > self.score
            if better.all():
                self.score, self.kept = score, [q.array.copy() for q in self.p.params]
        chosen = rows[better]
        self.x[chosen] = x_adv[better]
        self.value[chosen], self.success[chosen] = value[better], success[better]
        self.distance[chosen] = distance[better]

    def done(self, step: int, rows, value, success):
        """(n,) bool: which of the samples `rows` may leave, because they are fooled or no longer improve."""
        done = success.copy() if self.rules.early_stop else np.zeros(len(rows), bool)
        return done | self.patience.lost(step, rows, value) if self.rules.abort_early else done

    def result(self, threat: Threat, **more) -> Result:
        """Close the task with what was kept. more: further arguments of Task.result, or other values for those given here."""
        if self.kept is not None:
            for q, array in zip(self.p.params, self.kept, strict=True):
                q.assign_(array)
        kept = dict(measure=self.measure, objective=self.value, steps=self.steps, zero_gradient=self.zero, reason=self.reasons(),
                    trace=self.trace)
        return self.task.result(self.x, threat=threat, **{**kept, **more})
