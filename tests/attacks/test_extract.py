"""Equations give the weights to rounding; a student gets what was answered, and nothing else; budgets hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import images, small_network

from attacks import QueryBudgetError, Victim
from attacks.copying.extract import agreement, ask, centred, design, extract, fit, solve_softmax
from minigrad import nn
from minigrad.random import Stream


def softmax_model(seed, d=7, k=4, dtype=np.float64, shape=None, normalize=None):
    """(victim, W, b) in the units of the input, with W x + b of the size of trained models."""
    s = Stream(seed, "softmax model")
    net = nn.Linear(d, k, dtype=dtype, rng=s)
    weight, bias = s.normal((k, d), np.float64), s.normal((k,), np.float64)
    net.weight.assign_(weight.astype(dtype))
    net.bias.assign_(bias.astype(dtype))
    whole = nn.Sequential(nn.Flatten(), net)
    mean, std = (0.0, 1.0) if normalize is None else normalize
    return Victim(whole, normalize=normalize), weight / std, bias - (weight * (mean / std)).sum(1)


# ---- equation solving


@given(st.integers(0, 99), st.integers(1, 12), st.integers(2, 6), st.sampled_from(["logits", "probabilities", "log_probabilities"]))
def test_d_plus_1_answers_give_the_weights_to_machine_precision(seed, d, k, output):
    victim, weight, bias = softmax_model(seed, d, k)
    view = victim.scores(budget=d + 1, output=output)
    found = solve_softmax(view, (d,))
    assert view.total == found.queries == d + 1
    true_weight, true_bias = centred(weight, bias)
    np.testing.assert_allclose(found.weight, true_weight, atol=2e-12)
    np.testing.assert_allclose(found.bias, true_bias, atol=2e-12)


def test_a_normalisation_of_the_victim_is_part_of_what_is_found():
    victim, weight, bias = softmax_model(1, normalize=(0.3, 0.25))
    found = solve_softmax(victim.scores(), (7,))
    for got, true in zip(found[:2], centred(weight, bias), strict=True):
        np.testing.assert_allclose(got, true, atol=1e-12)


def test_only_the_gauge_of_softmax_is_left_open():
    victim, weight, bias = softmax_model(2)
    victim.net[1].weight.assign_(weight + np.arange(7.0))  # the same for every class: no probability changes
    victim.net[1].bias.assign_(bias + 5)
    found = solve_softmax(victim.scores(output="probabilities"), (7,))
    np.testing.assert_allclose(found.weight, centred(weight, bias)[0], atol=1e-12)
    np.testing.assert_allclose(found.weight.sum(0), 0, atol=1e-12)
    assert abs(found.bias.sum()) < 1e-12


def test_a_float32_image_model_is_found_to_float32_and_its_copy_says_the_same():
    victim, weight, _ = softmax_model(3, 36, dtype=np.float32)
    found = solve_softmax(victim.scores(output="log_probabilities"), (1, 6, 6))
    assert found.queries == 37 and np.abs(found.weight - centred(weight, np.zeros(4))[0]).max() < 1e-5
    copy, x = Victim(found.network()), images(n=200)
    assert agreement(copy, victim, x) == 1.0
    z, mine = victim.predict(x).astype(float), copy.predict(x.astype(np.float64))
    np.testing.assert_allclose(mine - mine.mean(1, keepdims=True), z - z.mean(1, keepdims=True), atol=1e-4)


def test_own_questions_serve_and_more_of_them_tell_whether_the_model_is_linear():
    victim, weight, bias = softmax_model(4)
    x = Stream(0, "x").uniform(0, 1, (30, 7), np.float64)
    found = solve_softmax(victim.scores(), x=x)
    np.testing.assert_allclose(found.weight, centred(weight, bias)[0], atol=1e-11)
    assert found.residual < 1e-12 and found.queries == 30
    s = Stream(5, "bent")
    bent = nn.Sequential(nn.Linear(7, 9, rng=s), nn.ReLU(), nn.Linear(9, 4, rng=s))
    assert solve_softmax(Victim(bent).scores(), x=x).residual > 1e-3


def test_questions_that_do_not_determine_the_weights_are_refused():
    victim, *_ = softmax_model(0)
    x = Stream(0, "x").uniform(0, 1, (8, 7), np.float64)
    view = victim.scores()
    for bad in (x[:7], np.repeat(x[:4], 2, axis=0), np.where(np.arange(7) == 2, 0.5, x)):
        with pytest.raises(ValueError, match="do not determine"):
            solve_softmax(view, x=bad)
    assert view.total == 0
    with pytest.raises(ValueError, match="one of the two"):
        solve_softmax(view)
    with pytest.raises(TypeError, match="scores"):
        solve_softmax(victim.labels(), (7,))


def test_probabilities_that_rounded_to_zero_are_told():
    victim, weight, bias = softmax_model(0, dtype=np.float32)
    victim.net[1].bias.assign_(np.array([0, 200, 0, 0], np.float32))
    with pytest.raises(ValueError, match="log_probabilities"):
        solve_softmax(victim.scores(output="probabilities"), (7,))
    bias = np.array([0, 200.0, 0, 0])
    found = solve_softmax(victim.scores(output="log_probabilities"), (7,))
    np.testing.assert_allclose(found.weight, centred(weight, bias)[0], atol=1e-4)


def test_the_design_is_the_corner_and_its_neighbours():
    x = design((1, 2, 2), (-1, 3))
    assert x.shape == (5, 1, 2, 2) and (x[0] == -1).all()
    np.testing.assert_array_equal(x[1:].reshape(4, 4) - x[0].reshape(4), 4 * np.eye(4))


# ---- students


def student(seed=0, k=4):
    s = Stream(seed, "student")
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 20, rng=s), nn.ReLU(), nn.Linear(20, k, rng=s))


def test_a_student_is_given_the_answers_and_learns_them():
    oracle, x = Victim(small_network()), images(n=150)
    view = oracle.labels(budget=150)
    by_label = extract(view, x, student(), epochs=80, lr=1e-2)
    assert view.total == 150 and (by_label.answers == oracle.predict(x).argmax(1)).all()
    scores = oracle.scores(output="logits")
    by_score = extract(scores, x, student(), "probabilities", epochs=80, lr=1e-2)
    z = oracle.predict(x).astype(float)
    p = np.exp(z - z.max(1, keepdims=True))
    np.testing.assert_allclose(by_score.answers, p / p.sum(1, keepdims=True), atol=1e-6)
    assert scores.total == 150 and by_score.answers.dtype == np.float32
    fresh = images(seed=1, n=300)
    for found in (by_label, by_score):
        assert agreement(found.victim, oracle, x) > 0.8 and agreement(found.victim, view, fresh) > 0.7
        assert found.loss < np.log(4) and found.victim.bounds == oracle.bounds
    assert oracle.net.training and view.total == 150


def test_too_many_questions_are_refused_before_the_first_batch():
    view = Victim(small_network()).labels(budget=1500)
    with pytest.raises(QueryBudgetError, match="1500"):
        extract(view, images(n=1501), student())
    assert view.total == 0
    assert ask(view, images(n=1500)).shape == (1500,) and view.total == 1500


def test_labels_do_not_give_probabilities_and_the_original_is_not_trained():
    oracle = Victim(small_network())
    with pytest.raises(TypeError, match="scores"):
        extract(oracle.labels(), images(), student(), "probabilities")
    with pytest.raises(ValueError, match="the oracle's own"):
        extract(oracle, images(), oracle.net)
    with pytest.raises(ValueError, match="answers"):
        extract(oracle, images(), student(), "logits")


def test_fidelity_and_accuracy_are_two_things():
    oracle = Victim(small_network())
    x = images(n=50)
    said = oracle.predict(x).argmax(1)
    truth = (said + 1) % 4  # an oracle that is always wrong
    assert agreement(oracle, oracle, x) == 1.0 and oracle.accuracy(x, truth) == 0.0


def test_fit_keeps_modes_takes_a_last_small_batch_and_is_reproducible():
    def trained(rng):
        victim = Victim(small_network(dropout=0.0), normalize=(0.5, 0.5))
        victim.net[0].eval()
        loss = fit(victim, images(n=13), np.arange(13) % 4, epochs=3, batch=4, lr=1e-2, rng=rng)
        assert victim.net.training and not victim.net[0].training
        assert all(p.grad is None for p in victim.net.parameters())
        return loss, victim.net.state_dict()

    (one, a), (two, b), (three, _) = trained(0), trained(0), trained(1)
    assert one == two != three and np.isfinite(one)
    assert all((np.asarray(a[k]) == np.asarray(b[k])).all() for k in a)
    for x, y in ((images(n=3), [0, 1]), (images(n=0), [])):
        with pytest.raises(ValueError, match="at least one"):
            fit(Victim(small_network()), x, np.array(y, int))
