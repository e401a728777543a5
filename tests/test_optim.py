"""Optimisers against scalar references and PyTorch; groups, saving, schedules, clipping, averaging."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import checkpoint, kernels, nn, optim
from minigrad.optim import lr_scheduler as schedules
from minigrad.random import Stream

SHAPES = [(3, 4), (5,), (), (2, 3, 2, 2)]


def values(seed, shape, dtype):
    return np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def parameters(dtype=np.float32, shapes=SHAPES):
    return [nn.Parameter(values(i, s, dtype)) for i, s in enumerate(shapes)]


def set_gradients(params, step, skip=()):
    for i, p in enumerate(params):
        p.grad = None if i in skip else mg.tensor(values(100 * step + i, p.shape, p.dtype))


def train(optimizer, params, steps, start=1):
    for step in range(start, start + steps):
        set_gradients(params, step)
        optimizer.step()


# ---- ten-line references in plain Python numbers ---------------------------------------------------------------------


def sgd(p, grads, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    v = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
    return p


def adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False, decoupled=False):
    m = v = top = 0.0
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            p *= 1 - lr * weight_decay
        else:
            g += weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        top = max(top, v) if amsgrad else v
        p -= lr / (1 - betas[0] ** t) * m / (math.sqrt(top / (1 - betas[1] ** t)) + eps)
    return p


def rmsprop(p, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, maximize=False):
    v = a = b = 0.0
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        v, a = alpha * v + (1 - alpha) * g * g, alpha * a + (1 - alpha) * g
        step = g / (math.sqrt(v - a * a if centered else v) + eps)
        b = momentum * b + step
        p -= lr * b
    return p


def adagrad(p, grads, lr, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, maximize=False):
    s = initial_accumulator_value
    for t, g in enumerate(grads):
        g = (-g if maximize else g) + weight_decay * p
        s += g * g
        p -= lr / (1 + t * lr_decay) * g / (math.sqrt(s) + eps)
    return p


SGDS = [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"momentum": 0.8, "dampening": 0.3, "maximize": True}, {"weight_decay": 0.1, "maximize": True}]
ADAMS = [{"weight_decay": d, "amsgrad": a, "maximize": m, "betas": (0.5, 0.99)}
         for d, a, m in itertools.product((0, 0.1), *[(False, True)] * 2)] + [{}]
RMSPROPS = [{"weight_decay": d, "momentum": m, "centered": c, "maximize": x, "alpha": 0.9}
            for d, m, c, x in itertools.product((0, 0.1), (0, 0.9), *[(False, True)] * 2)] + [{}]
ADAGRADS = [{"lr_decay": l, "weight_decay": d, "initial_accumulator_value": i, "maximize": m}
            for l, d, i, m in itertools.product((0, 0.1), (0, 0.1), (0, 0.5), (False, True))]
CASES = [(name, options) for name, all_options in
         (("SGD", SGDS), ("Adam", ADAMS), ("AdamW", ADAMS), ("RMSprop", RMSPROPS), ("Adagrad", ADAGRADS))
         for options in all_options]
REFERENCES = {"SGD": sgd, "Adam": adam, "RMSprop": rmsprop, "Adagrad": adagrad,
              "AdamW": lambda p, g, lr, **kw: adam(p, g, lr, **{"weight_decay": 0.01, **kw}, decoupled=True)}


@pytest.mark.parametrize("name, options", CASES)
def test_against_the_scalar_reference(name, options):
    p = nn.Parameter(np.float64(0.7))
    optimizer = getattr(optim, name)([p], lr=0.05, **options)
    grads = np.random.default_rng(0).normal(size=20)
    for g in grads:
        p.grad = mg.tensor(np.float64(g))
        optimizer.step()
    assert p.item() == pytest.approx(REFERENCES[name](0.7, grads.tolist(), 0.05, **options), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, options", CASES)
def test_twenty_steps_equal_pytorchs_to_the_last_digits(name, options, dtype):
    torch = pytest.importorskip("torch")
    ours = parameters(dtype)
    theirs = [torch.from_numpy(p.array.copy()).requires_grad_() for p in ours]
    mine = getattr(optim, name)(ours, lr=0.01, **options)
    other = getattr(torch.optim, name)(theirs, lr=0.01, foreach=False, **options)
    for step in range(1, 21):
        set_gradients(ours, step, skip=(1,) if step % 3 == 0 else ())
        for p, t in zip(ours, theirs, strict=True):
            t.grad = None if p.grad is None else torch.from_numpy(p.grad.array.copy())
        mine.step()
        other.step()
    for p, t in zip(ours, theirs, strict=True):
        eps = np.finfo(dtype).eps
        assert p.dtype == dtype
        np.testing.assert_allclose(p.array, t.detach().numpy(), rtol=4 * eps, atol=16 * eps)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"):
        mine = getattr(optim, name)(parameters()).defaults
        theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
        assert mine == {k: theirs[k] for k in mine}, name


# ---- behaviour -------------------------------------------------------------------------------------------------------


def test_one_kernel_call_for_all_parameters_of_a_group():
    params = parameters()
    for name, kernel in (("SGD", "sgd_step"), ("Adam", "adam_step"), ("RMSprop", "rmsprop_step"),
                         ("Adagrad", "adagrad_step")):
        optimizer = getattr(optim, name)(params)
        set_gradients(params, 1)
        with kernels.counting() as calls:
            optimizer.step()
        assert calls == {kernel: 1}


def test_parameters_without_gradient_stand_still_with_their_own_step_count():
    params = parameters()
    optimizer = optim.Adam(params)
    set_gradients(params, 1, skip=(0,))
    before = params[0].array.copy()
    optimizer.step()
    np.testing.assert_array_equal(params[0].array, before)
    assert params[0].version == 0 and params[1].version == 1 and params[0] not in optimizer.state
    set_gradients(params, 2)
    optimizer.step()
    assert [optimizer.state[p]["step"] for p in params] == [1, 2, 2, 2]


def test_a_step_between_forward_and_backward_is_noticed():
    layer = nn.Linear(2, 2)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    x = mg.ones(1, 2, requires_grad=True)
    stale = layer(x).sum()
    layer(x).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="'weight'.*optimizer.step"):
        stale.backward()


def test_closure_is_called_with_recording_on_and_its_loss_returned():
    p = nn.Parameter([2.0])
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with mg.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert p.item() == 1.0
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0.0
    optimizer.zero_grad()
    assert p.grad is None


def test_groups_have_options_of_their_own():
    a, b, c = parameters(shapes=[(2,), (2,), (2,)])
    start = [p.array.copy() for p in (a, b, c)]
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [c], "momentum": 0.9, "name": "head"})
    for p in (a, b, c):
        p.grad = mg.ones(2)
    optimizer.step()
    optimizer.step()
    for p, before, moved in zip((a, b, c), start, (0.2, 1.0, 0.29), strict=True):
        np.testing.assert_allclose(before - p.array, moved, rtol=1e-5)
    assert optimizer.param_groups[2]["name"] == "head"
    assert "Parameter Group 2" in repr(optimizer) and "lr: 0.5" in repr(optimizer)


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.SGD(p, 0.1), lambda p: optim.AdamW(p, amsgrad=True),
    lambda p: optim.RMSprop(p, momentum=0.5, centered=True), lambda p: optim.Adagrad(p, lr_decay=0.1),
    lambda p: optim.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:]}], betas=(0.5, 0.9))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saving_and_resuming_is_the_same_to_the_bit(make, dtype, tmp_path):
    whole, part = parameters(dtype), parameters(dtype)
    train(make(whole), whole, 9)
    first = make(part)
    train(first, part, 4)
    checkpoint.save(tmp_path / "state.npz", {"optimizer": first.state_dict(), "params": [p.array for p in part]})
    tree = checkpoint.load(tmp_path / "state.npz")
    resumed = [nn.Parameter(a) for a in tree["params"]]
    second = make(resumed)
    second.load_state_dict(tree["optimizer"])
    train(second, resumed, 5, start=5)
    for p, q in zip(whole, resumed, strict=True):
        assert p.array.tobytes() == q.array.tobytes()


def test_state_dict_is_a_copy_and_loading_is_checked():
    params = parameters()
    optimizer = optim.Adam(params)
    train(optimizer, params, 1)
    state = optimizer.state_dict()
    saved = state["state"][0]["exp_avg"].copy()
    train(optimizer, params, 1)
    np.testing.assert_array_equal(state["state"][0]["exp_avg"], saved)
    with pytest.raises(ValueError, match=r"groups of \[4\] parameters, the optimizer groups of \[1\]"):
        optim.Adam(params[:1]).load_state_dict(state)
    with pytest.raises(ValueError, match="exp_avg of parameter 0 has shape .3, 4., the parameter .7,."):
        optim.Adam(parameters(shapes=[(7,), (5,), (), (1,)])).load_state_dict(state)
    with pytest.raises(ValueError, match="lacks alpha.*another optimizer"):
        optim.RMSprop(params).load_state_dict(state)
    with pytest.raises(ValueError, match="'state' and 'param_groups'"):
        optimizer.load_state_dict({"state": 3})


@pytest.mark.parametrize("call, error, text", [
    (lambda p: optim.SGD(p, lr=-1), ValueError, "SGD: lr must be at least 0, got -1"),
    (lambda p: optim.SGD(p, lr="fast"), TypeError, "SGD: lr must be a number, got 'fast'"),
    (lambda p: optim.SGD(p, nesterov=True), ValueError, "nesterov needs momentum > 0"),
    (lambda p: optim.SGD(p, momentum=0.9, dampening=0.1, nesterov=True), ValueError, "dampening 0"),
    (lambda p: optim.Adam(p, betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be in \[0, 1\), got 1.0"),
    (lambda p: optim.Adam(p, betas=0.9), ValueError, "betas must be two numbers, got 0.9"),
    (lambda p: optim.Adam(p, lr=math.nan), ValueError, "lr must be at least 0, got nan"),
    (lambda p: optim.Adam(p, eps=-1e-8), ValueError, "eps"),
    (lambda p: optim.RMSprop(p, alpha=-0.1), ValueError, "alpha"),
    (lambda p: optim.Adagrad(p, initial_accumulator_value=-1), ValueError, "initial_accumulator_value"),
    (lambda p: optim.Adam([]), ValueError, "params is empty"),
    (lambda p: optim.Adam(p[0]), TypeError, "iterable of Parameters.*got Parameter; pass a list"),
    (lambda p: optim.Adam(nn.Linear(1, 1)), TypeError, r"pass \.parameters\(\)"),
    (lambda p: optim.Adam([p[0], p[0]]), ValueError, r"params\[1\] .* appears twice"),
    (lambda p: optim.Adam([p[0] * 2]), ValueError, "was computed"),
    (lambda p: optim.Adam([np.zeros(2)]), TypeError, r"params\[0\] must be a Tensor, got ndarray"),
    (lambda p: optim.Adam([mg.arange(2)]), TypeError, "floating-point numbers, got int64"),
    (lambda p: optim.Adam([{"lr": 1}]), TypeError, '"params" entry'),
    (lambda p: optim.clip_grad_norm_(p, -1), ValueError, "max_norm"),
    (lambda p: optim.clip_grad_value_(p, -1), ValueError, "clip_value"),
    (lambda p: optim.clip_grad_norm_([3], 1), TypeError, "Parameters, got int"),
    (lambda p: optim.EMA(3), TypeError, "expected a Module"),
    (lambda p: optim.EMA(nn.ReLU(), 1.5), ValueError, r"decay must lie in \[0, 1\], got 1.5"),
    (lambda p: optim.EMA(nn.ReLU(), 0.5, half_life=10), ValueError, "not both"),
    (lambda p: optim.EMA(nn.ReLU(), half_life=0), ValueError, "half_life must be positive"),
    (lambda p: optim.EMA(nn.ReLU(), ramp_up=0.1), ValueError, "ramp_up"),
    (lambda p: optim.EMA(nn.ReLU(), half_life=10).update(), ValueError, "number of images"),
])
def test_errors_name_the_value_and_the_rule(call, error, text):
    with pytest.raises(error, match=text):
        call(parameters())


def test_a_gradient_of_the_wrong_kind_is_refused():
    p = nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([p])
    p.grad = mg.tensor([1.0, 2.0], dtype=np.float64)
    with pytest.raises(TypeError, match=r"the gradient of a parameter \(2,\) float32 is \(2,\) float64"):
        optimizer.step()
    p.grad = np.zeros(2)
    with pytest.raises(TypeError, match="is ndarray"):
        optimizer.step()


# ---- clipping --------------------------------------------------------------------------------------------------------


@given(st.sampled_from([1.0, 2.0, 3.0, math.inf, 0.5]), st.floats(0.01, 20), st.integers(0, 99))
def test_clipping_by_norm(kind, limit, seed):
    params = parameters(np.float64)
    set_gradients(params, seed)
    before = np.concatenate([p.grad.array.ravel() for p in params])
    norm = np.abs(before).max() if kind == math.inf else (np.abs(before) ** kind).sum() ** (1 / kind)
    total = optim.clip_grad_norm_(iter(params), limit, kind)
    assert total.item() == pytest.approx(norm) and total.shape == ()
    after = np.concatenate([p.grad.array.ravel() for p in params])
    np.testing.assert_allclose(after, before * min(1, limit / (norm + 1e-6)), rtol=1e-9)


def test_clipping_edge_cases():
    p = nn.Parameter([1.0, 2.0])
    assert optim.clip_grad_norm_([p], 1.0).item() == 0.0
    p.grad = mg.tensor([math.inf, 1.0])
    with pytest.raises(ValueError, match="2-norm is inf"):
        optim.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    p.grad = mg.tensor([math.nan, 1.0])
    assert math.isnan(optim.clip_grad_norm_(p, 1.0).item()) and np.isnan(p.grad.array).all()
    p.grad = mg.tensor([-3.0, 0.5])
    optim.clip_grad_value_(p, 1)
    assert p.grad.tolist() == [-1.0, 0.5] and p.grad.dtype == np.float32


# ---- schedules -------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda t: 0.9**t),
    "LambdaLR two": lambda s, o: s.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [4, 2, 9, 9], 0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.25, 0.8, 7),
    "LinearLR to 0": lambda s, o: s.LinearLR(o, 1.0, 0.0, 10),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 5, 0.01),
    "CosineAnnealingLR odd": lambda s, o: s.CosineAnnealingLR(o, 7),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(o, [0.5, 0.1], epochs=5, steps_per_epoch=4, pct_start=0.25,
                                                   anneal_strategy="linear", three_phase=True, div_factor=10.0,
                                                   final_div_factor=100.0, base_momentum=0.7, max_momentum=0.9),
    "OneCycleLR still": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20, cycle_momentum=False),
    "SequentialLR": lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 4), s.CosineAnnealingLR(o, 8)], [4]),
    "SequentialLR three": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.9), s.StepLR(o, 2, 0.5)], [3, 10]),
}


def rates(optimizer, scheduler, steps, out=None):
    out = [] if out is None else out
    for _ in range(steps):
        momentum = [g.get("betas", (g.get("momentum"),))[0] for g in optimizer.param_groups]
        out.append([g["lr"] for g in optimizer.param_groups] + momentum)
        scheduler.step()
    return out


def our_optimizer(name):
    a, b = parameters(shapes=[(1,), (1,)])
    groups = [{"params": [a]}, {"params": [b], "lr": 0.02}]
    return optim.Adam(groups, lr=0.1) if name == "OneCycleLR" else optim.SGD(groups, lr=0.1, momentum=0.9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_have_pytorchs_values(name):
    torch = pytest.importorskip("torch")
    a, b = (torch.zeros(1, requires_grad=True) for _ in range(2))
    kind = torch.optim.Adam if name == "OneCycleLR" else torch.optim.SGD
    theirs = kind([{"params": [a]}, {"params": [b], "lr": 0.02}], lr=0.1,
                  **({} if kind is torch.optim.Adam else {"momentum": 0.9}))
    ours = our_optimizer(name)
    mine, other = SCHEDULES[name](schedules, ours), SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    assert mine.get_last_lr() == pytest.approx(other.get_last_lr(), rel=1e-12)
    np.testing.assert_allclose(rates(ours, mine, 18), rates(theirs, other, 18), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_resume_exactly_and_their_state_is_json(name):
    whole, part, again = our_optimizer(name), our_optimizer(name), our_optimizer(name)
    expected = rates(whole, SCHEDULES[name](schedules, whole), 16)
    scheduler = SCHEDULES[name](schedules, part)
    got = rates(part, scheduler, 7)
    state = json.loads(json.dumps(scheduler.state_dict()))
    resumed = SCHEDULES[name](schedules, again)
    again.load_state_dict(part.state_dict())
    resumed.load_state_dict(state)
    assert rates(again, resumed, 9, got) == expected


def test_closed_forms_without_pytorch():
    def run(make, steps):
        optimizer = optim.SGD(parameters(shapes=[(1,)]), lr=0.1)
        scheduler = make(optimizer)
        return [row[0] for row in rates(optimizer, scheduler, steps)]

    assert run(lambda o: schedules.StepLR(o, 2, 0.5), 6) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
    assert run(lambda o: schedules.LinearLR(o, 0.5, 1, 2), 4) == pytest.approx([0.05, 0.075, 0.1, 0.1])
    assert run(lambda o: schedules.CosineAnnealingLR(o, 6, 0.02), 14) == pytest.approx(
        [0.02 + 0.08 * (1 + math.cos(math.pi * t / 6)) / 2 for t in range(14)])
    assert run(lambda o: schedules.MultiStepLR(o, [1, 3]), 4) == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_chained_schedules_multiply():
    optimizer = optim.SGD(parameters(shapes=[(1,)]), lr=1.0)
    both = [schedules.ExponentialLR(optimizer, 0.5), schedules.StepLR(optimizer, 2, 0.1)]
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        for scheduler in both:
            scheduler.step()
    assert seen == pytest.approx([1, 0.5, 0.025, 0.0125])


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs", "threshold": 0.01},
                                     {"patience": 1, "cooldown": 2, "factor": 0.5, "min_lr": [0.01, 0.001]},
                                     {"patience": 0, "mode": "max", "eps": 0.02}])
def test_reduce_on_plateau(options):
    torch = pytest.importorskip("torch")
    ours = our_optimizer("")
    theirs = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.02}], lr=0.1)
    options = {"patience": 3, **options}
    mine = schedules.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    rng = np.random.default_rng(0)
    for i in range(40):
        if i == 20:
            state = mine.state_dict()
            mine = schedules.ReduceLROnPlateau(ours, **options)
            mine.load_state_dict(state)
        metric = float(1 + 0.1 * rng.normal())
        mine.step(mg.tensor(metric, dtype=np.float64))
        other.step(metric)
        assert [g["lr"] for g in ours.param_groups] == pytest.approx([g["lr"] for g in theirs.param_groups])


@pytest.mark.parametrize("call, error, text", [
    (lambda o: schedules.StepLR(o, 0), ValueError, "step_size"),
    (lambda o: schedules.StepLR(None, 1), TypeError, "expected an Optimizer, got NoneType"),
    (lambda o: schedules.LambdaLR(o, [abs]), ValueError, "1 functions for 2 groups"),
    (lambda o: schedules.LinearLR(o, 0), ValueError, "start_factor"),
    (lambda o: schedules.ConstantLR(o, 2), ValueError, "factor"),
    (lambda o: schedules.CosineAnnealingLR(o, 0), ValueError, "T_max"),
    (lambda o: schedules.OneCycleLR(o, 1), ValueError, "give total_steps"),
    (lambda o: schedules.OneCycleLR(o, [1], total_steps=3), ValueError, "max_lr has 1 values for 2 groups"),
    (lambda o: schedules.OneCycleLR(o, 1, total_steps=3, pct_start=2), ValueError, "pct_start"),
    (lambda o: schedules.OneCycleLR(o, 1, total_steps=3, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
    (lambda o: schedules.SequentialLR(o, [], []), ValueError, "0 schedulers"),
    (lambda o: schedules.SequentialLR(o, [schedules.ReduceLROnPlateau(o)], []), TypeError, "cannot take its turn"),
    (lambda o: schedules.ReduceLROnPlateau(o, factor=1), ValueError, "factor"),
    (lambda o: schedules.ReduceLROnPlateau(o, mode="down"), ValueError, "'down'"),
    (lambda o: schedules.StepLR(o, 2, last_epoch=3), KeyError, "no 'initial_lr'"),
    (lambda o: schedules.StepLR(o, 2).load_state_dict({"gamma": 1}), ValueError, "needs exactly"),
])
def test_schedule_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(our_optimizer(""))


def test_onecycle_ends():
    optimizer = our_optimizer("")
    scheduler = schedules.OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match="step 4 lies behind total_steps 3"):
        scheduler.step()


# ---- averaging -------------------------------------------------------------------------------------------------------


def test_ema_averages_parameters_and_copies_buffers():
    net = nn.Sequential(nn.Linear(3, 4, rng=Stream(0, "a")), nn.BatchNorm1d(4))
    ema = optim.EMA(net, 0.75)
    expected = {k: v.copy() for k, v in net.state_dict().items()}
    for step in range(5):
        net(mg.tensor(values(step, (6, 3), np.float32)))
        for p in net.parameters():
            p.assign_(p.array + 1)
        ema.update()
        for name, p in net.named_parameters():
            expected[name] = 0.75 * expected[name] + 0.25 * p.array
        expected.update({name: b.array for name, b in net.named_buffers()})
    for name, value in ema.module.state_dict().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6)
    assert not ema.module.training and not any(p.requires_grad for p in ema.module.parameters()) and net.training
    assert ema.module[1].num_batches_tracked.item() == 5 and ema.updates == 5
    assert ema.module(mg.ones(1, 3)).requires_grad is False


def test_ema_half_life_and_ramp_up():
    p = nn.Module()
    p.w = nn.Parameter([0.0])
    ema = optim.EMA(p, half_life=100)
    p.w.assign_(1)
    for _ in range(4):
        ema.update(25)
    assert ema.module.w.item() == pytest.approx(0.5)
    ema = optim.EMA(p, half_life=1000, ramp_up=0.05)
    betas = []
    for _ in range(1000):
        betas.append(ema.beta(32))
        ema.update(32)
    assert betas[0] == 0.0 and betas[1] == 0.5 ** (32 / 1.6) and betas[-1] == 0.5 ** (32 / 1000)
    assert ema.images == 32000 and betas == sorted(betas)


def test_ema_resumes_to_the_bit(tmp_path):
    def run(ema, net, steps):
        for step in steps:
            for i, p in enumerate(net.parameters()):
                p.assign_(values(10 * step + i, p.shape, np.float32))
            ema.update(8)

    def fresh():
        net = nn.Linear(3, 2, rng=Stream(0, "a"))
        return optim.EMA(net, half_life=50, ramp_up=0.5), net

    (whole, net), (part, net2), (resumed, net3) = fresh(), fresh(), fresh()
    run(whole, net, range(9))
    run(part, net2, range(4))
    checkpoint.save(tmp_path / "e.npz", part.state_dict())
    resumed.load_state_dict(checkpoint.load(tmp_path / "e.npz"))
    run(resumed, net3, range(4, 9))
    assert whole.module.weight.array.tobytes() == resumed.module.weight.array.tobytes()
    assert whole.images == resumed.images == 72
    with pytest.raises(ValueError, match="'module', 'updates' and 'images'"):
        whole.load_state_dict({})
