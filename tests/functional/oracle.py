"""PyTorch as an oracle for one operation: values, gradients and gradients of gradients with random cotangents."""

import numpy as np
import pytest

import minigrad as mg


def random(*shape, seed=0, dtype=np.float64, low=None, high=None):
    rng = np.random.default_rng([seed, *shape])
    return (rng.standard_normal(shape) if low is None else rng.uniform(low, high, shape)).astype(dtype)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def same_as_torch(ours, theirs, *arrays, order=1, rtol=1e-9, atol=1e-11, wrt=None):
    """ours(*Tensors) and theirs(*torch tensors) agree in value, dtype and in derivatives up to `order`.

    `wrt`: which arguments to differentiate by (default: all floating ones). Results that do not require a gradient are
    compared in value only.
    """
    torch = pytest.importorskip("torch")
    floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"] if wrt is None else list(wrt)
    xs = [mg.tensor(a, requires_grad=order > 0 and i in floats) for i, a in enumerate(arrays)]
    ts = [torch.tensor(a.copy(), requires_grad=order > 0 and i in floats) for i, a in enumerate(arrays)]
    y, t = ours(*xs), theirs(*ts)
    if not isinstance(y, tuple):
        y, t = (y,), (t,)
    assert len(y) == len(t)
    for a, b in zip(y, t, strict=True):
        _close(a, b, "value", rtol, atol)
    pairs = [(a, b) for a, b in zip(y, t, strict=True) if b.requires_grad]
    for a, _ in pairs:
        assert a.requires_grad
    xs, ts = [xs[i] for i in floats], [ts[i] for i in floats]
    for n in range(order):  # the cotangents are inputs of the next order
        more = n + 1 < order
        rng = np.random.default_rng(n)
        us = [rng.standard_normal(a.shape).astype(a.dtype) for a, _ in pairs]
        mu, tu = [mg.tensor(u, requires_grad=more) for u in us], [torch.tensor(u, requires_grad=more) for u in us]
        gs = mg.grad([a for a, _ in pairs], xs, mu, create_graph=more, allow_unused=n > 0)
        hs = torch.autograd.grad([b for _, b in pairs], ts, tu, create_graph=more, allow_unused=n > 0)
        pairs = []
        for i, (x, t, g, h) in enumerate(zip(xs, ts, gs, hs, strict=True)):
            _close(mg.zeros_like(x) if g is None else g, torch.zeros_like(t) if h is None else h,
                   f"derivative of order {n + 1}, input {i}", rtol, atol)
            if g is not None and g.requires_grad:
                assert h is not None and h.requires_grad
                pairs.append((g, h))
        xs, ts = xs + mu, ts + tu


def same_in_float32(f, *arrays, rtol=2e-4):
    """float32 (the compiled kernels) equals float64 (the plain ones), for images in both memory layouts: values, gradients, and
    gradients of the gradients' squared sum. Differences are measured against the largest entry."""
    results = []
    for dtype, lay in ((np.float64, np.array), (np.float32, np.array), (np.float32, channels_last)):
        xs = [mg.from_numpy(lay(a.astype(dtype)) if a.ndim == 4 else a.astype(dtype)).requires_grad_() for a in arrays]
        y = f(*xs)
        u = mg.tensor(random(*y.shape, seed=5).astype(dtype), requires_grad=True)
        gs = mg.grad(y, xs, u, create_graph=True)
        hs = mg.grad(sum((g * g).sum() for g in gs), [*xs, u], allow_unused=True)
        results.append([y, *gs, *[mg.zeros_like(x) if h is None else h for x, h in zip([*xs, u], hs, strict=True)]])
        assert all(r.dtype == dtype for r in results[-1])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            scale = max(1.0, np.abs(a.array).max())
            np.testing.assert_allclose(b.array / scale, a.array / scale, rtol=rtol, atol=rtol)


def _close(a, b, what, rtol, atol):
    b = b.detach().numpy(force=True)  # force: also zeros that torch never stored
    assert a.shape == b.shape and a.dtype == b.dtype, (what, a.shape, b.shape, a.dtype, b.dtype)
    np.testing.assert_allclose(a.array, b, rtol=rtol, atol=atol, err_msg=what, equal_nan=True)
