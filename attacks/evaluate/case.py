"""What a check is, and the case that checks look at: a victim, samples, a threat, and the attack whose number is in question.

    case = Case(victim, x, y, Linf(0.3), attack=pgd, steps=40)
    case.base            the attack as it was run for the number, with its trace
    case.run(steps=80)   the same with something changed; each distinct run is made once and kept, so checks share them

A check is a function case -> Check: one question, asked of the network or of the attack. The answer holds the measured value, the
bound that it should keep, what was seen, what to do about it, and where the question comes from.

Imports: numpy, attacks.core, attacks.white_box.gradient.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from attacks.core.arrays import NO_ANSWER, said, whole
from attacks.core.goal import Untargeted
from attacks.core.result import Result
from attacks.core.streams import seed_of
from attacks.core.threat import Linf, Threat
from attacks.core.victim import Victim, View
from attacks.white_box.gradient import pgd

PASSED, WARN, FAIL, NA = "passed", "warn", "fail", "n/a"
LOOK = 0.4  # of the time of a query with its gradient, that one without takes
RANDOM = 1e-4  # logits of two looks may differ by this share of their norm; more is a network that answers at random


@dataclasses.dataclass(frozen=True)
class Check:
    """The answer to one question.

    name       what was asked, a few words
    status     'passed', 'warn' (believe with care), 'fail' (do not believe), 'n/a' (the question does not arise)
    value      what was measured, a number or None;  threshold  the bound that it was held against, or None
    evidence   what was seen, a sentence with its numbers
    advice     what to do about it; empty where passed
    reference  where the question comes from
    about      'victim' or 'attack': whose numbers it touches
    """

    name: str
    status: str
    value: float | None
    threshold: float | None
    evidence: str
    advice: str
    reference: str
    about: str = "attack"

    def __post_init__(self):
        if self.status not in (PASSED, WARN, FAIL, NA):
            raise ValueError(f"Check {self.name!r}: status must be 'passed', 'warn', 'fail' or 'n/a', got "
                             f"{self.status!r}")

    def plain(self) -> dict:
        """As a dict of plain values."""
        return dataclasses.asdict(self)


def question(name: str, about: str, reference: str, asks=lambda case: (2, LOOK)):
    """Makes a check of a function case -> (status, value, threshold, evidence, advice).

    asks(case) -> (queries of each sample, cost of one): what the answer takes, at most or as a rule, for a progress bar. A query
    with its gradient costs 1."""

    def decorate(ask):
        @functools.wraps(ask)
        def check(case: Case) -> Check:
            status, value, threshold, evidence, advice = ask(case)
            value = None if value is None else float(value)
            return Check(name, status, value, threshold, evidence, "" if status in (PASSED, NA) else advice, reference, about)

        check.name, check.about, check.reference, check.asks = name, about, reference, asks
        return check

    return decorate


def missing(why: str):
    """What a check returns where its question does not arise."""
    return NA, None, None, why, ""


def over(value, warn=None, fail=None) -> str:
    """The status of a value that should be small: 'fail' above `fail`, 'warn' above `warn`. NaN fails."""
    if not np.isfinite(value) or (fail is not None and value > fail):
        return FAIL
    return WARN if warn is not None and value > warn else PASSED


def lost(count, n) -> str:
    """The status when something else fools `count` more of n samples: a point of accuracy fails, one sample only warns."""
    return FAIL if count > 1 and count > 0.01 * n else WARN if count > 0 else PASSED


def apart(a, b):
    """|a - b|, and 0 where both are the same infinity, or NaN."""
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))


def percent(share) -> str:
    """A share in words."""
    return "-" if share is None or not np.isfinite(share) else f"{100 * share:.1f} %"


class Case:
    """Everything that checks may ask about.

    victim    Victim (or one of its views: the checks look at all of it);  x (N, ...), y (N,) the samples and their classes
    threat    the ball of the claim
    attack    attack(victim, x, goal, threat, steps=, restarts=, samples=, early_stop=, rng=, trace=) -> Result, such as pgd,
              apgd, or functools.partial(pgd, loss='margin')
    steps, restarts, samples    as the attack is run for the number (samples: draws of EOT at each step)
    twin      None or a Victim of the same shape without the defense, on which the attack must work
    queries   of the black-box attack for each sample;  draws  of random noise for each sample
    batch     samples attacked at a time
    """

    def __init__(self, victim, x, y, threat: Threat, *, attack=pgd, steps: int = 40, restarts: int = 1, samples: int = 1,
                 twin=None, queries: int = 500, draws: int = 100, rng=0, batch: int = 250):
        victim, twin = (v.victim if isinstance(v, View) else v for v in (victim, twin))
        for name, v in (("victim", victim), ("twin", twin)):
            if not isinstance(v, Victim) and not (v is None and name == "twin"):
                raise TypeError(f"Case: {name} must be a Victim, got {type(v).__name__}; wrap the network: Victim(net, "
                                "bounds=(0, 1))")
        self.victim, self.twin, self.threat, self.attack = victim, twin, threat, attack
        self.x = victim.take(x, "Case")
        if not len(self.x):
            raise ValueError("Case: there are no samples; an accuracy of nothing is no number")
        classes = victim.predict(self.x[:1]).shape[1]
        self.goal = Untargeted(y).on(len(self.x), classes, "Case")
        self.y, self.classes = self.goal.labels, classes
        threat.check(len(self.x), "Case")
        self.steps, self.restarts, self.samples = whole("Case", steps=steps, restarts=restarts, samples=samples)
        self.queries, self.draws, self.batch = whole("Case", queries=queries, draws=draws, batch=batch)
        self.seed = seed_of(rng)
        self._runs: dict = {}

    def __len__(self):
        return len(self.x)

    # ---- the network -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def looks(self):
        """(5, N, classes) logits of the same samples, looked at five times."""
        return np.stack([self.victim.predict(self.x, self.batch) for _ in range(5)])

    clean = property(lambda self: self.looks[0], doc="(N, classes) logits")

    @functools.cached_property
    def right(self):
        """(N,) bool: classified as y, by the majority of the looks. Not to answer is never right."""
        return 2 * (said(self.looks) == self.y).sum(axis=0) > len(self.looks)

    @functools.cached_property
    def silent(self):
        """(N,) bool: samples to which some look gives no answer (arrays.said)."""
        return (said(self.looks) == NO_ANSWER).any(axis=0)

    @functools.cached_property
    def spread(self) -> float:
        """How far looks differ: the largest distance of unit-normalised logits between two looks."""
        z = self.looks.astype(np.float64)
        size = np.linalg.norm(np.where(np.isfinite(z), z, 0), axis=2, keepdims=True)
        return float(apart(z / np.maximum(size, 1e-30), (z / np.maximum(size, 1e-30))[:1]).max())

    @property
    def randomised(self) -> bool:
        """Whether the victim answers at random."""
        return self.spread > RANDOM

    def vote(self, x, rows=None, looks: int = 1):
        """(n,) bool: whether x (n, ...) is wrong, for the samples `rows`; by majority over `looks`."""
        goal = self.goal if rows is None else self.goal[rows]
        if self.victim.watch is not None:
            self.victim.watch.spend(looks)
        return 2 * sum(goal.reached(self.victim.answers(x, self.batch)).astype(int) for _ in range(looks)) > looks

    @functools.cached_property
    def extent(self) -> float:
        """hi - lo."""
        return self.victim.bounds[1] - self.victim.bounds[0]

    # ---- the attack --------------------------------------------------------------------------------------------------

    @property
    def base(self) -> Result:
        """The attack of the number, to the last step, with its trace."""
        return self.run(early_stop=False, trace=True)

    @property
    def standing(self):
        """Rows that were right and that the attack did not fool."""
        return np.flatnonzero(~self.base.success & ~self.base.already_wrong)

    def run(self, attack=None, *, threat: Threat | None = None, scale: float = 1.0, victim=None, **options) -> Result:
        """The attack with options changed, or another one with its own options only. Kept: asked twice, run once."""
        if attack is None:
            options = {"steps": self.steps, "restarts": self.restarts, "early_stop": True, **options}
            if self.samples > 1:
                options.setdefault("samples", self.samples)
        threat, victim, attack = threat or self.threat, victim or self.victim, attack or self.attack
        if scale != 1.0:
            threat = threat.with_epsilon(np.asarray(threat.epsilon) * scale)
        key = (attack, id(victim), type(threat), np.asarray(threat.epsilon).tobytes(), tuple(sorted(options.items())))
        if key not in self._runs:
            self._runs[key] = self._batches(attack, victim, threat, options)
        return self._runs[key]

    def price(self, steps: int | None = None, restarts: int | None = None, samples: int | None = None, runs: int = 1):
        """(queries, 1): what `runs` runs of the attack ask of each sample, of all batches together; for `question(asks=)`."""
        steps, restarts, samples = steps or self.steps, restarts or self.restarts, samples or self.samples
        return runs * (steps + 1) * restarts * samples * self.batches, 1.0

    @property
    def batches(self) -> int:
        """How many batches the samples make."""
        return -(-len(self) // self.batch)

    def _batches(self, attack, victim, threat, options) -> Result:
        parts = []
        for first in range(0, len(self), self.batch):
            rows = slice(first, first + self.batch)
            parts.append(attack(victim, self.x[rows], self.goal[rows], threat[rows], rng=self.seed, **options))
        traces = [p.trace for p in parts]
        whole = None if None in traces else {k: np.concatenate([t[k] for t in traces], axis=1) for k in traces[0]}
        return dataclasses.replace(Result.join(parts), trace=whole)

    @property
    def at_claim(self) -> list[Result]:
        """Every run so far on this victim with this threat, the base first."""
        claim = (id(self.victim), type(self.threat), np.asarray(self.threat.epsilon).tobytes())
        return [self.base, *(r for key, r in self._runs.items() if key[1:4] == claim and r is not self.base)]

    def anywhere(self, share: float) -> Result:
        """The attack with an Linf radius of that share of the input's range: 1 reaches every input, 0.5 grey from all."""
        return self.run(threat=Linf(share * self.extent))
