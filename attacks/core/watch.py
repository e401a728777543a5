"""Whoever looks on while an attack works: a bar that moves with its steps, and Ctrl-C, which ends it with what it has.

    with watching(bar, 3000, victim):      # an attack that asks each sample 3,000 questions at most
        ...                                # each question moves the bar; view.stopped is True after Ctrl-C
    ...                                    # the bar stands where 3,000 questions end, however many it took

The step of an attack is seen where all attacks pass: at the meter of the view (`View`), which counts the queries of each sample.

Imports: the standard library.
"""

from __future__ import annotations

from contextlib import contextmanager


class Watch:
    """bar: has `spend(units)`, `reach(units)`, `spent` and `stopped` (`minigrad.progress.Units`). planned: queries of a sample in
    one part of the work, as far as is known beforehand. cost: units of the bar that a query takes.

    A part is one batch, or several one after another whose queries `planned` counts together.
    .reached: the bar's units when this part began; .most: queries of the sample that is furthest, since the meter began; .before:
    the same of the meters before it in this part."""

    def __init__(self, bar, planned: float, cost: float = 1.0):
        self.bar, self.planned, self.cost = bar, planned, cost
        self.reached, self.most, self.before = bar.spent, 0, 0

    @property
    def stopped(self) -> bool:
        """Whether attacks are to end soon, with what they have."""
        return self.bar.stopped

    def begun(self) -> None:
        """A meter counts from 0: another batch or round, or another attack inside this one."""
        self.before, self.most = self.before + self.most, 0

    def seen(self, most: int) -> None:
        """The sample that is furthest has asked `most` questions since its meter began."""
        self.most = most
        done = self.cost * min(self.before + most, self.planned)
        if done > self.bar.spent - self.reached:
            self.bar.spend(self.reached + done - self.bar.spent)

    def spend(self, queries: int) -> None:
        """So many questions were asked of each sample without a meter: the evaluator looked."""
        self.before += queries
        self.seen(self.most)

    def next(self, planned: float | None = None, cost: float | None = None) -> None:
        """A part is done; the next one is like it, or is planned so."""
        self.reached += self.cost * self.planned
        self.most = self.before = 0
        self.bar.reach(self.reached)
        self.planned = self.planned if planned is None else planned
        self.cost = self.cost if cost is None else cost


@contextmanager
def watching(bar, planned: float, *victims, cost: float = 1.0):
    """Within the block, what is asked of the victims (N of them, one after another or in turn) moves the bar; after it the bar has
    moved by cost * planned units. None for a bar: nobody looks on. Yields the Watch, or None."""
    if bar is None:
        yield None
        return
    watch, before = Watch(bar, planned, cost), [v.watch for v in victims]
    for victim in victims:
        victim.watch = watch
    try:
        yield watch
    finally:
        for victim, old in zip(victims, before, strict=True):
            victim.watch = old
    watch.next()
