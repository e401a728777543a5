"""Units: the same network in (0, 1), (0, 255) and (-1, 1) falls to the same perturbations, under every attack of the table.

Radii and explicit steps are in the units of the input and are scaled by the test; all else is a default, which must mean the same.
The random numbers of a sample are the same in all units, so the distances agree, not only their means.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from attacks import Targeted, Untargeted, Victim
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, perform
from minigrad import nn
from minigrad.random import Stream

RANGES = [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)]
RADII = {"linf": 0.1, "l2": 0.6, "l1": 4.0, "l0": 6}
FEW = dict(steps=30, queries=150, draws=60, search_steps=4, population=12, generations=6, samples=8, coordinates=16, pixels=4,
           targets=3, restarts=2, candidates=5, rotations=9, shifts=3, seed=5)
MORE = {"boundary": dict(steps=400), "hop_skip_jump": dict(steps=5), "zoo": dict(steps=150, coordinates=32),
        "ead": dict(steps=100, search_steps=8), "carlini_l2": dict(steps=100, lr=0.1, search_steps=6),
        "carlini_linf": dict(steps=100, lr=0.1), "jsma": dict(share=0.5)}
pytestmark = pytest.mark.filterwarnings("ignore:.*too short")
CASES = [(name, norm, targeted) for name, a in ATTACKS.items() for norm in a.norms
         for targeted in ([False, True] if a.targeted and norm == a.norms[0] else [False])]


def network():
    s = Stream(1, "network")
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, rng=s), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(384, 24, rng=s),
                        nn.Tanh(), nn.Linear(24, 6, rng=s))
    net[-1].weight.assign_(8 * net[-1].weight.array)  # logits as large as trained ones: searches for a constant end in time
    return net


def found_in(bounds, name, norm, targeted, n=10):
    """(success (n,), distance (n,) as a part of the range) of one attack on the same pictures in these bounds."""
    lo, hi = bounds
    width = hi - lo
    victim = Victim(network(), bounds=bounds, normalize=(lo, width))  # sees what it sees in (0, 1)
    x = np.round(Stream(2, "pictures").uniform(-0.2, 1.2, (n, 1, 8, 8)).clip(0, 1) * 255) / 255  # as from a file
    y = Victim(network()).predict(x.astype(np.float32)).argmax(1)
    x = (lo + x * width).astype(np.float32)
    goal = Targeted((y + 1) % 6, y) if targeted else Untargeted(y)
    radius = RADII[norm] * (1 if norm == "l0" else width)
    threat = setting.ball(norm, radius) if "threat" in ATTACKS[name].takes else None
    found = perform(ATTACKS[name], victim, x, goal, threat, SimpleNamespace(norm=norm, **{**FEW, **MORE.get(name, {})}))
    return found.success, found.distance / (1 if norm == "l0" else width)


@pytest.mark.parametrize("name, norm, targeted", CASES)
def test_an_attack_finds_the_same_in_any_units(name, norm, targeted):
    success, distance = found_in(RANGES[0], name, norm, targeted)
    for bounds in RANGES[1:]:
        again, far = found_in(bounds, name, norm, targeted)
        assert np.array_equal(again, success)
        within = 0.15 if name == "carlini_linf" else 0.05  # its answers are accurate to 1 - decrease, the last step of tau
        if success.any():
            assert (np.abs(far[success] / distance[success] - 1) < within).mean() >= 0.8  # rounding may turn one of ten elsewhere
            assert abs(far[success].mean() / distance[success].mean() - 1) < 0.05
    assert success.any() or name in ("random_noise", "one_pixel", "spatial")
