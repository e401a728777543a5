"""Arguments of the wrong kind: a number where a bool is meant, and an eps that is not positive, are errors that name them."""

import math

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn

FLAGS = {
    "bias": (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell),
    "batch_first": (nn.RNN, nn.LSTM, nn.GRU),
    "bidirectional": (nn.RNN, nn.LSTM, nn.GRU),
}


@pytest.mark.parametrize("flag, layer", [(f, layer) for f, layers in FLAGS.items() for layer in layers])
@pytest.mark.parametrize("value", [0.5, 0, 1, None, "yes", 2])
def test_recurrent_layers_refuse_what_is_no_bool(flag, layer, value):
    with pytest.raises(TypeError, match=f"{layer.__name__}: {flag} must be True or False, got {value!r}"):
        layer(3, 4, **{flag: value})
    assert layer(3, 4, **{flag: np.bool_(True)}) is not None


def test_a_dropout_in_the_place_of_bias_is_no_silent_bias():
    with pytest.raises(TypeError, match="LSTM: bias must be True or False, got 0.5"):
        nn.LSTM(10, 20, 2, 0.5)


X, M, V = mg.ones(2, 4, 3, 3), mg.zeros(4), mg.ones(4)
NORMS = {
    "BatchNorm1d": lambda e: nn.BatchNorm1d(4, eps=e),
    "BatchNorm2d": lambda e: nn.BatchNorm2d(4, eps=e),
    "InstanceNorm2d": lambda e: nn.InstanceNorm2d(4, eps=e),
    "GroupNorm": lambda e: nn.GroupNorm(2, 4, eps=e),
    "LayerNorm": lambda e: nn.LayerNorm(3, eps=e),
    "batch_norm": lambda e: F.batch_norm(X, M, V, training=True, eps=e),
    "batch_norm, evaluation": lambda e: F.batch_norm(X, M, V, eps=e),
    "instance_norm": lambda e: F.instance_norm(X, eps=e),
    "group_norm": lambda e: F.group_norm(X, 2, eps=e),
    "layer_norm": lambda e: F.layer_norm(X, 3, eps=e),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0, 0.0, -1e-5, math.inf, math.nan])
def test_an_eps_that_is_not_positive_and_finite_is_named(norm, eps):
    with pytest.raises(ValueError, match="eps must be positive and finite"):
        NORMS[norm](eps)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [True, "1e-5", None, [1e-5]])
def test_an_eps_that_is_no_number_is_named(norm, eps):
    with pytest.raises(TypeError, match="eps must be a number"):
        NORMS[norm](eps)
