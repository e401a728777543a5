"""What holds for every attack of the table, in every norm: bounds, batches, seeds, counting, and the victim left alone."""
from types import SimpleNamespace

import numpy as np
import pytest

from attacks import Targeted, Untargeted, Victim
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, perform
from minigrad import nn
from minigrad.random import Stream

RADII = {"linf": 0.3, "l2": 0.9, "l1": 3.0, "l0": 4.0}
SMALL = dict(steps=5, queries=80, draws=30, search_steps=3, population=8, generations=3, samples=8, coordinates=4, pixels=2,
             targets=2, restarts=2, candidates=3, lr=0.3, seed=5)
CASES = [pytest.param(name, norm, targeted, id=f"{name}-{norm}-{'targeted' if targeted else 'untargeted'}")
         for name, a in ATTACKS.items() for norm in a.norms for targeted in ([False, True] if a.targeted else [False])]
pytestmark = pytest.mark.filterwarnings("ignore:.*too short")


def network():
    """In training mode, with dropout: whoever forgets evaluation mode gets another answer each time."""
    rng = Stream(3, "network")
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, rng=rng), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(64, 16, rng=rng),
                         nn.Dropout(0.5, rng=rng), nn.LeakyReLU(0.1), nn.Linear(16, 5, rng=rng))


def task(targeted):
    """Seven images, of which the third and the last are wrong from the start."""
    net = network()
    victim = Victim(net, bounds=(0, 1))
    x = np.clip(Stream(4, "images").normal((7, 1, 4, 4)) / 4 + 0.5, 0, 1).astype(np.float32)
    x[0, 0, 0, :2] = 0, 1  # a coordinate on either side of the box
    y = victim.predict(x).argmax(1)
    y[[2, 6]] = (y[[2, 6]] + 1) % 5
    return net, victim, x, Targeted((y + 2) % 5, y) if targeted else Untargeted(y), y


def run(name, norm, victim, x, goal):
    threat = setting.ball(norm, RADII[norm]) if "threat" in ATTACKS[name].takes else None
    return perform(ATTACKS[name], victim, x, goal, threat, SimpleNamespace(norm=norm, **SMALL)), threat


@pytest.mark.parametrize("name, norm, targeted", CASES)
def test_every_attack_keeps_the_rules(name, norm, targeted):
    net, victim, x, goal, y = task(targeted)
    net[0].weight.grad = kept = net[0].weight * 0
    given = x.copy()
    found, threat = run(name, norm, victim, x, goal)

    assert net.training and net[4].training and all(p.requires_grad for p in net.parameters())
    assert net[0].weight.grad is kept and np.array_equal(x, given)
    assert found.x_adv.dtype == np.float32 and found.x_adv.shape == x.shape

    wrong = victim.predict(x).argmax(1) != y
    assert np.array_equal(found.already_wrong, wrong) and not found.success[wrong].any()
    lost = ~found.success
    assert np.array_equal(found.x_adv[lost], x[lost]) and all(found.reason[i] for i in np.flatnonzero(lost))
    assert found.x_adv.min() >= 0 and found.x_adv.max() <= 1
    if threat is not None:
        assert (threat.size(found.x_adv - x) <= threat.epsilon * (1 + 1e-6) + 1e-6).all()

    for i in np.flatnonzero(found.success):  # judged anew, alone
        (p,) = victim.predict(found.x_adv[i : i + 1]).argmax(1)
        assert p == goal.labels[i] if targeted else p != y[i]

    again, _ = run(name, norm, victim, x, goal)
    assert found.x_adv.tobytes() == again.x_adv.tobytes()


class Counting(Victim):
    """Counts the pictures that it checks."""

    checked = 0

    def check(self, x, name="attack"):
        self.checked += len(x)
        super().check(x, name)


@pytest.mark.parametrize("name, norm, targeted", CASES)
def test_a_picture_is_checked_once_on_its_way_through_an_attack(name, norm, targeted):
    net, victim, x, goal, _ = task(targeted)
    counting = Counting(net, bounds=(0, 1))
    run(name, norm, counting, x, goal)
    assert counting.checked == len(x)
    for wrong, error, words in ((x * 2, ValueError, "bounds"), (x * np.nan, ValueError, "bounds"),
                                (x[0, 0, 0], ValueError, "batch"), ((x * 255).astype(np.uint8), TypeError, "255"),
                                (x.tolist(), TypeError, "array")):
        with pytest.raises(error, match=words):  # at the door
            run(name, norm, victim, wrong, goal)


@pytest.mark.parametrize("name, norm, targeted", CASES)
def test_no_sample_feels_another(name, norm, targeted):
    """The same samples in a smaller batch: same pictures, same number of queries, and the same random numbers."""
    _, victim, x, goal, _ = task(targeted)
    whole, _ = run(name, norm, victim, x, goal)
    part, _ = run(name, norm, victim, x[:4], goal[:4])
    assert np.array_equal(part.success, whole.success[:4])
    np.testing.assert_allclose(part.x_adv, whole.x_adv[:4], atol=1e-5)
    assert np.array_equal(part.queries, whole.queries[:4])
