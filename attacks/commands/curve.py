"""python -m attacks curve --model RUN: accuracy against epsilon, under one step, under many steps, and under mere noise.

All three move the same images by the same radius, so the curves differ only because the changes point elsewhere. Noise is uniform
in the ball and stretched to its surface.
"""

from __future__ import annotations

import numpy as np

from attacks.commands.helpers import setting
from attacks.core.goal import Untargeted
from attacks.core.result import BATCH, batched
from attacks.core.threat import rows_of
from attacks.core.watch import watching
from attacks.white_box.gradient import fgsm, pgd
from minigrad import command
from minigrad.pictures import lines
from minigrad.words import percent, show, table, write_json

POINTS = 11


def main(argv=None):
    parser = command.Parser("attacks curve", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="6 seconds",
                            examples=["--model runs/classifier-0001",
                                      "--model runs/classifier-0001 --norm l2 --epsilon 4"])
    setting.model_options(parser, 200, "images of the test set")
    parser.add_argument("--steps", type=command.COUNT, default=40, metavar="N", help="steps of PGD")
    o = parser.parse(argv)
    victim, config = setting.victim_of(o, parser)
    samples = setting.pick(setting.test_set(o, config), min(o.count, 4) if o.dry_run else o.count, o.seed)
    largest = setting.threat_of(o, config).epsilon
    run = setting.start("curve", o)
    epsilons = np.linspace(0, largest, POINTS)
    clean = victim.accuracy(samples.x, samples.y)
    each, done = -(-len(samples.y) // BATCH) * (2 + o.steps + 1), []  # queries of FGSM and PGD at one epsilon
    with setting.working(run, (POINTS - 1) * each, done) as bar:
        for epsilon in epsilons[1:]:
            with watching(bar, each, victim):
                left = {name: accuracy(victim, samples, setting.ball(o.norm, epsilon)) for name, accuracy in attacks(o).items()}
            done.append(left)
    epsilons = epsilons[: len(done) + 1]
    series = {name: [clean, *(left[name] for left in done)] for name in attacks(o)}

    title = f"{o.model} on {len(samples.y)} images of {samples.name}"
    if bar.stopped:
        title += f", stopped after {len(done)} of {POINTS - 1} radii"
    panel = dict(x=epsilons, series={name: 100 * np.array(v) for name, v in series.items()}, percent=True,
                 across=f"epsilon ({o.norm}; 1 is from black to white)", down="accuracy, %", styles=STYLES)
    run.image(o.steps, lines([panel], f"Accuracy against epsilon: {title}"), "curve")
    write_json(run.file("curve.json"), {"epsilon": epsilons.tolist(), **series})
    half = {name: crossing(epsilons, v, clean / 2) for name, v in series.items()}
    summary = {"clean accuracy": f"{percent(clean)} of {len(samples.y)}"}
    summary |= {f"half of that under {name}": f"epsilon {e:.3g}" if e is not None else f"not within {epsilons[-1]:.3g}"
                for name, e in half.items()}
    run.finish(title=f"Accuracy against epsilon: {title}", summary=summary)
    print(title)
    print(table(["epsilon", *series], [[f"{epsilon:.3f}", *(percent(v[i]) for v in series.values())]
                                       for i, epsilon in enumerate(epsilons)], left=(), gap=3))
    show(summary)
    return 130 if bar.stopped else 0


def attacks(o) -> dict:
    """name -> function(victim, samples, threat) -> accuracy that is left."""

    def of(attack, **options):
        def accuracy(victim, samples, threat):
            goal = Untargeted(samples.y)
            return batched(attack, victim, samples.x, goal, threat, rng=o.seed, **options).robust_accuracy

        return accuracy

    def noise(victim, samples, threat):
        return victim.accuracy(noisy(samples.x, threat, victim.bounds, o.seed), samples.y)

    return {"random noise": noise, "FGSM": of(fgsm), f"PGD, {o.steps} steps": of(pgd, steps=o.steps)}


STYLES = {"random noise": {"color": "0.55", "linestyle": "--"}, "FGSM": {"color": "C0"}}


def noisy(x, threat, box, seed) -> np.ndarray:
    """x with noise whose norm is epsilon, then clipped to the box."""
    d = threat.random(x, seed, box)
    size = np.maximum(threat.size(d), 1e-12)
    return np.clip(x + d * rows_of(threat.epsilon / size, d), *box)


def crossing(epsilons, accuracies, level):
    """The epsilon where the line between the points falls to `level`, or None."""
    for i in range(1, len(epsilons)):
        high, low = accuracies[i - 1], accuracies[i]
        if low <= level < high:
            return float(epsilons[i - 1] + (high - level) / (high - low) * (epsilons[i] - epsilons[i - 1]))
    return None
