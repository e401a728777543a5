"""Adadelta, Adamax, NAdam, RAdam and Rprop: PyTorch's steps, signatures and states."""

import inspect

import numpy as np
import pytest

from minigrad import nn, optim

torch = pytest.importorskip("torch")
RULES = [
    ("Adadelta", {}), ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}), ("Adamax", {"betas": (0.5, 0.9), "weight_decay": 0.1}),
    ("NAdam", {}), ("NAdam", {"momentum_decay": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"weight_decay": 0.1, "maximize": True}),
    ("RAdam", {}), ("RAdam", {"betas": (0.9, 0.99), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Rprop", {}), ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.1), "maximize": True}),
]


@pytest.mark.parametrize("name, options", RULES)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_steps_are_pytorchs(name, options, dtype, tolerance):
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(dtype) for shape in ((3, 4), (5,), ())]
    ours, theirs = [nn.Parameter(a) for a in start], [torch.nn.Parameter(torch.tensor(a)) for a in start]
    mine, other = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(12):
        if step == 6:  # resume
            fresh = getattr(optim, name)(ours, **options)
            fresh.load_state_dict(mine.state_dict())
            mine = fresh
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = rng.normal(size=p.shape).astype(dtype) if (step + i) % 4 else None
            p.grad = None if g is None else nn.Parameter(g).detach()
            q.grad = None if g is None else torch.tensor(g)
        mine.step()
        other.step()
        for p, q in zip(ours, theirs, strict=True):
            assert p.dtype == dtype
            np.testing.assert_allclose(p.array, q.detach().numpy(), tolerance, tolerance)


@pytest.mark.parametrize("name", ["Adadelta", "Adamax", "NAdam", "RAdam", "Rprop"])
def test_signatures_are_pytorchs(name):
    ours, theirs = (inspect.signature(getattr(lib, name)).parameters for lib in (optim, torch.optim))
    for key, p in ours.items():
        assert key in theirs and p.default == theirs[key].default, key
    positional = [k for k, p in ours.items() if p.kind == p.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)[:len(positional)]


@pytest.mark.parametrize("call, words", [
    (lambda p: optim.Adadelta(p, rho=2), "rho"), (lambda p: optim.Adamax(p, betas=(1, 0.5)), "betas"),
    (lambda p: optim.NAdam(p, lr=-1), "lr"), (lambda p: optim.Rprop(p, etas=(1, 2)), "etas"),
    (lambda p: optim.RAdam(p, eps=-1), "eps"),
])
def test_numbers_outside_their_domain_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call([nn.Parameter([1.0])])
