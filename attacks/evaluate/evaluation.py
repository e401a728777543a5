"""One evaluation from beginning to end: the attack, every check, the ensemble, the curves, and what each number is worth.

    e = evaluate(victim, x, y, Linf(0.3), attack=pgd, steps=40)
    e.numbers()      each with its interval, a verdict and the reasons for it
    write(path, e)   attacks.evaluate.report

Nothing here is a proof: a robust accuracy is an upper bound, which the next attack may lower. The number to report is the last,
the worst case for each sample over everything that was run.

Imports: numpy, attacks.core, attacks.white_box.deepfool, attacks.white_box.gradient, ablation, auto, case, checks, curve,
of_attack.
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext

import numpy as np

from attacks.core.arrays import raw, real, whole
from attacks.core.threat import Linf, Threat
from attacks.core.watch import watching
from attacks.evaluate.ablation import Ablation, ablate
from attacks.evaluate.auto import Ensemble, auto, standard
from attacks.evaluate.auto import units as attack_units
from attacks.evaluate.case import FAIL, NA, WARN, Case, Check, percent
from attacks.evaluate.checks import CHECKS, NOT_MECHANICAL, ask, verdict
from attacks.evaluate.checks import units as ask_units
from attacks.evaluate.curve import Curves, curves, worst_case
from attacks.evaluate.of_attack import eight_bits
from attacks.white_box.deepfool import deepfool
from attacks.white_box.gradient import fgsm, pgd

DEEPFOOL = 15  # queries of DeepFool, as a rule
SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # radii of the curves, in units of epsilon
LOOKS = ("clean accuracy", "finite answers", "range of the inputs", "determinism", "batch independence",
         "evaluation mode")
MASKS = ("clean accuracy", "finite answers", "range of the inputs", "logits, not probabilities", "zero gradients",
         "batch independence", "evaluation mode", "gradient against differences", "roughness of the loss",
         "chance at a large epsilon", "unbounded", "positive control")


@dataclasses.dataclass(frozen=True)
class Number:
    """value with its 95 % interval (low, high) from n samples; verdict 'believable', 'with care', 'do not believe'; reasons."""

    name: str
    value: float
    low: float
    high: float
    n: int
    verdict: str
    reasons: list

    def plain(self) -> dict:
        """As a dict of plain values."""
        return dataclasses.asdict(self)


def interval(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n samples: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    share, n = real("interval", "[0, 1]", share=share), whole("interval", n=n)
    mid, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (mid - half) / (1 + z * z / n)), min(1.0, (mid + half) / (1 + z * z / n))


@dataclasses.dataclass
class Evaluation:
    """What `evaluate` found. statements: what only people can say (defense, adaptive, compare). ablation: None if not asked for."""

    case: Case
    checks: list[Check]
    ensemble: Ensemble
    curves: Curves
    statements: dict
    ablation: Ablation | None = None

    @property
    def worst(self):
        """(distance (N,), which (N,)) over everything that was run at the claimed epsilon."""
        runs = {"ensemble": self.ensemble.result}
        for i, r in enumerate(self.case.at_claim):
            runs[f"{r.settings.get('attack', 'attack')}{'' if i == 0 else f' (check {i})'}"] = r
        return worst_case(runs)

    def numbers(self) -> list[Number]:
        """Every number of the evaluation, the one to report last."""
        case, base = self.case, self.case.base
        n, name = len(case), attack_name(case.attack)
        everything = verdict(self.checks)
        least = float(np.isinf(self.worst[0]).mean())
        one = case.run(fgsm).robust_accuracy
        gap = base.robust_accuracy - least
        own = everything
        if round(gap * n) > 1 and gap > 0.01:
            found = f"other attacks of this evaluation fool {round(gap * n)} samples more"
            own = ("do not believe", [found] + (everything[1] if everything[0] == "do not believe" else []))
        step = ("do not believe", ["one step is the weakest of attacks; it is here to be compared with, not to be "
                                   "reported"])
        if one - least <= 0.01:
            step = ("with care", ["one step does as well as everything else here; that alone says nothing of a "
                                  "stronger attack"])
        found = [
            ("clean accuracy", float(case.right.mean()), self._of(LOOKS)),
            ("robust accuracy under one step (FGSM)", one, step),
            (f"robust accuracy under {name}, {case.steps} steps, {case.restarts} start(s)", base.robust_accuracy, own),
            ("the same if only 8-bit pictures count", self._in_8_bits(), own),
            ("robust accuracy under the ensemble", self.ensemble.robust_accuracy, self._of(MASKS)),
            ("robust accuracy, worst case for each sample over all that was run", least, self._of(MASKS)),
        ]
        return [Number(what, value, *interval(value, n), n, word, reasons) for what, value, (word, reasons) in found]

    def _of(self, names) -> tuple[str, list]:
        """The verdict by some checks; for a network that answers at random, determinism warns and does not fail."""
        chosen = [c for c in self.checks if c.name in names]
        chosen = [dataclasses.replace(c, status=WARN) if c.name == "determinism" and c.status == FAIL else c for c in chosen]
        word, reasons = verdict(chosen)
        if word == "believable":
            reasons = [f"passed: {', '.join(c.name for c in chosen if c.status != NA)}"]
        return word, reasons

    def _in_8_bits(self) -> float:
        case, r = self.case, self.case.base
        rows = np.flatnonzero(r.success)
        won = np.zeros(len(case), bool)
        if len(rows):
            won[rows] = case.vote(eight_bits(raw(r.x_adv)[rows], case.victim.bounds), rows, 11 if case.randomised else 1)
        return float((~won & ~r.already_wrong).mean())

    def plain(self) -> dict:
        """Numbers, checks, runs and curves as plain values, for a JSON file."""
        distance, which = self.worst
        return {
            "victim": repr(self.case.victim), "threat": repr(self.case.threat), "samples": len(self.case), "seed": self.case.seed,
            "numbers": [n.plain() for n in self.numbers()], "checks": [c.plain() for c in self.checks],
            "ensemble": _strings(self.ensemble.runs),
            "ablation": None if self.ablation is None else self.ablation.rows,
            "curves": {"epsilon": self.curves.epsilons.tolist(), "worst": self.curves.worst.tolist(),
                       **{k: np.asarray(v).tolist() for k, v in self.curves.accuracy.items()}},
            "worst": {"distance": [None if np.isinf(d) else float(d) for d in distance], "by": [str(w) for w in which]},
            "statements": self.statements,
        }


def evaluate(victim, x, y, threat: Threat, *, attack=pgd, steps: int = 40, restarts: int = 1, samples: int = 1,
             queries: int = 1000, twin=None, scales=SCALES, checks=CHECKS, ensemble: dict | None = None,
             statements: dict | None = None, draws: int = 100, ablation: bool = True, batch: int = 250, rng=0,
             seen=None, units=None) -> Evaluation:
    """Evaluate a claim of robustness: victim on x (N, ...), y (N,) within threat. Options of the attack as in Case.

    queries    of the black-box attacks, for each sample;  draws: of random noise
    scales     radii of the curves in units of epsilon
    ensemble   options of `auto` (steps, targets, attacks, ...)
    ablation   whether each of its attacks is tried on the samples that fell before its turn, too: what does it add?
    statements {'defense': ..., 'adaptive': ..., 'compare': ...}: sentences for the report; what is not said is noted as such
    seen       called with a line of text as each part is finished
    units      None, or units(total) -> a context that gives a bar of so many units, such as `minigrad.run.Run.units`
    """
    unknown = set(statements or {}) - set(NOT_MECHANICAL)
    if unknown:
        raise ValueError(f"evaluate: statements may be {', '.join(NOT_MECHANICAL)}, got {', '.join(sorted(unknown))}")
    say = seen or (lambda text: None)
    case = Case(victim, x, y, threat, attack=attack, steps=steps, restarts=restarts, samples=samples, twin=twin,
                queries=queries, draws=draws, rng=rng, batch=batch)
    settings = {"queries": queries, **(ensemble or {})}
    attacks = settings.get("attacks")
    if not attacks:
        if case.randomised and samples > 1:
            settings.setdefault("draws", samples)
        attacks = standard(threat, case.classes, randomised=case.randomised, **settings)
    curved = 2 * len(scales) * case.batches, case.price(runs=len(scales))[0], DEEPFOOL * case.batches  # queries
    total = ask_units(case, checks) + sum(attack_units(a, len(case), batch) for a in attacks.values()) + sum(curved)

    with nullcontext() if units is None else units(total) as bar:
        answers = ask(case, checks, lambda c: say(f"{c.status:<7} {c.name}: {c.evidence}"), bar)
        strong = auto(case.victim, case.x, case.y, threat, attacks=attacks, batch=batch, rng=case.seed, bar=bar,
                      seen=lambda r: say(f"{r['attack']}: {r['fooled']} of {r['attacked']} fooled, "
                                         f"{percent(r['robust_accuracy'])} stand"))
        drawn = _curves(case, strong, scales, bar, lambda name, epsilon, r: say(
            f"{name}" + (f" at {epsilon:.4g}: {percent(r.robust_accuracy)} stand" if epsilon else ": one run")))
        added = None
        if ablation:
            added = ablate(strong, case.victim, case.x, case.y, threat, batch=batch, bar=bar,
                           seen=lambda name, n: say(f"{name}: alone, on {n} samples that fell before its turn"))
    return Evaluation(case, answers, strong, drawn, dict(statements or {}), added)


def _curves(case: Case, strong: Ensemble, scales, bar, seen) -> Curves:
    """FGSM, the case's attack and DeepFool at each radius; runs that the checks made are made once."""
    known = {"ensemble": strong.result, **{f"run {i}": r for i, r in enumerate(case.at_claim)}}

    def run(which, ball):
        with watching(bar, 2 * case.batches if which is fgsm else case.price()[0], case.victim):
            if which is fgsm:
                return case.run(fgsm, threat=ball)
            same = np.array_equal(ball.epsilon, case.threat.epsilon)
            return case.base if same else case.run(threat=ball)

    def nearest(victim, x, goal, norm=Linf, rng=0):
        with watching(bar, DEEPFOOL, victim):
            return deepfool(victim, x, goal, norm, rng=rng)

    return curves(case.victim, case.x, case.y, case.threat, np.multiply(scales, np.max(case.threat.epsilon)),
                  {"FGSM": fgsm, f"{attack_name(case.attack)}, {case.steps} steps": case.attack},
                  {"DeepFool (one run)": nearest}, known=known, run=run, batch=case.batch, rng=case.seed, seen=seen)


def attack_name(attack) -> str:
    """pgd as 'PGD', partial(pgd, loss='margin') as 'PGD (loss=margin)'."""
    inner = getattr(attack, "func", attack)
    extra = ", ".join(f"{k}={v}" for k, v in getattr(attack, "keywords", {}).items())
    name = getattr(inner, "__name__", type(inner).__name__).upper().replace("_", "-")
    return f"{name} ({extra})" if extra else name


def _strings(tree):
    if isinstance(tree, dict):
        return {k: _strings(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_strings(v) for v in tree]
    return tree if isinstance(tree, (int, float, str, bool, type(None))) else str(tree)
