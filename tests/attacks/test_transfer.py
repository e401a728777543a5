"""The substitute asks what it says it asks, and no more; matrices count what they say; ensembles are means."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import images, linear, small_network

import minigrad as mg
from attacks import Labels, Linf, QueryBudgetError, Untargeted, Victim, fgsm
from attacks.copying.extract import agreement
from attacks.copying.transfer import (
    augmented,
    chosen,
    ensemble,
    left_out,
    stacked,
    substitute_rounds,
    train_substitute,
    transfer,
    tried,
)
from minigrad import nn
from minigrad.random import Stream
from nets.classifiers.plain import NETWORKS, build

K, D = 3, 6


class Spy(Labels):
    """Remembers every row that it was asked."""

    def __init__(self, victim, budget=None):
        super().__init__(victim, budget)
        self.asked = []

    def __call__(self, x, rows=None):
        answer = super().__call__(x, rows)
        if self._counting:
            self.asked.extend(np.asarray(x).copy())
        return answer


def line(seed):
    """A linear network whose classes meet in the middle of the box."""
    weight = Stream(seed, "line").normal((K, D), np.float64)
    return linear(weight, -0.5 * weight.sum(1))


def oracle(seed=0, budget=None):
    return Spy(Victim(line(seed)), budget)


def seeds(n=8, seed=0):
    return Stream(seed, "seeds").uniform(0, 1, (n, D))


def mlp(seed=0):
    s = Stream(seed, "mlp")
    return nn.Sequential(nn.Linear(D, 16, rng=s), nn.ReLU(), nn.Linear(16, K, rng=s))


# ---- the substitute


@settings(max_examples=8)
@given(st.integers(1, 9), st.integers(0, 4))
def test_n_seeds_cost_n_times_2_to_the_rounds_and_every_point_is_asked_once(n, rounds):
    view = oracle()
    found = train_substitute(view, seeds(n), mlp(), rounds, 0.1, epochs=1)
    assert view.total == len(view.asked) == len(found.x) == n * 2**rounds
    np.testing.assert_array_equal(np.stack(view.asked), found.x)  # in the order of asking: nothing is relabelled
    np.testing.assert_array_equal(found.y, view.victim.predict(found.x).argmax(1))
    assert [r["queries"] for r in found.rounds] == [n * 2**r for r in range(rounds + 1)]
    assert [r["round"] for r in found.rounds] == list(range(rounds + 1)) and not found.ended
    assert np.bincount(found.born).tolist() == [n] + [n * 2**r for r in range(rounds)]


def test_old_points_stay_and_each_has_its_child_behind_them_in_order():
    states = []
    for found in substitute_rounds(oracle(), seeds(5), line(9), 3, 0.05, epochs=1, lr=1e-30):
        states.append(found.x.copy())
    weight = line(9).weight.array
    for before, after in zip(states, states[1:], strict=False):
        n = len(before)
        np.testing.assert_array_equal(after[:n], before)
        y = found.y[:n]
        np.testing.assert_allclose(after[n:], np.clip(before + 0.05 * np.sign(weight[y]), 0, 1), atol=1e-6)
    children = np.flatnonzero(found.parent >= 0)
    assert (found.born[found.parent[children]] < found.born[children]).all()


def test_the_derivative_is_of_the_oracles_label_not_of_what_the_substitute_says():
    weight, x = Stream(1, "w").normal((K, D), np.float64), np.full((K, D), 0.5, np.float32)
    victim = Victim(linear(weight, np.array([9.0, 0, 0])))  # says 0 to everything
    y = np.arange(K)
    np.testing.assert_allclose(augmented(victim, x, y, 0.1), 0.5 + 0.1 * np.sign(weight), atol=1e-6)
    np.testing.assert_allclose(augmented(victim, x, y, -0.1), 0.5 - 0.1 * np.sign(weight), atol=1e-6)
    p = np.exp(victim.predict(x).astype(float))
    p /= p.sum(1, keepdims=True)
    slope = weight[y] - p @ weight  # d log p_y / dx
    np.testing.assert_allclose(augmented(victim, x, y, 0.1, "probabilities"), 0.5 + 0.1 * np.sign(slope), atol=1e-6)
    for batch in (1, 2):
        np.testing.assert_array_equal(augmented(victim, x, y, 0.1, batch=batch), augmented(victim, x, y, 0.1))


def test_new_points_lie_in_the_box_and_at_most_lam_from_their_parent():
    found = train_substitute(oracle(), seeds(20), mlp(), 4, 0.3, epochs=1)
    assert found.x.min() >= 0 and found.x.max() <= 1 and found.x.dtype == np.float32
    child = found.parent >= 0
    assert np.abs(found.x[child] - found.x[found.parent[child]]).max() <= 0.3 + 1e-6


def test_the_step_turns_its_sign_every_period():
    def steps(**options):
        return [r["step"] for r in train_substitute(oracle(), seeds(2), mlp(), 7, 0.1, epochs=1, **options).rounds]

    assert steps(period=None) == [0.0] + [0.1] * 7
    assert steps() == steps(period=3) == [0.0] + [0.1] * 3 + [-0.1] * 3 + [0.1]


def test_the_reservoir_bounds_what_a_round_asks():
    view = oracle()
    found = train_substitute(view, seeds(6), mlp(), 5, epochs=1, reservoir=10, after=2)
    assert [r["queries"] for r in found.rounds] == [6, 12, 24, 34, 44, 54]  # n 2^after + kappa (rounds - after)
    assert view.total == 54
    same = train_substitute(oracle(), seeds(6), mlp(), 5, epochs=1, reservoir=10, after=2)
    np.testing.assert_array_equal(found.x, same.x)
    late = found.parent[found.born == 4]
    assert len(np.unique(late)) == 10 and late.min() >= 0 and late.max() < 34


def test_rows_are_drawn_evenly():
    s = Stream(0, "chosen")
    counts = sum(np.bincount(chosen(10, 3, np.inf, s), minlength=10) for _ in range(2000))
    assert counts.sum() == 6000 and abs(counts - 600).max() < 100  # 5 standard deviations
    assert chosen(4, None, np.inf, s).tolist() == [0, 1, 2, 3] and len(chosen(4, 9, 2, s)) == 2 and len(chosen(4, None, 0, s)) == 0


@given(st.integers(5, 90))
def test_the_budget_is_spent_to_the_last_query_and_not_exceeded(budget):
    view = oracle(budget=budget)
    found = train_substitute(view, seeds(5), mlp(), 4, epochs=1)
    assert view.total == len(found.x) == min(budget, 80) and found.rounds[-1]["queries"] == view.total
    assert bool(found.ended) == (budget <= 40) and (not found.ended or str(budget) in found.ended)


def test_a_budget_below_the_seeds_is_refused_before_the_first_question():
    view = oracle(budget=4)
    with pytest.raises(QueryBudgetError, match="budget of 4"):
        train_substitute(view, seeds(5), mlp())
    assert view.total == 0 and not view.asked


def test_the_oracle_stays_as_it_was_to_the_bit():
    net = small_network()
    before = {k: np.array(v) for k, v in net.state_dict().items()}
    train_substitute(Victim(net).labels(), images(), build("softmax", 1, 4, 6, Stream(0, "s")), 2, epochs=1, held_out=images(5))
    assert net.training and all(p.grad is None and p.requires_grad for p in net.parameters())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_substitute_that_is_the_oracle_or_part_of_it_is_refused():
    net = line(0)
    for substitute in (net, nn.Sequential(net)):
        with pytest.raises(ValueError, match="the oracle's own"):
            train_substitute(Victim(net), seeds(), substitute)
    with pytest.raises(TypeError, match="Module"):
        train_substitute(oracle(), seeds(), lambda x: x)


def test_agreement_is_measured_without_asking_and_the_substitute_learns():
    view, held = oracle(3), seeds(300, 5)
    found = train_substitute(view, seeds(20), line(7), 4, -0.1, period=1, held_out=held, epochs=60, lr=0.02)
    assert view.total == 20 * 2**4
    assert found.rounds[-1]["agreement"] == agreement(found.victim, view.victim, held) > 0.75 > found.rounds[0]["agreement"]
    assert found.rounds[-1]["train_accuracy"] > 0.9 and found.victim.bounds == view.bounds


def test_equal_seeds_give_equal_substitutes_and_others_do_not():
    def weights(rng):
        found = train_substitute(oracle(budget=30), seeds(5), mlp(), 4, epochs=2, batch=4, rng=rng)
        return np.concatenate([p.array.ravel() for p in found.victim.net.parameters()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).any()


@pytest.mark.parametrize("options, message", [
    (dict(rounds=-1), "rounds"), (dict(lam=0.0), "lam"), (dict(output="scores"), "output"), (dict(period=0), "period"),
    (dict(reservoir=0), "reservoir"), (dict(epochs=0), "epochs"),
])
def test_wrong_options_are_refused_before_a_question(options, message):
    view = oracle()
    with pytest.raises(ValueError, match=message):
        train_substitute(view, seeds(), mlp(), **options)
    assert view.total == 0


def test_a_view_on_which_an_attack_has_begun_and_too_few_classes_are_refused():
    view = oracle()
    view.begin(8)
    with pytest.raises(ValueError, match="fresh view"):
        train_substitute(view, seeds(), mlp())
    small = nn.Linear(D, 2, rng=Stream(0, "two"))
    with pytest.raises(ValueError, match="answers class 2"):
        train_substitute(Victim(linear(np.zeros((K, D)), np.array([0, 0, 1.0]))), seeds(), small)


# ---- the matrix


def victims(n=3):
    return {f"net {i}": Victim(line(i)) for i in range(n)}


attack = partial(fgsm, threat=Linf(0.2))


def test_cells_count_samples_that_the_target_got_right():
    x, y, named = seeds(60, 2), Stream(0, "y").integers(0, K, 60), victims()
    found = transfer(named, named, x, y, attack)
    for i, source in enumerate(named.values()):
        x_adv = fgsm(source, x, Untargeted(y), Linf(0.2), attack_wrong=True).candidate
        hit = source.predict(x_adv).argmax(1) != y
        for j, target in enumerate(named.values()):
            right, wrong = target.predict(x).argmax(1) == y, target.predict(x_adv).argmax(1) != y
            assert (found.right[j], found.fooled[i, j]) == (right.sum(), (right & wrong).sum())
            assert (found.own[i, j], found.both[i, j]) == ((right & hit).sum(), (right & hit & wrong).sum())
    np.testing.assert_allclose(np.diag(found.rates_of_successes), 1)
    assert found.count == 60 and 0 < found.rates[0, 0] <= 1


def test_samples_that_the_source_gets_wrong_are_attacked_too():
    x, y = seeds(40, 3), np.full(40, 1)
    blind = Victim(linear(line(0).weight.array, np.array([9.0, 0, 0])))  # says 0: wrong everywhere
    moved = fgsm(blind, x, Untargeted(y), Linf(0.2), attack_wrong=True).candidate
    target = {"t": Victim(line(0))}
    found = transfer({"blind": blind}, target, x, y, attack)
    assert np.abs(moved - x).max() > 0.1 and found.fooled[0, 0] == tried("", moved, x, y, target).fooled[0, 0] > 0


def test_a_network_that_is_never_right_has_no_rate_and_nothing_is_counted():
    x, y = seeds(10), np.zeros(10, int)
    never, view = Victim(linear(np.zeros((K, D)), np.array([0, 1.0, 0]))), Victim(line(0)).labels(budget=1)
    found = transfer({"a": Victim(line(1))}, {"never": never, "view": view}, x, y, attack)
    assert np.isnan(found.rates[0, 0]) and found.right[0] == 0 and view.total == 0


def test_rows_are_stacked_only_on_the_same_targets():
    x, y, named = seeds(10), np.zeros(10, int), victims()
    noise = tried("noise", np.clip(x + 0.2, 0, 1), x, y, named)
    whole = stacked([transfer(named, named, x, y, attack), noise])
    assert whole.sources == (*named, "noise") and whole.rates.shape == (4, 3)
    with pytest.raises(ValueError, match="differ"):
        noise.above(tried("noise", x, x, y, {"other": Victim(line(0))}))


# ---- ensembles


def test_an_ensemble_is_the_mean_of_victims_with_their_own_normalisation():
    a, b, x = Victim(line(0), normalize=(0.5, 0.25)), Victim(line(1)), seeds(7)
    za, zb = a.predict(x).astype(float), b.predict(x).astype(float)
    np.testing.assert_allclose(ensemble([a, b.white_box()]).predict(x), (za + zb) / 2, atol=1e-5)

    def softmax(z):
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    mean = ensemble([a, b], "probability").predict(x)
    np.testing.assert_allclose(np.exp(mean), (softmax(za) + softmax(zb)) / 2, atol=1e-5)
    np.testing.assert_allclose(ensemble([a]).predict(x), za, atol=1e-5)
    g = ensemble([a, b]).white_box().jacobian(x)[1]
    np.testing.assert_allclose(g, (a.white_box().jacobian(x)[1] + b.white_box().jacobian(x)[1]) / 2, atol=1e-5)


def test_bounds_of_an_ensemble_must_agree():
    with pytest.raises(ValueError, match="bounds"):
        ensemble([Victim(line(0)), Victim(line(1), bounds=(-1, 1))])


def test_left_out_attacks_each_target_through_the_others_only():
    x, y, named = seeds(50, 4), Stream(1, "y").integers(0, K, 50), victims()
    row = left_out(named, x, y, attack)
    for j, name in enumerate(named):
        others = ensemble([v for other, v in named.items() if other != name])
        cell = transfer({"others": others}, {name: named[name]}, x, y, attack)
        assert (cell.fooled[0, 0], cell.right[0]) == (row.fooled[0, j], row.right[j])
    assert row.targets == tuple(named) and row.sources == ("all others, logits",)
    with pytest.raises(ValueError, match="two victims"):
        left_out(victims(1), x, y, attack)


# ---- networks that are unlike


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_gives_logits_and_a_gradient(name):
    net = build(name, 3, 5, 16, Stream(0, "init"))
    z, g = Victim(net, normalize=(0.5, 0.5)).white_box().jacobian(Stream(0, "x").uniform(0, 1, (2, 3, 16, 16)), classes=[[0], [4]])
    assert z.shape == (2, 5) and np.abs(g).max() > 0
    again = build(name, 3, 5, 16, Stream(0, "init"))
    assert all((p.array == q.array).all() for p, q in zip(net.parameters(), again.parameters(), strict=True))


def test_a_residual_block_adds_to_its_input():
    net = build("residual", rng=Stream(0, "init")).eval()
    block = net.stages[3]
    block.main[4].weight.assign_(np.zeros(16, np.float32))
    x = mg.tensor(Stream(0, "x").normal((2, 16, 5, 5)))
    np.testing.assert_array_equal(block(x).array, np.maximum(x.array, 0))
    with pytest.raises(ValueError, match="softmax, mlp"):
        build("resnet")
