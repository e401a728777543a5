"""The judge: shapes, features, modes."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.random import Stream
from nets.classifiers.lenet import LeNet


@pytest.mark.parametrize("size, channels, classes", [(28, 1, 10), (32, 3, 10), (16, 1, 4), (33, 2, 3)])
def test_shapes(size, channels, classes):
    network = LeNet(channels, classes, size, width=4, rng=Stream(0, "init"))
    x = mg.tensor(np.random.default_rng(0).normal(size=(3, channels, size, size)), dtype=mg.float32)
    assert network(x).shape == (3, classes) and network.features(x).shape == (3, 84)


def test_evaluation_is_deterministic_and_per_sample():
    network = LeNet(width=4, rng=Stream(0, "init")).eval()
    x = np.random.default_rng(0).normal(size=(5, 1, 28, 28)).astype(np.float32)
    whole = network(mg.tensor(x)).array
    np.testing.assert_array_equal(whole, network(mg.tensor(x)).array)
    for i in range(5):
        np.testing.assert_allclose(network(mg.tensor(x[i : i + 1])).array[0], whole[i], atol=1e-5)


def test_same_stream_same_weights():
    a, b = (LeNet(width=4, rng=Stream(7, "init")).state_dict() for _ in range(2))
    assert all((a[key] == b[key]).all() for key in a)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="at least 16"):
        LeNet(size=15)
