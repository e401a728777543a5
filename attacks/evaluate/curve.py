"""Accuracy against epsilon, and the worst case for each sample over many attacks.

One number at one epsilon says little. The curve tells where a network gives way, and it shows a broken attack by rising, or by
never reaching chance. An adversarial example at one epsilon is one at every larger epsilon too. So the worst case is a distance
for each sample: the smallest epsilon at which anything fooled it. An attack that looks for the smallest perturbation gives the
whole curve from one run (`Result.curve`); an attack at fixed epsilon is run at each.

Imports: numpy, attacks.core.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attacks.core.arrays import real
from attacks.core.goal import Untargeted
from attacks.core.result import batched
from attacks.core.threat import Threat


@dataclasses.dataclass
class Curves:
    """Accuracy of N samples at E radii.

    epsilons  (E,) rising, the first 0
    accuracy  {attack: (E,)} as each attack left it, at each epsilon by itself
    worst     (E,) under all attacks together, per sample, found at this or any smaller epsilon
    distance  (N,) the smallest perturbation that fooled: 0 where wrong from the start, inf where nothing did
    by        (N,) str: the attack that found it
    """

    epsilons: np.ndarray
    accuracy: dict
    worst: np.ndarray
    distance: np.ndarray
    by: np.ndarray

    def at(self, epsilon: float) -> float:
        """Robust accuracy under all attacks at any epsilon."""
        epsilon = real("at", "[0, inf]", epsilon=epsilon)
        return float(beyond(self.distance, epsilon).mean())

    @property
    def least_of_means(self) -> np.ndarray:
        """(E,) the accuracy under the best single attack: never below `worst`, and not to be reported."""
        return np.min(list(self.accuracy.values()), axis=0)

    @property
    def half(self) -> float:
        """The epsilon at which half of the samples that were right at 0 are fooled; inf if that is never reached."""
        right = self.distance[self.distance > 0]
        return float(np.quantile(right, 0.5, method="inverted_cdf")) if len(right) else 0.0


def curves(victim, x, y, threat: Threat, epsilons, fixed: dict | None = None, minimum: dict | None = None, *,
           known: dict | None = None, run=None, batch: int = 250, rng=0, seen=None) -> Curves:
    """Attack x (N, ...), y (N,) at every epsilon.

    threat    its norm is used, not its radius;  epsilons: at least 0, put in order, with 0 added
    fixed     {name: attack(victim, x, goal, threat, rng=)}: run at each epsilon, on every sample (so each curve is honest)
    minimum   {name: attack(victim, x, goal, norm, rng=)}: run once
    known     {name: Result} of other attacks on the same samples: they count for the worst case and have no curve
    run       run(attack, threat) -> Result, instead of running `fixed` here (to share runs that were made already)
    seen      called with (name, epsilon, Result) after each run; epsilon is None for minimum
    """
    fixed, minimum = fixed or {}, minimum or {}
    grid = np.unique(np.concatenate([[0.0], np.asarray(epsilons, np.float64).ravel()]))
    if grid[0] < 0 or not np.isfinite(grid).all():
        raise ValueError(f"curves: epsilons must be finite and at least 0, got {epsilons!r}")
    if not fixed and not minimum:
        raise ValueError("curves: give at least one attack, in fixed or minimum")
    goal, results, accuracy = Untargeted(y), {(name, None): r for name, r in (known or {}).items()}, {}
    if run is None:
        def run(attack, ball):
            return batched(attack, victim, x, goal, ball, batch=batch, rng=rng)

    right = float(victim.accuracy(x, y))
    for name, attack in fixed.items():
        accuracy[name] = np.full(len(grid), right)
        for i, epsilon in enumerate(grid[1:], 1):
            found = run(attack, threat.with_epsilon(epsilon))
            accuracy[name][i] = found.robust_accuracy
            results[name, i] = found
            if seen is not None:
                seen(name, float(epsilon), found)
    for name, attack in minimum.items():
        found = batched(attack, victim, x, goal, type(threat), batch=batch, rng=rng)
        accuracy[name] = found.curve(grid)[1]
        results[name, 0] = found
        if seen is not None:
            seen(name, None, found)
    distance, which = worst_case(results)
    by = np.array([w[0] if isinstance(w, tuple) else w for w in which], object)
    return Curves(grid, accuracy, beyond(distance[None], grid[:, None]).mean(axis=1), distance, by)


def beyond(distance, epsilon):
    """distance > epsilon, but for rounding: a float32 perturbation of 0.1 measures 0.1000000015 (inside_ball allows 1e-6)."""
    return distance > epsilon * (1 + 1e-6)


def worst_case(results: dict) -> tuple[np.ndarray, np.ndarray]:
    """(distance (N,), key (N,)) over {key: Result} of the same samples: for each the nearest example of all.

    0 and 'already wrong' where the sample was wrong before; inf and '' where nothing fooled it. Where two are equally near the
    first is named. The distances of fixed-epsilon attacks are the sizes of what they found: upper bounds.
    """
    found = list(results.values())
    if not found or len({len(r) for r in found}) != 1:
        raise ValueError("worst_case: results must be of the same samples, and at least one")
    distance, by = np.full(len(found[0]), np.inf), np.full(len(found[0]), "", object)
    for key, r in results.items():
        nearer = r.success & (r.distance < distance)
        distance[nearer] = r.distance[nearer]
        for i in np.flatnonzero(nearer):
            by[i] = key
    wrong = np.any([r.already_wrong for r in found], axis=0)
    distance[wrong] = 0.0
    by[wrong] = "already wrong"
    return distance, by
