"""Schedules of a training: the published formulas to the last bit, and where a resumed run stands; the score of a classifier."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import data, nn, optim
from minigrad.random import Stream
from nets.training import constant_then_falling, evaluate, rise_and_fall, scheduled


def adam(rate):
    return optim.Adam([nn.Parameter(np.zeros(2, np.float32))], rate)


def rates(rate, factor, steps, done=0, state=None):
    """Of the steps done + 1 .. steps, and the one that stands after the last."""
    optimizer = adam(rate)
    if state is not None:
        optimizer.load_state_dict(state)
    schedule = scheduled(optimizer, factor, done)
    found = []
    for _ in range(done, steps):
        found.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    return found, optimizer


@given(st.integers(1, 60), st.sampled_from([0.1, 0.4]), st.floats(1e-5, 1))
def test_the_rate_rises_and_falls_by_the_formula_to_the_bit(steps, rise, rate):
    found, optimizer = rates(rate, rise_and_fall(steps, rise), steps)
    assert found == [rate * min(s / steps / rise, (1 - s / steps) / (1 - rise) + 1 / steps) for s in range(1, steps + 1)]
    assert optimizer.param_groups[0]["lr"] >= 0  # a checkpoint of the last step can be loaded again


@given(st.integers(1, 60), st.sampled_from([0.0, 0.3, 1.0]), st.floats(1e-5, 1))
def test_a_rate_that_falls_at_the_end_by_the_formula_to_the_bit(steps, fall, rate):
    found, optimizer = rates(rate, constant_then_falling(steps, fall), steps)
    assert found == [rate * (min(1.0, (steps - s + 1) / (fall * steps)) if fall else 1) for s in range(1, steps + 1)]
    assert optimizer.param_groups[0]["lr"] == (0 if fall else rate)


@pytest.mark.parametrize("with_initial", [True, False])
@pytest.mark.parametrize("done", [0, 1, 7, 19])
def test_a_resumed_run_has_the_rates_of_an_uninterrupted_one(done, with_initial):
    """From a checkpoint of today, and from one that knows nothing of schedules."""
    whole, _ = rates(0.01, rise_and_fall(20), 20)
    _, stopped = rates(0.01, rise_and_fall(20), done)
    state = stopped.state_dict()
    if not with_initial:
        del state["param_groups"][0]["initial_lr"]
        state["param_groups"][0]["lr"] = 0.123
    assert rates(0.01, rise_and_fall(20), 20, done, state)[0] == whole[done:]


def test_the_score_counts_mistakes_and_leaves_the_mode_alone():
    x = np.zeros((5, 1, 2, 2), np.uint8)
    x[:, 0, 0, 0] = [0, 255, 0, 255, 255]
    test = data.Dataset(x, np.array([0, 1, 1, 1, 0]), classes=("dark", "bright"))
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(4, 2, rng=Stream(0, "init")))
    net[2].weight.assign_(np.float32([[-1, 0, 0, 0], [1, 0, 0, 0]]))
    net[2].bias.assign_(np.zeros(2, np.float32))
    assert net.training
    accuracy, mistakes = evaluate(net, test, batch=2)
    assert net.training and accuracy == pytest.approx(0.6) and mistakes == [(2, 0), (4, 1)]
    assert evaluate(net.eval(), test)[0] == accuracy and not net.training
