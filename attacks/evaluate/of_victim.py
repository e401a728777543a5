"""Questions about the network, asked before any attack: can a gradient be believed here at all?

V1 clean accuracy      V2 range of the inputs    V3 determinism           V4 logits, not probabilities
V5 zero gradients      V6 batch independence     V7 evaluation mode       V8 gradient against differences
V9 roughness of the loss    V10 finite answers

References: AA = Croce & Hein 2020 (AutoAttack) and the flags of its code; OG = Athalye, Carlini & Wagner 2018; IoAF = Pintor et
al. 2022, Indicators of Attack Failure; EAR = Carlini et al. 2019, On Evaluating Adversarial Robustness.

Imports: numpy, attacks.core.arrays, minigrad.nn, minigrad.random, case.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import NO_ANSWER, flat, host, said
from attacks.evaluate.case import FAIL, PASSED, WARN, Case, apart, missing, over, percent, question
from minigrad.nn import Module
from minigrad.random import Stream

LOOK = 64  # samples that the finer questions are asked of


@question("clean accuracy", "victim", "EAR: report it, and on what")
def clean_accuracy(case: Case):
    """V1: well above chance. Robust accuracy cannot exceed it, and a network that guesses is robust to nothing."""
    value, chance = case.right.mean(), 1 / case.classes
    floor = chance + 0.25 * (1 - chance)
    status = PASSED if value >= floor else FAIL
    return (status, value, floor, f"{percent(value)} of {len(case)} samples are right before any attack; chance is "
                                  f"{percent(chance)}",
            "train the network, or check labels, normalisation and bounds of the victim: this is near guessing")


@question("finite answers", "victim", "a logit of NaN compares as equal to nothing, and argmax takes it for the largest")
def finite_answers(case: Case):
    """V10: every sample, and a random point of the ball around it, has a largest logit that is a finite number."""
    x, threat = case.x, case.threat
    near = threat.project(x + threat.random(x, case.seed, case.victim.bounds), x, case.victim.bounds)
    silent = int(case.silent.sum()), int((case.victim.answers(near, case.batch) == NO_ANSWER).sum())
    return (over(sum(silent), fail=0), sum(silent), 0,
            f"the network gives no answer (NaN, or an infinite largest logit) to {silent[0]} of {len(case)} samples and to "
            f"{silent[1]} random points of the ball around them; all of these count as wrong",
            "look for a division by 0, a logarithm of 0, or an overflow in the network: what is not finite is never right, and its "
            "gradient leads nowhere")


@question("range of the inputs", "victim", "Foolbox issues 602 and 703: attacks silently void, or far too strong")
def range_used(case: Case):
    """V2: the samples use the range that the victim's bounds promise, or epsilon is not what it seems."""
    lo, hi = float(case.x.min()), float(case.x.max())
    used = (hi - lo) / case.extent
    return (over(-used, warn=-0.5), used, 0.5,
            f"inputs lie in [{lo:g}, {hi:g}], {percent(used)} of the bounds [{case.victim.bounds[0]:g}, "
            f"{case.victim.bounds[1]:g}]",
            "bounds should be the range of valid inputs, before normalisation; epsilon is measured in their units")


@question("determinism", "victim", "AA flag 'randomized'; OG (stochastic gradients)")
def deterministic(case: Case):
    """V3: five looks at the same samples agree; else one gradient is one draw of many and one answer is no answer."""
    value = case.spread
    if value <= 1e-4:
        status = PASSED
    else:
        status = FAIL if case.samples == 1 else WARN
    flips = (said(case.looks) != said(case.looks[0])).any(axis=0).mean()
    return (status, value, 1e-4,
            f"logits of five looks differ by up to {value:.2g} of their norm; {percent(flips)} of the samples change "
            "class",
            "the network answers at random: average the gradient over draws (samples=20, expectation over "
            "transformation), "
            "judge by the majority of fresh draws")


@question("logits, not probabilities", "victim", "AA flag 'softmax'; Foolbox issues 108 and 618")
def logits_not_probabilities(case: Case):
    """V4: outputs that lie in [0, 1] and sum to 1 are probabilities; their cross-entropy saturates, its gradient vanishes."""
    z = case.clean.astype(np.float64)
    off = float(np.abs(z.sum(axis=1) - 1).max())
    probable = off < 1e-5 and z.min() >= 0 and z.max() <= 1
    return (FAIL if probable else PASSED, off, 1e-5,
            f"outputs lie in [{z.min():.3g}, {z.max():.3g}], their sums differ from 1 by up to {off:.2g}",
            "the network ends in a softmax: hand the layer before it to the victim")


@question("zero gradients", "victim", "AA flag 'zero gradient'; IoAF, indicator 'vanishing gradients'; OG")
def zero_gradients(case: Case):
    """V5: samples whose gradient is exactly 0, at the sample and at a random point of the ball, under CE and under DLR.

    Under CE alone the softmax is saturated (temperature), and a loss of logits helps; under both the network hides it.
    """
    rows = np.flatnonzero(case.right)[:LOOK]
    if not len(rows):
        return missing("no sample is right before the attack, so none has a gradient to follow")
    goal, white = case.goal[rows], case.victim.white_box()
    x = case.x[rows]
    near = case.threat[rows].project(x + case.threat[rows].random(x, case.seed, case.victim.bounds), x, case.victim.bounds)
    shares, broken = {}, 0
    for name in ("ce", "dlr" if case.classes >= 3 else "margin"):
        zero = np.zeros(len(rows), bool)
        for point in (x, near):
            g = flat(white.gradient(point, lambda z, name=name: goal.objective(z, name))[1])
            broken += int((~np.isfinite(g)).any(axis=1).sum())
            zero |= host((g == 0).all(axis=1))
        shares[name] = float(zero.mean())
    ce, other = shares.values()
    name = list(shares)[1]
    status = FAIL if other > 0.01 or broken else WARN if ce > 0 or other > 0 else PASSED
    advice = ("the network hides its gradient (quantisation, sign, detach): attack a differentiable stand-in (BPDA), "
              "use Square or a "
              "decision attack, and believe those")
    if other <= 0.01 and not broken:
        advice = "cross-entropy is saturated: attack with loss='dlr' or 'margin', blind to the scale of the logits"
    return (status, max(shares.values()), 0.01,
            f"the gradient is exactly 0 on {percent(ce)} of {len(rows)} samples under cross-entropy, on "
            f"{percent(other)} under {name}"
            + (f"; {broken} gradients are not finite" if broken else ""), advice)


@question("batch independence", "victim", "TRADES issue 3: outputs that change with the batch; EAR")
def batch_independent(case: Case):
    """V6: the answer for a sample does not depend on its neighbours."""
    if case.randomised:
        return missing("the network answers at random, so answers differ with or without neighbours")
    n = min(len(case), 16)
    x, whole = case.x[:n], case.clean[:n].astype(np.float64)
    together = case.victim.predict(x, n)
    alone = case.victim.predict(x, 1)
    turned = case.victim.predict(x[::-1], n)[::-1]
    scale = max(float(np.std(whole[np.isfinite(whole)])) if np.isfinite(whole).any() else 0.0, 1e-12)
    value = max(float(apart(z, together).max()) / scale for z in (alone, turned, whole))
    return (over(value, fail=1e-3), value, 1e-3,
            f"logits of {n} samples, together and one at a time, differ by up to {value:.2g} of their spread",
            "put the network into evaluation mode (batch norm with running statistics); an attack changes all "
            "neighbours at once "
            "and its success is not the sample's own")


@question("evaluation mode", "victim", "ART issue 484, fast_adversarial issue 14: attacked in training mode, "
          "unintended")
def evaluation_mode(case: Case):
    """V7: inside `with victim:` every module is in evaluation mode, those that lists and closures hold included."""
    net = case.victim.net
    if not isinstance(net, Module):
        return missing(f"the network is a {type(net).__name__}, not a Module: whether parts of it train cannot be seen "
                       "from outside")
    with case.victim:
        listed = [(name or type(m).__name__, m) for name, m in net.named_modules()]
        known = {id(m) for _, m in listed}
        listed += [(name, m) for owner, part in listed for name, m in _hidden(owner, part) if id(m) not in known]
        training = [name for name, m in listed if m.training]
    return (FAIL if training else PASSED, len(training), 0,
            f"{len(training)} of {len(listed)} modules stay in training mode"
            + (f": {', '.join(training[:4])}" if training else ""),
            "dropout draws and batch norm uses the batch: let train(False) reach these modules (ModuleList instead of "
            "a list)")


def _hidden(owner: str, module):
    """(name, Module) of modules in lists, tuples and dicts of a module, where train() does not reach."""
    for key, value in vars(module).items():
        if key.startswith("_"):
            continue
        items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        for i, item in enumerate(items):
            if isinstance(item, Module):
                yield from item.named_modules(f"{owner}.{key}[{i}]")


@question("gradient against differences", "victim", "OG (shattered gradients); EAR")
def gradient_matches(case: Case, directions: int = 8, h: float = 2e-4):
    """V8: <gradient, u> = (f(x + h u) - f(x - h u)) / 2h for random signs u and the margin f; h in shares of the range.

    The median over samples of ||difference - gradient|| / max(||difference||, ||gradient||): 0 for a gradient that is one,
    1 for one that is hidden. Samples are moved 3 % towards the middle of the range, so that both ends are inside, and by a
    random 1 %: on an even background max-pooling has ties, where no network of its kind has a gradient.
    """
    if case.randomised:
        return missing("the network answers at random: differences would measure the noise")
    rows = np.arange(min(len(case), LOOK))
    goal, white, mid = case.goal[rows], case.victim.white_box(), sum(case.victim.bounds) / 2
    stream, step = Stream(case.seed, "checks/directions"), h * case.extent
    jitter = np.asarray(stream.uniform(-0.01, 0.01, case.x[rows].shape), like=case.x) * case.extent
    x = (mid + (case.x[rows] - mid) * 0.97 + jitter).astype(case.x.dtype)
    g = flat(white.gradient(x, lambda z: goal.objective(z, "margin"))[1]).astype(np.float64)
    u = 2 * stream.integers(0, 2, (directions, *x.shape[1:])) - 1
    u = np.asarray(u, like=x).astype(x.dtype)
    analytic = host(g @ flat(u).astype(np.float64).T)  # (n, directions)
    ends = [np.stack([goal.margin(case.victim.predict(x + s * step * d)) for d in u], axis=1) for s in (1, -1)]
    differences = (ends[0].astype(np.float64) - ends[1]) / (2 * step)
    size = np.maximum(np.linalg.norm(differences, axis=1), np.linalg.norm(analytic, axis=1))
    flat_ones = size == 0
    if flat_ones.mean() > 0.5:
        return (FAIL, 1.0, 0.1, f"{percent(flat_ones.mean())} of {len(rows)} samples have neither gradient nor "
                                "difference "
                f"at distance {step:g}: the network is a staircase", "attack what the stairs approximate (BPDA), or "
                    "without gradients")
    error = np.linalg.norm(differences - analytic, axis=1)[~flat_ones] / size[~flat_ones]
    value = float(np.median(error))
    return (over(value, warn=0.1, fail=0.5), value, 0.1,
            f"gradient and central difference at distance {step:g} differ by {percent(value)} (median of {len(rows)} "
            "samples, "
            f"{directions} directions)",
            "the gradient does not tell how the loss changes: look for detach, rounding, or a hand-written backward "
            "pass; use BPDA, "
            "smoothing of the gradient (samples=20) or black-box attacks")


@question("roughness of the loss", "victim", "IoAF, indicator 'unstable predictions'; OG", asks=lambda case: (16, LOOK))
def smooth_loss(case: Case, points: int = 20, near: float = 0.05):
    """V9: the margin changes in proportion to the distance: mean |change| at 5 % of epsilon over that at epsilon.

    0.05 for a plane, above for stairs, near 1 for noise. Points are random, on spheres of both radii.
    """
    rows = np.arange(min(len(case), LOOK))
    goal, x, threat = case.goal[rows], case.x[rows], case.threat[rows]
    if np.all(np.asarray(threat.epsilon) == 0):
        return missing("epsilon is 0")
    f0, change = goal.margin(case.victim.predict(x)), []
    for radius in (near, 1.0):
        total = 0.0
        for i in range(points):
            d = threat.random(x, case.seed + ((i + 1) << 32), case.victim.bounds)
            size = np.maximum(threat.size(d), 1e-30)
            scale = radius * np.asarray(threat.epsilon, like=size) / size
            moved = np.clip(x + d * scale.astype(d.dtype).reshape((-1,) + (1,) * (d.ndim - 1)), *case.victim.bounds)
            total = total + np.abs(goal.margin(case.victim.predict(moved)) - f0).mean()
        change.append(float(total) / points)
    if change[1] == 0:
        return (WARN, None, 0.15, "no random point of the ball changes the margin at all", "the network may be "
            "constant here")
    value = change[0] / change[1]
    return (over(value, warn=0.15, fail=0.5), value, 0.15,
            f"the margin changes by {change[0]:.3g} at {percent(near)} of epsilon and by {change[1]:.3g} at epsilon "
            f"({points} random points each)",
            "the loss is rough at a distance where it should be straight: gradients there say little; average them "
            "over noise, or "
            "attack without them")


CHECKS = (clean_accuracy, finite_answers, range_used, deterministic, logits_not_probabilities, zero_gradients, batch_independent,
          evaluation_mode, gradient_matches, smooth_loss)
