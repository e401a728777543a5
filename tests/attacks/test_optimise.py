"""The one loop: each sample for itself, the best so far, expectation over transformations, every parameterisation."""

import weakref

import numpy as np
import pytest
from linear import binary, images, linear, small_network

import minigrad as mg
from attacks import (
    L2,
    SGD,
    Adam,
    Additive,
    Box,
    Direct,
    Linf,
    Shared,
    SignSGD,
    Steepest,
    TanhBox,
    Untargeted,
    Victim,
    optimise,
)
from attacks.core.best import GradientNotes, Patience
from attacks.core.climb import Climb
from attacks.core.loss import clipped_margin
from attacks.core.result import Task
from minigrad import nn, optim
from minigrad.random import Stream

OPTIMISERS = {
    "adam": Adam(0.02),
    "amsgrad": Adam(0.02, amsgrad=True),
    "sgd": SGD(0.05, momentum=0.9),
    "steepest": Steepest(0.02, momentum=0.9),
    "rmsprop": lambda params: optim.RMSprop(params, 0.003),
}
optimisers = pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)


def setting(n=12):
    victim, x = Victim(small_network()), images(n=n)
    return victim, x, Untargeted(victim.predict(x).argmax(1))


# ---- each sample for itself ------------------------------------------------------------------------------------------


@optimisers
@pytest.mark.parametrize("kind", [Additive, TanhBox])
def test_samples_that_leave_take_their_optimiser_state_with_them(kind, optimiser):
    """With early stopping each sample ends exactly where it ends alone."""
    victim, x, goal = setting()
    together = optimise(kind(x), victim, goal, L2(1.5), optimiser, 15, early_stop=True)
    assert 0 < together.success.sum() and len(set(together.steps)) > 2
    for i in range(0, 12, 3):
        alone = optimise(kind(x[i : i + 1]), victim, goal[[i]], L2(1.5), optimiser, 15, early_stop=True)
        assert alone.steps[0] == together.steps[i] and alone.queries[0] == together.queries[i]
        assert np.abs(alone.candidate[0] - together.candidate[i]).max() < 1e-4


def test_the_best_point_is_kept_by_success_and_then_by_value():
    """A loss that pulls back after success must not lose the success; a larger loss must not replace it."""
    victim, x, goal = setting()
    net = victim.net

    def turning(logits, goal):
        return goal.margin(logits) * (1 - 2 * goal.success(logits))  # climbs to the boundary and falls behind it

    result = optimise(Additive(x), victim, goal, Linf(0.3), SignSGD(0.02), 25, loss=turning, trace=True)
    seen = result.trace["success"].max(0) > 0
    assert seen.any() and (result.success == seen).all() and net is victim.net
    last = optimise(Additive(x), victim, goal, Linf(0.3), SignSGD(0.02), 25, loss=turning, keep="last")
    assert last.success.sum() <= result.success.sum()


def test_by_distance_the_smallest_successful_point_is_kept():
    victim, x, goal = setting()
    far = optimise(Additive(x), victim, goal, Linf(0.4), SignSGD(0.02), 30, measure=L2(0))
    near = optimise(Additive(x), victim, goal, Linf(0.4), SignSGD(0.02), 30, keep="distance", measure=L2(0), trace=True)
    assert (near.success == far.success).all() and near.success.any()
    won = near.success
    assert (near.distance[won] <= far.distance[won] + 1e-6).all()
    found = np.where(near.trace["success"] > 0, near.trace["distance"], np.inf).min(0)
    assert np.allclose(near.distance[won], found[won], atol=1e-5)


def test_weights_and_penalties_are_of_each_sample():
    """max of c <w, d> - ||d||^2 over d is at d = c w / 2: each sample with its own c."""
    victim, x, y, w, _ = binary(0)
    sign = np.where(y == 1, -1, 1)
    c, seen = np.linspace(0.1, 1.0, 8), []

    def penalty(x_adv, x, rows):
        seen.append(rows)
        return ((x_adv - x) ** 2).sum(1)

    result = optimise(Additive(x), victim, Untargeted(y), Box(), SGD(0.1), 60, weight=c, penalty=penalty, keep="last",
                      loss=lambda z, goal: goal.margin(z))
    assert np.allclose(result.candidate - x, (c * sign)[:, None] * w / 2, atol=1e-4)
    assert all((rows == np.arange(8)).all() for rows in seen)


def test_a_sample_that_does_not_improve_is_given_up():
    victim, x, y, _, _ = binary(0)
    flat = optimise(Additive(x), victim, Untargeted(y), Linf(0.01), SignSGD(0.01), 100, abort_early=True)
    full = optimise(Additive(x), victim, Untargeted(y), Linf(0.01), SignSGD(0.01), 100)
    assert (flat.steps <= 30).all() and (full.steps == 100).all() and np.allclose(flat.candidate, full.candidate, atol=1e-6)


def test_zero_gradients_are_flagged_and_nothing_is_divided_by_them():
    net = linear(np.zeros((3, 4)), np.array([1.0, 0, 0]))
    victim, x = Victim(net), Stream(0, "x").uniform(0, 1, (5, 4))
    for optimiser in OPTIMISERS.values():
        result = optimise(Additive(x), victim, Untargeted(np.zeros(5, int)), L2(0.5), optimiser, 5)
        assert result.zero_gradient.all() and (result.candidate == x).all() and not result.success.any()
        assert all("zero gradient" in r for r in result.reason)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_gradient_that_is_not_finite_hurts_no_other_sample():
    net = linear(np.eye(3), np.array([0.5, 0, 0]))
    x = np.full((4, 3), 0.4, np.float32)
    x[2, 1] = 0.25

    def broken(x):
        return net(x) + (mg.sqrt(x[:, 1:2] - 0.25) * 0.0)  # 0 * inf at 0.25

    result = optimise(Additive(x), Victim(broken), Untargeted([0] * 4), Linf(0.4), SignSGD(0.05), 12, early_stop=True)
    assert result.success.tolist() == [True, True, False, True]
    assert "finite" in result.reason[2] and not result.success[2] and (result.x_adv[2] == x[2]).all()


def test_a_given_start_is_projected():
    victim, x, goal = setting()
    result = optimise(Additive(x), victim, goal, Linf(0.1), SignSGD(0.0), 0, start=np.ones_like(x), keep="last")
    assert np.allclose(result.candidate, np.minimum(x + 0.1, 1), atol=1e-6) and (result.steps == 0).all()
    assert (result.queries == 1).all()
    with pytest.raises(ValueError, match="shape"):
        optimise(Additive(x), victim, goal, start=x[:3])
    with pytest.raises(ValueError, match="start"):
        optimise(Additive(x), victim, goal, start="here")


def test_the_loop_records_what_it_needs_also_where_nothing_is_recorded():
    victim, x, goal = setting()
    wanted = optimise(Additive(x), victim, goal, Linf(0.1), Adam(0.01), 4, samples=2)
    with mg.no_grad():
        found = optimise(Additive(x), victim, goal, Linf(0.1), Adam(0.01), 4, samples=2)
    assert found.candidate.tobytes() == wanted.candidate.tobytes() and (found.candidate != x).any()


def test_of_many_draws_one_graph_is_held_at_a_time():
    """When a draw is looked at, nothing is alive of the draws before the last one."""
    victim, x, goal = setting()
    alive, most = weakref.WeakSet(), []

    def draws(count, stream):
        def look(t):
            most.append(len(alive))
            node = t * 1.0
            alive.add(node)
            return node

        return [look] * count

    optimise(Additive(x), victim, goal, Linf(0.1), SignSGD(0.01), 2, transforms=draws, samples=5)
    assert len(most) == 15 + 5 and max(most[:15]) <= 1, most


# ---- parameterisations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (0, 255)])
def test_tanh_reaches_every_point_of_the_box_and_never_leaves_it(bounds):
    lo, hi = bounds
    x = (images(n=6) * (hi - lo) + lo).astype(np.float32)
    p = TanhBox(x)
    p.begin(x, x, bounds)
    assert np.allclose(p().array, x, atol=1e-5 * (hi - lo)) and np.isfinite(p.params[0].array).all()
    assert np.abs(p.params[0].array).max() == pytest.approx(7.254, abs=0.06)
    p.params[0].assign_(np.full(x.shape, 50.0, np.float32))
    assert (p().array <= hi).all()
    with pytest.raises(ValueError, match="shrink"):
        TanhBox(x, shrink=1.0)


def test_black_pixels_move_in_tanh_space_once_the_optimiser_has_gone_eight_units():
    """(1 + tanh(-7.254 + L)) / 2 with L = lr * steps: 1.4e-6 at 0.5, 0.996 at 10."""
    victim = Victim(linear(np.array([[1.0], [0.0]]), np.array([0, 0.5])))
    x = np.zeros((1, 1), np.float32)
    for lr, low, high in ((0.01, 1e-6, 2e-6), (0.2, 0.99, 1.0)):
        result = optimise(TanhBox(x), victim, Untargeted([1]), Box(), Adam(lr), 50, loss="margin", keep="last")
        assert low <= result.candidate[0, 0] <= high


def test_carlini_and_wagners_attack_is_this_loop():
    """TanhBox, Adam, squared distance as penalty, clipped margin: the smallest distance of a linear model."""
    victim, x, y, w, b = binary(4)
    exact = np.abs(x @ w + b) / np.linalg.norm(w)
    result = optimise(TanhBox(x), victim, Untargeted(y), Box(), Adam(0.0005), 1200, loss=clipped_margin(0.0),
                      weight=np.full(8, 8.0), penalty=lambda a, b, rows: ((a - b) ** 2).sum(1), keep="distance")
    assert result.success.all() and np.allclose(result.distance, exact, rtol=0.03, atol=0.02)


def test_a_shared_perturbation_is_one_for_all_and_goes_on_with_the_next_batch():
    victim, x, y, w, b = binary(0, n=40)
    same = y == 1
    x, y = x[same], y[same]
    p = Shared(x[:10])
    first = optimise(p, victim, Untargeted(y[:10]), Linf(2.0), SignSGD(0.1), 10)
    moved = first.candidate - x[:10]
    assert np.allclose(moved, moved[:1], atol=1e-5) and p.delta.shape == (1, 10)
    assert np.allclose(p.delta.array, moved[:1], atol=1e-5)
    more = optimise(p.on(x[10:]), victim, Untargeted(y[10:]), Linf(2.0), SignSGD(0.1), 15)
    assert np.allclose(p.delta.array, -2.0 * np.sign(w), atol=1e-5) or more.success.all()
    margin = x[10:] @ w + b
    assert (more.success == (margin + (p.delta.array[0] @ w) < 0)).all()
    with pytest.raises(ValueError, match="does not fit"):
        p.begin(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), (0, 1))


def test_an_optimiser_may_outlive_a_batch():
    victim, x, y, _, _ = binary(0)
    p = Shared(x, delta=np.zeros((1, 10), np.float32))
    trainer = optim.Adam(p.params, 0.01)
    for _ in range(2):
        optimise(p, victim, Untargeted(y), Linf(1.0), trainer, 3, keep="last")
    assert trainer.state[p.delta]["step"] == 6
    with pytest.raises(ValueError, match="other parameters"):
        optimise(Additive(x), victim, Untargeted(y), Linf(1.0), trainer, 3)


def test_direct_is_additive_without_the_subtraction():
    victim, x, goal = setting()
    a, b = (optimise(kind(x), victim, goal, Linf(0.1), SignSGD(0.01), 8, loss="margin") for kind in (Additive, Direct))
    assert np.abs(a.candidate - b.candidate).max() < 1e-5


# ---- expectation over transformations --------------------------------------------------------------------------------


def shifts(count, stream):
    """`count` functions, each a shift of the image by one draw."""
    draws = stream.uniform(-0.2, 0.2, (count,))
    return [lambda t, s=float(s): t + s for s in draws]


def test_transforms_are_averaged_and_the_same_for_every_sample():
    victim, x, goal = setting()
    together = optimise(Additive(x), victim, goal, Linf(0.2), SignSGD(0.02), 10, transforms=shifts, samples=4)
    alone = optimise(Additive(x[5:6]), victim, goal[[5]], Linf(0.2), SignSGD(0.02), 10, transforms=shifts, samples=4)
    assert np.abs(together.candidate[5] - alone.candidate[0]).max() < 1e-5 and (together.queries == 44).all()


def test_the_gradient_is_the_mean_over_draws():
    """d/dx E_s[(s x)] for s in {1, 3}: with a linear victim the step of SGD is lr * 2 * w."""
    victim, x, y, w, _ = binary(0)
    sign = np.where(y == 1, -1, 1)

    def scales(count, stream):
        return [lambda t: t, lambda t: t * 3.0]

    result = optimise(Additive(x), victim, Untargeted(y), Box(), SGD(0.01), 1, loss="margin", transforms=scales, samples=2,
                      keep="last")
    assert np.allclose(result.candidate - x, 0.01 * 2 * sign[:, None] * w, atol=1e-5)


def test_penalties_compare_under_the_same_transform():
    victim, x, goal = setting()
    gaps = []

    def penalty(x_adv, x, rows):
        gaps.append(float((x_adv - x).abs().max().item()))
        return ((x_adv - x) ** 2).flatten(1).sum(1)

    optimise(Additive(x), victim, goal, Linf(0.1), SignSGD(0.0), 2, transforms=shifts, samples=2, penalty=penalty)
    assert max(gaps) < 1e-6


def test_randomised_victims_are_judged_by_majority_over_fresh_draws():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.rng = Stream(0, "noise")

        def forward(self, x):
            z = x.sum(1, keepdim=True) - 2 + mg.tensor(self.rng.normal((len(x), 1)) * 0.1)
            return mg.cat([z * 0.0, z], 1)

    x = np.full((6, 4), 0.6, np.float32)
    result = optimise(Additive(x), Victim(Noisy()), Untargeted([1] * 6), Linf(0.3), SignSGD(0.05), 8, samples=5)
    assert result.success.all() and (result.queries == 9 * 5).all() and result.settings["samples"] == 5


def test_a_victim_that_answers_at_random_is_wrong_from_the_start_only_by_majority():
    stream = Stream(1, "coin")

    def coin(x):
        z = np.where(stream.uniform(0, 1, (len(x), 1)) < 0.3, 1.0, -1.0).astype(np.float32)
        return mg.cat([x[:, :1] * 0.0, mg.tensor(z)], 1)

    x = np.full((200, 2), 0.5, np.float32)
    shares = [optimise(Additive(x), Victim(coin), Untargeted([0] * 200), Linf(0.1), steps=0, samples=n).already_wrong.mean()
              for n in (1, 41)]
    assert shares[0] > 0.2 and shares[1] < 0.05


# ---- wrong calls -----------------------------------------------------------------------------------------------------


def test_wrong_calls_say_what_is_wrong():
    victim, x, goal = setting()
    with pytest.raises(ValueError, match="keep"):
        optimise(Additive(x), victim, goal, keep="best")
    with pytest.raises(TypeError, match="optimise got an unexpected keyword argument 'kep'.*keep, measure"):
        optimise(Additive(x), victim, goal, kep="last")
    with pytest.raises(ValueError, match="samples"):
        optimise(Additive(x), victim, goal, samples=0)
    with pytest.raises(TypeError, match="recipe"):
        optimise(Additive(x), victim, goal, optimiser="adam")
    with pytest.raises(ValueError, match="do not average"):
        optimise(Additive(x), victim, goal, loss=lambda z, g: z.mean())
    with pytest.raises(ValueError, match="lr"):
        optimise(Additive(x), victim, goal, Linf(1), Steepest(-0.1))


def test_patience_ends_where_a_tenth_of_the_steps_brought_nothing():
    patience, rows = Patience(3, 50), np.array([0, 2])
    assert not patience.lost(0, rows, np.array([1.0, 1.0])).any()  # nothing to compare with yet
    assert not patience.lost(5, rows, np.array([1.0, -1.0])).any()
    assert not patience.lost(7, rows, np.array([0.0, -2.0])).any()  # looked at every fifth step only
    assert patience.lost(10, rows, np.array([1.00005, -0.5])).tolist() == [True, False]
    assert patience.lost(15, rows[1:], np.array([-0.5])).tolist() == [True]


def test_samples_that_leave_take_their_gradient_with_them():
    victim, x, goal = setting(n=6)
    task = Task("leave", victim.white_box(), x, goal)
    p = Additive(x)
    p.begin(task.x, task.x, task.box)
    climb = Climb(task, p, "ce", Linf(np.arange(6.0)))
    climb.forward()
    (g,) = climb.backward(GradientNotes(6))
    assert climb.leave(np.array([True, False, False, True, False, True]))
    assert climb.rows.tolist() == [1, 2, 4] and climb.ball.epsilon.tolist() == [1, 2, 4]
    assert np.array_equal(p.delta.grad.array, -g[[1, 2, 4]]) and (p.x == x[[1, 2, 4]]).all()
    assert not climb.leave(np.ones(3, bool))
