"""Adversarial examples transfer: what fools one network fools another that was never looked into.

    train_substitute   a network of the attacker's own learns the labels of a black box, from questions that are chosen to
                       find its boundary (Papernot et al. 2017); any white-box attack on it is then tried on the black box
    transfer           sources x targets: each source attacked, each target tried
    ensemble           several networks attacked at once: what fools all of them fools yet another one more often

Invariants: only the substitute's parameters change; each question is asked once and counted by the oracle's own meter;
no more questions than its budget. Rates count samples that the target got right before, and nothing that was asked about.

Imports: numpy, attacks.core, attacks.defend.base, attacks.defend.ensemble, minigrad.random, extract.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attacks.copying.extract import agreement, ask, fit, left_in_all, own
from attacks.core.arrays import host, raw, real, whole
from attacks.core.goal import Untargeted
from attacks.core.streams import seed_of
from attacks.core.victim import Victim, View, as_labels
from attacks.defend.base import Normalized
from attacks.defend.ensemble import Ensemble
from minigrad.random import Stream

# ---- the substitute --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Substitute:
    """What the attacker has after a round.

    victim   the substitute, a Victim: attack it as any other
    x        (Q, ...) what the oracle was asked about, in the order of asking; the seed samples first
    y        (Q,) its labels
    born     (Q,) the round in which each was added, 0 for the seeds
    parent   (Q,) the row that each was made from, -1 for the seeds
    rounds   one dict for each training: round, step (signed length of the augmentation before it), queries (all so far), loss,
             train_accuracy (agreement on x), agreement (on held-out samples, None without)
    ended    why it ended before the last round, or ""
    """

    victim: Victim
    x: np.ndarray
    y: np.ndarray
    born: np.ndarray
    parent: np.ndarray
    rounds: list
    ended: str = ""


def train_substitute(oracle, seed_x, net, rounds=6, lam=0.1, **options) -> Substitute:
    """All rounds of `substitute_rounds` at once, with its options: the last Substitute."""
    for found in substitute_rounds(oracle, seed_x, net, rounds, lam, **options):  # noqa: B007
        pass
    return found


def substitute_rounds(oracle, seed_x, net, rounds=6, lam=0.1, *, period=3, reservoir=None, after=3, epochs=10, batch=128,
                      lr=1e-3, output="logits", normalize=None, held_out=None, rng=0, bar=None, cost=1.0):
    """The algorithm of Papernot et al. 2017 as a generator: yields the (same, growing) Substitute after each training.

        label the seeds; train; then `rounds` times:
            S <- S + {clip(x + lam_r sign(d F_{O(x)}(x) / dx)) for x in S},   label the new ones only,   train on

    so that n seeds cost n 2^rounds queries: 6,400 for the paper's 100 seeds and 6 rounds. F is the substitute, O(x) the label
    that the oracle gave.

    oracle     any view (or Victim); used for its labels only, within its budget. If a round has more points than the budget
               allows, as many as it allows are drawn among them; when it is spent, the rounds end
    seed_x     (n, ...) samples of the attacker's own, not of the oracle's training set; in the oracle's bounds
    net        a fresh Module of the attacker's choice; trained on from round to round, with a new Adam in each
    lam        length of the step, a part of the range: above 0 towards more of the label, the paper's; below 0 towards less of it,
               across the boundary (CleverHans' tutorial begins so)
    period     lam_r = lam (-1)^floor(r / period), the periodic step of Papernot, McDaniel & Goodfellow 2016;  None: lam_r = lam,
               with which points only move deeper into their own class
    reservoir  None, or how many points at most are augmented in each round from round `after` (counted from 0) on, drawn
               evenly (the same paper): n 2^after + reservoir (rounds - after) queries
    output     'logits': the derivative of the label's logit (CleverHans);  'probabilities': of its probability
    epochs, batch, lr   of each training; normalize: the substitute's, as in Victim
    held_out   (M, ...) samples to measure the agreement with the oracle on; not counted, because the evaluator looks
    bar, cost  as in `attacks.copying.extract.fitting`
    Raises QueryBudgetError before the first question if the seeds alone are too many.
    """
    name = "train_substitute"
    view = as_labels(oracle, name)
    whole(name, epochs=epochs, batch=batch, after=after + 1, **{k: v for k, v in (("period", period), ("reservoir", reservoir))
                                                             if v is not None})
    whole(name, least=0, rounds=rounds)
    if real(name, "(-inf, inf)", lam=lam) == 0:
        raise ValueError(f"{name}: lam must be a number other than 0, got {lam!r}")
    lam = lam * (view.bounds[1] - view.bounds[0])
    if output not in ("logits", "probabilities"):
        raise ValueError(f"{name}: output must be 'logits' or 'probabilities', got {output!r}")
    victim, seed = own(view, net, normalize, name), seed_of(rng)
    seeds = view.victim.taken(seed_x, name)
    x = host(seeds.array)
    if len(x) == 0:
        raise ValueError(f"{name}: seed_x is empty; give some samples of the oracle's kind")
    classes = victim.predict(x[:1]).shape[1]
    y, n = ask(view, seeds, name), len(x)
    found = Substitute(victim, x, y, np.zeros(n, np.int64), np.full(n, -1), [])
    draws, step = Stream(seed, f"{name}/reservoir"), 0.0
    for r in range(rounds + 1):
        if found.y.max() >= classes:
            raise ValueError(f"{name}: the oracle answers class {found.y.max()}, the substitute has {classes} classes; give one "
                             "with all of the oracle's")
        loss = fit(victim, found.x, found.y, epochs=epochs, batch=batch, lr=lr, rng=Stream(seed, f"{name}/round {r}"),
                   bar=bar, cost=cost)
        answers = victim.answers(found.x)
        found.rounds.append(dict(round=r, step=step, queries=view.total, loss=loss,
                                 train_accuracy=float((answers == found.y).mean()),
                                 agreement=None if held_out is None else agreement(victim, view, held_out)))
        if r < rounds:
            rows = chosen(len(found.x), reservoir if r >= after else None, left_in_all(view, name), draws)
            if not len(rows):
                found.ended = f"the budget of {view.budget} queries was spent after {r} of {rounds} rounds"
        yield found
        if r == rounds or found.ended:
            return
        step = lam * (-1) ** (r // period) if period else lam
        new = augmented(victim, found.x[rows], found.y[rows], step, output)
        found.y = np.concatenate([found.y, ask(view, new, name)])
        found.x = np.concatenate([found.x, new])
        found.born = np.concatenate([found.born, np.full(len(rows), r + 1)])
        found.parent = np.concatenate([found.parent, rows])


def chosen(n: int, reservoir, left: float, stream) -> np.ndarray:
    """Rows of n points to augment, in order: all, or as many as reservoir and budget allow, each with the same chance."""
    most = int(min(n, left if reservoir is None else min(reservoir, left)))
    return np.arange(n) if most == n else np.sort(stream.permutation(n)[:most])


def augmented(victim, x, y, step: float, output: str = "logits", batch: int = 500) -> np.ndarray:
    """(n, ...) clip(x + step sign(d F_y(x) / dx)): each point moved so that its label y gets likelier (step > 0).

    F_y is the logit, or the probability (through its logarithm, which has the same sign and does not underflow).
    """
    white, lo, hi = victim.white_box(), *victim.bounds
    out = np.empty_like(x)
    for first in range(0, len(x), batch):
        rows = slice(first, first + batch)
        labels = np.asarray(y[rows])

        def value(z, labels=labels):
            z = z if output == "logits" else z.log_softmax(1)
            return z[np.arange(len(labels)), labels]

        _, g, _ = white.gradient(victim.take(x[rows]), value)
        out[rows] = np.clip(x[rows] + np.asarray(step, x.dtype) * np.sign(host(g)), lo, hi)
    return out


# ---- the matrix ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Matrix:
    """Counts of an experiment with S sources and T targets on the same samples.

    right   (T,) samples that the target got right before: the denominators
    fooled  (S, T) of those, wrong on what was made from the source
    both, own  (S, T): of the samples that the target got right and that fooled the source (own), wrong at the target, too (both)
    count   samples in all; names of sources and targets
    """

    sources: tuple
    targets: tuple
    right: np.ndarray
    fooled: np.ndarray
    both: np.ndarray
    own: np.ndarray
    count: int

    @property
    def rates(self) -> np.ndarray:
        """(S, T) fooled / right: share of the samples that the target got right; NaN where it got none right."""
        return self.fooled / np.where(self.right > 0, self.right, np.nan)

    @property
    def rates_of_successes(self) -> np.ndarray:
        """(S, T) both / own: the same among examples that fooled their source; NaN where there are none."""
        return self.both / np.where(self.own > 0, self.own, np.nan)

    def above(self, other: Matrix) -> Matrix:
        """This matrix with the rows of another one below: same targets, same samples."""
        if self.targets != other.targets or self.count != other.count or (self.right != other.right).any():
            raise ValueError(f"Matrix.above: the targets or samples differ: {self.targets} on {self.count}, {other.targets} "
                             f"on {other.count}")
        stack = {k: np.concatenate([getattr(self, k), getattr(other, k)]) for k in ("fooled", "both", "own")}
        return dataclasses.replace(self, sources=self.sources + other.sources, **stack)


def transfer(sources: dict, targets: dict, x, y, attack) -> Matrix:
    """{name: Victim or white box} attacked, {name: Victim or view} tried, on x (N, ...) with true labels y (N,).

    attack(source, x, goal, attack_wrong=True) -> Result: functools.partial(fgsm, threat=Linf(0.3)), for instance. Every sample
    is attacked, also one that the source gets wrong, and its strongest attempt is tried, also one that did not fool the source.
    The attacker cannot know more, and rows can be compared because their denominator does not depend on the source. Iterated
    attacks need early_stop=False, because the first point behind the source's boundary transfers worst.
    The targets are looked at by the evaluator: nothing is counted. Leave out of x what a substitute was trained on.
    """
    y = np.asarray(y)
    clean = {name: _says(target, x) == y for name, target in targets.items()}
    rows = []
    for name, source in sources.items():
        found = attack(source, x, Untargeted(y), attack_wrong=True)
        rows.append(tried(name, found.candidate, x, y, targets, clean, _says(source, found.candidate) != y))
    return stacked(rows)


def tried(name: str, x_adv, x, y, targets: dict, clean=None, fooled=None) -> Matrix:
    """The row of a matrix for samples x_adv that come from anywhere (noise, say). fooled (N,): which fooled their source."""
    y = np.asarray(y)
    clean = {t: _says(target, x) == y for t, target in targets.items()} if clean is None else clean
    fooled = np.ones(len(y), bool) if fooled is None else fooled
    right = np.array([clean[t].sum() for t in targets])
    wrong = {t: clean[t] & (_says(target, x_adv) != y) for t, target in targets.items()}
    return Matrix((name,), tuple(targets), right, np.array([[wrong[t].sum() for t in targets]]),
                  np.array([[(wrong[t] & fooled).sum() for t in targets]]),
                  np.array([[(clean[t] & fooled).sum() for t in targets]]), len(y))


def stacked(rows) -> Matrix:
    """One matrix from rows on the same targets and samples."""
    first, *rest = rows
    for row in rest:
        first = first.above(row)
    return first


def _says(v, x) -> np.ndarray:
    return (v.victim if isinstance(v, View) else v).answers(raw(x))


# ---- ensembles -------------------------------------------------------------------------------------------------------


def ensemble(victims, rule: str = "logits") -> Victim:
    """Several victims as one, each with its own normalisation; their bounds must agree.

    rule  'logits': the mean of the logits (Dong et al. 2018);  'probability': the logarithm of the mean
          probability (Liu et al. 2017, with equal weights)
    Whoever looks on at the first of them looks on at the ensemble.
    """
    victims = [v.victim if isinstance(v, View) else v for v in victims]
    if len({v.bounds for v in victims}) > 1:
        raise ValueError(f"ensemble: the victims have bounds {sorted({v.bounds for v in victims})}; they must agree")
    nets = [v.net if v.normalize is None else Normalized(v.net, *v.normalize) for v in victims]
    found = Victim(Ensemble(nets, rule), bounds=victims[0].bounds if victims else (0.0, 1.0))
    found.watch = victims[0].watch
    return found


def left_out(victims: dict, x, y, attack, rule: str = "logits", name: str | None = None) -> Matrix:
    """One row: each target is attacked through the ensemble of all the others, and so never seen. Two victims or more."""
    if len(victims) < 2:
        raise ValueError("left_out: there are no others; give two victims or more")
    name = f"all others, {rule}" if name is None else name
    cells = [transfer({name: ensemble([v for other, v in victims.items() if other != target], rule)},
                      {target: victims[target]}, x, y, attack) for target in victims]
    parts = {k: np.concatenate([getattr(c, k) for c in cells], axis=-1) for k in ("right", "fooled", "both", "own")}
    return Matrix((name,), tuple(victims), count=len(np.asarray(y)), **parts)
