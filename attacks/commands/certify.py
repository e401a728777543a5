"""python -m attacks certify --model RUN: how far a vote under noise is proved to hold, whatever the attack.

Randomized smoothing (Cohen, Rosenfeld & Kolter 2019): the network looks at an image many times, under Gaussian noise of standard
deviation sigma, and the most frequent answer wins. From the share of its votes follows an L2 radius within which the answer cannot
change. Drawn is the certified accuracy against the radius. The number of draws sets a ceiling: even a network that never errs is
not certified beyond it. Train the network with the same noise:

    python -m attacks train --method noise --noise gaussian --norm l2 --epsilon 0.5
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from attacks.commands.helpers import setting
from attacks.core.goal import Untargeted
from attacks.core.threat import L2
from attacks.core.watch import watching
from attacks.defend.smooth import ABSTAIN, Certificate, Smoothed, largest_radius
from attacks.white_box.gradient import pgd
from minigrad import checkpoint, command
from minigrad.pictures import lines
from minigrad.random import Stream
from minigrad.words import percent, show, table, write_json

TRIED = dict(steps=20, samples=20, early_stop=False)  # PGD on the mean of 20 noisy looks, judged by the vote of 20 fresh ones
QUERIES = (TRIED["steps"] + 1) * TRIED["samples"]  # of one sample at one radius
BACKWARD = 3  # what a step of PGD takes, beside a forward pass of as many samples
FEWEST, MOST = "certified: no attack leaves less", "under PGD: another attack may leave less"


def main(argv=None):
    o, parser = options(argv)
    victim, config = setting.victim_of(o, parser)
    if o.dry_run:
        o.count, o.draws, o.select = min(o.count, 4), min(o.draws, 20), min(o.select, 5)
    samples = setting.pick(setting.test_set(o, config), o.count, o.seed)
    run = setting.start("certify", o)
    smoothed, began, parts = Smoothed(victim, o.sigma, rng=o.seed), time.perf_counter(), []
    ceiling, each = largest_radius(o.draws, o.sigma, o.alpha), smoothed.passes(o.select) + smoothed.passes(o.draws)
    farthest = 1.75 * ceiling if o.attacked else ceiling
    grid = np.sort(np.append(np.arange(0, farthest * (1 - 1e-9), o.sigma / 2), ceiling))
    attacked, asked, few = None, len(samples.y), min(o.attacked, len(samples.y))
    with setting.working(run, asked * each + len(grid[1:]) * QUERIES * cost_of(few, smoothed), parts) as bar:
        for i in range(asked):
            parts.append(smoothed.certify(samples.x[i : i + 1], o.select, o.draws, o.alpha, bar))
            seconds = time.perf_counter() - began
        if few:
            attacked = under_attack(smoothed, samples, joined(parts), grid, few, o.seed, bar)
    found, samples = joined(parts), samples._replace(x=samples.x[: len(parts)], y=samples.y[: len(parts)])

    checkpoint.save(run.file("certificate.npz"), {**found._asdict(), "y": samples.y})
    title = f"Smoothing, sigma {o.sigma:g}, {o.draws:,} draws: {o.model} on {len(samples.y)} images of {samples.name}"
    if bar.stopped:
        title += f", stopped after {len(parts)} of {asked} images" if len(parts) < asked else ", stopped in PGD, which is left out"
    run.image(0, picture(found, samples.y, grid, attacked, ceiling, title.replace(": ", "\n", 1)), "certified")
    numbers = measure(found, samples.y, grid, attacked, ceiling, victim.accuracy(samples.x, samples.y), seconds)
    write_json(run.file("certify.json"), numbers)
    summary = words(numbers, o, config)
    run.finish(title=title, summary=summary)
    print(title)
    columns = {"certified": numbers["certified"]}
    if attacked is not None:
        columns |= {f"of the first {attacked.count}: certified": attacked.certified, "under PGD": attacked.accuracy}
    print(table(["radius", *columns], [[f"{radius:.3f}", *(percent(v[i]) for v in columns.values())]
                                       for i, radius in enumerate(grid)], left=()))
    show(summary)
    return 130 if bar.stopped else 0


def joined(parts) -> Certificate:
    """One certificate from those of single images."""
    return Certificate(*map(np.concatenate, zip(*parts, strict=True)))


def cost_of(count: int, smoothed) -> float:
    """Units of the bar, which are forward passes of a whole batch of looks, that a query of PGD on `count` samples takes."""
    return BACKWARD * count / smoothed.batch


def options(argv=None):
    parser = command.Parser(
        "attacks certify", command.doc(__doc__, __file__), data=None, steps=None, run=False,
        takes="70 seconds",
        examples=["--model runs/trained-noise-0001 --sigma 0.5", "--model runs/trained-noise-0001 --draws 1000 --attacked 50"],
    )
    setting.model_options(parser, 200, "images of the test set", norms=())
    parser.add_argument("--sigma", type=command.POSITIVE, default=0.5, metavar="S",
                        help="standard deviation of the noise, 1 is from "
                        "black to white")
    parser.add_argument("--draws", type=command.COUNT, default=10_000, metavar="N", help="noisy looks that count as votes")
    parser.add_argument("--select", type=command.COUNT, default=100, metavar="N", help="noisy looks that choose the class")
    parser.add_argument("--alpha", type=command.LEVEL, default=0.001, metavar="A", help="probability, for each image, that its "
                        "certificate is false")
    parser.add_argument("--attacked", type=command.NATURAL, default=0, metavar="N",
                        help="images that PGD tries at each radius, to compare")
    return parser.parse(argv), parser


class Attacked(NamedTuple):
    """PGD on the first `count` samples: accuracy of the vote (R,) at R radii, beside what is certified of the same samples."""

    count: int
    accuracy: np.ndarray
    certified: np.ndarray


def under_attack(smoothed, samples, found: Certificate, radii, count: int, seed: int, bar=None) -> Attacked:
    """PGD in L2 against the vote, at each radius (R,); at radius 0 the vote as it is."""
    x, goal = samples.x[:count], Untargeted(samples.y[:count])
    noisy = smoothed.noisy(rng=Stream(seed, "certify/attack"))
    accuracy = []
    for radius in radii[1:]:
        with watching(bar, QUERIES, noisy, cost=cost_of(count, smoothed)):
            accuracy.append(pgd(noisy, x, goal, L2(radius), rng=seed, **TRIED).robust_accuracy)
    vote = float((found.votes[:count].argmax(1) == goal.labels).mean())
    same = Certificate(*(part[:count] for part in found))
    return Attacked(count, np.array([vote, *accuracy]), same.accuracy(goal.labels, radii * (1 - 1e-12)))


def measure(found: Certificate, y, grid, attacked, ceiling, clean, seconds) -> dict:
    """The numbers of a certification, plain."""
    right = found.prediction == y
    return {
        "count": len(y), "clean_accuracy": clean, "vote_accuracy": float((found.votes.argmax(1) == y).mean()),
        "abstains": int((found.prediction == ABSTAIN).sum()), "certified_wrong": int((~right & (found.radius > 0)).sum()),
        "mean_radius": float(np.where(right, found.radius, 0.0).mean()), "ceiling": ceiling,
        "at_ceiling": int((right & (found.radius >= ceiling * (1 - 1e-12))).sum()),
        "radius": grid.tolist(), "certified": found.accuracy(y, grid * (1 - 1e-12)).tolist(),
        "attacked": None if attacked is None else {
            "count": attacked.count, "accuracy": attacked.accuracy.tolist(), "certified": attacked.certified.tolist()},
        "seconds": seconds,
    }


def words(n: dict, o, config) -> dict:
    """The numbers as a student reads them."""
    noise = config["epsilon"] if config.get("method") == "noise" and config.get("noise") == "gaussian" else None
    summary = {
        "accuracy without noise": f"{percent(n['clean_accuracy'])} of {n['count']}",
        "accuracy of the vote": percent(n["vote_accuracy"]),
        "abstains": f"{n['abstains']} of {n['count']}",
        "certified for a wrong class": n["certified_wrong"],
        "mean certified radius": f"{n['mean_radius']:.3f} (0 where wrong or abstaining)",
        "ceiling": f"{n['ceiling']:.3f} = sigma Phi^-1(alpha^(1/n)) for {o.draws:,} draws; {n['at_ceiling']} images reach it",
        "seconds": f"{n['seconds']:.1f} ({n['seconds'] / max(n['count'], 1):.2f} an image)",
    }
    if noise is None:
        summary["trained without this noise"] = "the vote of such a network errs; see --help for how to train"
    elif noise != o.sigma:
        summary["trained with other noise"] = f"of sigma {noise:g}"
    return summary


def picture(found: Certificate, y, grid, attacked, ceiling, title) -> np.ndarray:
    """uint8 (H, W, 3): certified accuracy against the radius, its ceiling, accuracy under PGD if that was tried."""
    fine = np.concatenate([np.linspace(0, ceiling * (1 - 1e-12), 300), [ceiling * (1 + 1e-9), max(grid[-1], 1.05 * ceiling)]])
    limit = f"ceiling of the draws: {ceiling:.3g}"
    curves = {FEWEST: (fine, found.accuracy(y, fine), {"marker": None, "color": "C0"})}
    if attacked is not None:
        if attacked.count < len(y):
            of = f"the same, of the {attacked.count} images that PGD tried"
            few = Certificate(*(part[: attacked.count] for part in found))
            curves[of] = fine, few.accuracy(y[: attacked.count], fine), {"marker": None, "color": "C0", "linestyle": "--"}
        curves[MOST] = grid, attacked.accuracy, {"color": "C3"}
    curves[limit] = np.array([ceiling, ceiling]), np.array([0.0, 1.0]), {"marker": None, "color": "0.5", "linestyle": ":"}
    panel = dict(x={k: v[0] for k, v in curves.items()}, series={k: 100 * v[1] for k, v in curves.items()},
                 styles={k: v[2] for k, v in curves.items()}, percent=True, across="radius (l2; 1 is from black to white)",
                 down="accuracy, %")
    return lines([panel], title)
