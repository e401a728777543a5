"""Questions about the attack: did it do what an attack can do, or did it merely fail?

A1 inside the ball         A2 silent success        A3 loss rises along the way   A4 converged       A5 restarts
A6 iterative, single step  A7 monotone in epsilon   A8 chance level               A9 unbounded       A10 black box
A11 transfer from a twin   A12 random noise         A14 samples of EOT            A17 8-bit          A19 positive control
A21 already wrong          A23 label leaking        A25 success is real

References: as in of_victim.

Imports: numpy, attacks.black_box.score, attacks.black_box.square, attacks.core, attacks.white_box.gradient, case.
"""

from __future__ import annotations

import math

import numpy as np

from attacks.black_box.score import nes
from attacks.black_box.square import square
from attacks.core.arrays import host, raw, rows_of
from attacks.core.result import Result
from attacks.core.threat import L2, Linf
from attacks.evaluate.case import FAIL, LOOK, PASSED, WARN, Case, lost, missing, over, percent, question
from attacks.white_box.gradient import fgsm

NONE_STANDS = "every sample that was right is fooled already: there is nothing left to find"


# ---- what was returned -----------------------------------------------------------------------------------------------


def audit(result: Result, threat, bounds) -> tuple[float, float, int]:
    """(largest distance over epsilon, largest distance out of the bounds, values that are not finite) of x_adv, measured anew."""
    x, x0 = raw(result.x_adv), raw(result.original)
    size, eps = host(threat.size(x - x0)), np.asarray(threat.epsilon, np.float64)
    excess = float(np.max(size / np.maximum(eps, 1e-30), initial=0.0, where=size > 0))
    out = max(float(bounds[0] - x.min()), float(x.max() - bounds[1]), 0.0)
    return excess, out, int((~np.isfinite(x)).sum())


@question("inside the ball", "attack", "auto-attack issue 86, torchattacks issue 136: perturbations larger than "
          "epsilon",
          asks=lambda case: case.price())
def inside_ball(case: Case):
    """A1: every returned example is within epsilon (to 1e-6) and within the bounds, and finite; measured anew."""
    excess, out, broken = audit(case.base, case.threat, case.victim.bounds)
    ok = excess <= 1 + 1e-6 and out <= 1e-6 * case.extent and not broken
    return (PASSED if ok else FAIL, excess, 1 + 1e-6,
            f"the largest perturbation is {excess:.8g} epsilon, {out:.2g} out of bounds; {broken} values are not "
            "finite",
            "project after every step: onto the ball, then into the bounds; measure in the units of the input")


@question("success is real", "attack", "Foolbox issue 674, RobustBench issue 7: success and a second look disagree")
def success_is_real(case: Case):
    """A25: what is returned as a success fools again, alone, in a batch of one (by majority where the network is random)."""
    rows = np.flatnonzero(case.base.success)[:16]
    if not len(rows):
        return missing("nothing was fooled")
    looks, x = 21 if case.randomised else 1, raw(case.base.x_adv)
    again = np.array([case.vote(x[i : i + 1], [i], looks)[0] for i in rows])
    value = float(again.mean())
    return (PASSED if value == 1 else WARN if value >= 0.9 else FAIL, value, 1.0,
            f"{int(again.sum())} of {len(rows)} successes fool when looked at again, one at a time",
            "success must be decided on the array that is returned, in evaluation mode; average over draws for random "
            "networks")


@question("already wrong", "attack", "Foolbox issue 713, BlackboxBench issue 1: mistakes counted as the attack's "
          "successes")
def already_wrong_excluded(case: Case):
    """A21: samples that are wrong before the attack are no success, and the robust accuracy counts them as wrong."""
    if case.randomised:
        return missing("the network answers at random: which samples are wrong before the attack changes from look to look")
    wrong, r = ~case.right, case.base
    counted = int((r.success & wrong).sum())
    expected = float((~wrong & ~r.success).mean())
    ok = counted == 0 and r.robust_accuracy == expected
    return (PASSED if ok else FAIL, counted, 0,
            f"{int(wrong.sum())} samples are wrong before the attack, {counted} of them are counted as its success; "
            f"robust accuracy {percent(r.robust_accuracy)} over all {len(r)}",
            "success rate is over samples that were right, robust accuracy over all")


@question("silent success", "attack", "IoAF, indicator 'silent success'")
def silent_success(case: Case):
    """A2: no sample was fooled on the way and returned as a failure."""
    trace = case.base.trace
    if trace is None or "success" not in trace:
        return missing("the attack keeps no trace of success")
    if case.randomised:
        return missing("the network answers at random: one lucky look on the way is no success")
    on_the_way = (np.nan_to_num(trace["success"]) > 0).any(axis=0) & ~case.base.already_wrong
    dropped = int((on_the_way & ~case.base.success).sum())
    return (over(dropped, fail=0), dropped, 0,
            f"{int(on_the_way.sum())} samples were fooled at some step, {dropped} of them are returned as failures",
            "keep the best point so far by (success, loss), not the last one (keep='success')")


# ---- whether it climbed ----------------------------------------------------------------------------------------------


@question("loss rises", "attack", "IoAF, indicator 'incomplete optimisation'; EAR")
def loss_rises(case: Case):
    """A3: for most samples the loss in the last quarter of the steps lies above that in the first."""
    trace = case.base.trace
    if trace is None or "objective" not in trace or len(trace["objective"]) < 4:
        return missing("the attack keeps no trace of its loss, or is too short for one")
    values = trace["objective"][:, ~np.isnan(trace["objective"]).all(axis=0)]
    if not values.shape[1]:
        return missing("no sample was attacked")
    quarter = max(1, len(values) // 4)
    early, late = np.nanmean(values[:quarter], axis=0), np.nanmean(values[-quarter:], axis=0)
    value = float((late > early).mean())
    return (over(-value, warn=-0.9, fail=-0.5), value, 0.9,
            f"on {percent(value)} of {values.shape[1]} samples the loss of the last {quarter} steps is above that of "
            f"the first {quarter}; "
            f"its mean goes from {np.nanmean(values[0]):.4g} to {np.nanmean(values[-1]):.4g}",
            "the attack does not climb: its step is too large or too small, or the gradient leads nowhere")


@question("converged", "attack", "EAR: 'attacks have converged'; IoAF, indicator 'incomplete "
          "optimisation'",
          asks=lambda case: case.price(steps=2 * case.steps))
def converged(case: Case):
    """A4: twice the steps change robust accuracy by less than a point, and the loss of those that stand by little."""
    double = case.run(steps=2 * case.steps)
    fall = case.base.robust_accuracy - double.robust_accuracy
    stand = ~case.base.success & ~double.success & ~case.base.already_wrong
    a, b = (float(np.mean(r.objective[stand])) if stand.any() else math.nan for r in (case.base, double))
    change = abs(b - a) / max(abs(a), 1e-12) if stand.any() else 0.0
    status = lost(round(fall * len(case)), len(case))
    status = WARN if status == PASSED and change > 0.05 else status
    return (status, fall, 0.01,
            f"robust accuracy {percent(case.base.robust_accuracy)} after {case.steps} steps, "
            f"{percent(double.robust_accuracy)} after "
            f"{2 * case.steps}; the loss of the {int(stand.sum())} that stand changes by {percent(change)}",
            "take more steps, until doubling them changes nothing")


@question("restarts", "attack", "EAR: random restarts; Madry et al. 2017",
          asks=lambda case: case.price(restarts=case.restarts + 3))
def restarts_add_nothing(case: Case, more: int = 3):
    """A5: further random starts find less than a point more."""
    again = case.run(restarts=case.restarts + more)
    fall = case.base.robust_accuracy - again.robust_accuracy
    return (lost(round(fall * len(case)), len(case)), fall, 0.01,
            f"robust accuracy {percent(case.base.robust_accuracy)} with {case.restarts} start(s), "
            f"{percent(again.robust_accuracy)} with {case.restarts + more}",
            "report the number with more restarts")


@question("iterative not weaker than one step", "attack", "OG: 'one-step attacks perform better than "
          "iterative'",
          asks=lambda case: (2 * case.batches, 1.0))
def iterative_not_weaker(case: Case):
    """A6: many small steps fool at least what one large step fools."""
    one = case.run(fgsm)
    gap = case.base.robust_accuracy - one.robust_accuracy
    missed = int((one.success & ~case.base.success).sum())
    status = FAIL if gap > 0 else WARN if missed else PASSED
    return (status, gap, 0.0,
            f"robust accuracy {percent(case.base.robust_accuracy)} under {case.steps} steps, "
            f"{percent(one.robust_accuracy)} under one; "
            f"{missed} samples fall to one step only",
            "a step that beats many is a sign of masked gradients: the local gradient misleads, a jump gets away from "
            "it")


@question("monotone in epsilon", "attack", "OG; DEEPSEC issue 9: success that falls with epsilon",
          asks=lambda case: case.price(runs=2))
def monotone(case: Case, scales=(0.5, 1.0, 1.5)):
    """A7: a larger ball holds the smaller one, so robust accuracy cannot rise with epsilon."""
    left = [case.base.robust_accuracy if s == 1 else case.run(scale=s).robust_accuracy for s in scales]
    rise = float(max(b - a for a, b in zip(left, left[1:], strict=False)))
    steps = ", ".join(f"{percent(a)} at {s:g} epsilon" for s, a in zip(scales, left, strict=True))
    return (lost(round(rise * len(case)), len(case)), max(rise, 0.0), 0.01, f"robust accuracy {steps}",
            "at the larger epsilon the attack fails where it must succeed: scale its steps with epsilon, look for "
            "masking")


@question("chance at a large epsilon", "attack", "EAR: at Linf 0.5 every input can be made grey",
          asks=lambda case: case.price())
def chance_at_large_epsilon(case: Case):
    """A8: in an Linf ball of half the range every input can become grey, so nothing above chance can be right."""
    n = len(case)
    chance = 1 / case.classes
    bound = min(1.0, chance + 3 * math.sqrt(chance * (1 - chance) / n))
    value = case.anywhere(0.5).robust_accuracy
    return (over(value, fail=bound), value, bound,
            f"robust accuracy {percent(value)} where every input can be made grey; chance is {percent(chance)}",
            "the attack is blocked: its gradients are masked, or it is not run to its end")


@question("unbounded", "attack", "OG: 'unbounded attacks do not reach 100 % success'; EAR",
          asks=lambda case: case.price())
def unbounded(case: Case):
    """A9: with the whole range to move in, every sample that was right is fooled."""
    r = case.anywhere(1.0)
    if r.already_wrong.all():
        return missing("no sample is right before the attack")
    value = r.success_rate
    return (PASSED if value == 1 else FAIL, value, 1.0, f"an attack without bound fools {percent(value)} of the "
                                                        "samples that were right",
            "any input can be reached, so only a broken attack or a masked gradient stops short: fix that before "
            "anything else")


# ---- whether another finds more --------------------------------------------------------------------------------------


@question("white box not weaker than black box", "attack", "OG: 'black-box attacks are better than "
          "white-box'; AA flag",
          asks=lambda case: (case.queries, LOOK * case.batches))
def black_box_finds_nothing(case: Case):
    """A10: a search that sees only scores (Square in Linf and L2, else NES) fools no sample that gradients left standing."""
    rows = case.standing
    if not len(rows):
        return missing(NONE_STANDS)
    view, kind = case.victim.scores(case.queries), square if isinstance(case.threat, (Linf, L2)) else nes
    options = {"queries": case.queries} if kind is square else {"steps": max(1, case.queries // 51)}
    r = kind(view, case.x[rows], case.goal[rows], case.threat[rows], rng=case.seed, **options)
    found = r.success if not case.randomised else r.success & case.vote(raw(r.candidate), rows, 21)
    count, share = int(found.sum()), found.sum() / len(case)
    return (lost(count, len(case)), share, 0.01,
            f"{kind.__name__} with {case.queries} queries fools {count} of the {len(rows)} samples that gradients left "
            "standing",
            "without gradients one finds what they miss: they are masked. Report the smaller number, and attack the "
            "mask (BPDA, EOT)")


@question("random noise finds nothing new", "attack", "EAR; OG: 'random sampling finds "
          "adversarial examples'",
          asks=lambda case: (case.draws, LOOK * case.batches))
def noise_finds_nothing(case: Case):
    """A12: random points of the ball, half of them on its surface, fool no sample that the attack left standing."""
    rows = case.standing
    if not len(rows):
        return missing(NONE_STANDS)
    x, threat, found = case.x[rows], case.threat[rows], np.zeros(len(rows), bool)
    for i in range(case.draws):
        d = threat.random(x, case.seed + ((i + 1) << 40), case.victim.bounds)
        if i % 2:
            size = np.maximum(threat.size(d), 1e-30)
            d = d * rows_of(np.asarray(threat.epsilon, like=size) / size, d)
        point = threat.project(x + d, x, case.victim.bounds)
        won = case.vote(point, rows)
        if case.randomised and won.any():
            won[won] = case.vote(point[won], rows[won], 21)
        found |= won
    count = int(found.sum())
    return (over(count, fail=0), count, 0,
            f"{case.draws} random points around each of the {len(rows)} samples left standing fool {count} of them",
            "an attack that misses what chance finds is broken, or its gradients are masked")


@question("samples of EOT", "attack", "OG (expectation over transformation); AA version 'rand': 20 draws",
          asks=lambda case: case.price(samples=3 * max(case.samples, 5)) if case.randomised else (1, LOOK))
def enough_eot(case: Case):
    """A14: twice the draws of a random network at each step lower the robust accuracy by less than a point."""
    if not case.randomised:
        return missing("the network answers the same every time")
    few, many = case.run(samples=case.samples), case.run(samples=2 * max(case.samples, 5))
    fall = few.robust_accuracy - many.robust_accuracy
    return (lost(round(fall * len(case)), len(case)), fall, 0.01,
            f"robust accuracy {percent(few.robust_accuracy)} with {case.samples} draw(s) at each step, "
            f"{percent(many.robust_accuracy)} "
            f"with {2 * max(case.samples, 5)}",
            "average over more draws, until doubling them changes nothing")


@question("label leaking", "attack", "Kurakin et al. 2017; cleverhans issues 104 and 250",
          asks=lambda case: (2 * case.batches, 1.0))
def label_leaking(case: Case):
    """A23: a network trained on single steps may read the label off the step: it is then right more often on FGSM's points."""
    r = case.run(fgsm, attack_wrong=True)
    on_step = float((~case.vote(raw(r.candidate))).mean())
    gain = on_step - float(case.right.mean())
    return (over(gain, fail=0.0), gain, 0.0, f"accuracy {percent(case.right.mean())} on the samples, "
                                             f"{percent(on_step)} on FGSM's points",
            "do not believe FGSM here: the perturbation tells the label. Attack with many steps from random starts")


@question("8-bit survival", "attack", "Foolbox issues 162 and 324: saving to PNG destroys the perturbation")
def eight_bit(case: Case):
    """A17: successes that still fool after rounding to 256 levels, as a picture file does."""
    r = case.base
    rows = np.flatnonzero(r.success)
    if not len(rows):
        return missing("nothing was fooled")
    won = case.vote(eight_bits(raw(r.x_adv)[rows], case.victim.bounds), rows, 11 if case.randomised else 1)
    value = float(won.mean())
    return (PASSED if value >= 0.99 else WARN, value, 0.99,
            f"{int(won.sum())} of {len(rows)} successes still fool in 8 bits; robust accuracy would be "
            f"{percent(1 - (r.already_wrong.sum() + won.sum()) / len(r))} instead of {percent(r.robust_accuracy)}",
            "report both numbers: the perturbation of the others does not survive a picture file")


def eight_bits(x, bounds):
    """x rounded to the 256 levels of its bounds."""
    lo, hi = bounds
    return (lo + np.round((x - lo) / (hi - lo) * 255) / 255 * (hi - lo)).astype(x.dtype)


# ---- against a twin --------------------------------------------------------------------------------------------------


@question("positive control", "attack", "EAR: validate the attack on an undefended model",
          asks=lambda case: (1, LOOK) if case.twin is None else case.price())
def positive_control(case: Case):
    """A19: the same attack, with the same settings, fools at least 99 % on a twin without the defense."""
    if case.twin is None:
        return missing("no undefended twin was given")
    r = case.run(victim=case.twin)
    if r.already_wrong.all():
        return (FAIL, None, 0.99, "the twin gets no sample right, so it controls nothing", "train the twin on the same "
            "data")
    return (over(-r.success_rate, fail=-0.99), r.success_rate, 0.99,
            f"on the undefended twin the attack fools {percent(r.success_rate)} of the samples that were right",
            "an attack that does not break the undefended network tests no defense: raise epsilon or steps, or look "
            "for a bug")


@question("transfer not stronger", "attack", "EAR: transfer attacks; OG")
def transfer_not_stronger(case: Case):
    """A11: points made on the twin fool no sample that the attack on the network itself left standing."""
    rows = case.standing
    if case.twin is None:
        return missing("no undefended twin was given")
    if not len(rows):
        return missing(NONE_STANDS)
    points = raw(case.run(victim=case.twin).candidate)[rows]
    found = case.vote(points, rows, 21 if case.randomised else 1)
    count, share = int(found.sum()), found.sum() / len(case)
    return (lost(count, len(case)), share, 0.01,
            f"points made on the twin fool {count} of the {len(rows)} samples that the attack itself left standing",
            "what another network's gradients find, this one's hide: report the smaller number and attack the mask")


CHECKS = (inside_ball, success_is_real, already_wrong_excluded, silent_success, loss_rises, converged, restarts_add_nothing,
          iterative_not_weaker, monotone, chance_at_large_epsilon, unbounded, black_box_finds_nothing, noise_finds_nothing,
          enough_eot, label_leaking, eight_bit, positive_control, transfer_not_stronger)
