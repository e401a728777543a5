"""python -m attacks universal --model RUN: one perturbation that fools on pictures it was not made from.

It is found on pictures of the training set, and tried on pictures of the test set. Beside it stands noise of the same size in every
norm: the same values at shuffled places with random signs. There are two methods. `sgd` trains the perturbation like a network, by
minibatches; it is the only parameter. `deepfool` adds up minimal perturbations, picture by picture (Moosavi-Dezfooli et al. 2017).
A picture counts as fooled when its answer changes, whether it was right before or wrong. With --target it counts when it was not
taken for the target and now is.
"""

from __future__ import annotations

import time

import numpy as np

from attacks.commands.helpers import setting
from attacks.core.goal import Targeted, Untargeted
from attacks.white_box.universal import Universal, shuffled, universal, universal_sgd
from minigrad import command, inputs
from minigrad.pictures import Caption, colour, columns, confidence, magnified, stacked, times
from minigrad.words import percent, show, write_json

NOISES = 10  # draws of noise, of which the mean rate is told
SHOWN = 10
SHARE = 0.5  # of the time that a picture takes in a pass: two looks, no gradient


def main(argv=None):
    parser = command.Parser("attacks universal", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="7 seconds",
                            examples=["--model runs/classifier-0001", "--model runs/classifier-0001 --method deepfool",
                                      "--model runs/classifier-0001 --target 8 --norm l2 --epsilon 5"])
    setting.model_options(parser, 1000, "images of the training set to find it on")
    parser.add_argument("--held-out", type=command.COUNT, default=2000, metavar="N", help="images of the test set to try it on")
    parser.add_argument("--method", choices=["sgd", "deepfool"], default="sgd", help="how it is found")
    parser.add_argument("--target", type=command.NATURAL, metavar="CLASS",
                        help="number of the class that everything shall be taken for (sgd)")
    parser.add_argument("--passes", type=command.COUNT, metavar="N", help="over the images (default: 10 for sgd, at most 20 for "
                        "deepfool)")
    parser.add_argument("--rate", type=command.PART, default=0.8, metavar="R", help="deepfool: ends when this share is fooled")
    o = parser.parse(argv)
    victim, config = setting.victim_of(o, parser)
    if o.target is not None and o.method == "deepfool":
        parser.error("--target goes with --method sgd: adding up minimal perturbations is for any wrong class")
    if o.target is not None and o.target >= config["classes"]:
        parser.error(f"--target {o.target}: the model has the classes 0 to {config['classes'] - 1}")
    o.passes = o.passes or (10 if o.method == "sgd" else 20)
    if o.dry_run:
        o.count, o.held_out, o.passes = min(o.count, 20), min(o.held_out, 20), 1
    fresh = setting.pick(setting.test_set(o, config), o.held_out, o.seed)
    train = setting.pick(training_set(o, config), o.count, o.seed)
    threat = setting.threat_of(o, config)
    run = setting.start("universal", o)

    began = time.perf_counter()
    x, goal = of_goal(victim, train.x, o.target)
    run.say(f"looking for it on {len(x)} images, {o.passes} passes")
    options = dict(batch=100) if o.method == "sgd" else dict(rate=o.rate)
    attack = {"sgd": universal_sgd, "deepfool": universal}[o.method]
    with run.units(o.passes * len(x) + SHARE * (1 + NOISES) * len(fresh.x), partial=True) as bar:
        found = attack(victim, x, goal, threat, o.passes, rng=o.seed, bar=bar, **options)
        stopped, seconds = bar.stopped, time.perf_counter() - began
        bar.reach(o.passes * len(x))
        x, goal = of_goal(victim, fresh.x, o.target)
        result, *rates = tried(victim, x, goal, found, threat, o.seed, lambda: bar.spend(SHARE * len(fresh.x)))
    noise = float(np.mean([r.success_rate for r in rates]))
    kind = "any other class" if o.target is None else f"taken for {setting.label(fresh.classes, o.target)}"
    title = f"One perturbation for all, {o.norm} {o.epsilon:.4g}, {kind}: {o.model} on {fresh.name}"
    if stopped:
        title += f", stopped in pass {len(found.rates) - 1} of {o.passes}"
    twin = noise_of(found, threat, o.seed)
    run.image(o.passes, sheet(victim, found, twin, fresh, result.success_rate, noise, title), "universal")
    np.savez(run.file("universal.npz"), delta=found.delta)
    numbers = {"fooling_rate": result.success_rate, "noise": noise, "training_rates": found.rates, "pictures": len(goal),
               "norm": o.norm, "epsilon": o.epsilon, "seconds": seconds}
    write_json(run.file("universal.json"), numbers)
    after = victim.accuracy(np.clip(fresh.x + found.delta, 0, 1), fresh.y)
    summary = {
        "fooling rate": f"{percent(result.success_rate)} of {len(goal)} images held out",
        "noise of the same size": f"{percent(noise)} (mean of {NOISES} draws)",
        "on its own images": f"{percent(found.rate)} of {found.settings['pictures']}; {len(found.rates) - 1} passes",
        "accuracy held out": f"{percent(victim.accuracy(fresh.x, fresh.y))} before, {percent(after)} after",
        "size": f"Linf {np.abs(found.delta).max():.3g}, L2 {np.sqrt(np.square(found.delta, dtype=np.float64).sum()):.3g}",
        "seconds": f"{seconds:.1f}",
    }
    run.finish(title=title, summary=summary)
    print(title)
    show(summary)
    return 130 if stopped else 0


def noise_of(found, threat, seed) -> Universal:
    """The same values at shuffled places, as if it were a perturbation that was found."""
    return Universal(shuffled(found.delta, seed), np.nan, [], threat, found.settings)


def tried(victim, x, goal, found, threat, seed, seen) -> list:
    """The Results of the perturbation and of each draw of noise on pictures that were held out. seen(): after each."""
    results = []
    for one in (found, *(noise_of(found, threat, seed + i) for i in range(NOISES))):
        results.append(one.on(victim, x, goal))
        seen()
    return results


def training_set(o, config) -> setting.Samples:
    """The whole training set of --data, as `setting.test_set` gives the test set."""
    found = inputs.labelled(o, train=True, size=config["size"])
    return setting.Samples(found.normalised((0.0, 1.0)), found.y, found.classes, o.data)


def of_goal(victim, x, target):
    """(pictures that can be fooled, goal): the answers on clean pictures stand for the truth, as in the paper."""
    answer = victim.predict(x).argmax(1)
    if target is None:
        return x, Untargeted(answer)
    others = answer[answer != target]
    return x[answer != target], Targeted(np.full_like(others, target), others)


def sheet(victim, found, noise, samples, rate, noise_rate, title) -> np.ndarray:
    """The perturbation and its shuffled twin, large; below, the first image of each class, without and with it."""
    pair = np.concatenate([found.delta, noise.delta])
    pixels, factor = magnified(pair)
    hint = "red: brighter\nblue: darker" if pair.shape[1] == 1 else "grey: none"
    texts = [Caption(f"universal\nfools {percent(rate)}", True), f"the same, shuffled\nfools {percent(noise_rate)}"]
    top = columns([pixels], [f"perturbation\n{times(factor)}\n{hint}"], [texts], title, cell=280)
    first = [np.flatnonzero(samples.y == c)[:1] for c in range(len(samples.classes))]
    rows = np.concatenate(first)[:SHOWN]
    before, texts, answers = samples.x[rows], [], []
    after = np.clip(before + found.delta, 0, 1)
    for x in (before, after):
        p = setting.probabilities(victim, x)
        answers.append(p.argmax(1))
        texts.append([Caption(f"{setting.label(samples.classes, i)}\n{confidence(q[i])}", i != was)
                      for i, q, was in zip(answers[-1], p, answers[0], strict=True)])
    return stacked([top, columns([colour(before), colour(after)], ["held out", "with it"], texts)])
