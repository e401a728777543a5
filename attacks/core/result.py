"""What an attack returns, and the bookkeeping that makes it honest.

`Task` opens an attack: it checks the arrays, predicts the clean samples, and says which of them need no attack. It also closes
the attack: success is decided once, by a fresh forward pass on the very array that is returned. Rules:
  * a sample that is wrong from the start is `already_wrong`: not attacked unless asked, never a success
  * a sample that was not fooled is returned as it came, with `reason`; its strongest attempt is in `candidate`
  * robust accuracy counts already wrong samples as wrong
  * a network that does not answer (its largest logit is NaN or infinite) is wrong, before and after; `reason` says so, and
    settings['no_answer'] counts both

Imports: numpy, minigrad.checkpoint, minigrad.tensor, arrays, goal, streams, threat, victim.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from attacks.core.arrays import NO_ANSWER, alike, at_rows, choose, flat, host, joined, raw, real, replaced, said, whole
from attacks.core.goal import Goal
from attacks.core.streams import SampleStreams, seed_of
from attacks.core.threat import Threat
from attacks.core.victim import Taken, View
from minigrad import checkpoint
from minigrad.tensor import Tensor

NOT_FOUND, ALREADY, ZERO, NAN, BUDGET = (
    "no adversarial example found", "already wrong, not attacked", "zero gradient: the victim masks it or saturates",
    "the gradient is not finite", "query budget spent",
)
BATCH = 250  # samples attacked together, where nobody says otherwise
SILENT = "the victim gives no answer: its largest logit is NaN or infinite"


@dataclasses.dataclass
class Result:
    """What came of an attack on N samples. x_adv, candidate and original have the type that was given, all else is NumPy's.

    x_adv          (N, ...) the adversarial example where success, else the original, to the bit
    success        (N,) bool: fooled now, and was not before
    already_wrong  (N,) bool
    distance       (N,) size of the perturbation: 0 where already wrong, inf where none was found
    objective      (N,) what the attack climbed, at the candidate; NaN where not attacked
    steps          (N,) steps taken; queries (N,) forward passes of the attacker
    reason         (N,) str, empty where success (but where that is no answer at all)
    zero_gradient  (N,) bool: the gradient vanished entirely at some step
    candidate      (N, ...) the strongest attempt, successful or not
    original       (N, ...) what was attacked
    settings       dict: attack, threat, seed, every option
    trace          None or dict of arrays (T, N): objective, success, distance at each step, NaN where a sample rested
    """

    x_adv: object
    success: np.ndarray
    already_wrong: np.ndarray
    distance: np.ndarray
    objective: np.ndarray
    steps: np.ndarray
    queries: np.ndarray
    reason: np.ndarray
    zero_gradient: np.ndarray
    candidate: object
    original: object
    settings: dict
    trace: dict | None = None

    def __len__(self):
        return len(self.success)

    def __repr__(self):
        return (f"Result({self.settings.get('attack')}: {len(self)} samples, success {self.success_rate:.3f}, "
                f"robust accuracy {self.robust_accuracy:.3f})")

    @property
    def clean_accuracy(self) -> float:
        """Share of samples that were right before the attack."""
        return _share(~self.already_wrong, len(self))

    @property
    def robust_accuracy(self) -> float:
        """Share of all samples that were right and were not fooled. NaN for an empty batch."""
        return _share(~self.already_wrong & ~self.success, len(self))

    @property
    def success_rate(self) -> float:
        """Share of the samples that were right before and were fooled. NaN where none was right."""
        return _share(self.success, int((~self.already_wrong).sum()))

    def at(self, epsilon: float) -> Result:
        """The result if only perturbations of size <= epsilon counted: what is larger becomes a failure.

        An attack that looks for the smallest perturbation has this result at any epsilon. For an attack at a fixed epsilon
        it is an upper bound on the robust accuracy there. ValueError for a negative epsilon or NaN.
        """
        epsilon = real("at", "[0, inf]", epsilon=epsilon)
        lost = self.success & (self.distance > epsilon * (1 + 1e-6))  # float32 measures 0.1 as 0.1000000015
        return dataclasses.replace(
            self, x_adv=choose(lost, self.original, self.x_adv), success=self.success & ~lost,
            distance=np.where(lost, np.inf, self.distance),
            reason=np.where(lost, np.array([f"needs {d:.6g} > {epsilon:g}" for d in self.distance], object), self.reason),
            settings={**self.settings, "at": float(epsilon)},
        )

    def curve(self, epsilons=None):
        """(epsilons, robust accuracy at each); by default at 0 and every distance found, where the curve has its steps."""
        if epsilons is None:
            epsilons = np.unique(np.concatenate([[0.0], self.distance[np.isfinite(self.distance)]]))
        epsilons = np.asarray(epsilons, np.float64)
        if not (epsilons >= 0).all():
            raise ValueError(f"curve: epsilons must be at least 0, got {epsilons!r}")
        return epsilons, (self.distance[None] > epsilons[:, None] * (1 + 1e-6)).mean(axis=1)

    def __getitem__(self, rows) -> Result:
        """The result of some samples."""
        kept = {f: at_rows(getattr(self, f), rows) for f in _PER_SAMPLE}
        trace = None if self.trace is None else {k: v[:, rows] for k, v in self.trace.items()}
        return dataclasses.replace(self, **kept, trace=trace)

    def merge(self, rows, other: Result) -> Result:
        """This result with the samples `rows` replaced by `other`'s wherever that is better: another run on survivors.

        Better is (success, objective). Steps and queries of both runs add up; the trace is the first run's.
        """
        rows = np.arange(len(self))[rows]
        better = (other.success & ~self.success[rows]) | (
            (other.success == self.success[rows]) & (other.objective > self.objective[rows])
        )
        out = {}
        for f in _PER_SAMPLE:
            out[f] = replaced(getattr(self, f), rows[better], at_rows(getattr(other, f), np.flatnonzero(better)))
        for f in ("steps", "queries"):
            out[f] = getattr(self, f).copy()
            out[f][rows] += getattr(other, f)
        return dataclasses.replace(self, **out)

    @staticmethod
    def join(results) -> Result:
        """One result for batches attacked one after another; settings of the first. Traces are dropped."""
        results = list(results)
        if not results:
            raise ValueError("Result.join: nothing to join")
        parts = {f: joined([getattr(r, f) for r in results]) for f in _PER_SAMPLE}
        return dataclasses.replace(results[0], **parts, trace=None)

    # ---- files -------------------------------------------------------------------------------------------------------

    def save_npz(self, path) -> None:
        """Everything to one .npz (minigrad.checkpoint: atomic, no pickle); `Result.load_npz(path)` reads it."""
        tree = {f: host(raw(getattr(self, f))) for f in _PER_SAMPLE}
        tree["reason"] = [str(r) for r in self.reason]
        tree["trace"] = None if self.trace is None else {k: np.asarray(v) for k, v in self.trace.items()}
        tree["settings"] = json.loads(json.dumps(self.settings, default=str))
        checkpoint.save(path, tree)

    @staticmethod
    def load_npz(path) -> Result:
        """The result as saved; arrays are NumPy's. Raises CheckpointError for a file that is not one."""
        tree = checkpoint.load(path)
        missing = [f for f in (*_PER_SAMPLE, "settings", "trace") if f not in tree]
        if missing:
            raise checkpoint.CheckpointError(path, f"not the result of an attack: it lacks {', '.join(missing)}")
        tree["reason"] = np.array(tree["reason"], object)
        return Result(**tree)


_PER_SAMPLE = ("x_adv", "success", "already_wrong", "distance", "objective", "steps", "queries", "reason", "zero_gradient",
               "candidate", "original")


class Task:
    """One attack from its arguments to its Result; every attack of the package opens and closes with it.

        task = Task("pgd", view, x, goal, rng=0)
        task.x        (N, ...) array on the victim's device and in its dtype, within bounds
        task.goal     one label for each sample;  task.box  (lo, hi)
        task.rows     samples to attack;  task.streams("start")  their random numbers (index as x: by row of the batch)
        ...           candidate = task.x.copy(); candidate[rows] = ...
        return task.result(candidate, threat=threat, settings={...})

    attack_wrong: also attack what is wrong from the start. looks: how often the clean (unperturbed) samples are predicted, to
    take the majority where a victim answers at random. `task.clean` (N, classes) are the logits of the first look, NumPy.
    """

    def __init__(self, name: str, view: View, x, goal: Goal, *, rng=0, attack_wrong: bool = False, looks: int = 1):
        if not isinstance(goal, Goal):
            raise TypeError(f"{name}: goal must be Untargeted(y) or Targeted(t), got {type(goal).__name__}")
        self.name, self.view, self.victim = name, view, view.victim
        taken = self.victim.taken(x, name)
        self.given, self.x = taken.given, taken.array
        self.box, self.seed = self.victim.bounds, seed_of(rng)
        clean = self.victim.logits(self.x)
        self.goal = goal.on(len(self.x), clean.shape[1], name)
        votes = sum((self.goal.already_wrong(self.victim.logits(self.x)) for _ in range(looks - 1)),
                    self.goal.already_wrong(clean).astype(np.int64))
        self.already_wrong = 2 * votes > looks
        self.rows = np.arange(len(self.x)) if attack_wrong else np.flatnonzero(~self.already_wrong)
        self.attack_wrong, self.clean = attack_wrong, clean
        view.begin(len(self.x))

    def taken(self, rows) -> Taken:
        """Some samples for another attack on the same victim, which need not check them again."""
        return Taken(self.victim, self.x[rows])

    def streams(self, purpose: str = "") -> SampleStreams:
        """A stream for each sample of the batch (N), for this purpose."""
        return SampleStreams(self.seed, self.x, f"{self.name}/{purpose}" if purpose else self.name, self.box)

    def result(self, candidate, *, threat: Threat, measure: Threat | None = None, found=None, objective=None, steps=0,
               zero_gradient=None, reason=None, settings=None, trace=None, judge=None) -> Result:
        """Decide success on what is returned, and fill in the rest.

        candidate  (N, ...) the strongest attempt for each sample; put into ball (threat) and box first
        found      (N,) bool: False where the attack itself does not claim success (default: whatever the victim says)
        objective  (N,); default: the margin at the candidate
        reason     {row: text} or (N,) of str for failures whose cause is known
        judge      judge(array (N, ...)) -> success (N,), instead of one forward pass: for randomised victims, transforms
        """
        n = len(self.x)
        candidate = np.clip(threat.settle(np.clip(candidate, *self.box), self.x), *self.box)
        bad = ~flat(np.isfinite(candidate)).all(axis=1)
        candidate = np.where(bad.reshape((-1,) + (1,) * (candidate.ndim - 1)), self.x, candidate)
        out, original = self._as_given(candidate, threat)
        seen = np.clip(self.victim.cast(raw(out)), *self.box)
        z = self.victim.logits(seen)
        won = self.goal.success(z) if judge is None else judge(seen)
        success = host(won) & ~self.already_wrong
        if found is not None:
            success &= host(found)
        moved = self._wide(out) - original
        size = host((measure or threat).size(moved * (np.asarray(success, like=moved).reshape((-1,) + (1,) * (moved.ndim - 1)))))
        why = np.full(n, NOT_FOUND, object)
        zero = np.zeros(n, bool) if zero_gradient is None else host(zero_gradient).astype(bool)
        why[zero] = ZERO
        why[host(bad)] = NAN
        for i, text in (reason.items() if isinstance(reason, dict) else enumerate(reason if reason is not None else ())):
            why[i] = text or why[i]
        why[self.already_wrong] = ALREADY if not self.attack_wrong else "already wrong"
        silent = np.stack([said(self.clean), said(host(z))]) == NO_ANSWER
        for i in np.flatnonzero(silent[0]):
            why[i] = f"{why[i]}: {SILENT}"
        for i in np.flatnonzero(silent[1] & ~self.already_wrong):
            why[i] = SILENT
        why[success & ~silent[1]] = ""
        objective = np.array(host(self.goal.margin(z) if objective is None else objective), np.float64)
        objective[np.setdiff1d(np.arange(n), self.rows)] = np.nan
        seconds = {"attack": self.name, "threat": repr(threat), "goal": type(self.goal).__name__, "seed": self.seed,
                   "victim": repr(self.victim), "view": self.view.grade, "budget": self.view.budget}
        if silent.any():
            seconds["no_answer"] = {"clean": int(silent[0].sum()), "attacked": int((silent[1] & ~self.already_wrong).sum())}
        return Result(
            x_adv=choose(success, out, self.given), success=success, already_wrong=self.already_wrong.copy(),
            distance=np.where(self.already_wrong, 0.0, np.where(success, size, np.inf)),
            objective=objective, steps=np.broadcast_to(host(steps), (n,)).astype(np.int64),
            queries=self.view.queries.copy(), reason=why, zero_gradient=zero, candidate=out,
            settings={**seconds, **(settings or {})}, trace=trace, original=self.given,
        )


    def _wide(self, a):
        """The array of an input, in float64 on the victim's device."""
        return Tensor.wrap(raw(a)).to(np.float64, device=self.victim.device).array

    def _as_given(self, candidate, threat):
        """(candidate in the type and dtype that was given, what was given in float64): in ball and box as it stands.

        Rounding goes towards the original, never away. So what is returned lies in the ball even in float16.
        """
        original, dtype = self._wide(self.given), raw(self.given).dtype
        exact = np.clip(threat.settle(candidate.astype(np.float64), original), *self.box)
        exact = np.where(candidate == self.x, original, exact)
        out = exact.astype(dtype)
        away = np.abs(out.astype(np.float64) - original) > np.abs(exact - original)
        return alike(self.given, np.where(away, np.nextafter(out, original.astype(dtype)), out)), original


def batched(attack, victim, x, goal, *args, batch: int = BATCH, rng=0, **options) -> Result:
    """attack(victim, x, goal, *args, rng=rng, **options) in batches, joined: the same result in less memory.

    Radii of a threat among args may be one for each sample. Samples are independent, so batches change nothing but time.
    """
    seed, parts, batch = seed_of(rng), [], whole("batched", batch=batch)
    for first in range(0, max(len(x), 1), batch):
        rows = slice(first, first + batch)
        here = [a[rows] if isinstance(a, Threat) else a for a in args]
        parts.append(attack(victim, x[rows], goal[rows], *here, rng=seed, **options))
    return Result.join(parts)


def _share(mask, n) -> float:
    return float(mask.sum() / n) if n else float("nan")
