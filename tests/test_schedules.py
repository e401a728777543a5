"""Every schedule: PyTorch's rates for random arguments and any last_epoch; rates that come back in any order of loading; groups
added later; phases without length."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigrad import nn, optim
from minigrad.optim import lr_scheduler as schedules

try:
    import torch
except ImportError:
    torch = None

pytestmark = pytest.mark.filterwarnings("ignore")
factor, steps = st.floats(0.05, 1), st.integers(1, 12)
ARGUMENTS = {  # name: keyword arguments that a schedule can have
    "StepLR": {"step_size": steps, "gamma": factor}, "MultiStepLR": {"milestones": st.lists(steps, max_size=4), "gamma": factor},
    "ConstantLR": {"factor": factor, "total_iters": st.integers(0, 8)}, "ExponentialLR": {"gamma": factor},
    "LinearLR": {"start_factor": factor, "end_factor": st.floats(0, 1), "total_iters": st.integers(0, 8)},
    "PolynomialLR": {"total_iters": st.integers(0, 8), "power": st.floats(0.2, 3)},
    "CosineAnnealingLR": {"T_max": steps, "eta_min": st.floats(0, 0.3)},
    "CosineAnnealingWarmRestarts": {"T_0": steps, "T_mult": st.integers(1, 3), "eta_min": st.floats(0, 0.3)},
    "LambdaLR": {"lr_lambda": st.sampled_from([lambda t: 0.9**t, lambda t: 1 / (1 + t)])},
    "MultiplicativeLR": {"lr_lambda": st.sampled_from([lambda t: 0.9, lambda t: 1 / (1 + t)])},
    "OneCycleLR": {"max_lr": st.floats(0.1, 2), "total_steps": st.integers(1, 30), "pct_start": st.floats(0, 1),
                   "anneal_strategy": st.sampled_from(["cos", "linear"]), "three_phase": st.booleans(),
                   "cycle_momentum": st.booleans()},
    "CyclicLR": {"base_lr": st.floats(0.01, 0.1), "max_lr": st.floats(0.1, 2), "step_size_up": steps,
                 "step_size_down": st.one_of(st.none(), st.integers(1, 9)), "gamma": factor, "cycle_momentum": st.booleans(),
                 "mode": st.sampled_from(["triangular", "triangular2", "exp_range"])},
}
case = st.sampled_from(sorted(ARGUMENTS)).flatmap(lambda n: st.tuples(st.just(n), st.fixed_dictionaries(ARGUMENTS[n])))


def optimizer(library, kind, groups=2):
    make = (lambda: nn.Parameter([1.0])) if library is optim else (lambda: torch.nn.Parameter(torch.ones(1)))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(library, kind)([{"params": [make()], "lr": 0.5 / (i + 1)} for i in range(groups)], lr=0.5, **options)


def state(opt):
    return [(g["lr"], g.get("momentum", g.get("betas", (0,))[0] if "betas" in g else 0)) for g in opt.param_groups]


def advance(opt, scheduler, count):
    seen = [state(opt)]
    for _ in range(count):
        try:
            scheduler.step()
        except ValueError:  # OneCycleLR after its last step
            break
        seen.append(state(opt))
    return seen


@pytest.mark.skipif(torch is None, reason="compares with PyTorch")
@given(case, st.sampled_from(["SGD", "Adam"]), st.integers(-1, 12))
@settings(max_examples=250, deadline=None)
def test_rates_are_pytorchs_for_any_arguments_and_last_epoch(made, kind, last_epoch):
    name, options = made
    ours, theirs = optimizer(optim, kind), optimizer(torch.optim, kind)
    if name == "CosineAnnealingWarmRestarts":
        assume(last_epoch < options["T_0"])  # later, PyTorch loses count
    if last_epoch >= 0:
        for opt in (ours, theirs):
            for g in opt.param_groups:
                g["initial_lr"] = options.get("base_lr", 0.8)
                g.update(max_lr=1.0, min_lr=0.01, base_momentum=0.7, max_momentum=0.9)
    try:
        other = getattr(torch.optim.lr_scheduler, name)(theirs, **options, last_epoch=last_epoch)
        expected = advance(theirs, other, 30)
    except (ZeroDivisionError, ValueError):  # a phase without length, or last_epoch behind the end
        assume(False)
    scheduler = getattr(schedules, name)(ours, **options, last_epoch=last_epoch)
    got = advance(ours, scheduler, 30)
    if name == "OneCycleLR":  # one step behind the end PyTorch goes on, below 0 on a line
        got, expected = (rates[:max(options["total_steps"] - last_epoch - 1, 0)] for rates in (got, expected))
    np.testing.assert_allclose(np.array(got), np.array(expected), rtol=1e-9, atol=1e-12)
    assert scheduler.get_last_lr() == [g["lr"] for g in ours.param_groups]


# ---- resuming


def run_of(name, options, kind):
    """An optimizer and its schedulers: one; a SequentialLR or ChainedScheduler of two; or two, stepped one after the other."""
    opt = optimizer(optim, kind)
    if name == "SequentialLR":
        parts = [schedules.ConstantLR(opt, 0.1, 3), getattr(schedules, options[0])(opt, **options[1])]
        return opt, [schedules.SequentialLR(opt, parts, [3])]
    if name in ("ChainedScheduler", "two"):
        parts = [getattr(schedules, options[0])(opt, **options[1]), schedules.ExponentialLR(opt, 0.95)]
        return opt, parts if name == "two" else [schedules.ChainedScheduler(parts)]
    return opt, [getattr(schedules, name)(opt, **options)]


@given(case, st.sampled_from(["alone", "SequentialLR", "ChainedScheduler", "two"]), st.sampled_from(["SGD", "Adam"]),
       st.integers(0, 12), st.permutations([0, 1, 2]), st.booleans())
@settings(max_examples=250, deadline=None)
def test_rates_come_back_in_any_order_of_loading(made, wrap, kind, before, order, without_optimizer):
    name, options = made
    given_as = (name, options) if wrap == "alone" else (wrap, made)
    opt, parts = run_of(*given_as, kind)
    for _ in range(before):
        try:
            for s in parts:
                s.step()
        except ValueError:
            assume(False)
    saved = [opt.state_dict(), *(json.loads(json.dumps(s.state_dict())) for s in parts)]
    other, again = run_of(*given_as, kind)
    loaders = [other, *again]
    for i in order:
        if i < len(loaders) and not (without_optimizer and i == 0):
            loaders[i].load_state_dict(saved[i])
    for _ in range(8):
        assert state(other) == state(opt) and [s.get_last_lr() for s in again] == [s.get_last_lr() for s in parts]
        try:
            for s in (*parts, *again):
                s.step()
        except ValueError:
            break


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_plateaus_come_back_too(optimizer_first):
    opt, other = optimizer(optim, "SGD"), optimizer(optim, "SGD")
    mine, again = (schedules.ReduceLROnPlateau(o, patience=1) for o in (opt, other))
    [mine.step(1.0) for _ in range(6)]
    assert opt.param_groups[0]["lr"] < 0.5
    saved = [(other, opt.state_dict()), (again, mine.state_dict())]
    for part, s in saved if optimizer_first else saved[::-1]:
        part.load_state_dict(s)
    for _ in range(6):
        assert state(other) == state(opt)
        mine.step(1.0), again.step(1.0)


def test_states_of_earlier_versions_are_taken():
    for name, options in (("StepLR", {"step_size": 2}), ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20})):
        opt, (mine,) = run_of(name, options, "SGD")
        advance(opt, mine, 5)
        old = {k: v for k, v in mine.state_dict().items() if k not in ("rates", "bounds")}
        other, (again,) = run_of(name, options, "SGD")
        again.load_state_dict(old)
        assert advance(opt, mine, 6) == advance(other, again, 6)


# ---- groups that come later


@given(case, st.sampled_from(["alone", "SequentialLR", "ChainedScheduler"]), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_a_group_added_later_follows_the_schedule(made, wrap, before):
    name, options = made
    opt, (scheduler,) = run_of(*((name, options) if wrap == "alone" else (wrap, made)), "SGD")
    assume(len(advance(opt, scheduler, before)) == before + 1)
    opt.add_param_group({"params": [nn.Parameter([1.0])], "lr": 0.25})
    seen = advance(opt, scheduler, 6)
    assert all(len(rates) == 3 and all(math.isfinite(lr) and lr >= 0 for lr, _ in rates) for rates in seen)
    if wrap == "alone" and name in ("ExponentialLR", "StepLR", "MultiStepLR", "MultiplicativeLR", "LinearLR", "PolynomialLR"):
        ratio = [[rates[i][0] / seen[0][i][0] for rates in seen] for i in (0, 2) if seen[0][i][0]]
        np.testing.assert_allclose(*ratio) if len(ratio) == 2 else None
    if wrap == "alone" and name in ("LambdaLR", "CosineAnnealingWarmRestarts") and options.get("eta_min", 0) == 0 and len(seen) > 1:
        np.testing.assert_allclose(seen[1][2][0], seen[1][0][0] / 2, atol=1e-15)
    if name in ("OneCycleLR", "CyclicLR") and wrap == "alone" and len(seen) > 1:
        assert seen[1][2] == seen[1][0]
    state_of = scheduler.state_dict()
    with pytest.raises(ValueError, match="3 groups, the optimizer 2") if len(seen) > 1 else pytest.raises(AssertionError):
        assert len(seen) > 1
        run_of(*((name, options) if wrap == "alone" else (wrap, made)), "SGD")[1][0].load_state_dict(state_of)


def test_groups_with_settings_of_their_own_ask_for_more():
    for make, words in ((lambda o: schedules.LambdaLR(o, [lambda t: 1, lambda t: 2]), "lr_lambdas"),
                        (lambda o: schedules.OneCycleLR(o, [1.0, 2.0], 10), "bounds")):
        opt = optimizer(optim, "SGD")
        scheduler = make(opt)
        opt.add_param_group({"params": [nn.Parameter([1.0])]})
        with pytest.raises(ValueError, match=words):
            scheduler.step()


# ---- phases without length


@given(st.integers(1, 20), st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1), st.integers(0, 20).map(lambda k: k / 20)),
       st.booleans(), st.sampled_from(["cos", "linear"]))
@settings(max_examples=150, deadline=None)
def test_one_cycle_is_finite_for_every_share_of_the_rise(total, share, three_phase, strategy):
    opt = optimizer(optim, "SGD")
    scheduler = schedules.OneCycleLR(opt, 1.0, total, pct_start=share, three_phase=three_phase, anneal_strategy=strategy)
    seen = advance(opt, scheduler, total - 1)
    assert len(seen) == total and all(0 <= lr <= 1 + 1e-12 for rates in seen for lr, _ in rates)
    if not three_phase and total * share - 1 in range(total):
        assert seen[int(total * share - 1)][0][0] == pytest.approx(1.0)


def test_other_phases_without_length():
    opt = optimizer(optim, "SGD")
    assert [r[0][0] for r in advance(opt, schedules.ConstantLR(opt, 0.0, 2), 3)] == [0, 0, 0.5, 0.5]
    for up, down in ((0, 3), (3, 0), (0, 1), (1, 0)):
        opt = optimizer(optim, "SGD")
        rates = [r[0][0] for r in advance(opt, schedules.CyclicLR(opt, 0.1, 1.0, up, down), 9)]
        assert all(0.1 - 1e-12 <= lr <= 1 + 1e-12 for lr in rates) and max(rates) > 0.3 - (up + down == 1) * 0.3
    opt = optimizer(optim, "SGD")
    restarts = schedules.CosineAnnealingWarmRestarts(opt, 3, 3)
    rates = advance(opt, restarts, 120)
    assert [i for i, r in enumerate(rates) if r[0][0] == 0.5] == [0, 3, 12, 39, 120]  # exact powers, no logarithm


WRONG = [
    ("StepLR", {"step_size": 0}, "step_size"),
    ("StepLR", {"step_size": 1.5}, "whole number"),
    ("StepLR", {"step_size": 2, "gamma": -1}, "gamma"),
    ("ExponentialLR", {"gamma": math.nan}, "gamma"),
    ("ExponentialLR", {"gamma": math.inf}, "gamma"),
    ("ConstantLR", {"factor": 2}, "factor"),
    ("LinearLR", {"start_factor": 0}, "start_factor"),
    ("LinearLR", {"total_iters": -1}, "total_iters"),
    ("PolynomialLR", {"power": -1}, "power"),
    ("CosineAnnealingLR", {"T_max": 0}, "T_max"),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": -1}, "eta_min"),
    ("CosineAnnealingWarmRestarts", {"T_0": 0}, "T_0"),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 0}, "T_mult"),
    ("OneCycleLR", {"max_lr": -1, "total_steps": 5}, "max_lr"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 2.5}, "total_steps"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "pct_start": 1.5}, "pct_start"),
    ("OneCycleLR", {"max_lr": [1], "total_steps": 5}, "max_lr"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "div_factor": 0}, "div_factor"),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1, "step_size_up": 0}, "at least one step"),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1, "mode": "x"}, "mode"),
    ("MultiStepLR", {"milestones": [1, -2]}, "milestones"),
    ("ReduceLROnPlateau", {"factor": 1.0}, "factor"),
    ("ReduceLROnPlateau", {"patience": -1}, "patience"),
    ("StepLR", {"step_size": 2, "last_epoch": -2}, "last_epoch"),
]


@pytest.mark.parametrize("name, options, words", WRONG)
def test_numbers_outside_their_domain_are_named(name, options, words):
    with pytest.raises(ValueError, match=words):
        getattr(schedules, name)(optimizer(optim, "SGD"), **options)


def test_names_and_defaults_are_pytorchs():
    if torch is None:
        pytest.skip("compares with PyTorch")
    import inspect

    for name in schedules.__all__:
        ours, theirs = (inspect.signature(getattr(lib, name).__init__).parameters for lib in (schedules, torch.optim.lr_scheduler))
        assert [(k, p.default) for k, p in ours.items()] == [(k, p.default) for k, p in theirs.items()], name
    assert issubclass(schedules.StepLR, schedules._LRScheduler)
