"""python -m attacks ATTACK --model RUN: one attack on the test set of a trained classifier, in numbers and in pictures.

`ATTACKS` is the table of all of them. An entry says which function, in what norms, and how much of the network it may see;
everything else is read from the function's signature: its options, their defaults, and whether it stays within a given
radius (it takes a threat) or looks for the smallest perturbation (it takes none; --epsilon then only counts).
"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, OPTIONS, Attack, in_batches
from attacks.core.goal import Targeted, Untargeted
from attacks.core.result import Result
from attacks.evaluate.evaluation import interval
from minigrad import command
from minigrad.pictures import Caption, colour, columns, confidence, magnified, times
from minigrad.words import percent, show, write_json

SHOWN = 10  # samples in the picture


DRY = 4  # the most of anything in a dry run


def parser_of(name: str, attack: Attack):
    seen = {"white_box": "the whole network", "scores": "the scores of its answers only", "labels": "its answers only"}
    parser = command.Parser(
        f"attacks {name}", f"{name}: {attack.help}. Sees {seen[attack.view]}.", data=None, steps=None, run=False,
        takes=attack.lasts,
        examples=["--model runs/classifier-0001", "--model runs/classifier-0001 --count 1000"
                  + (f" --epsilon {setting.EPSILON[1][attack.norms[0]] / 2:g}" if "threat" in attack.takes else "")
                  + (" --targeted" if attack.targeted else "")],
    )
    setting.model_options(parser, attack.count, "images of the test set to attack", attack.norms)
    if attack.targeted:
        parser.add_argument("--targeted", action="store_true", help="towards a wrong class drawn for each image, not just any")
    for option, how in OPTIONS.items():
        if option in attack.takes:
            default = attack.takes[option].default
            if how.get("type") is not command.COUNT or isinstance(default, int):
                how = {**how, "type": command.NATURAL} if how.get("type") is command.COUNT and default == 0 else how
                if option == "step":
                    setting.radius_option(parser, "length of a step", None, "step", "by epsilon and steps")
                    continue
                parser.add_argument(f"--{option.replace('_', '-')}", default=default, **how)
    if attack.view != "white_box" and "queries" not in attack.takes:
        parser.add_argument("--budget", type=command.COUNT, metavar="N", help="queries that each image may cost")
    return parser


def main(argv):
    """argv[0] is the attack's name."""
    name, *argv = argv
    attack = ATTACKS[name]
    parser = parser_of(name, attack)
    o = parser.parse(argv)
    victim, config = setting.victim_of(o, parser)
    if o.dry_run:
        for option, how in OPTIONS.items():
            if how.get("type") is command.COUNT and hasattr(o, option):
                setattr(o, option, min(getattr(o, option), DRY))
    samples = setting.pick(setting.test_set(o, config), min(o.count, DRY) if o.dry_run else o.count, o.seed)
    bounded = "threat" in attack.takes
    threat = setting.threat_of(o, config) if bounded else None
    targeted = getattr(o, "targeted", False)
    run = setting.start(name, o)
    goal = Targeted(setting.other_class(samples.y, config["classes"], o.seed), samples.y) if targeted else Untargeted(samples.y)

    began = time.perf_counter()
    parts, stopped = in_batches(attack, run, victim, samples.x, goal, threat, o)
    seconds, found = time.perf_counter() - began, Result.join(parts)
    if stopped:
        stopped = (f"{len(found)} of {len(samples.y)} images; the attack had not come to its end with the last {len(parts[-1])}, "
                   "so that more of them might fall, and nearer")
    samples = samples._replace(x=samples.x[: len(found)], y=samples.y[: len(found)])
    found = found if bounded or o.epsilon is None else found.at(o.epsilon)

    found.save_npz(run.file("result.npz"))
    within = f"{o.norm} {o.epsilon:.4g}" if o.epsilon else attack.set or f"smallest {o.norm}"
    kind = "targeted" if targeted else "untargeted"
    title = f"{name}, {kind}, {within}, {o.model} on {samples.name}" + (f", stopped at {len(found)} images" if stopped else "")
    run.image(getattr(o, "steps", 1), sheet(victim, found, samples, title), name)
    numbers = measure(found, samples, seconds, targeted)
    write_json(run.file("result.json"), numbers)
    summary = words(numbers, o.norm, targeted)
    if stopped:
        summary["stopped"] = stopped
    summary["settings"] = ", ".join(f"{k} {v}" for k, v in found.settings.items() if k in OPTIONS or k == "seed")
    run.finish(title=title, summary=summary)
    print(title)
    show(summary)
    return 130 if stopped else 0


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
    low, high = (percent(share) for share in interval(n["robust_accuracy"], n["count"]))
    summary = {
        "clean accuracy": f"{percent(n['clean_accuracy'])} of {n['count']}",
        stands: f"{percent(n['robust_accuracy'])} ({low} to {high} with 95 % confidence)",
        "success rate": "no sample was right before" if n["success_rate"] is None else
        f"{percent(n['success_rate'])} of those that were right before",
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
        p = setting.probabilities(victim, x)
        texts.append([Caption(f"{setting.label(samples.classes, i)}\n{confidence(q[i])}", red)
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
