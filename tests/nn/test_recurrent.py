"""RNN, LSTM, GRU and their cells: twins in PyTorch for every option, cells against sequences, streams, errors."""

import itertools
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.random import Stream


def values(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def flat(out):
    return [y for part in out for y in flat(part)] if isinstance(out, tuple) else [out]


KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]
OPTIONS = [{"num_layers": n, "bidirectional": b, "batch_first": f, "bias": i}
           for n, b, f, i in itertools.product((1, 2), *[(False, True)] * 3)]


@pytest.mark.parametrize("name, kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_sequences_have_twins(name, kind, options):
    torch = pytest.importorskip("torch")
    options = {**kind, **options}
    ours, theirs = getattr(nn, name)(3, 4, **options), getattr(torch.nn, name)(3, 4, **options)
    assert repr(ours) == repr(theirs)
    shapes = [[(k, tuple(v.shape)) for k, v in net.state_dict().items()] for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    ours.double(), theirs.double()
    ours.load_state_dict(theirs.state_dict())
    states = options["num_layers"] * (1 + options["bidirectional"])
    for shape, rest in (((5, 2, 3) if not options["batch_first"] else (2, 5, 3), (2,)), ((5, 3), ())):
        for given in (False, True):
            x, t = mg.tensor(values(0, shape), requires_grad=True), torch.from_numpy(values(0, shape)).requires_grad_()
            hx = [values(i, (states, *rest, 4)) for i in range(2 if name == "LSTM" else 1)] if given else None
            mine = other = None
            if given:
                mine, other = tuple(map(mg.tensor, hx)), tuple(map(torch.from_numpy, hx))
                mine, other = (mine, other) if name == "LSTM" else (mine[0], other[0])
            y, z = flat(ours(x, mine)), flat(theirs(t, other))
            for a, b in zip(y, z, strict=True):
                np.testing.assert_allclose(a.array, b.detach().numpy(), rtol=1e-9, atol=1e-12)
            g = [values(7 + i, a.shape) for i, a in enumerate(y)]
            ours.zero_grad(), theirs.zero_grad()
            sum((a * mg.tensor(v)).sum() for a, v in zip(y, g, strict=True)).backward()
            sum((b * torch.from_numpy(v)).sum() for b, v in zip(z, g, strict=True)).backward()
            np.testing.assert_allclose(x.grad.array, t.grad.numpy(), rtol=1e-8, atol=1e-10)
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                np.testing.assert_allclose(p.grad.array, q.grad.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name, kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells_have_twins(name, kind, bias):
    torch = pytest.importorskip("torch")
    ours, theirs = (getattr(lib, f"{name}Cell")(3, 4, bias=bias, **kind) for lib in (nn, torch.nn))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours.double(), theirs.double()
    ours.load_state_dict(theirs.state_dict())
    for shape in ((2, 3), (3,)):
        x = values(0, shape)
        for a, b in zip(flat(ours(mg.tensor(x))), flat(theirs(torch.from_numpy(x))), strict=True):
            np.testing.assert_allclose(a.array, b.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cell_step_by_step_is_the_sequence(name):
    layer = getattr(nn, name)(3, 4, rng=Stream(0, "a"))
    cell = getattr(nn, f"{name}Cell")(3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x, state, outs = mg.tensor(values(0, (6, 2, 3), np.float32)), None, []
    for t in range(6):
        state = cell(x[t], state)
        outs.append(flat(state)[0] if name != "LSTM" else state[0])
    np.testing.assert_allclose(layer(x)[0].array, mg.stack(outs).array, rtol=1e-5, atol=1e-6)


def test_initial_values_are_uniform_within_one_over_root_hidden_and_reproducible():
    first, second = (nn.LSTM(20, 50, num_layers=2, bidirectional=True, rng=Stream(3, "init")) for _ in range(2))
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(p.array, q.array)
        assert 0.95 / math.sqrt(50) < np.abs(p.array).max() <= 1 / math.sqrt(50) * (1 + 1e-6)


def test_dropout_acts_between_layers_in_training_only():
    layer = nn.GRU(3, 4, num_layers=2, dropout=1.0, rng=Stream(0, "a"))
    x = mg.tensor(values(0, (5, 2, 3), np.float32))
    other = mg.tensor(values(1, (5, 2, 3), np.float32))
    np.testing.assert_array_equal(layer(x)[0].array, layer(other)[0].array)
    layer.eval()
    assert not np.allclose(layer(x)[0].array, layer(other)[0].array)
    with pytest.warns(UserWarning, match="only one"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize("call, error, text", [
    (lambda: nn.RNN(3, 4, nonlinearity="sin"), ValueError, "'tanh' or 'relu', got 'sin'"),
    (lambda: nn.LSTM(3, 4, proj_size=2), ValueError, "proj_size is not supported, got 2"),
    (lambda: nn.LSTM(3, 0), ValueError, "LSTM: hidden_size must be at least 1, got 0"),
    (lambda: nn.GRU(3, 4, num_layers=0), ValueError, "num_layers must be at least 1"),
    (lambda: nn.GRU(3, 4, dropout=2, num_layers=2), ValueError, "dropout must be a probability"),
    (lambda: nn.GRU(3, 4)(mg.ones(5, 2, 7)), ValueError, "gru"),
    (lambda: nn.LSTM(3, 4)(mg.ones(5, 2, 3), (mg.ones(1, 2, 4),)), ValueError, "lstm"),
    (lambda: nn.RNNCell(3, 4)(mg.ones(5, 2, 3)), ValueError, "rnn_tanh_cell"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
