"""DeepFool where the box binds: the exact point is the projection onto {hyperplane and box}; success holds alone."""

import numpy as np
import pytest

from attacks import L1, L2, Linf, Targeted, Untargeted, Victim, deepfool
from attacks.core.projections import onto_hyperplane
from minigrad.random import Stream
from tests.attacks.linear import images, linear, small_network

norms = pytest.mark.parametrize("norm", [L2, Linf, L1])


def pictures(seed, n=16, d=30, k=4):
    """(victim, x, y, W, b): linear, on [0, 1], where most coordinates are black or white."""
    s = Stream(seed, "pictures")
    weight = s.normal((k, d)).astype(np.float64)
    bias = s.normal((k,)).astype(np.float64) * 0.3 - weight.sum(1) / 2
    x = np.clip(s.normal((n, d)) * 1.5 + 0.5, 0, 1).astype(np.float32)
    victim = Victim(linear(weight, bias))
    z = victim.predict(x)
    return victim, x, z.argmax(1), weight.astype(np.float32).astype(np.float64), bias.astype(np.float32).astype(np.float64)


def exact(x, y, weight, bias, measure):
    """(N,) the distance to the nearest {hyperplane and box}; inf where no class can be reached."""
    found = np.full(len(x), np.inf)
    z = x.astype(np.float64) @ weight.T + bias
    for k in range(len(bias)):
        w, gap = weight[k] - weight[y], z[np.arange(len(x)), y] - z[:, k]
        room = np.where(w > 0, 1 - x, x)
        there = onto_hyperplane(x.astype(np.float64), w, (w * x).sum(1) + gap, (0, 1), measure)
        can = (k != y) & ((np.abs(w) * room).sum(1) > gap)
        found = np.minimum(found, np.where(can, measure.size(there - x), np.inf))
    return found


@norms
def test_on_linear_models_in_a_box_it_is_the_exact_projection_but_for_the_overshoot(norm):
    free, bound = 0, 0
    for seed in range(12):
        victim, x, y, weight, bias = pictures(seed)
        distance = exact(x, y, weight, bias, norm(0))
        found = deepfool(victim, x, Untargeted(y), norm=norm, candidates=None)
        can = np.isfinite(distance)
        assert (found.success == can).all()
        ratio = found.distance[can] / distance[can]
        assert (ratio > 1 - 1e-4).all() and (ratio < 1.02 + 2e-3).all()
        assert np.median(found.steps[can]) <= (1 if norm is L1 else 5)
        bound += int(((found.x_adv == 0) | (found.x_adv == 1))[can].sum())
        free += int(can.sum())
    assert free > 150 and bound > 10 * free  # the box was felt


@norms
@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_every_success_holds_when_the_sample_is_seen_alone(norm, goal):
    victim, x = Victim(small_network(side=8)), images(n=40, side=8)
    y = victim.predict(x).argmax(1)
    found = deepfool(victim, x, Targeted((y + 1) % 4, y) if goal == "targeted" else Untargeted(y), norm=norm)
    assert found.success.mean() > 0.9
    for i in np.flatnonzero(found.success):
        alone = victim.predict(found.x_adv[i : i + 1]).argmax(1)
        assert alone != y[i] if goal == "untargeted" else alone == (y[i] + 1) % 4


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_it_ends_as_near_as_foolbox_does_on_the_same_weights(kind):
    foolbox = pytest.importorskip("foolbox")
    from benchmarks import attack as beside
    from nets.classifiers.strided import Strided

    method, epsilon = ("standard", 0.0) if kind == "standard" else ("fast", 0.1)
    case = beside.trained(kind, Strided(rng=Stream(0, "init")), method, epsilon, 120, count=150, limit=3000)
    for norm, theirs in ((L2, foolbox.attacks.L2DeepFoolAttack()), (Linf, foolbox.attacks.LinfDeepFoolAttack())):
        found = deepfool(case.victim, case.x, Untargeted(case.y), norm=norm)
        _, x_adv, won = theirs(case.model, beside.THEIRS.images(case.x), beside.THEIRS.tensor(case.y), epsilons=None)
        both = found.success & won.numpy() & case.right
        far = norm(0).size(x_adv.numpy() - case.x)
        assert both.sum() >= case.right.sum() - 1 and found.distance[both].mean() < 1.03 * far[both].mean()
