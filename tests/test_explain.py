"""explain: the tables of a call, a module and a graph; bytes kept; nothing left behind."""

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.explain import explain
from minigrad.random import Stream


def text_of(capsys, *args, **kw):
    assert explain(*args, **kw) is None
    return capsys.readouterr().out


def network():
    first, last = nn.Conv2d(1, 2, 3, rng=Stream(0, "a")), nn.Linear(8, 3, rng=Stream(0, "b"))
    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), last)


def image():
    return mg.tensor(np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32))


def test_a_call_lists_operations_shapes_kernels_and_totals(capsys):
    x, w = mg.ones(3, 4), mg.ones(4, 5, requires_grad=True)
    text = text_of(capsys, lambda a: (a @ w).exp().sum(), x)
    lines = text.splitlines()
    assert lines[0].startswith("forward: 3 operations, ")
    assert re.fullmatch(r"0  matmul +3x4 4x5 -> 3x5 +\d+\.\d+ +48 B  matmul", lines[2])
    assert re.fullmatch(r"1  exp +3x5 -> 3x5 +\d+\.\d+ +60 B", lines[3])
    assert lines[4].startswith("2  sum") and " -> ()" in lines[4] and lines[4].endswith(" 0 B")
    assert "the call took" in text and "108 B kept" in lines[0]


def test_without_gradients_nothing_is_kept(capsys):
    x = mg.ones(3, 4)
    assert "0 B kept" in text_of(capsys, lambda: x.exp().sum())
    w = mg.ones(3, requires_grad=True)
    with mg.no_grad():
        assert " 0 B kept" in text_of(capsys, lambda: (w * 2).exp())


def test_the_same_memory_is_counted_once(capsys):
    x = mg.ones(100, requires_grad=True)

    def f():
        y = x * 2.0
        return (y * y).sum() + (y.reshape(10, 10) * 3.0).exp().sum() + (y * y).sum()

    assert text_of(capsys, f).splitlines()[0].endswith(", 800 B kept")


def test_backward_lists_the_sweep_and_leaves_no_gradient(capsys):
    net, x = network(), image()
    text = text_of(capsys, lambda: net(x).sum(), backward=True)
    assert "backward: " in text and "conv2d_dw" in text and "the sweep took" in text
    assert all(p.grad is None for p in net.parameters())
    assert "no result requires a gradient" in text_of(capsys, lambda: x.exp(), backward=True)
    assert "backward" in text_of(capsys, net, x, backward=True)


def test_a_module_lists_its_layers(capsys):
    net = network()
    net[3].bias.requires_grad_(False)
    text = text_of(capsys, net.eval(), image())
    lines = text.splitlines()
    assert lines[0].startswith("Sequential: 47 parameters (188 B, 3 frozen), ") and lines[0].endswith("evaluation mode")
    rows = [line.split() for line in lines[2:]]
    assert [row[:4] for row in rows] == [["0", "Conv2d", "2x2x2x2", "20"], ["1", "ReLU", "2x2x2x2", "0"],
                                         ["2", "Flatten", "2x8", "0"], ["3", "Linear", "2x3", "27"]]
    assert not any(m._hooks for m in net.modules())


def test_shared_parameters_count_once_and_failures_leave_no_hooks(capsys):
    layer = nn.Linear(3, 3)
    text = text_of(capsys, nn.Sequential(layer, layer), mg.ones(1, 3))
    assert "12 parameters" in text and len(text.splitlines()) == 4
    with pytest.raises(ValueError):
        explain(nn.Sequential(layer), mg.ones(1, 4))
    assert not layer._hooks


def test_a_graph_lists_nodes_names_and_bytes(capsys):
    net = network()
    loss = net(image()).sum()
    text = text_of(capsys, loss)
    lines = text.splitlines()
    assert lines[0].startswith("graph of a () tensor: ") and "4 leaves (188 B)" in lines[0]
    assert any("conv2d" in line and "0.weight" in line for line in lines) and "3.bias" in text
    loss.backward()
    assert "released" in text_of(capsys, loss)
    assert "a leaf 2x3 float32, requires_grad=False" in text_of(capsys, mg.ones(2, 3))


def test_long_graphs_are_cut_and_do_not_recurse(capsys):
    x = y = mg.ones(2, requires_grad=True)
    for _ in range(5000):
        y = y * 1.0
    text = text_of(capsys, y, rows=7)
    assert "5000 operations" in text and "... and 4993 more" in text and len(text.splitlines()) == 10
    assert x.grad is None


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="a Tensor, a Module or a function, got int"):
        explain(3)
    with pytest.raises(TypeError, match=r"explain\(f, x\)"):
        explain(mg.ones(1), mg.ones(1))
