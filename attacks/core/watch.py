"""Whoever looks on while an attack works: a bar that moves with its steps, and Ctrl-C, which ends it with what it has.

    victim.watch = Watch(bar, 3000)        # an attack that asks each sample 3,000 questions at most
    ...                                    # each question moves the bar; view.stopped is True after Ctrl-C
    victim.watch.next()                    # that batch is done, however many it took

The step of an attack is seen where all attacks pass: at the meter of the view (`View`), which counts the queries of each sample.

Imports: the standard library.
"""

from __future__ import annotations


class Watch:
    """bar: has `spend(units)`, `reach(units)` and `stopped` (`minigrad.progress.Units`). planned: queries of a sample in one batch,
    as far as is known beforehand; the unit of the bar.

    .reached: planned units of all batches before; .most: queries of the sample that is furthest in this one."""

    def __init__(self, bar, planned: int):
        self.bar, self.planned, self.reached, self.most, self.before = bar, planned, 0, 0, 0

    @property
    def stopped(self) -> bool:
        """Whether attacks are to end soon, with what they have."""
        return self.bar.stopped

    def seen(self, most: int) -> None:
        """The sample that is furthest has asked `most` questions since its meter began."""
        if most < self.most:  # a new meter: another round, or another attack inside this one
            self.before += self.most
        self.most = most
        done = min(self.before + most, self.planned)
        if done > self.bar.spent - self.reached:
            self.bar.spend(self.reached + done - self.bar.spent)

    def next(self) -> None:
        """A batch is done."""
        self.reached += self.planned
        self.most = self.before = 0
        self.bar.reach(self.reached)
