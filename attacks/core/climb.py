"""Forward and backward for the samples that are still climbing.

    x_adv, value, success = climb.forward()      at x' = p()
    grads = climb.backward(notes)                of the summed values, into .grad of the parameters with the sign turned
    climb.leave(done)                            samples that are done leave the batch

With transforms, or a victim that answers at random, values and gradients are means over several draws.

Imports: numpy, minigrad, arrays, best, loss, optimisers, parameterise, result, threat.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from attacks.core import loss as losses
from attacks.core.arrays import host
from attacks.core.best import GradientNotes
from attacks.core.optimisers import shrink
from attacks.core.parameterise import Parameterisation
from attacks.core.result import Task
from attacks.core.threat import Threat
from minigrad.random import Stream
from minigrad.tensor import Tensor


class Climb:
    """The samples that still climb, and where their parameters stand.

    rows (n,)  their places in the task's batch. The rows of p's parameters, of the trainer's state and of the ball leave with them
    threat     the ball around all samples; `ball` is the one around `rows`
    trainer    the optimiser of p.params, if there is one;  confidence: margin asked of a success;  others as in `optimise`
    """

    def __init__(self, task: Task, p: Parameterisation, loss, threat: Threat, trainer=None, *, weight=None, penalty=None,
                 transforms=None, samples: int = 1, confidence: float = 0.0):
        self.task, self.p, self.loss, self.threat, self.trainer = task, p, losses.get(loss), threat, trainer
        self.weight = np.asarray(weight, task.x.dtype, like=task.x) if np.ndim(weight) else weight
        self.penalty, self.transforms, self.samples, self.confidence = penalty, transforms, samples, confidence
        self.random = transforms is not None or samples > 1  # whether one look is not enough
        self.stream, self.rows = Stream(task.seed, f"{task.name}/transforms"), task.rows
        self._graph, self._grads, self._count = None, None, 1
        if trainer is not None and p.per_sample:
            shrink(trainer, self.rows, len(task.x))

    @property
    def ball(self) -> Threat:
        """The threat for the samples `rows`, or for all where they share their parameters."""
        return self.threat[self.rows] if self.p.per_sample else self.threat

    def draws(self, stream) -> list:
        """The functions to look through: None is the plain look."""
        return [None] * self.samples if self.transforms is None else self.transforms(self.samples, stream)

    def forward(self, gradient: bool = True):
        """x' (n, ...), its values (n,), and success (n,) by the majority of the draws. gradient: `backward` will follow.

        value = mean over draws t of   weight * loss(victim(t(x'))) - penalty(t(x'), t(x))
        """
        rows, goal, draws = self.rows, self.task.goal[self.rows], self.draws(self.stream)
        weight = self.weight[rows] if np.ndim(self.weight) else self.weight
        total, votes, self._grads, self._count = 0.0, 0, None, len(draws)
        with mg.enable_grad() if gradient else mg.no_grad():
            for t in draws:
                self._sweep()  # the draw before: so there is one graph at a time
                x_adv = self.p()
                seen = x_adv if t is None else t(x_adv)
                logits = self.task.view(seen, rows)
                value = goal.objective(logits, self.loss)
                if value.shape != (len(rows),):
                    raise ValueError(f"{self.task.name}: loss must give one value for each of {len(rows)} samples, "
                                     f"got shape {value.shape}; do not average")
                if weight is not None:
                    value = value * weight
                if self.penalty is not None:
                    base = Tensor.wrap(self.p.reference())
                    value = value - self.penalty(seen, base if t is None else t(base), rows)
                self._graph = value.sum() if gradient else None
                total = total + value.array
                votes = votes + goal.success(logits, self.confidence)
        return x_adv.array, host(total / len(draws)), host(2 * votes > len(draws))

    def _sweep(self):
        """Add the gradients of the last draw to those of the draws before it."""
        if self._graph is not None:
            found = [g.array for g in mg.grad(self._graph, self.p.params)]
            self._grads = found if self._grads is None else [a + b for a, b in zip(self._grads, found, strict=True)]
            self._graph = None

    def backward(self, notes: GradientNotes) -> list:
        """The gradients of the summed values, mean over the draws, an array for each parameter; 0 where they are not finite.

        The parameters' .grad is minus that, because optimisers descend. notes hears which samples have no gradient.
        """
        grads = notes.gradients(self.slopes(), self.rows)
        for q, g in zip(self.p.params, grads, strict=True):
            q.grad = Tensor.wrap(-g)
        return grads

    def slopes(self) -> list:
        """The gradients as they are, an array for each parameter."""
        self._sweep()
        return self._grads if self._count == 1 else [g / self._count for g in self._grads]

    def leave(self, done) -> bool:
        """The samples `done` (n,) leave; True while any is left. Where parameters are shared, all leave together."""
        if done.all() or (done.any() and self.p.per_sample):
            stay, n = np.flatnonzero(~done), len(self.rows)
            self.rows = self.rows[stay]
            self.p.keep(stay)
            if self.p.per_sample:
                for q in self.p.params:
                    q.grad = None if q.grad is None else Tensor.wrap(q.grad.array[stay])
                if self.trainer is not None:
                    shrink(self.trainer, stay, n)
        return len(self.rows) > 0

    def judge(self, x):
        """Success by majority over fresh draws, which the attack has not seen. Not counted as queries."""
        goal, view, votes = self.task.goal, self.task.view, 0
        draws = self.draws(Stream(self.task.seed, f"{self.task.name}/judge"))
        with view.paused(), mg.no_grad():
            for t in draws:
                seen = Tensor.wrap(x) if t is None else t(Tensor.wrap(x))
                votes = votes + goal.success(view(seen))
        return 2 * votes > len(draws)
