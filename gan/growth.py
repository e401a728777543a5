"""The schedule by which two networks grow (Karras et al. 2018, section 2), counted in images, so that any machine has the same.

    steady at 4 x 4;   8 x 8 faded in, then steady;   16 x 16 faded in, then steady;   ...

alpha, the new level's share of the picture, goes along a line from 0 to 1 while a level is faded in, and is 1 where it is steady.

Imports: nets.generators.progan.
"""

from __future__ import annotations

from typing import NamedTuple

from nets.generators.progan import levels


class Phase(NamedTuple):
    """A stretch of the schedule: steps first..last (counted from 1) at one level; fading in it, or steady."""

    first: int
    last: int
    level: int
    fading: bool

    def alpha(self, step: int) -> float:
        """The new level's share of the picture at a step of this phase, and 1 at any step behind it."""
        return min(1.0, (step - self.first) / (self.last - self.first + 1)) if self.fading else 1.0


def phases(size: int, fade: float, steady: float, batch: int, without=()) -> list[Phase]:
    """The schedule up to size x size pixels: `fade` and `steady` thousand images for each phase, in steps of `batch` images.

    without: may name "fading" (no such phases) and "growing" (the last level from the start, for as many images in all). A phase
    of less than half a batch is left out. ValueError for a size that is no power of two."""
    top, found, done = levels(size), [], 0
    fade = 0 if "fading" in without else fade
    plan = [(0, False, steady)] + [(level, fading, count) for level in range(1, top + 1)
                                   for fading, count in ((True, fade), (False, steady))]
    if "growing" in without:
        plan = [(top, False, sum(count for _, _, count in plan))]
    for level, fading, thousands in plan:
        steps = round(thousands * 1000 / batch)
        if steps:
            found.append(Phase(done + 1, done + steps, level, fading))
            done += steps
    return found


def phase_of(plan, step: int) -> Phase:
    """The phase that a step lies in; steps beyond the schedule steady the last level further."""
    return next((phase for phase in plan if step <= phase.last), plan[-1])
