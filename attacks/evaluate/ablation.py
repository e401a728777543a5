"""What each attack of the ensemble adds: alone, left out, and on samples that nothing else fools.

`auto` shows an attack only what the ones before it left standing, so its table says which attack came first, not which was
needed. Here each attack also meets the samples that fell before its turn. The rest is known from the ensemble, because attacks
treat samples one by one and equal seeds give equal attacks. With F[a, i] = attack a fools sample i:

    alone     share of samples that are right and not F[a]
    without   share that are right and not F[b] for any b but a: what would have been reported without it
    only      how many samples a fools and no other attack does

An attack with `without` equal to the ensemble's accuracy was of no use here; on another network it may be the one that is.

Imports: numpy, attacks.core, auto.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attacks.core.arrays import whole
from attacks.core.goal import Untargeted
from attacks.core.result import Result
from attacks.evaluate.auto import Ensemble, watched


@dataclasses.dataclass
class Ablation:
    """names (A,) of the attacks; fooled (A, N) bool, each by itself; right (N,) bool before any; first (N,) str as Ensemble.by."""

    names: list
    fooled: np.ndarray
    right: np.ndarray
    first: np.ndarray

    def stands(self, chosen) -> float:
        """Robust accuracy under the attacks `chosen`, (A,) bool; NaN where there are no samples."""
        return float((self.right & ~self.fooled[np.asarray(chosen, bool)].any(axis=0)).mean())

    @property
    def rows(self) -> list[dict]:
        """One dict for each attack: attack, first (samples it fooled in its turn), alone, without, only."""
        found, one = [], np.eye(len(self.names), dtype=bool)
        for i, name in enumerate(self.names):
            only = self.fooled[i] & ~self.fooled[~one[i]].any(axis=0)
            found.append({"attack": name, "first": int((self.first == name).sum()), "alone": self.stands(one[i]),
                          "without": self.stands(~one[i]), "only": int(only.sum())})
        return found


def ablate(ensemble: Ensemble, victim, x, y, threat, *, batch: int = 250, seen=None, bar=None) -> Ablation:
    """Complete an ensemble, made by auto(victim, x, y, threat, ...), with the runs that it spared; the same arguments here.

    seen: called with (name, how many samples were run in addition) after each attack. bar: moves as `auto.watched` says.
    """
    goal = y if isinstance(y, Untargeted) else Untargeted(y)
    batch = whole("ablate", batch=batch)
    names, first, seed = list(ensemble.attacks), ensemble.by, ensemble.result.settings["seed"]
    right = ~ensemble.result.already_wrong
    goal = goal.on(len(right), name="ablate")
    fooled = np.zeros((len(names), len(right)), bool)
    for i, (name, attack) in enumerate(ensemble.attacks.items()):
        fooled[i] = first == name
        rows = np.flatnonzero(np.isin(first, names[:i]))  # fell before its turn
        with watched(bar, attack, victim, rows, len(right), batch):
            for some in np.split(rows, range(batch, len(rows), batch)) if len(rows) else ():
                found: Result = attack(victim, x[some], goal[some], threat[some], rng=seed)
                fooled[i, some] = found.success
        if seen is not None:
            seen(name, len(rows))
    return Ablation(names, fooled, right, first)
