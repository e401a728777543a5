"""The strong attacks in a row, each on what the ones before it left standing (after AutoAttack, Croce & Hein 2020).

    apgd-ce        cross-entropy, 100 adaptive steps
    apgd-dlr-t     targeted DLR towards each of the 9 likeliest wrong classes (3 classes: untargeted DLR; 2: margin)
    fab-t          the nearest boundary of each of these, counted within epsilon
    square         random search on scores only, 5000 queries; in Linf and L2
    for a network that answers at random: apgd-ce and apgd-dlr with 20 draws at each step, judged by the majority of fresh draws

A sample is robust if it stands under all of them: the worst case per sample, not the least of the means. The settings are fixed,
and no attack looks at the defense. So a number from here is an upper bound on robust accuracy: an adaptive attack may lower it.

Imports: numpy, attacks.black_box.square, attacks.core, attacks.white_box.apgd, attacks.white_box.fab, case.
"""

from __future__ import annotations

import dataclasses
import time
from functools import partial

import numpy as np

from attacks.black_box.square import square
from attacks.core.arrays import whole
from attacks.core.goal import Untargeted
from attacks.core.result import Result
from attacks.core.streams import seed_of
from attacks.core.threat import L1, L2, Linf, Threat
from attacks.core.victim import Victim, View
from attacks.core.watch import watching
from attacks.evaluate.case import LOOK, apart
from attacks.white_box.apgd import apgd, apgd_targeted
from attacks.white_box.fab import fab_targeted

DRAWS = 20
GUESS = 100  # queries of an attack of which nothing is known


@dataclasses.dataclass
class Ensemble:
    """What several attacks found together.

    result   Result of the worst case for each sample; steps and queries are those of all attacks
    by       (N,) str: which attack fooled the sample, 'already wrong', or '' where it stands
    runs     one dict for each attack, in order: attack, attacked (samples), fooled, robust_accuracy (of all, after it),
             queries (of all samples), seconds, settings
    attacks  {name: attack} as they were run, for `ablate`
    """

    result: Result
    by: np.ndarray
    runs: list
    attacks: dict = dataclasses.field(default_factory=dict, repr=False)

    robust_accuracy = property(lambda self: self.result.robust_accuracy)


def standard(threat: Threat, classes: int, *, steps: int = 100, targets: int = 9, queries: int = 5000,
             randomised: bool = False, draws: int = DRAWS) -> dict:
    """name -> attack(victim, x, goal, threat, rng=) -> Result, in the order in which they are run."""
    if not isinstance(threat, (Linf, L2, L1)):
        raise TypeError(f"auto: threat must be Linf, L2 or L1, got {threat!r}")
    if randomised:
        second = "dlr" if classes >= 3 else "margin"
        return {f"apgd-{loss}": partial(apgd, steps=steps, loss=loss, samples=draws) for loss in ("ce", second)}
    found = {"apgd-ce": partial(apgd, steps=steps, loss="ce")}
    if classes >= 4:
        found["apgd-dlr-t"] = partial(apgd_targeted, steps=steps, targets=targets)
    else:
        loss = "dlr" if classes == 3 else "margin"
        found[f"apgd-{loss}"] = partial(apgd, steps=steps, loss=loss)
    found["fab-t"] = partial(_fab, steps=steps, targets=targets)
    if not isinstance(threat, L1):
        found["square"] = partial(_square, queries=queries)
    return found


def asks(attack) -> tuple[int, float]:
    """(queries of each sample, cost of one) of an attack of `standard`, as `case.question` has them; a guess for any other."""
    k = getattr(attack, "keywords", {})
    each = {apgd: lambda: k["steps"] + 1, apgd_targeted: lambda: (k["steps"] + 1) * k["targets"],
            _fab: lambda: (2 * k["steps"] + 1) * k["targets"], _square: lambda: k["queries"]}
    kind = getattr(attack, "func", None)
    return each.get(kind, lambda: GUESS)() * k.get("samples", 1), LOOK if kind is _square else 1.0


def units(attack, count: int, batch: int) -> float:
    """What an attack takes of a bar where every one of `count` samples meets it."""
    queries, cost = asks(attack)
    return queries * cost * -(-count // batch)


def watched(bar, attack, victim, rows, count: int, batch: int):
    """`watching` while the attack is on `rows` of `count` samples: they take their share of its `units`."""
    queries, share = asks(attack)[0], len(rows) / count
    parts = max(1, -(-len(rows) // batch))
    return watching(bar, parts * queries, victim, cost=share * units(attack, count, batch) / (parts * queries))


def auto(victim, x, y, threat: Threat, *, attacks: dict | None = None, randomised: bool | None = None, batch: int = 250, rng=0,
         seen=None, bar=None, **settings) -> Ensemble:
    """Run the ensemble on x (N, ...), y (N,) or an Untargeted goal.

    attacks     {name: attack(victim, x, goal, threat, rng=)}; default `standard` with `settings` (steps, targets, queries)
    randomised  whether the victim answers at random; default: two looks are compared
    seen        called with each entry of `runs` as it is finished;  bar: moves as `watched` says
    Raises ValueError for an empty batch.
    """
    victim = victim.victim if isinstance(victim, View) else victim
    if not isinstance(victim, Victim):
        raise TypeError(f"auto: victim must be a Victim, got {type(victim).__name__}; wrap the network: Victim(net, "
                        f"bounds=(0, 1))")
    if not len(x):
        raise ValueError("auto: there are no samples")
    seed, taken, batch = seed_of(rng), victim.take(x, "auto"), whole("auto", batch=batch)
    clean = victim.logits(taken, batch)
    goal = (y if isinstance(y, Untargeted) else Untargeted(y)).on(*clean.shape, "auto")
    if attacks is None:
        if randomised is None:
            again = victim.logits(taken, batch)
            size = np.linalg.norm(np.where(np.isfinite(clean), clean, 0), axis=1).max()
            randomised = bool(apart(again, clean).max() > 1e-4 * max(float(size), 1e-30))
        attacks = standard(threat, clean.shape[1], randomised=randomised, **settings)
    elif settings:
        raise TypeError(f"auto: {', '.join(settings)} belong to the standard attacks; give them in `attacks`")
    total, by, runs = None, np.full(len(x), "", object), []
    rows = np.arange(len(x))
    for name, attack in attacks.items():
        if not len(rows):
            runs.append({"attack": name, "attacked": 0, "fooled": 0, "robust_accuracy": total.robust_accuracy, "queries": 0,
                         "seconds": 0.0, "settings": {}})
            continue
        began = time.perf_counter()
        with watched(bar, attack, victim, rows, len(x), batch):
            parts = [_margins(attack(victim, x[some], goal[some], threat[some], rng=seed), victim, goal[some], batch)
                     for some in np.split(rows, range(batch, len(rows), batch))]
        found = Result.join(parts)
        total = found if total is None else total.merge(rows, found)
        by[rows[found.success]] = name
        if not runs:
            by[found.already_wrong] = "already wrong"
        attacked = len(rows)
        rows = np.flatnonzero(~total.success & ~total.already_wrong)
        runs.append({"attack": name, "attacked": attacked, "fooled": int(found.success.sum()),
                     "robust_accuracy": total.robust_accuracy, "queries": int(found.queries.sum()),
                     "seconds": time.perf_counter() - began, "settings": found.settings})
        if seen is not None:
            seen(runs[-1])
    if total is None:
        raise ValueError("auto: attacks is empty")
    total.settings = {"attack": "auto", "threat": repr(threat), "seed": seed, "attacks": list(attacks)}
    total.trace = None
    return Ensemble(total, by, runs, dict(attacks))


def _margins(result: Result, victim, goal, batch) -> Result:
    """The result with the margin of the candidate as its objective: attacks climb different losses, and are to be compared."""
    margin = goal.margin(victim.predict(result.candidate, batch)).astype(np.float64)
    return dataclasses.replace(result, objective=np.where(np.isnan(result.objective), np.nan, margin), trace=None)


def _fab(victim, x, goal, threat, *, steps, targets, rng):
    """FAB-T at a fixed epsilon: what it finds farther away is a failure."""
    found = fab_targeted(victim, x, goal, type(threat), steps, targets=targets, rng=rng)
    return found.at(threat.epsilon) if np.ndim(threat.epsilon) == 0 else _within(found, threat)


def _within(found: Result, threat) -> Result:
    parts = [found[[i]].at(float(e)) for i, e in enumerate(threat.epsilon)]
    return Result.join(parts)


def _square(victim, x, goal, threat, *, queries, rng):
    return square(victim.scores(queries), x, goal, threat, queries=queries, rng=rng)
