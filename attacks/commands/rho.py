"""python -m attacks rho: how far is a picture from the boundary, compared with its own size? DeepFool's measure, and theirs.

    x     a picture;  r  the perturbation that DeepFool finds for it
    rho = mean of ||r||_2 / ||x||_2                                              (Moosavi-Dezfooli et al. 2016)

The network of the paper, fully connected with 500-150-10 units, is trained first. Its published rho on MNIST is 0.11, at a test
error of 1.7 %. Two numbers are printed. In the first the perturbed pictures may leave [0, 1], as in the paper; compare this one.
In the second they may not.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from attacks.commands.helpers import setting
from attacks.core.goal import Untargeted
from attacks.core.result import BATCH, batched
from attacks.core.victim import Victim
from attacks.core.watch import watching
from attacks.evaluate.published import DEEPFOOL, beside
from attacks.white_box.deepfool import deepfool, rho
from minigrad import command, inputs, optim
from minigrad import functional as F
from minigrad.pictures import Caption, colour, columns, confidence, magnified, times
from minigrad.random import Streams
from minigrad.words import percent, show, write_json
from nets.classifiers.perceptron import Perceptron
from nets.training import scheduled

SIZES = (500, 150)
ASKED = 5  # queries of DeepFool for an image, as a rule
OPEN = (-100.0, 101.0)  # bounds that no perturbation reaches


def main(argv=None):
    parser = command.Parser("attacks rho", command.doc(__doc__, __file__), data="mnist", steps=2_345, run=False,
                            takes="12 seconds",
                            examples=["", "--data glyphs --steps 1000"])
    parser.add_argument("--batch", type=command.COUNT, default=128, help="images in a batch")
    parser.add_argument("--rate", type=command.POSITIVE, default=1e-3,
                        help="Adam's learning rate at the start; it falls to 0 along a line")
    parser.add_argument("--count", type=command.COUNT, default=1000, metavar="N", help="images of the test set to measure on")
    setting.run_options(parser)
    o = parser.parse(argv)
    train, test = (inputs.labelled(o, train=t) for t in (True, False))
    run = setting.start("rho", o)
    network = Perceptron(int(np.prod(train.x.shape[1:])), (*SIZES, len(train.classes)), rng=Streams(o.seed)["init"]).to(o.device)
    fit(run, network, train, o)

    victim = Victim(network, bounds=(0, 1), classes=len(train.classes))
    whole = setting.Samples(test.normalised((0.0, 1.0)), test.y, test.classes, o.data)
    samples, error = setting.pick(whole, 4 if o.dry_run else o.count, o.seed), 1 - victim.accuracy(whole.x, whole.y)
    found, each = [], ASKED * -(-len(samples.y) // BATCH)
    with run.units(2 * each) as bar:
        for one in (victim.within(OPEN), victim):
            with watching(bar, each, one):
                found.append(batched(deepfool, one, samples.x, Untargeted(samples.y)))
    free, boxed = found
    title = f"Fully connected {'-'.join(map(str, SIZES))}-{len(train.classes)} on {o.data}: DeepFool, L2"
    run.image(o.steps, sheet(victim, boxed, samples, title), "rho")
    numbers = {"rho": rho(free), "rho_within_the_box": rho(boxed), "test_error": error, "count": len(free),
               "found": int(free.success.sum()), "found_within_the_box": int(boxed.success.sum())}
    write_json(run.file("rho.json"), numbers)
    known = [p for p in beside(o.data, "l2") if p.unit == "rho" and p.source == DEEPFOOL and "500-150-10" in p.what
             and p.attack == "DeepFool"]
    summary = {
        "rho": f"{rho(free):.3f} ({free.success.sum()} of {(~free.already_wrong).sum()} fooled)",
        "published": f"{known[0].value:g} at a test error of 1.7 % ({known[0].source})" if known else f"none for {o.data}",
        "rho within [0, 1]": f"{rho(boxed):.3f} ({boxed.success.sum()} of {(~boxed.already_wrong).sum()} fooled)",
        "test error": f"{percent(error, 2)} of {len(test)}",
    }
    run.finish(title=title, summary=summary)
    print(title)
    show(summary)


def fit(run, network, train, o) -> None:
    """Cross-entropy and Adam, nothing else; images in [0, 1]."""
    loader = inputs.batches(train, o.batch, Streams(o.seed)["data"], value_range=(0.0, 1.0))
    adam, batches = optim.Adam(network.parameters(), o.rate), loader.forever()
    schedule = scheduled(adam, lambda t: 1 - t / o.steps)
    for step in run.loop(0, o.steps):
        images, labels = next(batches)
        loss = F.cross_entropy(network(mg.tensor(images, device=o.device)), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 20 == 0 or step == o.steps:
            run.log(step, loss=loss)


def sheet(victim, found, samples, title) -> np.ndarray:
    """The first image of each class, what DeepFool adds to it, and the result; each with its own ratio."""
    first = [np.flatnonzero((samples.y == c) & found.success)[:1] for c in range(len(samples.classes))]
    rows = np.concatenate(first)[:10]
    if not len(rows):
        return np.full((60, 200, 3), 255, np.uint8)
    before, after = np.asarray(found.original)[rows], np.asarray(found.x_adv)[rows]
    ratio = found.distance[rows] / np.sqrt(np.square(before, dtype=np.float64).sum((1, 2, 3)))
    pixels, factor = magnified(after - before)
    p = [setting.probabilities(victim, x) for x in (before, after)]
    texts = [[Caption(f"{samples.classes[q.argmax()]}\n{confidence(q.max())}", wrong) for q in each]
             for each, wrong in zip(p, (False, True), strict=True)]
    return columns([colour(before), pixels, colour(after)], ["original", f"perturbation\n{times(factor)}", "result"],
                   [texts[0], [f"{r:.3f} of its size" for r in ratio], texts[1]], title)
