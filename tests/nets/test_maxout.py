"""Maxout is what its equation says, to every order; the bound on weights; the shallow RBF network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.gradcheck import check_grads
from minigrad.random import Stream
from nets.classifiers.maxout import Maxout, MaxoutNet, bound_norms_
from nets.classifiers.rbf import RBF, independent_loss


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_a_unit_is_the_largest_of_its_pieces(n, units, pieces, seed):
    layer = Maxout(6, units, pieces, rng=Stream(seed, "init"))
    x = Stream(seed, "x").normal((n, 6))
    w, b = layer.linear.weight.array.reshape(pieces, units, 6), layer.linear.bias.array.reshape(pieces, units)
    expected = np.max(np.einsum("nd,pud->npu", x, w) + b, axis=1)
    np.testing.assert_allclose(layer(mg.tensor(x)).array, expected, atol=1e-5)


def test_a_unit_of_one_piece_is_linear():
    layer = Maxout(4, 3, 1, rng=Stream(0, "init"))
    x = mg.tensor(Stream(0, "x").normal((5, 4)))
    np.testing.assert_array_equal(layer(x).array, layer.linear(x).array)


def test_the_gradients_of_a_network_are_right():
    net = MaxoutNet(5, 3, units=4, pieces=3, dropout=(0, 0), rng=Stream(1, "init")).to(dtype=mg.float64)
    x = mg.tensor(Stream(1, "x").normal((2, 5), np.float64), dtype=mg.float64, requires_grad=True)
    w = mg.tensor(Stream(1, "w").normal((2, 3), np.float64), dtype=mg.float64)
    check_grads(lambda a: (net(a).log_softmax(1) * w).sum(), [x], order=2)


def test_dropout_acts_in_training_only_and_the_network_takes_images():
    net = MaxoutNet(16, 10, units=6, rng=Stream(0, "init"))
    x = mg.tensor(Stream(0, "x").uniform(0, 1, (3, 1, 4, 4)))
    assert not np.array_equal(net(x).array, net(x).array)
    net.eval()
    assert net(x).shape == (3, 10) and np.array_equal(net(x).array, net(x).array)
    with pytest.raises(ValueError, match="pieces"):
        Maxout(2, 2, 0)


@given(st.floats(0.01, 3), st.integers(0, 20))
def test_the_bound_shortens_long_rows_and_leaves_the_others(limit, seed):
    net = nn.Sequential(nn.Linear(7, 5, rng=Stream(seed, "init")), nn.Linear(5, 2, rng=Stream(seed, "head")))
    before = [p.array.copy() for p in net.parameters()]
    bound_norms_(net, limit)
    for old, p in zip(before, net.parameters(), strict=True):
        if p.ndim < 2:
            np.testing.assert_array_equal(p.array, old)
            continue
        norm = np.linalg.norm(old, axis=1, keepdims=True)
        np.testing.assert_allclose(p.array, np.where(norm > limit, old * (limit / norm), old), rtol=1e-5)


def test_an_rbf_network_is_its_equation_and_its_loss_that_of_independent_classes():
    s = Stream(0, "rbf")
    centres = s.uniform(0, 1, (3, 8))
    net = RBF(centres, width=0.3)
    net.raw.assign_(s.normal((3, 8)))
    x = s.uniform(0, 1, (5, 8))
    b = np.log1p(np.exp(net.raw.array))
    expected = -np.einsum("nkd,kd->nk", (x[:, None] - centres) ** 2, b)
    z = net(mg.tensor(x))
    np.testing.assert_allclose(z.array, expected, atol=1e-4)
    y = np.array([0, 1, 2, 0, 1])
    p, t = np.exp(expected), np.eye(3)[y]
    np.testing.assert_allclose(independent_loss(z, y).array, -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1), rtol=1e-3)
    assert RBF(centres, 0.3)(mg.tensor(centres)).array.diagonal() == pytest.approx(0, abs=1e-5)
