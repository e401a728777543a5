"""The table of all attacks, and how one of them is run on a batch.

`ATTACKS` says which function, in what norms, and how much of the network it may see. Everything else is read from the function's
signature: its options, their defaults, and whether it stays within a given radius (it takes a threat) or looks for the smallest
perturbation (it takes none; --epsilon then only counts).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

from attacks.black_box.decision import boundary
from attacks.black_box.hop_skip_jump import hop_skip_jump
from attacks.black_box.score import nes, one_pixel, random_noise, spsa, zoo
from attacks.black_box.spatial import spatial
from attacks.black_box.square import square
from attacks.core.loss import LOSSES
from attacks.core.result import Result
from attacks.core.watch import watching
from attacks.white_box.apgd import apgd, apgd_targeted
from attacks.white_box.carlini import carlini_l2, carlini_linf, ead
from attacks.white_box.deepfool import deepfool
from attacks.white_box.fab import fab, fab_targeted
from attacks.white_box.gradient import bim, fgsm, mi_fgsm, pgd
from attacks.white_box.jsma import jsma
from minigrad import command


class Attack(NamedTuple):
    """function(view, x, goal[, threat], ..., rng) -> Result, and what its signature does not tell.

    norms: the default first. view: what it may see, 'white_box', 'scores' or 'labels'. targeted: whether a target can be
    named. batch: images at once; few where each takes long, so that some are finished soon. set: what bounds it, if no norm does.
    count: images by default. lasts: how long they take, on one core. queries(o): what one image costs with these options, at most
    or as a rule; the bar counts them."""

    function: object
    help: str
    norms: tuple = ("linf", "l2", "l1")
    view: str = "white_box"
    targeted: bool = True
    batch: int = 250
    set: str | None = None
    count: int = 100
    lasts: str = "2 seconds"
    queries: Callable = lambda o: o.steps + 1

    @property
    def takes(self) -> dict:
        """The function's arguments by name."""
        return inspect.signature(self.function).parameters


ATTACKS = {
    "fgsm": Attack(fgsm, "one step of steepest ascent (Goodfellow et al. 2014)", queries=lambda o: 2),
    "bim": Attack(bim, "many small steps, projected (Kurakin et al. 2016)"),
    "pgd": Attack(pgd, "the same from a random start, with restarts (Madry et al. 2017)",
                  queries=lambda o: (o.steps + 1) * o.restarts * o.samples),
    "mi_fgsm": Attack(mi_fgsm, "with momentum (Dong et al. 2018)"),
    "apgd": Attack(apgd, "steps that adapt themselves (Croce & Hein 2020)",
                   queries=lambda o: (o.steps + 1) * o.restarts * o.samples),
    "apgd_targeted": Attack(apgd_targeted, "the same towards each likely class in turn", targeted=False,
                            queries=lambda o: (o.steps + 1) * o.targets * o.samples),
    "deepfool": Attack(deepfool, "to the nearest boundary, as if straight (Moosavi-Dezfooli et al. 2016)", ("l2", "linf", "l1"),
                       queries=lambda o: min(o.steps, 15)),
    "carlini_l2": Attack(carlini_l2, "the smallest L2 perturbation, trained (Carlini & Wagner 2017)", ("l2",), batch=25,
                         lasts="100 seconds", queries=lambda o: o.search_steps * (o.steps + 1)),
    "carlini_linf": Attack(carlini_linf, "the smallest Linf perturbation, trained (the same)", ("linf",), batch=25,
                           lasts="5 minutes", queries=lambda o: 21 * (o.steps + 1)),
    "ead": Attack(ead, "few pixels by shrinkage (Chen et al. 2018)", ("l1",), batch=50,
                  lasts="40 seconds", queries=lambda o: o.search_steps * (o.steps + 2)),
    "fab": Attack(fab, "along the boundary, towards the image (Croce & Hein 2020)",
                  lasts="10 seconds", queries=lambda o: (2 * o.steps + 1) * o.restarts),
    "fab_targeted": Attack(fab_targeted, "the same towards each likely class in turn", targeted=False,
                           lasts="30 seconds", queries=lambda o: (2 * o.steps + 1) * o.restarts * o.targets),
    "jsma": Attack(jsma, "pairs of pixels, by the Jacobian (Papernot et al. 2016)", ("l0",), batch=50,
                   queries=lambda o: 50 * o.targets),
    "random_noise": Attack(random_noise, "random points of the ball", view="scores", batch=50,
                           lasts="40 seconds", queries=lambda o: o.draws),
    "nes": Attack(nes, "gradient from random differences (Ilyas et al. 2018)", view="scores", batch=50,
                  lasts="15 seconds", queries=lambda o: o.steps * (2 * o.samples + 1)),
    "spsa": Attack(spsa, "the same with signs and Adam (Uesato et al. 2018)", view="scores", batch=50,
                   lasts="15 seconds", queries=lambda o: o.steps * (2 * o.samples + 1)),
    "square": Attack(square, "random squares (Andriushchenko et al. 2020)", ("linf", "l2"), "scores", batch=50,
                     queries=lambda o: o.queries),
    "zoo": Attack(zoo, "differences coordinate by coordinate (Chen et al. 2017)", ("l2",), "scores", batch=5,
                  count=10, lasts="4 minutes", queries=lambda o: 3 * o.steps * (2 * o.coordinates + 1)),
    "one_pixel": Attack(one_pixel, "differential evolution of single pixels (Su et al. 2017)", ("l0",), "scores", batch=10,
                        lasts="2 minutes", queries=lambda o: o.population * (o.generations + 1)),
    "spatial": Attack(spatial, "rotations and shifts (Engstrom et al. 2019)", ("l2",), "scores", batch=50, set="rotated, shifted",
                      lasts="5 seconds", queries=lambda o: o.draws or o.rotations * o.shifts**2),
    "boundary": Attack(boundary, "random walk along the boundary (Brendel et al. 2018)", ("l2",), "labels", batch=50,
                       lasts="2 minutes", queries=lambda o: round(1.1 * o.steps)),
    "hop_skip_jump": Attack(hop_skip_jump, "the boundary's gradient from labels (Chen et al. 2020)", ("l2", "linf"), "labels",
                            batch=50, lasts="75 seconds", queries=lambda o: round(70 * o.steps**1.5)),
}

OPTIONS = {  # arguments of the functions that become options, where a function has them
    "steps": dict(type=command.COUNT, metavar="N", help="steps of the optimisation"),
    "step": dict(type=command.POSITIVE, metavar="E", help="length of a step, 0.01 or 2/255 (default: by epsilon and steps)"),
    "restarts": dict(type=command.COUNT, metavar="N", help="runs from other random points, on survivors"),
    "queries": dict(type=command.COUNT, metavar="N", help="queries that each image may cost"),
    "targets": dict(type=command.COUNT, metavar="N", help="how many of the likely classes to try"),
    "loss": dict(choices=list(LOSSES), help="what is climbed"),
    "momentum": dict(type=command.WEIGHT, metavar="M", help="share of the last direction that is kept"),
    "search_steps": dict(type=command.COUNT, metavar="N", help="trials of the constant that weighs the loss"),
    "confidence": dict(type=command.WEIGHT, metavar="K", help="margin of the logits that counts as a success"),
    "lr": dict(type=command.POSITIVE, metavar="R", help="learning rate"),
    "candidates": dict(type=command.COUNT, metavar="N", help="how many of the likely classes to look at"),
    "samples": dict(type=command.COUNT, metavar="N", help="random draws in a step"),
    "draws": dict(type=command.COUNT, metavar="N", help="random points to try"),
    "coordinates": dict(type=command.COUNT, metavar="N", help="coordinates that a step looks at"),
    "pixels": dict(type=command.COUNT, metavar="N", help="how many pixels may change"),
    "population": dict(type=command.COUNT, metavar="N", help="candidates in a generation"),
    "generations": dict(type=command.COUNT, metavar="N", help="generations"),
    "theta": dict(type=command.UNIT, metavar="T", help="what is added to a pixel at a time; -1 blackens, 1 whitens"),
    "share": dict(type=command.PART, metavar="S", help="of the pixels that may change"),
    "rotations": dict(type=command.COUNT, metavar="N", help="angles in the grid"),
    "shifts": dict(type=command.COUNT, metavar="N", help="shifts in the grid, along each axis"),
    "angle": dict(type=command.WEIGHT, metavar="A", help="largest rotation in degrees"),
    "reach": dict(type=command.WEIGHT, metavar="R", help="largest shift in pixels"),
}


def perform(attack: Attack, victim, x, goal, threat, o) -> Result:
    """One batch: the function with those of the options that it takes."""
    view = getattr(victim, attack.view)(**({} if attack.view == "white_box" else {"budget": getattr(o, "budget", None)}))
    given = {k: getattr(o, k) for k in OPTIONS if k in attack.takes and hasattr(o, k)}
    for key, value in (("threat", threat), ("norm", o.norm), ("rng", o.seed)):
        if key in attack.takes:
            given[key] = value
    return attack.function(view, x, goal, **given)


def in_batches(attack: Attack, run, victim, x, goal, threat, o, batch: int | None = None) -> tuple[list[Result], bool]:
    """The attack on all of x, with a bar that moves with its queries -> (results of the batches, whether Ctrl-C ended it).

    The batch into which Ctrl-C comes ends soon, with what it has so far, and is the last one. batch: default the attack's own."""
    firsts = range(0, len(x), batch or attack.batch)
    given = SimpleNamespace(**{**{name: p.default for name, p in attack.takes.items()}, **vars(o)})  # o need not have all of them
    each, parts = max(1, min(attack.queries(given), getattr(o, "budget", None) or 1 << 30)), []
    with run.units(len(firsts) * each, partial=True) as bar:
        for first in firsts:
            rows = slice(first, first + (batch or attack.batch))
            with watching(bar, each, victim):
                parts.append(perform(attack, victim, x[rows], goal[rows], threat, o))
            if bar.stopped:
                break
    return parts, bar.stopped
