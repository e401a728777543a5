"""The fully connected network: its layers, and that nothing but ReLU stands between them."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.random import Stream
from nets.classifiers.perceptron import Perceptron


def test_it_is_linear_layers_with_relu_between():
    network = Perceptron(12, (7, 5, 3), rng=Stream(0, "init"))
    shapes = [p.shape for p in network.parameters()]
    assert shapes == [(7, 12), (7,), (5, 7), (5,), (3, 5), (3,)]
    x = Stream(1, "x").normal((4, 1, 3, 4))
    w = [p.array for p in network.parameters()]
    h = np.maximum(x.reshape(4, 12) @ w[0].T + w[1], 0)
    h = np.maximum(h @ w[2].T + w[3], 0)
    np.testing.assert_allclose(network(mg.tensor(x)).array, h @ w[4].T + w[5], rtol=1e-4, atol=1e-5)
    assert [p.shape for p in Perceptron(2, (3,)).parameters()] == [(3, 2), (3,)]
    with pytest.raises(ValueError, match="at least one layer"):
        Perceptron(2, ())
