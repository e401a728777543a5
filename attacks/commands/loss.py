"""python -m attacks loss --model RUN: the loss falls as in training, but what learns is the input.

A network is trained by   weights <- weights - rate * d loss / d weights.   Here the weights are frozen, and the same loop
(attacks.core.optimise) trains the perturbation towards a wrong class. It is tried with several optimisers; SGD and Adam are those
that train networks here. Drawn are the cross-entropy with the target class (the median image and the middle half), the share of
images that are taken for the target, and one image on its way.
"""

from __future__ import annotations

import numpy as np

from attacks.commands.helpers import setting
from attacks.core.goal import Targeted
from attacks.core.optimise import optimise
from attacks.core.optimisers import SGD, Adam, Steepest
from attacks.core.parameterise import Additive
from attacks.core.watch import watching
from minigrad import command
from minigrad.pictures import Caption, colour, columns, confidence, lines, magnified, times
from minigrad.words import show, write_json

SMALL = "steepest, small steps (BIM)"


def recipes(epsilon: float, steps: int) -> dict:
    """name -> optimiser of delta. Lengths of steps are in units of epsilon."""
    small = 2.5 * epsilon / steps
    return {
        "steepest, one step (FGSM)": (Steepest(epsilon), 1),
        SMALL: (Steepest(small), steps),
        "with momentum (MI-FGSM)": (Steepest(small, momentum=1.0), steps),
        "Adam": (Adam(small), steps),
        "SGD": (SGD(3 * epsilon), steps),
    }


def main(argv=None):
    parser = command.Parser("attacks loss", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="4 seconds",
                            examples=["--model runs/classifier-0001",
                                      "--model runs/classifier-0001 --norm l2 --steps 100"])
    setting.model_options(parser, 100, "images of the test set", ("linf", "l2"))
    parser.add_argument("--steps", type=command.COUNT, default=40, metavar="N", help="steps of the optimisation")
    o = parser.parse(argv)
    victim, config = setting.victim_of(o, parser)
    samples = setting.pick(setting.test_set(o, config), min(o.count, 4) if o.dry_run else o.count, o.seed)
    threat = setting.threat_of(o, config)
    run = setting.start("loss", o)
    goal = Targeted(setting.other_class(samples.y, config["classes"], o.seed))

    found, loss, fooled = {}, {}, {}
    choices = recipes(o.epsilon, o.steps)
    with setting.working(run, sum(steps + 1 for _, steps in choices.values()), found) as bar:
        for name, (optimiser, steps) in choices.items():
            with watching(bar, steps + 1, victim):
                result = optimise(Additive(samples.x), victim, goal, threat, optimiser, steps, keep="last", attack_wrong=True,
                                  trace=True, rng=o.seed)
            found[name] = result
    for name, result in found.items():
        values = -result.trace["objective"]  # (steps + 1, N): -log p_target
        loss[name] = tuple(np.quantile(values, q, axis=1) for q in (0.5, 0.25, 0.75))
        fooled[name] = 100 * result.trace["success"].mean(axis=1)

    title = f"The perturbation is the parameter: {o.norm} {o.epsilon:.4g}, {o.model} on {len(samples.y)} images of {samples.name}"
    if bar.stopped:
        title += f", stopped after {len(found)} of {len(choices)} optimisers"
    x = {name: np.arange(len(v)) for name, v in fooled.items()}
    styles = {name: {"marker": "o" if len(v) == 2 else None} for name, v in fooled.items()}
    run.image(o.steps, lines([
        dict(x=x, series=loss, across="step", down="loss: -log p(target class)", log=True, styles=styles),
        dict(x=x, series=fooled, across="step", down="images taken for the target class, %", percent=True, styles=styles),
    ], title), "loss")
    if SMALL in found:
        run.image(o.steps, film(victim, samples, goal, threat, choices[SMALL], found[SMALL]), "on_the_way")
    write_json(run.file("loss.json"), {name: {"median_loss": loss[name][0].tolist(), "fooled": fooled[name].tolist()}
                                              for name in found})
    summary = {name: f"median loss {loss[name][0][0]:.3g} -> {loss[name][0][-1]:.3g}; {fooled[name][-1]:.0f} % taken for the "
               "target" for name in found}
    run.finish(title=title, summary=summary)
    print(title)
    show(summary)
    return 130 if bar.stopped else 0


def film(victim, samples, goal, threat, recipe, found) -> np.ndarray:
    """One image at several steps of the optimiser `recipe`, whose Result is found: what the loop has at hand there."""
    optimiser, steps = recipe
    success = found.trace["success"].astype(bool)
    turned = np.where(success.any(axis=0) & ~success[0], success.argmax(axis=0), -1)
    i = int(turned.argmax())  # the image that took longest to turn
    stops = sorted({0, 1, *(round(steps * f) for f in (0.1, 0.2, 0.3, 0.5, 0.75)), steps})
    x, at = samples.x[i : i + 1], []
    for stop in stops:
        at.append(optimise(Additive(x), victim, goal[[i]], threat, optimiser, stop, keep="last", attack_wrong=True).candidate[0])
    at = np.stack(at)
    p = setting.probabilities(victim, at)
    target = int(goal.labels[i])
    says = [f"{setting.label(samples.classes, q.argmax())}  {confidence(q.max(), 0)}" for q in p]
    texts = [Caption(f"{name}\nloss {-np.log(max(q[target], 1e-300)):.2g}", q.argmax() == target)
             for name, q in zip(says, p, strict=True)]
    pixels, factor = magnified(at - x)
    names = [f"step {stop}" for stop in stops]
    return columns([colour(at), pixels], ["input", f"perturbation\n{times(factor)}"], [texts, names],
                   f"A {setting.label(samples.classes, samples.y[i])} on its way to {setting.label(samples.classes, target)}")
