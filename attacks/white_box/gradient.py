"""Attacks at a fixed epsilon that follow the gradient. Each is `optimise` with another optimiser or another start.

    fgsm      one step of steepest ascent over the whole radius            Goodfellow, Shlens & Szegedy 2014
    bim       many small ones, projected                                    Kurakin, Goodfellow & Bengio 2016
    pgd       from a random point of the ball, with restarts                Madry et al. 2017
    mi_fgsm   with momentum                                                 Dong et al. 2018
    perturb   PGD's last point without any bookkeeping, for training
    apgd      attacks.white_box.apgd: step sizes that adapt themselves                Croce & Hein 2020

All take victim (Victim or white_box()), x (N, ...) in the victim's bounds, goal, threat (Linf, L2, L1, ...), and return a
Result whose x_adv has x's type. `loss` is 'ce', 'margin', 'dlr' or a callable.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import alike, real, rows_of, whole
from attacks.core.optimise import optimise
from attacks.core.optimisers import Steepest
from attacks.core.parameterise import Additive
from attacks.core.result import Result
from attacks.core.streams import seed_of
from attacks.core.victim import Taken, as_white_box

STEP = "[0, inf)"  # lengths of steps, in input units


def fgsm(victim, x, goal, threat, *, loss="ce", clip=True, random_start=False, step=None, attack_wrong=False, rng=0,
         trace=False) -> Result:
    """x' = clip(x + epsilon * argmax <gradient, u> over ||u|| <= 1): epsilon * sign(gradient) in Linf (equation in section 3).

    clip=False leaves the box, as the paper's numbers do.
    random_start=True with step=1.25 * epsilon is the single step of fast adversarial training (Wong, Rice & Kolter 2020).
    """
    white = as_white_box(victim, "fgsm")
    if not clip:
        x, reach, (lo, hi) = white.victim.taken(x, "fgsm"), float(np.max(threat.epsilon, initial=0.0)), white.bounds
        white = white.victim.within((lo - reach, hi + reach)).white_box()  # the box is there, and too wide to act
        x = Taken(white.victim, x.array, x.given)
    step = threat.scale(white.bounds) if step is None else real("fgsm", STEP, each=True, step=step)
    return optimise(Additive(x), white, goal, threat, Steepest(step), 1, loss=loss, keep="last",
                    start="random" if random_start else "zero", attack_wrong=attack_wrong, rng=rng, trace=trace,
                    name="fgsm", settings=dict(step=_plain(step), clip=clip))


def bim(victim, x, goal, threat, steps=10, step=None, *, loss="ce", early_stop=False, attack_wrong=False, rng=0,
        trace=False) -> Result:
    """Steepest ascent from x itself in steps of epsilon / steps (or `step`), each projected onto ball and box."""
    white = as_white_box(victim, "bim")
    steps, step = _steps("bim", threat, white.bounds, steps, step, 1)
    return optimise(Additive(x), white, goal, threat, Steepest(step), steps, loss=loss, early_stop=early_stop,
                    attack_wrong=attack_wrong, rng=rng, trace=trace, name="bim", settings=dict(step=_plain(step)))


def pgd(victim, x, goal, threat, steps=40, step=None, restarts=1, loss="ce", early_stop=True, rng=0, *, random_start=True,
        transforms=None, samples=1, attack_wrong=False, keep="success", trace=False) -> Result:
    """Steepest ascent from a random point of the ball, projected; step defaults to 2.5 * epsilon / steps.

    Madry et al. 2017, MNIST: epsilon 0.3, 40 steps of 0.01. restarts: further runs from other points, on the samples that are
    still standing. early_stop: a sample rests after its first success (faster; turn it off for the largest loss).
    transforms, samples: expectation over transformations, or over the victim's own randomness (see optimise).
    """
    white = as_white_box(victim, "pgd")
    x, restarts = white.victim.taken(x, "pgd"), whole("pgd", restarts=restarts)
    steps, step = _steps("pgd", threat, white.bounds, steps, step, 2.5)

    def run(again, rows, seed):
        here = step[rows] if np.ndim(step) else step
        return optimise(Additive(x[rows]), white, goal[rows], threat[rows], Steepest(here), steps, loss=loss,
                        early_stop=early_stop, start="random" if random_start else "zero", transforms=transforms,
                        samples=samples, keep=keep, attack_wrong=attack_wrong, rng=seed, trace=trace and not again, name="pgd",
                        settings=dict(step=_plain(step), restarts=restarts))

    return with_restarts(run, restarts, rng)


def mi_fgsm(victim, x, goal, threat, steps=10, step=None, momentum=1.0, *, loss="ce", early_stop=False, attack_wrong=False,
            rng=0, trace=False) -> Result:
    """m <- momentum * m + g / ||g||_1; a step of epsilon / steps (or `step`) along m; from x itself (algorithm 1)."""
    white, momentum = as_white_box(victim, "mi_fgsm"), real("mi_fgsm", "[0, inf)", momentum=momentum)
    steps, step = _steps("mi_fgsm", threat, white.bounds, steps, step, 1)
    return optimise(Additive(x), white, goal, threat, Steepest(step, momentum), steps, loss=loss, early_stop=early_stop,
                    attack_wrong=attack_wrong, rng=rng, trace=trace, name="mi_fgsm",
                    settings=dict(step=_plain(step), momentum=momentum))


def perturb(victim, x, goal, threat, steps=1, step=None, *, loss="ce", random_start=True, clip_start=True, rng=None):
    """The inner maximisation of adversarial training: the last point of PGD, of x's type; every sample, nothing judged.

    clip_start=False: the gradient of the first step is taken at a random point of the ball, which may lie out of the box; what is
    returned lies in both. This matters where x touches the end of the box (see defend.training.fast).
    It costs `steps` forward and backward passes and no other: no clean look, no best so far, no Result. For evaluation use
    pgd. Fast training is steps=1, step=1.25 * epsilon; step defaults to 2.5 * epsilon / steps. Give rng a Stream, so that each
    call draws anew: an int gives the same sample the same start every time.
    """
    white = as_white_box(victim, "perturb")
    x = white.victim.taken(x, "perturb")
    box, clean = white.bounds, x.array
    goal, threat = goal.on(len(clean), white.classes, "perturb"), threat.check(len(clean), "perturb")
    steps, step = _steps("perturb", threat, box, steps, step, 2.5, least=0)
    step = rows_of(step, clean)
    x_adv = clean
    if random_start:
        x_adv = threat.project(clean + threat.random(clean, seed_of(rng), box), clean, box if clip_start or not steps else None)
    with white:
        for _ in range(steps):
            _, g, _ = white.gradient(x_adv, lambda logits: goal.objective(logits, loss))
            x_adv = threat.project(x_adv + step * threat.steepest(g), clean, box)
    return alike(x.given, x_adv)


def with_restarts(run, count: int, rng) -> Result:
    """run(0, all rows, seed), then run(i, rows still standing, another seed) for i = 1 .. count - 1, merged."""
    seed = seed_of(rng)
    result = run(0, slice(None), seed)
    for again in range(1, count):
        left = np.flatnonzero(~result.success & ~result.already_wrong)
        if not len(left):
            break
        result = result.merge(left, run(again, left, seed + (again << 64)))
    return result


def _steps(name, threat, box, steps, step, share, least=1):
    """(steps, the length of a step), checked; by default share * epsilon / steps."""
    steps = whole(name, least=least, steps=steps)
    if step is None:
        return steps, share * np.asarray(threat.scale(box)) / max(steps, 1)
    return steps, real(name, STEP, each=True, step=step)


def _plain(step):
    return float(step) if np.ndim(step) == 0 else [float(s) for s in step]
