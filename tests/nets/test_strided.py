"""The small network of robust training: the published sizes, features, the same function in training and in evaluation."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.random import Stream
from nets.classifiers.strided import Strided


def test_on_mnist_it_has_the_layers_of_the_paper():
    shapes = {name: a.shape for name, a in Strided(rng=Stream(0, "init")).state_dict().items()}
    assert list(shapes.values()) == [(16, 1, 4, 4), (16,), (32, 16, 4, 4), (32,), (100, 1568), (100,), (10, 100), (10,)]


@pytest.mark.parametrize("size, channels, classes", [(28, 1, 10), (32, 3, 10), (16, 1, 4), (4, 2, 3)])
def test_shapes(size, channels, classes):
    network = Strided(channels, classes, size, width=4, rng=Stream(0, "init"))
    x = mg.tensor(np.random.default_rng(0).normal(size=(3, channels, size, size)), dtype=mg.float32)
    assert network(x).shape == (3, classes) and network.features(x).shape == (3, 100)


def test_it_is_the_same_function_in_training_and_in_evaluation():
    network = Strided(width=4, rng=Stream(0, "init"))
    x = mg.tensor(np.random.default_rng(0).normal(size=(5, 1, 28, 28)).astype(np.float32))
    trained = network.train()(x).array
    np.testing.assert_array_equal(trained, network.eval()(x).array)
    dropped = Strided(width=4, dropout=0.5, rng=Stream(0, "init"))
    assert (dropped(x).array != trained).any() and (dropped.eval()(x).array == trained).all()


@pytest.mark.parametrize("size", [0, 2, 30])
def test_sizes_that_two_strides_do_not_divide_are_refused(size):
    with pytest.raises(ValueError, match=f"multiple of 4.*got {size}"):
        Strided(size=size)
