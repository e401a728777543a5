"""Initial values: moments, bounds, orthogonality, streams; PyTorch's formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.nn import init
from minigrad.random import Stream

SHAPE = (64, 32, 3, 3)
FAN_IN, FAN_OUT = 32 * 9, 64 * 9


def drawn(name, *args, shape=SHAPE, **kw):
    t = mg.zeros(shape)
    assert getattr(init, name)(t, *args, rng=Stream(0, "init"), **kw) is t
    assert t.version == 1 and t.dtype == np.float32
    return t.array


@pytest.mark.parametrize("name, args, kw, std, bounded", [
    ("uniform_", (-1.0, 3.0), {}, 4 / math.sqrt(12), None),
    ("normal_", (0.5, 2.0), {}, 2.0, None),
    ("xavier_uniform_", (2.0,), {}, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)), True),
    ("xavier_normal_", (), {}, math.sqrt(2 / (FAN_IN + FAN_OUT)), False),
    ("kaiming_uniform_", (), {"a": math.sqrt(5)}, 1 / math.sqrt(3 * FAN_IN), True),
    ("kaiming_uniform_", (), {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / FAN_OUT), True),
    ("kaiming_normal_", (0.2,), {}, math.sqrt(2 / 1.04 / FAN_IN), False),
    ("kaiming_normal_", (), {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(FAN_IN), False),
])
def test_moments(name, args, kw, std, bounded):
    x = drawn(name, *args, **kw)
    mean = {"uniform_": 1.0, "normal_": 0.5}.get(name, 0.0)
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() / std - 1) < 0.02
    if bounded:
        assert np.abs(x).max() <= math.sqrt(3) * std * (1 + 1e-6)


@pytest.mark.parametrize("a, b, mean, std", [(-2.0, 2.0, 0.0, 1.0), (1.0, 3.0, 0.0, 1.0), (-0.1, 0.05, 0.0, 1.0),
                                             (0.0, 10.0, -1.0, 0.5), (-0.04, 0.04, 0.0, 0.02)])
def test_truncated_normal_has_the_conditional_moments(a, b, mean, std):
    x = drawn("trunc_normal_", mean, std, a, b).astype(np.float64)
    assert a <= x.min() and x.max() <= b
    grid = np.linspace(a, b, 20001)
    density = np.exp(-((grid - mean) ** 2) / (2 * std**2))
    density /= density.sum()
    m = (grid * density).sum()
    s = math.sqrt(((grid - m) ** 2 * density).sum())
    assert abs(x.mean() - m) < 5 * s / math.sqrt(x.size) and abs(x.std() / s - 1) < 0.02


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 3))
def test_orthogonal_rows_or_columns(rows, cols, gain):
    q = mg.zeros(rows, cols, dtype=np.float64)
    q = init.orthogonal_(q, gain, rng=Stream(1, "q")).array
    small = q @ q.T if rows <= cols else q.T @ q
    np.testing.assert_allclose(small, gain**2 * np.eye(min(rows, cols)), atol=1e-12)


def test_constants_and_identities():
    t = mg.zeros(2, 3)
    assert (init.constant_(t, 2.5).array == 2.5).all() and (init.ones_(t).array == 1).all()
    assert (init.zeros_(t).array == 0).all() and init.eye_(t).array.tolist() == [[1, 0, 0], [0, 1, 0]]
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 5)).astype(np.float32)
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    init.dirac_(layer.weight, groups=2)
    np.testing.assert_array_equal(layer(mg.tensor(x)).array, x)


def test_gains_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "conv_transpose2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)


def test_same_stream_same_values_and_none_differs():
    first, second = (nn.Conv2d(2, 3, 3, rng=Stream(7, "init")) for _ in range(2))
    np.testing.assert_array_equal(first.weight.array, second.weight.array)
    np.testing.assert_array_equal(first.bias.array, second.bias.array)
    generators = [nn.Linear(4, 4, rng=np.random.default_rng(3)).weight.array for _ in range(2)]
    np.testing.assert_array_equal(*generators)
    assert not np.array_equal(nn.Linear(4, 4).weight.array, nn.Linear(4, 4).weight.array)


@pytest.mark.parametrize("make, scale", [
    (lambda rng: nn.Linear(400, 300, rng=rng), 1 / math.sqrt(400)),
    (lambda rng: nn.Conv2d(16, 64, 5, groups=4, rng=rng), 1 / math.sqrt(4 * 25)),
    (lambda rng: nn.ConvTranspose2d(64, 32, 4, groups=2, rng=rng), 1 / math.sqrt(16 * 16)),
])
def test_layers_start_uniform_within_one_over_root_fan_in(make, scale):
    layer = make(Stream(0, "init"))
    for p in (layer.weight, layer.bias):
        assert np.abs(p.array).max() <= scale * (1 + 1e-6) and np.abs(p.array).max() > 0.9 * scale
    assert abs(layer.weight.array.std() * math.sqrt(3) / scale - 1) < 0.03


def test_fan_in_agrees_with_pytorch_for_transposed_layers():
    torch = pytest.importorskip("torch")
    weight = torch.nn.ConvTranspose2d(6, 8, (3, 5), groups=2).weight
    assert init.fans(nn.ConvTranspose2d(6, 8, (3, 5), groups=2).weight) == \
        torch.nn.init._calculate_fan_in_and_fan_out(weight)


@pytest.mark.parametrize("call, error, text", [
    (lambda: init.xavier_uniform_(mg.zeros(3)), ValueError, "at least 2 axes, got shape .3,."),
    (lambda: init.kaiming_normal_(mg.zeros(2, 2), mode="in"), ValueError, "'fan_in' or 'fan_out', got 'in'"),
    (lambda: init.kaiming_normal_(mg.zeros(2, 2), nonlinearity="gelo"), ValueError, "unknown nonlinearity 'gelo'"),
    (lambda: init.normal_(mg.zeros(2), 0, -1), ValueError, "std must be >= 0, got -1"),
    (lambda: init.trunc_normal_(mg.zeros(2), a=1, b=1), ValueError, "a < b"),
    (lambda: init.eye_(mg.zeros(2)), ValueError, "two axes"),
    (lambda: init.dirac_(mg.zeros(2, 2)), ValueError, "3, 4 or 5 axes"),
    (lambda: init.dirac_(mg.zeros(3, 2, 1, 1), groups=2), ValueError, "3 output channels"),
    (lambda: init.normal_(mg.arange(3)), TypeError, "floating-point"),
    (lambda: init.zeros_(np.zeros(2)), TypeError, "expected a Tensor, got ndarray"),
    (lambda: init.uniform_(mg.zeros(2), rng=3), TypeError, "rng"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
