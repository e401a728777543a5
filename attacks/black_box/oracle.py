"""How black-box attacks ask: in batches, within the budget, each row for its sample.

    ask = Oracle(task, view, loss)
    ask.afford(rows, 3)        which of the samples may still ask 3 times; the others are noted as having spent their budget
    ask(points, rows)          values (m,) that the attack climbs and success (m,), for m points of the samples `rows`
    ask.fooled(points, rows)   success alone: all that a view of labels allows

Points are clipped to the victim's bounds before they are sent, because an interface takes nothing else. Scores may be logits,
log-probabilities (which are logits) or probabilities. Of those the logarithm is taken; where they round to 1, nothing is left to
climb.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import numpy as np

from attacks.core import loss as losses
from attacks.core.arrays import host
from attacks.core.result import BUDGET, Task
from attacks.core.victim import Labels, View

BATCH = 1024  # rows in one forward pass
SURE = 1e-3  # margin of a success in probabilities: they do not tell how large the logits are, and so what rounding is


class Oracle:
    """The victim as an attack on `task` sees it through `view` (scores or labels). loss: name or callable, for scores.

    reserve: queries of each sample that `afford` keeps back, for the end.
    """

    def __init__(self, task: Task, view: View, loss="margin", reserve: int = 0):
        self.task, self.view, self.loss, self.reserve = task, view, losses.get(loss), reserve
        self.spent = np.zeros(len(task.x), bool)

    def afford(self, rows, need: int = 1):
        """(len(rows),) bool: the samples whose budget allows `need` more queries."""
        enough = self.view.left(rows) >= need + self.reserve
        self.spent[np.asarray(rows)[~enough]] = True
        return enough

    def logits(self, points, rows):
        """(m, classes) array."""
        points, rows = np.clip(points, *self.task.box), np.asarray(rows)
        parts = [self.view(points[i : i + BATCH], rows[i : i + BATCH]) for i in range(0, max(len(points), 1), BATCH)]
        z = np.concatenate(parts)
        if getattr(self.view, "output", "") == "probabilities":
            z = np.log(np.maximum(z, np.finfo(z.dtype).tiny))
        return z

    def __call__(self, points, rows):
        z, goal = self.logits(points, rows), self.task.goal[rows]
        least = 0.0 if getattr(self.view, "output", "logits") == "logits" else SURE
        return host(goal.objective(z, self.loss)).astype(np.float64), host(goal.success(z, least))

    def fooled(self, points, rows):
        """(m,) bool, also through labels."""
        if not isinstance(self.view, Labels):
            return self(points, rows)[1]
        return host(self.task.goal[rows].reached(self.logits(points, rows)))

    def reasons(self, rest=None) -> dict:
        """{row: why it failed}: the budget, or what `rest` says."""
        return {**(rest or {}), **{int(i): BUDGET for i in np.flatnonzero(self.spent)}}


class Draws:
    """Uniform numbers for a loop that needs `count` of them from each sample's stream at every turn, drawn many at a time."""

    def __init__(self, streams, count: int, ahead: int = 64):
        self.streams, self.count, self.ahead = streams, count, ahead
        self.block, self.at = None, ahead

    def __call__(self, rows):
        """(len(rows), count) float64 in [0, 1). Samples may leave from one turn to the next, not come back."""
        if self.at == self.ahead:
            self.block = np.empty((len(self.streams), self.ahead, self.count))
            self.block[rows] = self.streams.uniform(0.0, 1.0, (self.ahead, self.count), rows, np.float64)
            self.at = 0
        self.at += 1
        return self.block[rows, self.at - 1]
