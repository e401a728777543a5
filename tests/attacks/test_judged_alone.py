"""What an attack calls a success is one in any batch and any order: judged one by one, reversed, in batches of 1, 7 and 64.

Networks of 3,072 and 12,288 inputs, where another batch size changes logits in their sixth digit. Attacks that stop at a boundary
(DeepFool, FAB, Carlini & Wagner, HopSkipJump) are the ones in danger; the table holds all.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from attacks import Untargeted, Victim
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, perform
from minigrad import nn
from minigrad.random import Stream

RADII = {"linf": 0.05, "l2": 1.5, "l1": 40.0, "l0": 40}
FEW = dict(steps=15, queries=60, draws=20, search_steps=3, population=8, generations=4, samples=6, coordinates=16, pixels=20,
           targets=2, restarts=1, candidates=3, lr=0.6, rotations=5, shifts=3, seed=5)
MORE = {"boundary": dict(steps=300), "hop_skip_jump": dict(steps=4), "zoo": dict(steps=40), "carlini_linf": dict(steps=10),
        "ead": dict(steps=40, lr=0.01, search_steps=7), "fab": dict(steps=40)}
pytestmark = pytest.mark.filterwarnings("ignore:.*too short")


def network(side, channels=3):
    s = Stream(side, "network")
    return nn.Sequential(nn.Conv2d(channels, 8, 4, 2, 1, rng=s), nn.ReLU(), nn.Flatten(), nn.Linear(2 * side * side, 10, rng=s))


def setting_of(side, n):
    victim = Victim(network(side))
    x = Stream(side, "pictures").uniform(0, 1, (n, 3, side, side)).astype(np.float32)
    return victim, x, victim.predict(x).argmax(1)


def losses_when_judged_apart(victim, found, y):
    """How many successes some way of batching does not confirm."""
    x, y = found.x_adv[found.success], y[found.success]
    held = np.ones(len(x), bool)
    for batch in (1, 7, 64):
        for way in (slice(None), slice(None, None, -1)):
            z = np.concatenate([victim.predict(x[way][i : i + batch]) for i in range(0, len(x), batch)])[way] if len(x) else x
            held &= z.argmax(1) != y if len(x) else held
    return int((~held).sum())


CASES = [(name, norm) for name, a in ATTACKS.items() for norm in a.norms]
CHANCE = ("random_noise", "one_pixel", "square", "spsa", "nes")  # what they find in so few queries is luck


def measured(name, norm, side, n):
    """(successes, how many of them are lost when judged apart) on n pictures."""
    victim, x, y = setting_of(side, n)
    threat = setting.ball(norm, RADII[norm]) if "threat" in ATTACKS[name].takes else None
    options = SimpleNamespace(norm=norm, **{**FEW, **MORE.get(name, {})})
    found = perform(ATTACKS[name], victim, x, Untargeted(y), threat, options)
    return int(found.success.sum()), losses_when_judged_apart(victim, found, y)


@pytest.mark.parametrize("side, n", [(32, 6), (64, 3)], ids=["3072", "12288"])
@pytest.mark.parametrize("name, norm", CASES)
def test_every_success_holds_alone_in_any_order_and_batch(name, norm, side, n):
    found, lost = measured(name, norm, side, n)
    assert lost == 0 and (name in CHANCE or found == n)


if __name__ == "__main__":  # python -m tests.attacks.test_judged_alone: many pictures
    for case in CASES:
        print(*case, *(f"{3 * side**2}: {f} of {n} found, {lost} lost" for side, n in ((32, 60), (64, 24))
                       for f, lost in [measured(*case, side, n)]), sep="   ", flush=True)
