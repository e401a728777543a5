"""The optimiser steps against torch.optim's single-tensor implementation, five steps each, in both precisions."""
import itertools

import numpy as np
import pytest

from minigrad import kernels
from tests.kernels.strategies import values

SHAPES = [(3, 4), (5,), (2, 3, 2, 2)]


def run(torch, dtype, ours, make, steps=5):
    """Five steps on the same parameters and gradients, ours and PyTorch's; returns the pairs to compare."""
    params = [values(i, s, dtype) for i, s in enumerate(SHAPES)]
    twins = [torch.from_numpy(p.copy()).requires_grad_() for p in params]
    theirs = make(twins)
    for step in range(1, steps + 1):
        grads = [values(100 * step + i, s, dtype) for i, s in enumerate(SHAPES)]
        for t, g in zip(twins, grads, strict=True):
            t.grad = torch.from_numpy(g.copy())
        theirs.step()
        ours(params, grads, step)
    return zip(params, (t.detach().numpy() for t in twins), strict=True)


def check(pairs, dtype):
    for ours, theirs in pairs:
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=4 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


def zeros(dtype):
    return [np.zeros(s, dtype) for s in SHAPES]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("momentum, dampening, decay, nesterov, maximize", [
    (0, 0, 0, False, False), (0.9, 0, 0, False, False), (0.9, 0.3, 0.1, False, True), (0.9, 0, 0.1, True, False)])
def test_sgd(dtype, momentum, dampening, decay, nesterov, maximize):
    torch = pytest.importorskip("torch")
    options = dict(lr=0.1, momentum=momentum, dampening=dampening, weight_decay=decay, nesterov=nesterov, maximize=maximize)
    buffers = zeros(dtype) if momentum else None
    check(run(torch, dtype, lambda p, g, t: kernels.sgd_step(p, g, buffers, first=t == 1, **options),
              lambda p: torch.optim.SGD(p, foreach=False, **options)), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay, decoupled, amsgrad, maximize", [*itertools.product((0, 0.1), *[(False, True)] * 3)])
def test_adam(dtype, decay, decoupled, amsgrad, maximize):
    torch = pytest.importorskip("torch")
    m, v, top = zeros(dtype), zeros(dtype), zeros(dtype) if amsgrad else None

    def ours(p, g, t):
        kernels.adam_step(p, g, m, v, top, step=t, lr=0.01, beta1=0.5, beta2=0.99, eps=1e-8, weight_decay=decay,
                          decoupled=decoupled, maximize=maximize)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    check(run(torch, dtype, ours, lambda p: kind(p, lr=0.01, betas=(0.5, 0.99), eps=1e-8, weight_decay=decay, amsgrad=amsgrad,
                                                 maximize=maximize, foreach=False, fused=False)), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay, momentum, centered, maximize", [*itertools.product((0, 0.1), (0, 0.9), *[(False, True)] * 2)])
def test_rmsprop(dtype, decay, momentum, centered, maximize):
    torch = pytest.importorskip("torch")
    v, a, b = zeros(dtype), zeros(dtype) if centered else None, zeros(dtype) if momentum else None
    options = dict(lr=0.01, alpha=0.9, eps=1e-8, weight_decay=decay, momentum=momentum, centered=centered, maximize=maximize)
    check(run(torch, dtype, lambda p, g, t: kernels.rmsprop_step(p, g, v, a, b, **options),
              lambda p: torch.optim.RMSprop(p, foreach=False, **options)), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay, maximize", [*itertools.product((0, 0.1), (False, True))])
def test_adagrad(dtype, decay, maximize):
    torch = pytest.importorskip("torch")
    sums = zeros(dtype)
    options = dict(lr=0.1, lr_decay=0.01, eps=1e-10, weight_decay=decay, maximize=maximize)
    check(run(torch, dtype, lambda p, g, t: kernels.adagrad_step(p, g, sums, step=t, **options),
              lambda p: torch.optim.Adagrad(p, foreach=False, **options)), dtype)


def test_counting_counts_each_kernel_and_nests():
    x = np.ones((1, 1, 2, 2))
    with kernels.counting() as outer:
        kernels.leaky_relu(x, 0.1)
        with kernels.counting() as inner:
            kernels.leaky_relu_dx(x, x, 0.1)
    kernels.leaky_relu(x, 0.1)
    assert outer == {"leaky_relu": 1, "leaky_relu_dx": 1} and inner == {"leaky_relu_dx": 1}
