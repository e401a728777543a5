"""python -m attacks ATTACK --model RUN: one attack on the test set of a trained classifier, in numbers and in pictures.

`ATTACKS` is the table of all of them. An entry says which function, in what norms, and how much of the network it may see;
everything else is read from the function's signature: its options, their defaults, and whether it stays within a given
radius (it takes a threat) or looks for the smallest perturbation (it takes none; --epsilon then only counts).
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from typing import NamedTuple

import numpy as np

from attacks.black_box.decision import boundary
from attacks.black_box.hop_skip_jump import hop_skip_jump
from attacks.black_box.score import nes, one_pixel, random_noise, spsa, zoo
from attacks.black_box.spatial import spatial
from attacks.black_box.square import square
from attacks.commands import shared
from attacks.core.goal import Targeted, Untargeted
from attacks.core.loss import LOSSES
from attacks.core.result import Result
from attacks.evaluate.evaluation import interval
from attacks.white_box.apgd import apgd, apgd_targeted
from attacks.white_box.carlini import carlini_l2, carlini_linf, ead
from attacks.white_box.deepfool import deepfool
from attacks.white_box.fab import fab, fab_targeted
from attacks.white_box.gradient import bim, fgsm, mi_fgsm, pgd
from attacks.white_box.jsma import jsma
from minigrad import command
from minigrad.pictures import Caption, colour, columns, confidence, magnified, times

SHOWN = 10  # samples in the picture


class Attack(NamedTuple):
    """function(view, x, goal[, threat], ..., rng) -> Result, and what its signature does not tell.

    norms: the default first. view: what it may see, 'white_box', 'scores' or 'labels'. targeted: whether a target can be
    named. batch: images at once; few where each takes long, so that progress is seen. set: what bounds it, if no norm does."""

    function: object
    help: str
    norms: tuple = ("linf", "l2", "l1")
    view: str = "white_box"
    targeted: bool = True
    batch: int = 250
    set: str | None = None

    @property
    def takes(self) -> dict:
        """The function's arguments by name."""
        return inspect.signature(self.function).parameters


ATTACKS = {
    "fgsm": Attack(fgsm, "one step of steepest ascent (Goodfellow et al. 2014)"),
    "bim": Attack(bim, "many small steps, projected (Kurakin et al. 2016)"),
    "pgd": Attack(pgd, "the same from a random start, with restarts (Madry et al. 2017)"),
    "mi_fgsm": Attack(mi_fgsm, "with momentum (Dong et al. 2018)"),
    "apgd": Attack(apgd, "steps that adapt themselves (Croce & Hein 2020)"),
    "apgd_targeted": Attack(apgd_targeted, "the same towards each likely class in turn", targeted=False),
    "deepfool": Attack(deepfool, "to the nearest boundary, as if straight (Moosavi-Dezfooli et al. 2016)", ("l2", "linf", "l1")),
    "carlini_l2": Attack(carlini_l2, "the smallest L2 perturbation, trained (Carlini & Wagner 2017)", ("l2",), batch=50),
    "carlini_linf": Attack(carlini_linf, "the smallest Linf perturbation, trained (the same)", ("linf",), batch=50),
    "ead": Attack(ead, "few pixels by shrinkage (Chen et al. 2018)", ("l1",), batch=50),
    "fab": Attack(fab, "along the boundary, towards the image (Croce & Hein 2020)"),
    "fab_targeted": Attack(fab_targeted, "the same towards each likely class in turn", targeted=False),
    "jsma": Attack(jsma, "pairs of pixels, by the Jacobian (Papernot et al. 2016)", ("l0",), batch=50),
    "random_noise": Attack(random_noise, "random points of the ball", view="scores", batch=50),
    "nes": Attack(nes, "gradient from random differences (Ilyas et al. 2018)", view="scores", batch=50),
    "spsa": Attack(spsa, "the same with signs and Adam (Uesato et al. 2018)", view="scores", batch=50),
    "square": Attack(square, "random squares (Andriushchenko et al. 2020)", ("linf", "l2"), "scores", batch=50),
    "zoo": Attack(zoo, "differences coordinate by coordinate (Chen et al. 2017)", ("l2",), "scores", batch=50),
    "one_pixel": Attack(one_pixel, "differential evolution of single pixels (Su et al. 2017)", ("l0",), "scores", batch=10),
    "spatial": Attack(spatial, "rotations and shifts (Engstrom et al. 2019)", ("l2",), "scores", batch=50, set="rotated, shifted"),
    "boundary": Attack(boundary, "random walk along the boundary (Brendel et al. 2018)", ("l2",), "labels", batch=50),
    "hop_skip_jump": Attack(hop_skip_jump, "the boundary's gradient from labels (Chen et al. 2020)", ("l2", "linf"), "labels",
                            batch=50),
}

OPTIONS = {  # arguments of the functions that become options, where a function has them
    "steps": dict(type=command.positive, metavar="N", help="steps of the optimisation"),
    "step": dict(type=shared.radius, metavar="E", help="length of a step, 0.01 or 2/255 (default: by epsilon and steps)"),
    "restarts": dict(type=command.positive, metavar="N", help="runs from other random points, on survivors"),
    "queries": dict(type=command.positive, metavar="N", help="queries that each image may cost"),
    "targets": dict(type=command.positive, metavar="N", help="how many of the likely classes to try"),
    "loss": dict(choices=list(LOSSES), help="what is climbed"),
    "momentum": dict(type=float, metavar="M", help="share of the last direction that is kept"),
    "search_steps": dict(type=command.positive, metavar="N", help="trials of the constant that weighs the loss"),
    "confidence": dict(type=float, metavar="K", help="margin of the logits that counts as a success"),
    "lr": dict(type=float, metavar="R", help="learning rate"),
    "candidates": dict(type=command.positive, metavar="N", help="how many of the likely classes to look at"),
    "samples": dict(type=command.positive, metavar="N", help="random draws in a step"),
    "draws": dict(type=command.positive, metavar="N", help="random points to try"),
    "coordinates": dict(type=command.positive, metavar="N", help="coordinates that a step looks at"),
    "pixels": dict(type=command.positive, metavar="N", help="how many pixels may change"),
    "population": dict(type=command.positive, metavar="N", help="candidates in a generation"),
    "generations": dict(type=command.positive, metavar="N", help="generations"),
    "theta": dict(type=float, metavar="T", help="what is added to a pixel at a time; -1 blackens, 1 whitens"),
    "share": dict(type=float, metavar="S", help="of the pixels that may change"),
    "rotations": dict(type=command.positive, metavar="N", help="angles in the grid"),
    "shifts": dict(type=command.positive, metavar="N", help="shifts in the grid, along each axis"),
    "angle": dict(type=float, metavar="A", help="largest rotation in degrees"),
    "reach": dict(type=float, metavar="R", help="largest shift in pixels"),
}
DRY = 4  # the most of anything in a dry run


def parser_of(name: str, attack: Attack):
    seen = {"white_box": "the whole network", "scores": "the scores of its answers only", "labels": "its answers only"}
    parser = command.Parser(
        f"attacks {name}", f"{name}: {attack.help}. Sees {seen[attack.view]}.", data=None, steps=None, run=False,
        examples=["--model runs/classifier-0001", "--model runs/classifier-0001 --count 1000 --epsilon 0.1"
                  + (" --targeted" if attack.targeted else "")],
    )
    shared.model_options(parser, 100, "images of the test set to attack", attack.norms)
    if attack.targeted:
        parser.add_argument("--targeted", action="store_true", help="towards a wrong class drawn for each image, not just any")
    for option, how in OPTIONS.items():
        if option in attack.takes:
            default = attack.takes[option].default
            if how.get("type") is not command.positive or isinstance(default, int):
                parser.add_argument(f"--{option.replace('_', '-')}", default=default, **how)
    if attack.view != "white_box" and "queries" not in attack.takes:
        parser.add_argument("--budget", type=command.positive, metavar="N", help="queries that each image may cost")
    return parser


def main(argv):
    """argv[0] is the attack's name."""
    name, *argv = argv
    attack = ATTACKS[name]
    parser = parser_of(name, attack)
    o = parser.parse(argv)
    victim, config = shared.victim_of(o, parser)
    if o.dry_run:
        for option, how in OPTIONS.items():
            if how.get("type") is command.positive and hasattr(o, option):
                setattr(o, option, min(getattr(o, option), DRY))
    samples = shared.pick(shared.test_set(o, config), min(o.count, DRY) if o.dry_run else o.count, o.seed)
    bounded = "threat" in attack.takes
    threat = shared.threat_of(o, config) if bounded else None
    targeted = getattr(o, "targeted", False)
    run = shared.start(name, o)
    goal = Targeted(shared.other_class(samples.y, config["classes"], o.seed), samples.y) if targeted else Untargeted(samples.y)

    began, parts = time.perf_counter(), []
    for part in run.loop(0, -(-len(samples.y) // attack.batch)):
        rows = slice((part - 1) * attack.batch, part * attack.batch)
        parts.append(perform(attack, victim, samples.x[rows], goal[rows], threat, o))
    seconds = time.perf_counter() - began
    found = Result.join(parts)
    found = found if bounded or o.epsilon is None else found.at(o.epsilon)

    found.save_npz(run.file("result.npz"))
    within = f"{o.norm} {o.epsilon:.4g}" if o.epsilon else attack.set or f"smallest {o.norm}"
    kind = "targeted" if targeted else "untargeted"
    title = f"{name}, {kind}, {within}, {o.model} on {samples.name}"
    run.image(getattr(o, "steps", 1), sheet(victim, found, samples, title), name)
    numbers = measure(found, samples, seconds, targeted)
    shared.write_json(run.file("result.json"), numbers)
    summary = words(numbers, o.norm, targeted)
    summary["settings"] = ", ".join(f"{k} {v}" for k, v in found.settings.items() if k in OPTIONS or k == "seed")
    run.finish(title=title, summary=summary)
    print(title)
    shared.show(summary)


def perform(attack: Attack, victim, x, goal, threat, o) -> Result:
    """One batch: the function with those of the options that it takes."""
    view = getattr(victim, attack.view)(**({} if attack.view == "white_box" else {"budget": getattr(o, "budget", None)}))
    given = {k: getattr(o, k) for k in OPTIONS if k in attack.takes and hasattr(o, k)}
    for key, value in (("threat", threat), ("norm", o.norm), ("rng", o.seed)):
        if key in attack.takes:
            given[key] = value
    return attack.function(view, x, goal, **given)


def measure(found: Result, samples, seconds: float, targeted: bool) -> dict:
    """The numbers of an attack, plain."""
    distance = found.distance[found.success]
    reasons = [str(r) for r in found.reason[~found.success & ~found.already_wrong]]
    reasons = ["needs more than epsilon" if r.startswith("needs ") else r for r in reasons]  # of Result.at, which says how much
    return {
        "count": len(found), "clean_accuracy": found.clean_accuracy, "robust_accuracy": found.robust_accuracy,
        "success_rate": None if np.isnan(found.success_rate) else found.success_rate,
        "mean_distance": float(distance.mean()) if len(distance) else None,
        "median_distance": float(np.median(distance)) if len(distance) else None,
        "median_queries": float(np.median(found.queries)), "total_queries": int(found.queries.sum()),
        "zero_gradient": int(found.zero_gradient.sum()), "seconds": seconds,
        "failures": dict(Counter(reasons).most_common()),
    }


def words(n: dict, norm: str, targeted: bool) -> dict:
    """The numbers as a student reads them."""
    stands = "right and not turned into the target" if targeted else "robust accuracy"
    low, high = (shared.percent(share) for share in interval(n["robust_accuracy"], n["count"]))
    summary = {
        "clean accuracy": f"{shared.percent(n['clean_accuracy'])} of {n['count']}",
        stands: f"{shared.percent(n['robust_accuracy'])} ({low} to {high} with 95 % confidence)",
        "success rate": "no sample was right before" if n["success_rate"] is None else
        f"{shared.percent(n['success_rate'])} of those that were right before",
        "distance": "-" if n["mean_distance"] is None else
        f"mean {n['mean_distance']:.4f}, median {n['median_distance']:.4f} ({norm}, of the successes)",
        "queries": f"{n['median_queries']:.0f} for the median image, {n['total_queries']:,} in all",
        "seconds": f"{n['seconds']:.2f} ({1000 * n['seconds'] / max(n['count'], 1):.1f} ms an image)",
    }
    if n["failures"]:
        summary["failures"] = "; ".join(f"{count} x {why}" for why, count in n["failures"].items())
    return summary


def sheet(victim, found: Result, samples, title: str) -> np.ndarray:
    """Originals, perturbations, results: the first attacked sample of each class, fooled or not."""
    rows = typical(found, samples.y)
    before, after = np.asarray(found.original)[rows], np.asarray(found.candidate)[rows]
    pixels, factor = magnified(after - before)
    texts = []
    for x, fooled in ((before, np.zeros(len(rows), bool)), (after, found.success[rows])):
        p = shared.probabilities(victim, x)
        texts.append([Caption(f"{label(samples.classes, i)}\n{confidence(q[i])}", red)
                      for i, q, red in zip(p.argmax(1), p, fooled, strict=True)])
    hint = "\nred: brighter\nblue: darker" if before.shape[1] == 1 else "\ngrey: none"
    return columns([colour(before), pixels, colour(after)], ["original", f"perturbation\n{times(factor)}{hint}", "result"],
                   [texts[0], None, texts[1]], title)


def typical(found: Result, y) -> np.ndarray:
    """Places of at most 10 samples: the first of each class that was right before the attack, whatever came of it."""
    right = np.flatnonzero(~found.already_wrong)
    right = right if len(right) else np.arange(len(found))
    first = [right[y[right] == c][0] for c in np.unique(y[right])]
    rest = [i for i in right if i not in first]
    return np.array((first + rest)[:SHOWN] if len(first) < SHOWN else first[:SHOWN])


def label(classes, i) -> str:
    """The name of class i."""
    return str(classes[i]) if i < len(classes) else f"class {i}"
