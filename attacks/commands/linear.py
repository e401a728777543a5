"""python -m attacks linear: on linear models the worst case is known; do the attacks find it? 200 random models, each attack.

    f(x) = W x + b     the logits; w_k is row k of W, y the class of x, k another class
    ||.||*             the dual of the norm that perturbations are measured in: L1 for Linf, L2 for L2, Linf for L1

Away from the edges of the box the smallest perturbation that brings class k in front of y has the size
(f_y - f_k) / ||w_y - w_k||*, and the nearest of the classes decides. With two classes two more things are exact. The margin can
rise by epsilon ||w_1 - w_0||* and no more, which FGSM must reach in one step. Randomized smoothing can certify the distance to the
boundary and no more.

Printed is found / exact, so 1 is perfect. With two classes there is one boundary to find. With five, Carlini & Wagner and
HopSkipJump may end at one that is not the nearest.

All models are one victim, so that one batch with a point from each model goes through an attack at once. Their centres lie far
apart, and the centre nearest to a point tells which model answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from attacks.black_box.decision import boundary
from attacks.black_box.hop_skip_jump import hop_skip_jump
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS
from attacks.core.goal import Untargeted
from attacks.core.threat import L1, L2, Linf
from attacks.core.victim import Victim
from attacks.core.watch import watching
from attacks.defend.smooth import Smoothed
from attacks.white_box.carlini import carlini_l2
from attacks.white_box.deepfool import deepfool
from attacks.white_box.fab import fab
from attacks.white_box.gradient import fgsm, pgd
from minigrad import command
from minigrad.pictures import spans
from minigrad.random import Stream
from minigrad.tensor import Tensor
from minigrad.words import show, write_json

NORMS = {"linf": Linf(0), "l2": L2(0), "l1": L1(0)}
BOX, SPREAD, FAR = (-16.0, 16.0), 12.0, 6.0  # bounds; where centres lie; where the walks of decision attacks begin


class Models:
    """`count` linear classifiers of `size` inputs and `classes` logits, as one network: f_m(x) = W_m (x - c_m) + b_m, m the
    nearest centre. W ~ N(0, 1), b ~ N(0, 3^2), c uniform; all by the seed.

    x (M, size) the centres, y (M,) their classes, victim, goal; `exact(norm)` (M,) the smallest perturbations.
    Raises ValueError where two centres lie too near to be told apart by an attack.
    """

    def __init__(self, count=200, classes=5, size=20, seed=0):
        stream = Stream(seed, f"linear/{classes}")
        self.weight = stream.normal((count, classes, size))
        self.bias = stream.normal((count, classes)) * np.float32(3)
        self.y = self.bias.argmax(axis=1)
        self.bias[np.arange(count), self.y] += 1  # no centre stands on a boundary, where steps of training are too long
        self.x = stream.uniform(-SPREAD, SPREAD, (count, size)).astype(np.float32)
        apart = np.linalg.norm(self.x[:, None] - self.x, axis=2) + np.where(np.eye(count), np.inf, 0)
        if count > 1 and apart.min() < 2 * FAR:
            raise ValueError(f"Models: two of {count} centres are {apart.min():.3g} apart, nearer than {2 * FAR:g}; take fewer, or "
                             "more inputs")
        self.victim, self.goal = Victim(self, bounds=BOX, classes=classes), Untargeted(self.y)
        self._halves = np.square(self.x).sum(axis=1) / 2

    def __call__(self, x: Tensor) -> Tensor:
        which = (x.array @ self.x.T - self._halves).argmax(axis=1)
        moved = (x - self.x[which]).unsqueeze(1)  # (N, 1, size)
        return (moved * self.weight[which]).sum(2) + self.bias[which]

    def exact(self, norm: str) -> np.ndarray:
        """(M,) min over k of (b_y - b_k) / dual(w_y - w_k), float64."""
        w, b = self.weight.astype(np.float64), self.bias.astype(np.float64)
        row = np.arange(len(b))
        gap, away = b[row, self.y][:, None] - b, w[row, self.y][:, None] - w
        dual = np.stack([NORMS[norm].dual(away[:, k]) for k in range(b.shape[1])], axis=1)
        own = np.arange(b.shape[1]) == self.y[:, None]
        return np.where(own, np.inf, gap / np.where(own, 1, dual)).min(axis=1)

    def away(self, seed=0) -> np.ndarray:
        """(M, size) adversarial points at distance FAR, in random directions: where a decision attack may begin."""
        stream, found = Stream(seed, "away"), self.x.copy()
        left = np.arange(len(found))
        while len(left):
            u = stream.normal((len(left), self.x.shape[1]))
            points = np.clip(self.x[left] + np.float32(FAR) * u / np.linalg.norm(u, axis=1, keepdims=True), *BOX)
            found[left] = points
            left = left[self.victim.predict(found[left]).argmax(1) == self.y[left]]
        return found


class Measure(NamedTuple):
    """One line of the table: ratios(models, seed) -> (M,), found / exact for models of so many classes, NaN for a failure.

    aim: what the ratio must be. promise: how far from it the median may be; None where nothing is promised: with more than two
    classes some attacks go to a boundary that is not the nearest. cost: of a query, or of a forward pass of the smoothed network,
    where a query of Carlini & Wagner's attack costs 1; the progress bar needs it."""

    attack: str
    norm: str
    classes: int
    ratios: Callable
    promise: float | None
    aim: float = 1.0
    cost: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.attack}, {self.norm}, {self.classes} classes"


def asks(attack, options) -> float:
    """Queries of an attack with these options and else its defaults, as the progress bars of all commands count them."""
    found = ATTACKS[attack.__name__]
    defaults = {name: p.default for name, p in found.takes.items()}
    return found.queries(SimpleNamespace(**{**defaults, **options}))


def smallest(attack, measure, start=False, **options):
    """Ratios of an attack that looks for the smallest perturbation, in the norm `measure`."""

    def ratios(models, seed):
        more = {"start": models.away(seed)} if start else {}
        found = attack(models.victim, models.x, models.goal, rng=seed, **options, **more)
        return np.where(found.success, found.distance, np.nan) / models.exact(measure)

    ratios.asks = lambda count: asks(attack, options)
    return ratios


def rise(attack, kind, **options):
    """Ratios of an attack at a fixed epsilon: half way to the boundary, how much of the possible margin does it gain?"""

    def ratios(models, seed):
        epsilon = models.exact(kind.name) / 2
        found = attack(models.victim, models.x, models.goal, kind(epsilon), rng=seed, **options)
        before, after = (models.goal.margin(models.victim.predict(x)) for x in (models.x, found.candidate))
        return (after - before) / (epsilon * kind(0).dual(models.weight[:, 0] - models.weight[:, 1]))

    ratios.asks = lambda count: asks(attack, options)
    return ratios


def certified(models, seed, looks=10_000):
    """Ratios of the certified radius, for sigma = the distance: at most 1, but for one statement in a thousand."""
    exact = models.exact("l2")
    found = [Smoothed(models.victim, e, rng=seed).certify(x[None], n=looks, bar=models.victim.watch)
             for x, e in zip(models.x, exact, strict=True)]
    return np.array([c.radius[0] for c in found]) / exact


certified.asks = lambda count: 11 * count  # forward passes: of 100 looks that choose, of ten times 1,000 that count


MEASURES = [
    *(Measure("FGSM", k.name, 2, rise(fgsm, k), 1e-3) for k in (Linf, L2, L1)),
    *(Measure("PGD", k.name, 2, rise(pgd, k, early_stop=False), 3e-2) for k in (Linf, L2)),
    *(Measure("DeepFool", n, 5, smallest(deepfool, n, norm=n), 1e-2, 1.02) for n in NORMS),
    *(Measure("FAB", n, 5, smallest(fab, n, norm=n), 1e-2, cost=2.0) for n in NORMS),
    # Within one per cent on every model takes finer steps and a closer search for c than usual.
    Measure("Carlini & Wagner", "l2", 2, smallest(carlini_l2, "l2", lr=0.0005, steps=3600, search_steps=14), 1e-2),
    Measure("Carlini & Wagner", "l2", 5, smallest(carlini_l2, "l2", lr=0.002), None),
    *(Measure("HopSkipJump", n, k, smallest(hop_skip_jump, n, norm=n, start=True), p, cost=0.2)
      for n, k, p in (("l2", 2, 3e-2), ("linf", 2, 3e-2), ("l2", 5, None))),
    Measure("Boundary", "l2", 2, smallest(boundary, "l2", steps=5000, start=True), 3e-2, cost=1.2),
    Measure("smoothing", "l2", 2, certified, 5e-2, cost=1.3),
]


def main(argv=None):
    parser = command.Parser("attacks linear", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="40 seconds",
                            examples=["", "--models 50 --only DeepFool FAB"])
    parser.add_argument("--models", type=command.COUNT, default=200, metavar="N", help="how many random models")
    parser.add_argument("--only", nargs="+", metavar="ATTACK", help="these attacks alone, as they are named in the table")
    setting.run_options(parser, cuda=False)
    o = parser.parse(argv)
    chosen = [m for m in MEASURES if o.only is None or m.attack in o.only]
    unknown = set(o.only or ()) - {m.attack for m in MEASURES}
    if unknown:
        parser.error(f"--only {' '.join(sorted(unknown))}: attacks here are "
                     + ", ".join(dict.fromkeys(repr(m.attack) for m in MEASURES)))
    if o.dry_run:
        o.models = min(o.models, 2)
        chosen = [m for m in chosen if m.attack in ("FGSM", "DeepFool", "FAB")]
    run = setting.start("linear", o)
    models = {k: Models(o.models, k, seed=o.seed) for k in (2, 5)}
    table, errors = [], {}
    with setting.working(run, sum(m.ratios.asks(o.models) * m.cost for m in chosen), table) as bar:
        for m in chosen:
            began = time.perf_counter()
            with watching(bar, m.ratios.asks(o.models), models[m.classes].victim, cost=m.cost):
                ratios = m.ratios(models[m.classes], o.seed)
            table.append({**summary_of(m, ratios), "seconds": time.perf_counter() - began})
            errors[m.name] = np.maximum(np.abs(ratios[np.isfinite(ratios)] / m.aim - 1), 1e-8)
    asked, chosen = len(chosen), chosen[: len(table)]

    title = f"{o.models} random linear models: what the attacks find, against the exact answer"
    if bar.stopped:
        title += f", stopped after {len(table)} of {asked} lines"
    run.image(o.models, spans(errors, title, "|found / exact - 1|: least, median, largest, and the middle half",
                              [m.name for m in chosen if m.promise is None]), "linear")
    write_json(run.file("linear.json"), table)
    summary = {m.name: words(row) for m, row in zip(chosen, table, strict=True)}
    run.finish(title=title, summary=summary)
    print(title)
    show({"": "found / exact: median, smallest, largest", **summary})
    return 130 if bar.stopped else 0


def summary_of(measure: Measure, ratios) -> dict:
    """The numbers of one line."""
    known = ratios[np.isfinite(ratios)]
    value = (lambda f: float(f(known))) if len(known) else (lambda f: None)
    return {"attack": measure.attack, "norm": measure.norm, "classes": measure.classes, "aim": measure.aim, "models": len(ratios),
            "failed": int(len(ratios) - len(known)), "median": value(np.median), "smallest": value(np.min),
            "largest": value(np.max)}


def words(row) -> str:
    """A line of the table as text."""
    if row["median"] is None:
        return "nothing found"
    text = f"{row['median']:.4f}  {row['smallest']:.4f}  {row['largest']:.4f}   {row['seconds']:.1f} s"
    if row["aim"] != 1:
        text += f"; {row['aim']:g} is the overshoot's"
    return text + (f"; {row['failed']} of {row['models']} failed" if row["failed"] else "")
