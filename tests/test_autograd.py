"""The ten rules of the engine, each with tests named for it (`test_rule_5_...`); random graphs against forward mode."""

import ast
import contextlib
import gc
import importlib.util
import inspect
import math
import subprocess
import sys
import threading
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

import minigrad as mg
import minigrad.functional as F
from minigrad import autograd, kernels, nn, optim
from minigrad.autograd import Variable, primitive
from minigrad.gradcheck import check_grads
from minigrad.random import Stream

ENGINE = Path(autograd.__file__).parent


def leaf(*values, dtype=np.float64, name=None):
    x = mg.tensor(np.array(values[0] if len(values) == 1 else values, dtype), requires_grad=True)
    if name:
        x.name = name
    return x


def draw(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@contextlib.contextmanager
def no_collector():
    """Memory must go by reference counting alone."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def nodes_of(*outputs):
    """Every node behind the outputs."""
    seen, stack = set(), [y.node for y in outputs if y.node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(p for p in node.parents if isinstance(p, autograd.Node))
    return seen


# ---- the engine knows no array library -------------------------------------------------------------------------------


class Number(Variable):
    """A toy: Python floats, and two operations."""

    __slots__ = ()
    result_type: type

    def __init__(self, value, requires_grad=False):
        self.array, self.requires_grad = value, requires_grad
        self.node, self.index, self.cell, self.grad = None, 0, None, None

    def ones_like(self):
        return Number(1.0)

    def __add__(self, other):
        return toy_add(self, other)

    def __mul__(self, other):
        return toy_mul(self, other)


Number.result_type = Number


@primitive
def toy_add(a, b):
    return a + b


@toy_add.vjp
def _(node, needs, g):
    return g, g


@primitive(saves=((1,), (0,)))
def toy_mul(a, b):
    return a * b


@toy_mul.vjp
def _(node, needs, g):
    a, b = node.inputs
    return g * b if needs[0] else None, g * a if needs[1] else None


def test_a_toy_number_is_differentiated_to_every_order():
    x = Number(3.0, requires_grad=True)
    y = x * x * x * x + x * 2.0
    expected = [4 * 27 + 2, 12 * 9, 24 * 3, 24]
    for value in expected:
        (y,) = autograd.grad(y, x, create_graph=True)
        assert y.array == value
    x.grad = None
    autograd.backward(x * x)
    assert x.grad.array == 6.0


def test_backward_takes_several_values_with_their_cotangents():
    x = leaf(2.0)
    autograd.backward([x * x, x * 5.0], [mg.tensor(3.0, dtype=mg.float64), None])
    assert x.grad.item() == 3 * 4 + 5
    with pytest.raises(ValueError, match="backward: 2 tensors but 1 grad_tensors"):
        autograd.backward([x * x, x], mg.ones(1))


def test_the_engine_runs_where_numpy_cannot_be_imported():
    code = (
        "import sys, types; sys.modules['numpy'] = sys.modules['numba'] = None\n"
        "sys.modules['minigrad'] = package = types.ModuleType('minigrad')  # without its __init__, which asks for NumPy\n"
        f"package.__path__ = [{str(ENGINE.parent)!r}]\n"
        "import minigrad.autograd as engine\n"
        "class N(engine.Variable):\n"
        "    __slots__ = ()\n"
        "    def ones_like(self): return make(1.0)\n"
        "    def __add__(self, o): return make(self.array + o.array)\n"
        "N.result_type = N\n"
        "def make(v): return engine.make_variable(N, v, None, 0)\n"
        "square = engine.primitive(lambda x: x * x, saves=((0,),)); square.name = 'square'\n"
        "double = engine.primitive(lambda x: 2 * x)\n"
        "square.vjp(lambda node, needs, g: (make(2 * node.inputs[0].array * g.array),))\n"
        "x = make(5.0); x.requires_grad = True\n"
        "print(engine.grad(square(x), x)[0].array)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "10.0"


def test_the_engine_fits_a_reader():
    assert importlib.util.find_spec("minigrad.autograd") is not None
    code = [line for file in ENGINE.glob("*.py") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) < 560


# ---- rule 1: rules are written in Tensor operations; every order works -----------------------------------------------


def test_rule_1_every_order_by_construction():
    x = leaf(0.7)
    y = mg.sin(x) * mg.exp(x)  # the n-th derivative of e^x sin x is 2^(n/2) e^x sin(x + n pi/4)
    for n in range(1, 7):
        (y,) = mg.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(2 ** (n / 2) * math.exp(0.7) * math.sin(0.7 + n * math.pi / 4), rel=1e-12)


def test_rule_1_recording_is_off_during_the_sweep_unless_create_graph():
    seen = []
    spy = primitive(np.copy)
    spy.vjp(lambda node, needs, g: (seen.append(autograd.is_grad_enabled()), (g * 2.0,))[1])
    x = leaf(1.0, 2.0)
    (g,) = mg.grad(spy(x).sum(), x)
    assert not g.requires_grad and g.node is None
    (g,) = mg.grad((spy(x) * x).sum(), x, create_graph=True)
    assert g.requires_grad
    spy(x).sum().backward()
    assert seen == [False, True, False]


def test_rule_1_the_hessian_is_symmetric():
    w = draw(4, 4, seed=1)
    x = leaf(draw(4))

    def f(x):
        return (mg.tanh(mg.tensor(w) @ x) * mg.exp(x * 0.3)).sum() + mg.norm(x) * x.prod()

    (g,) = mg.grad(f(x), x, create_graph=True)
    hessian = np.stack([mg.grad(g[i], x, retain_graph=True)[0].array for i in range(4)])
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12, atol=1e-14)
    v = draw(4, seed=2)
    (hv,) = mg.grad(g, x, mg.tensor(v), retain_graph=True)
    np.testing.assert_allclose(hv.array, hessian @ v, rtol=1e-12)
    h = 1e-6
    ends = [mg.grad(f(y), y)[0].array for y in (leaf(x.array + h * v), leaf(x.array - h * v))]
    np.testing.assert_allclose(hv.array, (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-8)


def test_rule_1_gradient_penalty_of_a_network():
    """The WGAN-GP pattern: a loss that holds the norm of an input gradient, differentiated in the weights."""
    w1, w2, data = draw(6, 3, seed=1), draw(1, 6, seed=2), draw(5, 3, seed=3)

    def penalty(w1, w2):
        x = mg.tensor(data, requires_grad=True)
        score = F.linear(F.leaky_relu(F.linear(x, w1), 0.2), w2)
        (g,) = mg.grad(score.sum(), x, create_graph=True)
        return ((mg.norm(g, dim=1) - 1.0) ** 2).mean()

    check_grads(penalty, [w1, w2], order=2)


# ---- rule 2: what a node may keep ------------------------------------------------------------------------------------


def test_rule_2_a_node_keeps_only_declared_inputs_outputs_and_constants():
    a, b = leaf(draw(2, 3)), leaf(draw(3, 2))
    product = a @ b
    assert [x is y for x, y in zip(product.node.inputs, (a, b), strict=True)] == [True, True]
    only_a = a @ mg.tensor(b.array)
    assert only_a.node.inputs[0] is None  # a's own derivative does not read a
    added = a + 1.0
    assert added.node.inputs == () and added.node.outputs == ()
    e = mg.exp(a)
    assert e.node.outputs[0] is e.array and e.node.inputs == ()
    assert set(autograd.Node.__slots__) == {"op", "kw", "parents", "slots", "inputs", "arrays", "outputs", "specs",
                                            "versions", "out_version", "cls", "cell", "hooks", "n_outputs", "__weakref__"}


def test_rule_2_an_output_read_by_a_rule_is_joined_to_the_graph():
    x = leaf(0.3, -0.2)
    y = mg.exp(x)
    joined = y.node.output()
    assert joined.node is y.node and joined.array is y.array and joined.requires_grad
    (g,) = mg.grad(joined.sum(), x)
    np.testing.assert_array_equal(g.array, y.array)


# ---- rule 3: closed families -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stride, padding, dilation, groups", [(1, 0, 1, 1), (2, 1, 1, 1), ((2, 1), (0, 2), (1, 2), 2)]
)
def test_rule_3_convolution_is_three_maps_adjoint_to_one_another(stride, padding, dilation, groups):
    """<conv2d(x, w), g> = <x, conv2d_dx(g, w)> = <w, conv2d_dw(x, g)>, through the public functions."""
    x, w = leaf(draw(2, 4, 7, 6)), leaf(draw(4, 4 // groups, 3, 2, seed=1))
    y = F.conv2d(x, w, None, stride, padding, dilation, groups)
    g = mg.tensor(draw(*y.shape, seed=2))
    dx, dw = mg.grad(y, [x, w], g)
    inner = (y.array * g.array).sum()
    assert (x.array * dx.array).sum() == pytest.approx(inner, rel=1e-12)
    assert (w.array * dw.array).sum() == pytest.approx(inner, rel=1e-12)


def test_rule_3_convolution_launches_only_the_three_maps_at_every_order():
    x, w = leaf(draw(1, 2, 5, 5)), leaf(draw(3, 2, 3, 3, seed=1))
    with kernels.counting() as calls:
        y = F.conv2d(x, w, padding=1) ** 3
        for _ in range(3):
            gx, gw = mg.grad(y.sum(), [x, w], create_graph=True)
            y = (gx * gx).sum() + (gw * gw).sum()
    assert {name for name in calls if "conv" in name} == {"conv2d", "conv2d_dx", "conv2d_dw"}


# ---- rule 4: only what is wanted is computed -------------------------------------------------------------------------


def critic(x, ws):
    for w in ws:
        x = F.leaky_relu(F.conv2d(x, w, stride=2, padding=1), 0.2)
    return x.sum()


def test_rule_4_an_attack_computes_no_weight_gradients():
    x, ws = leaf(draw(1, 3, 8, 8)), [leaf(draw(4, 3, 3, 3)), leaf(draw(2, 4, 3, 3))]
    with kernels.counting() as calls:
        mg.grad(critic(x, ws), x)
    assert calls["conv2d_dw"] == 0 and calls["conv2d_dx"] == 2


def test_rule_4_the_first_layer_computes_no_input_gradient():
    x, ws = mg.tensor(draw(1, 3, 8, 8)), [leaf(draw(4, 3, 3, 3)), leaf(draw(2, 4, 3, 3))]
    with kernels.counting() as calls:
        critic(x, ws).backward()
    assert calls["conv2d_dx"] == 1 and calls["conv2d_dw"] == 2
    assert all(w.grad is not None for w in ws)


def test_rule_4_a_frozen_network_passes_gradients_and_gets_none():
    """The generator's step: the discriminator's parameters are not asked for."""
    z, g_w, d_w = mg.tensor(draw(2, 3)), leaf(draw(5, 3)), leaf(draw(1, 5))
    with kernels.counting() as calls:
        (g,) = mg.grad(F.linear(mg.tanh(F.linear(z, g_w)), d_w).sum(), [g_w])
    assert g.shape == g_w.shape and d_w.grad is None
    assert calls["matmul"] == 2 + 2  # two forward; back: through d_w, and the weight gradient of g_w


def test_rule_4_the_sweep_visits_only_paths_to_wanted_inputs():
    visited = []
    spies = []
    for name in "abc":
        spy = primitive(np.copy)
        spy.vjp(lambda node, needs, g, name=name: (visited.append(name), (g,))[1])
        spies.append(spy)
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    a, b = spies[0](x), spies[1](y)
    c = spies[2](a * b)
    mg.grad(c.sum(), a, retain_graph=True)
    assert visited == ["c"]  # nothing behind the intermediate result, nothing beside the path
    visited.clear()
    mg.grad(c.sum(), y)
    assert visited == ["c", "b"]


@pytest.mark.parametrize("wanted", [(0,), (1,), (0, 1)])
def test_rule_4_needs_tells_each_rule_which_gradients_are_wanted(wanted):
    seen = []
    spy = primitive(np.multiply, saves=((1,), (0,)))

    @spy.vjp
    def _(node, needs, g):
        seen.append(tuple(needs))
        return tuple(g * node.inputs[1 - i] if need else None for i, need in enumerate(needs))

    xs = [leaf(1.0, 2.0), leaf(3.0, 4.0)]
    mg.grad(spy(*xs).sum(), [xs[i] for i in wanted])
    assert seen == [(0 in wanted, 1 in wanted)]


# ---- rule 5: iterative, linear, never aliased ------------------------------------------------------------------------


def test_rule_5_a_chain_of_100000():
    x = leaf(1.0, 2.0)
    y = x
    for _ in range(100_000):
        y = y + x
    (g,) = mg.grad(y.sum(), x)
    np.testing.assert_array_equal(g.array, [100_001.0, 100_001.0])
    del y  # and the graph is taken down without recursion


def test_rule_5_a_chain_of_100000_can_be_dropped_without_a_sweep():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = -y
    watch = weakref.ref(y.node)
    del y
    assert watch() is None


def test_rule_5_a_ladder_of_60_doublings_is_linear():
    calls = [0]
    double = primitive(np.add)

    @double.vjp
    def _(node, needs, g):
        calls[0] += 1
        return g, g

    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = double(y, y)  # 2^60 paths
    (g,) = mg.grad(y, x)
    assert g.item() == 2.0**60 and calls[0] == 60


def test_rule_5_a_ladder_is_linear_at_the_second_order_too():
    calls = [0]
    double = primitive(np.multiply, saves=((1,), (0,)))

    @double.vjp
    def _(node, needs, g):
        calls[0] += 1
        a, b = node.inputs
        return g * b, g * a

    x = leaf(1.0)
    y = x
    for _ in range(8):
        y = double(y, y)  # x^256
    (g,) = mg.grad(y, x, create_graph=True)
    (h,) = mg.grad(g, x)
    assert (g.item(), h.item()) == (256.0, 256.0 * 255.0) and calls[0] <= 16 + 8


def test_rule_5_accumulation_never_aliases():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    d = (a + b) + a  # by reference and then += would give b the sum
    ga, gb = mg.grad(d.sum(), [a, b])
    np.testing.assert_array_equal(ga.array, [2.0, 2.0])
    np.testing.assert_array_equal(gb.array, [1.0, 1.0])
    assert not np.shares_memory(ga.array, gb.array)


def test_rule_5_gradients_alias_neither_each_other_nor_cotangents_nor_inputs():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    u = mg.tensor(np.array([5.0, 6.0]))
    y = a + b
    ga, gb, gy = mg.grad(y, [a, b, y], u)
    arrays = [a.array, b.array, u.array, y.array, ga.array, gb.array, gy.array]
    for i, p in enumerate(arrays):
        for q in arrays[i + 1 :]:
            assert not np.shares_memory(p, q)


def test_rule_5_backward_neither_keeps_nor_changes_the_callers_cotangent():
    x, u = leaf(1.0, 2.0), mg.tensor(np.array([5.0, 6.0]))
    (x + 0.0).backward(u)
    assert not np.shares_memory(x.grad.array, u.array)
    (x + 0.0).backward(u)
    np.testing.assert_array_equal(x.grad.array, [10.0, 12.0])
    np.testing.assert_array_equal(u.array, [5.0, 6.0])


def test_rule_5_backward_on_a_leaf_and_on_a_view():
    x, u = leaf(1.0, 2.0), mg.tensor(np.array([5.0, 6.0]))
    x.backward(u)
    x.backward(u)
    np.testing.assert_array_equal(x.grad.array, [10.0, 12.0])
    np.testing.assert_array_equal(u.array, [5.0, 6.0])
    m = leaf(draw(2, 3))
    v = mg.tensor(draw(3, 2, seed=1))
    m.T.backward(v)
    m.T.backward(v)
    np.testing.assert_array_equal(m.grad.array, 2 * v.array.T)


def test_rule_5_expanded_gradients_own_their_memory():
    x = leaf(draw(3, 2))
    x.sum().backward()
    assert x.grad.array.flags.writeable and 0 not in x.grad.array.strides
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.array, np.full((3, 2), 2.0))


KEPT, HELD = [], []  # (array, its copy), (Tensor, its copy) of what the rules below keep, which must never change


def handing(name, forward, rule):
    """A linear operation whose rule hands its cotangent on in one way or another."""
    op = primitive(lambda *arrays: forward(*arrays))
    op.name = name
    op.vjp(lambda node, needs, g: rule(g))
    return op


def kept(g, array):
    KEPT.append((array, array.copy()))
    return g


ONE_SIDED = {
    "itself": handing("itself", np.copy, lambda g: (g,)),
    "wrapped again": handing("wrapped", np.copy, lambda g: (g.wrap(g.array),)),
    "a view": handing("view", np.copy, lambda g: (g.wrap(g.array[:]),)),
    "a view of a view": handing("turned", lambda x: x[::-1].copy(), lambda g: (g.reshape(1, 3)[:, ::-1].reshape(3),)),
    "a new array": handing("new", lambda x: 2 * x, lambda g: (g * 2,)),
    "itself, and keeps it": handing("keeper", np.copy, lambda g: (kept(g, g.array),)),
    "a new array, and keeps a view": handing("watcher", lambda x: 3 * x, lambda g: ((h := g * 3), kept(h, h.array[1:]))[:1]),
    "itself, and keeps the Tensor": handing("hoarder", np.copy, lambda g: (HELD.append((g, g.array.copy())), (g,))[1]),
    "one number everywhere": handing("spread", lambda x: np.full(3, x.sum()), lambda g: (g.sum().expand(3),)),
    "a piece of a larger one": handing("piece", np.copy, lambda g: (mg.cat([g, g])[3:],)),
}
TWO_SIDED = {
    "the same twice": handing("twice", np.add, lambda g: (g, g)),
    "the same array twice": handing("twins", np.add, lambda g: (g.wrap(g.array), g.wrap(g.array))),
    "two views": handing("views", np.add, lambda g: (g.wrap(g.array[:]), g.reshape(3))),
    "one new array twice": handing("new twice", lambda a, b: 2 * a + 2 * b, lambda g: ((h := g * 2), h)),
    "new and itself": handing("both", lambda a, b: 2 * a + b, lambda g: (g * 2, g)),
}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_rule_5_sums_are_made_in_place_only_where_nobody_sees_it(data):
    """Random graphs of linear operations with every way of handing on a cotangent: <u, y(d)> = <gradient, d>."""
    KEPT.clear()
    HELD.clear()
    steps = []
    for i in range(data.draw(st.integers(1, 12))):
        value = st.integers(0, i)
        steps.append((data.draw(st.sampled_from([*ONE_SIDED, *TWO_SIDED])), data.draw(value), data.draw(value)))

    def program(x):
        values = [x]
        for name, i, j in steps:
            values.append(ONE_SIDED[name](values[i]) if name in ONE_SIDED else TWO_SIDED[name](values[i], values[j]))
        return values

    x, u, d = leaf(draw(3)), mg.tensor(draw(3, seed=1)), mg.tensor(draw(3, seed=2))
    values = program(x)
    wanted = data.draw(st.lists(st.integers(0, len(steps)), min_size=1, max_size=3))
    before = u.array.copy()
    if data.draw(st.booleans()):
        gs = mg.grad(values[-1], [values[w] for w in (0, *wanted)], u, retain_graph=True, allow_unused=True)
    else:
        values[-1].backward(u, retain_graph=True)
        gs = [x.grad]
    np.testing.assert_array_equal(u.array, before)
    for array, copy in KEPT:
        np.testing.assert_array_equal(array, copy)
    for tensor, copy in HELD:
        np.testing.assert_array_equal(tensor.array, copy)
    product = 0.0 if gs[0] is None else (gs[0].array * d.array).sum()
    y = program(d)[-1]
    np.testing.assert_allclose(product, (u.array * y.array).sum(), rtol=1e-9, atol=1e-9)
    again = mg.grad(values[-1], [values[w] for w in (0, *wanted)], u, allow_unused=True)
    for a, b in zip(gs, again, strict=False):
        assert (a is None) == (b is None) and (a is None or np.array_equal(a.array, b.array))


def test_rule_5_the_sum_over_two_branches_needs_no_third_array(monkeypatch):
    calls = []
    in_place = mg.Tensor.accumulate_
    monkeypatch.setattr(mg.Tensor, "accumulate_", lambda self, other: (calls.append(self.shape), in_place(self, other))[1])
    x = leaf(draw(3))
    z = mg.sin(x)
    mg.grad(((z + mg.cos(z)) * 2).sum(), x)  # the shortcut of a residual network
    mg.grad((mg.sin(x) * mg.cos(x)).sum(), x)
    assert calls == [(3,), (3,)]
    mg.grad((mg.sin(x) * mg.cos(x)).sum(), x, create_graph=True)
    assert len(calls) == 2


@pytest.mark.parametrize("create_graph", [False, True])
def test_rule_5_many_uses_are_summed(create_graph):
    x = leaf(draw(3))
    y = sum((mg.sin(x * float(k)) for k in range(1, 6)), x * 0.0)
    (g,) = mg.grad(y.sum(), x, create_graph=create_graph)
    np.testing.assert_allclose(g.array, sum(k * np.cos(k * x.array) for k in range(1, 6)), rtol=1e-12)


def test_repeated_inputs_diamonds_and_detached_branches():
    x = leaf(2.0, 3.0)
    np.testing.assert_array_equal(mg.grad((x * x).sum(), x)[0].array, [4.0, 6.0])
    np.testing.assert_array_equal(mg.grad(mg.cat([x, x, x]).sum(), x)[0].array, [3.0, 3.0])
    left, right = x * 2.0, x * 3.0
    np.testing.assert_array_equal(mg.grad((left * right).sum(), x)[0].array, [24.0, 36.0])
    np.testing.assert_array_equal(mg.grad((x * x.detach()).sum(), x)[0].array, [2.0, 3.0])
    a, b = mg.grad((x * x).sum(), [x, x])  # the same input asked for twice
    np.testing.assert_array_equal(a.array, b.array)
    assert not np.shares_memory(a.array, b.array)


def test_the_gradient_of_a_sum_of_two_graphs_is_the_sum():
    x, y = leaf(draw(3)), leaf(draw(3, seed=1))
    f, g = (mg.sin(x) * y).sum(), (x * x * y).sum()
    both = mg.grad(f + g, [x, y], retain_graph=True)
    together = mg.grad([f, g], [x, y], retain_graph=True)
    apart = zip(mg.grad(f, [x, y]), mg.grad(g, [x, y]), strict=True)
    for s, t, (p, q) in zip(both, together, apart, strict=True):
        np.testing.assert_allclose(s.array, p.array + q.array, rtol=1e-14)
        np.testing.assert_allclose(t.array, p.array + q.array, rtol=1e-14)


def test_an_output_may_be_an_input_and_a_leaf():
    x = leaf(2.0)
    assert mg.grad(x, x)[0].item() == 1.0
    y = x * x
    gx, gy = mg.grad(y, [x, y])
    assert (gx.item(), gy.item()) == (4.0, 1.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_unused_inputs_and_wrong_calls():
    x, y = leaf(1.0, 2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match="input 1 is not used by the outputs; pass allow_unused=True"):
        mg.grad(x.sum(), [x, y])
    g, none = mg.grad(x.sum(), [x, y], allow_unused=True)
    assert none is None and g.shape == (2,)
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        mg.grad(x.sum(), mg.tensor([1.0]))
    with pytest.raises(RuntimeError, match="output 0 does not require a gradient"):
        mg.grad(mg.tensor([1.0]).sum(), x)
    with pytest.raises(RuntimeError, match="have one element. Reduce it"):
        mg.grad(x * 2.0, x)
    with pytest.raises(ValueError, match=r"the cotangent of output 0 is .*\(3,\).* the output .*\(2,\)"):
        mg.grad(x * 2.0, x, mg.tensor(np.ones(3)))
    with pytest.raises(ValueError, match="the cotangent of output 0 is .*float32.*float64"):
        mg.grad(x * 2.0, x, mg.ones(2))
    with pytest.raises(ValueError, match="1 outputs but 2 grad_outputs"):
        mg.grad(x * 2.0, x, [mg.ones(2), mg.ones(2)])
    with pytest.raises(TypeError, match="input 0 is a ndarray, not a Tensor"):
        mg.grad(x.sum(), [x.array])
    with pytest.raises(TypeError, match="output 0 is a float"):
        mg.grad([1.0], [x])


def test_a_graph_is_gone_after_the_sweep_unless_retained():
    x = leaf(1.0, 2.0)
    y = mg.exp(x).sum()
    first = mg.grad(y, x, retain_graph=True)[0]
    second = mg.grad(y, x)[0]
    np.testing.assert_array_equal(first.array, second.array)
    with pytest.raises(RuntimeError, match=r"the graph of \w+ was already released .* pass retain_graph=True"):
        mg.grad(y, x)
    z = mg.exp(x).sum()
    z.backward()
    with pytest.raises(RuntimeError, match="already released"):
        z.backward()


def test_backward_accumulates_into_leaves_only():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    (y * y).sum().backward()
    assert y.grad is None
    np.testing.assert_array_equal(x.grad.array, 18 * x.array)
    (x * 1.0).sum().backward()
    np.testing.assert_array_equal(x.grad.array, 18 * x.array + 1)
    assert not x.grad.requires_grad


# ---- rule 6: memory goes by reference counting -----------------------------------------------------------------------


def test_rule_6_graphs_die_without_the_garbage_collector():
    with no_collector():
        x = leaf(draw(3))
        y = mg.exp(mg.tanh(x) * x)
        watch = [weakref.ref(y), weakref.ref(y.node), weakref.ref(y.node.parents[0])]
        del y
        assert [w() for w in watch] == [None, None, None]


def test_rule_6_graphs_die_after_create_graph():
    with no_collector():
        x = leaf(draw(3))
        y = (mg.exp(x) * mg.norm(x)).sum()
        (g,) = mg.grad(y, x, create_graph=True)
        (h,) = mg.grad((g * g).sum(), x, create_graph=True)
        watch = [weakref.ref(v) for t in (y, g, h) for v in (t, t.node)]
        watch += [weakref.ref(node) for node in nodes_of(y, g, h)]
        del y, g, h
        assert not any(w() for w in watch)


def test_rule_6_the_sweep_releases_while_it_goes():
    """What a rule has read is free before the rules in front of it run: the peak is not the whole graph."""
    alive = []
    spy = primitive(np.copy)
    x = leaf(draw(4))
    y = mg.exp(spy(x))  # spy's rule runs last
    watch = weakref.ref(y.array)
    spy.vjp(lambda node, needs, g: (alive.append(watch()), (g,))[1])
    loss = y.sum()
    del y
    mg.grad(loss, x)
    assert alive == [None]


def test_rule_6_backward_has_no_create_graph():
    assert "create_graph" not in inspect.signature(mg.Tensor.backward).parameters
    assert "create_graph" in inspect.signature(mg.grad).parameters


def live_objects():
    """Variables and nodes that exist; by type(), because isinstance() would look through dead weak proxies."""
    return sum(issubclass(type(o), (Variable, autograd.Node)) for o in gc.get_objects())


def train(steps, probe):
    """A two-layer network, SGD by hand; calls probe(step) at the end of each step."""
    rng = np.random.default_rng(0)
    x, t = mg.tensor(rng.standard_normal((8, 5))), mg.tensor(rng.standard_normal((8, 2)))
    ws = [leaf(rng.standard_normal((6, 5)) * 0.3), leaf(rng.standard_normal((2, 6)) * 0.3)]
    for step in range(steps):
        loss = ((F.linear(mg.tanh(F.linear(x, ws[0])), ws[1]) - t) ** 2).mean()
        loss.backward()
        if step % 10 == 0:  # a penalty on a gradient now and then
            (g,) = mg.grad(mg.tanh(F.linear(x, ws[0])).sum(), ws[0], create_graph=True)
            (g * g).mean().backward()
        for w in ws:
            w.assign_(w.array - 0.01 * w.grad.array)
            w.grad = None
        probe(step)
    return loss.item()


def test_rule_6_1000_training_steps_in_constant_memory_without_the_garbage_collector():
    objects, memory = {}, {}

    def probe(step):
        if step in (499, 999):  # by then the interpreter's own free lists are full
            objects[step] = live_objects()
            memory[step] = tracemalloc.get_traced_memory()[0]

    with no_collector():
        tracemalloc.start()
        try:
            train(1000, probe)
        finally:
            tracemalloc.stop()
    assert objects[999] == objects[499]
    assert memory[999] <= memory[499] + 2_000


def test_rule_6_1000_steps_of_a_convolutional_network_with_adam_without_the_garbage_collector():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, rng=Stream(0, "init")),
        nn.BatchNorm2d(3),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2, rng=Stream(0, "drop")),
        nn.Linear(12, 2, rng=Stream(1, "init")),
    )
    adam = optim.Adam(net.parameters(), lr=1e-3)
    x, labels = mg.tensor(draw(4, 1, 4, 4, dtype=np.float32)), mg.tensor([0, 1, 0, 1])
    counts = {}
    with no_collector():
        for step in range(1000):
            adam.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            adam.step()
            if step in (199, 999):
                counts[step] = live_objects()
    assert counts[199] == counts[999]


# ---- rule 7: operations never mutate; versions are checked -----------------------------------------------------------


def stale(name="weight"):
    return (
        rf"'{name}'.* was modified in place after the forward pass .*optimizer.step\(\) between forward and backward"
    )


def test_rule_7_an_update_between_forward_and_backward_raises_and_names_the_tensor():
    w, x = leaf(draw(2, 3), name="weight"), leaf(draw(4, 3))
    y = F.linear(x, w).sum()
    w.assign_(w.array * 0.9)
    with pytest.raises(RuntimeError, match=stale()):
        mg.grad(y, x)
    z = F.linear(x, w).sum()
    mg.grad(z, x)  # computed after the update: fine


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad])
def test_rule_7_an_optimizer_step_between_forward_and_backward_names_the_parameter(make):
    """The classic of GAN loops: the discriminator steps before the generator's loss goes back through it."""
    net = nn.Sequential(nn.Linear(3, 4, rng=Stream(0, "init")), nn.Tanh(), nn.Linear(4, 1, rng=Stream(1, "init")))
    optimizer = make(net.parameters(), lr=0.1)
    x = leaf(draw(2, 3), dtype=np.float32)
    loss = net(x).sum()
    net(x).sum().backward()
    optimizer.step()
    with pytest.raises(
        RuntimeError, match=r"'2.weight'.* was modified in place after the forward pass .*optimizer.step"
    ):
        loss.backward()


def test_rule_7_an_update_that_no_derivative_reads_is_no_error():
    w, x = leaf(draw(2, 3)), mg.tensor(draw(4, 3))
    y = F.linear(x, w).sum()  # the gradient of w reads x, not w
    w.assign_(w.array * 0.9)
    y.backward()
    assert w.grad is not None


VIEWS = [
    lambda w: w.T,
    lambda w: w.reshape(-1),
    lambda w: w[0],
    lambda w: w.detach(),
    lambda w: w.detach().reshape(6),
    lambda w: w[None].expand(2, 2, 3),
    lambda w: w.flip(0),
    lambda w: w.T.detach()[1:],
]


@pytest.mark.parametrize("through", VIEWS)
def test_rule_7_views_and_detached_tensors_share_the_version(through):
    w = leaf(draw(2, 3), name="weight")
    v = through(w)
    x = leaf(np.ones(v.shape))
    y = (x * v).sum()
    w.assign_(w.array + 1.0)
    with pytest.raises(RuntimeError, match="was modified in place after the forward pass"):
        mg.grad(y, x)


def test_rule_7_the_name_is_found_through_views():
    w = leaf(draw(2, 3), name="weight")
    y = (w.T.reshape(-1)[1:] * leaf(np.ones(5))).sum()
    w.assign_(0.0)
    with pytest.raises(RuntimeError, match=stale()):
        y.backward()


def test_rule_7_a_change_through_a_detached_tensor_is_seen_by_the_graph():
    w = leaf(draw(2, 3), name="weight")
    y = (w * w).sum()
    w.detach().assign_(1.0)
    with pytest.raises(RuntimeError, match="was modified in place"):
        y.backward()


def test_rule_7_a_view_that_a_rule_reads_as_its_output_is_checked():
    x = leaf(draw(3))
    y = x.reshape(3, 1)
    z = mg.exp(y)  # exp reads its own output, which is fresh memory
    x.assign_(0.0)
    (g,) = mg.grad(z.sum(), x)
    np.testing.assert_array_equal(g.array, z.array.reshape(3))


@pytest.mark.parametrize("equation", ["ij->ji", "ij->ij", "ii->i"])
def test_rule_7_einsum_of_one_operand_is_not_a_hidden_view(equation):
    w = leaf(draw(3, 3), name="weight")
    v = mg.einsum(equation, w)
    x = leaf(np.ones(v.shape))
    before = v.array.copy()
    y = (x * v).sum()
    w.assign_(0.0)
    if np.array_equal(v.array, before):  # its own memory: the gradient is that of the forward pass
        np.testing.assert_array_equal(mg.grad(y, x)[0].array, before)
    else:
        with pytest.raises(RuntimeError, match="was modified in place"):
            mg.grad(y, x)


def test_rule_7_no_in_place_operators_and_setitem_explains_itself():
    x = mg.tensor([1.0, 2.0])
    y = x
    y += 1.0
    np.testing.assert_array_equal(x.array, [1.0, 2.0])  # the name was rebound
    with pytest.raises(TypeError, match="minigrad.where.*assign_"):
        x[0] = 5.0
    with pytest.raises(RuntimeError, match="only a leaf can be assigned"):
        (leaf(1.0) * 2.0).assign_(0.0)


def test_rule_7_an_accumulating_gradient_bumps_its_version():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    w = leaf(3.0, 4.0)
    y = (x.grad * w).sum()
    (x * x).sum().backward()  # x.grad changes in place
    with pytest.raises(RuntimeError, match="was modified in place"):
        mg.grad(y, w)


# ---- rule 8: a gradient has its input's shape, dtype and device ------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rule_8_shape_and_dtype_of_gradients_next_to_scalars_and_broadcasting(dtype):
    x, b, s = leaf(draw(3, 4), dtype=dtype), leaf(draw(4), dtype=dtype), leaf(2.0, dtype=dtype)
    y = (2 * x + b - 1) / 3.0 * s + np.float64(0.5) * x**2 + x * np.array(2.0) + 1 / (x * x + 1) + 2.0**x
    assert y.dtype == dtype
    for t, g in zip((x, b, s), mg.grad(y.mean(), [x, b, s]), strict=True):
        assert (g.shape, g.dtype, g.device) == (t.shape, t.dtype, t.device)


def test_rule_8_mixed_precision_gradients_come_back_in_each_inputs_type():
    a, b = leaf(draw(3, 4), dtype=np.float32), leaf(draw(4), dtype=np.float64)
    y = a * b + mg.maximum(a, b)
    assert y.dtype == np.float64
    ga, gb = mg.grad(y.sum(), [a, b])
    assert (ga.dtype, gb.dtype) == (np.float32, np.float64)


def test_rule_8_a_rule_that_returns_another_spec_is_named():
    bad = primitive(np.copy)
    bad.vjp(lambda node, needs, g: (g.sum(),))
    with pytest.raises(
        RuntimeError, match="the rule of copy returned a gradient .* a gradient has its input's shape"
    ):
        bad(leaf(1.0, 2.0)).sum().backward()


# ---- rule 9: published subgradients ----------------------------------------------------------------------------------


def derivative(f, *xs):
    leaves = [leaf(x) for x in xs]
    return [g.array.tolist() for g in mg.grad(f(*leaves).sum(), leaves)]


@pytest.mark.parametrize(
    "f, at, expected",
    [
        (mg.relu, [0.0, -0.0, 1.0, -1.0], [0.0, 0.0, 1.0, 0.0]),
        (lambda x: F.leaky_relu(x, 0.2), [0.0, 1.0, -1.0], [0.2, 1.0, 0.2]),
        (lambda x: F.leaky_relu(x, -0.5), [0.0, 1.0, -1.0], [-0.5, 1.0, -0.5]),
        (lambda x: F.elu(x, 2.0), [0.0], [2.0]),
        (mg.abs, [0.0, 2.0, -2.0], [0.0, 1.0, -1.0]),
        (mg.sign, [0.0, 2.0], [0.0, 0.0]),
        (mg.sqrt, [0.0, 4.0], [math.inf, 0.25]),
        (mg.norm, [0.0, 0.0], [0.0, 0.0]),
        (lambda x: mg.norm(x, 1), [0.0, 2.0], [0.0, 1.0]),
        (lambda x: mg.norm(x, 3), [0.0, 0.0], [0.0, 0.0]),
        (lambda x: mg.norm(x, math.inf), [2.0, -2.0, 1.0], [0.5, -0.5, 0.0]),
        (mg.std, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
        (mg.max, [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
        (mg.amax, [3.0, 3.0, 3.0, 3.0], [0.25] * 4),
        (mg.amin, [1.0, 1.0, 3.0], [0.5, 0.5, 0.0]),
        (lambda x: x.max(0).values, [1.0, 3.0, 3.0], [0.0, 1.0, 0.0]),
        (lambda x: x.min(0).values, [1.0, 1.0, 3.0], [1.0, 0.0, 0.0]),
        (lambda x: mg.clamp(x, 0.0, 1.0), [0.0, 1.0, -0.1, 1.1, 0.5], [1.0, 1.0, 0.0, 0.0, 1.0]),
        (lambda x: x**0, [0.0, 2.0], [0.0, 0.0]),
        (lambda x: x**1, [0.0, 2.0], [1.0, 1.0]),
        (lambda x: x**2, [0.0, 2.0], [0.0, 4.0]),
        (lambda x: 0.0**x, [0.0, 2.0], [0.0, 0.0]),
        (mg.prod, [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
        (mg.prod, [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
    ],
)
def test_rule_9_published_subgradients(f, at, expected):
    with np.errstate(divide="ignore"):
        (g,) = derivative(f, at)
    assert g == expected


@pytest.mark.parametrize("f", [mg.maximum, mg.minimum])
def test_rule_9_maximum_and_minimum_split_a_tie(f):
    assert derivative(f, [1.0, 2.0], [1.0, 2.0]) == [[0.5, 0.5], [0.5, 0.5]]


def test_rule_9_the_norm_has_no_nan_at_zero_at_the_second_order():
    x = leaf(np.zeros(3))
    (g,) = mg.grad(mg.norm(x), x, create_graph=True)
    (h,) = mg.grad(g.sum(), x, allow_unused=True)
    assert h is None or np.isfinite(h.array).all()


def test_rule_9_an_infinite_value_in_the_branch_not_taken_does_not_leak():
    x = leaf(0.0, 4.0)
    safe = mg.where(x.array > 0, x, 1.0)  # the "double where"
    (g,) = mg.grad(mg.where(x.array > 0, mg.sqrt(safe), 0.0).sum(), x)
    np.testing.assert_array_equal(g.array, [0.0, 0.25])


# ---- rule 10: nothing global but the recording flag ------------------------------------------------------------------


def test_rule_10_the_recording_flag_is_restored_on_exceptions():
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()
    bad = primitive(np.copy)

    @bad.vjp
    def _(node, needs, g):
        raise ArithmeticError("a rule failed")

    x = leaf(1.0)
    for create_graph in (False, True):
        with pytest.raises(ArithmeticError):
            mg.grad(bad(x), x, create_graph=create_graph)
        assert mg.is_grad_enabled()
    with mg.no_grad():
        with mg.enable_grad():
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad


def test_rule_10_no_grad_is_also_a_decorator():
    @mg.no_grad()
    def f(x):
        return x * x

    for _ in range(2):
        assert not f(leaf(1.0)).requires_grad
    assert mg.is_grad_enabled()


def test_rule_10_no_grad_and_detach_record_nothing():
    x = leaf(1.0, 2.0)
    with mg.no_grad():
        y = mg.exp(x) * x
    assert y.node is None and not y.requires_grad
    z = mg.exp(x.detach())
    assert z.node is None and not z.requires_grad
    assert (mg.tensor([1.0]) * 2.0).node is None


def test_rule_10_recording_is_thread_local():
    x, seen, inside, leave = leaf(2.0), {}, threading.Event(), threading.Event()

    def other():
        with mg.no_grad():
            inside.set()
            leave.wait(10)
            seen["other"] = (x * x).requires_grad

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen["main"] = (x * x).requires_grad
    leave.set()
    thread.join()
    assert seen == {"main": True, "other": False}


def test_rule_10_threads_sweep_graphs_of_their_own():
    results = {}

    def work(k):
        x = leaf(draw(20, seed=k))
        for _ in range(30):
            (results[k],) = mg.grad((mg.sin(x) * x).sum(), x)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, g in results.items():
        x = draw(20, seed=k)
        np.testing.assert_allclose(g.array, np.sin(x) + x * np.cos(x), rtol=1e-12)


def test_rule_10_no_draw_touches_numpys_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].tobytes()
    x = mg.ones(4, 4)
    for rng in (None, Stream(0, "drop"), np.random.default_rng(0)):
        F.dropout(x, 0.5, rng=rng)
        nn.Linear(3, 3, rng=rng)
    assert np.random.get_state()[1].tobytes() == before
    same = [F.dropout(x, 0.5, rng=Stream(7, "drop")).array for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_rule_10_the_engine_has_one_global():
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in ENGINE.glob("*.py")]
    assigned = [n for tree in trees for n in tree.body if isinstance(n, ast.Assign)]
    assert {t.id for n in assigned for t in n.targets if isinstance(t, ast.Name)} == {"state", "_PLAIN"}
    assert not any(isinstance(n, ast.Global) for tree in trees for n in ast.walk(tree))


def test_an_observer_sees_every_operation_and_is_removed():
    seen = []
    x = leaf(1.0, 2.0)
    with autograd.observing(lambda op, arrays, kw, out, seconds: seen.append((op.name, seconds >= 0))):
        mg.grad(mg.exp(x).sum(), x)
    assert seen[:2] == [("exp", True), ("sum", True)] and len(seen) > 2
    count = len(seen)
    mg.exp(x)
    assert len(seen) == count


def test_an_operation_without_a_tensor_or_a_rule_says_so():
    with pytest.raises(TypeError, match="exp: expected a Tensor, got float"):
        mg.exp(1.0)
    no_rule = primitive(np.cbrt)
    x = leaf(8.0)
    assert no_rule(x).item() == 2.0
    with pytest.raises(RuntimeError, match="cbrt has no derivative rule"):
        mg.grad(no_rule(x), x)


def test_a_multi_output_operation_gets_none_for_cotangents_that_do_not_arrive():
    seen = []
    pair = primitive(lambda x: (np.sin(x), np.cos(x), np.argsort(x)))

    @pair.vjp
    def _(node, needs, g0, g1, g2):
        seen.append([g is not None for g in (g0, g1, g2)])
        x = node.parents[0]
        total = None
        for g, d in ((g0, np.cos(x.array)), (g1, -np.sin(x.array))):
            if g is not None:
                total = g * d if total is None else total + g * d
        return (total,)

    x = leaf(draw(3))
    s, c, order = pair(x)
    assert not order.requires_grad
    np.testing.assert_allclose(mg.grad(s.sum(), x, retain_graph=True)[0].array, np.cos(x.array))
    np.testing.assert_allclose(mg.grad(c.sum(), x, retain_graph=True)[0].array, -np.sin(x.array))
    gx, gc_ = mg.grad((s * c).sum(), [x, c])
    np.testing.assert_allclose(gx.array, np.cos(2 * x.array))
    np.testing.assert_allclose(gc_.array, s.array)
    assert seen == [[True, False, False], [False, True, False], [True, True, False]]


# ---- random graphs against a naive reference -------------------------------------------------------------------------

# name: (operation on tensors or arrays, its differential (values, tangents) -> tangent)
OPERATIONS = {
    "add": (lambda a, b: a + b, lambda a, b, da, db: da + db),
    "sub": (lambda a, b: a - b, lambda a, b, da, db: da - db),
    "mul": (lambda a, b: a * b, lambda a, b, da, db: da * b + a * db),
    "outer": (lambda a, b: (a[:, None] * b[None, :]).sum(0), lambda a, b, da, db: da.sum() * b + a.sum() * db),
    "neg": (lambda a: -a, lambda a, da: -da),
    "half_square": (lambda a: a * a * 0.5, lambda a, da: a * da),
    "mean_out": (lambda a: a - a.mean(), lambda a, da: da - da.mean()),
    "turn": (lambda a: a[[2, 0, 1]], lambda a, da: da[[2, 0, 1]]),
    "tail": (lambda a: a[1:].sum() * a, lambda a, da: da[1:].sum() * a + a[1:].sum() * da),
}
ONE = [k for k, (f, _) in OPERATIONS.items() if f.__code__.co_argcount == 1]
TWO = [k for k, (f, _) in OPERATIONS.items() if f.__code__.co_argcount == 2]


class RandomGraphs(RuleBasedStateMachine):
    """Grow a graph by random operations; at any time the gradient of any value in any other must be what forward-mode
    differentiation of the recorded program gives, and nothing that exists may ever change."""

    values = Bundle("values")

    def __init__(self):
        super().__init__()
        self.program = []  # (tensor, array copy, operation or None, arguments, whether gradients pass)

    def put(self, tensor, op=None, args=(), passes=True):
        self.program.append((tensor, tensor.array.copy(), op, args, passes))
        return len(self.program) - 1

    @initialize(target=values, seeds=st.lists(st.integers(0, 99), min_size=2, max_size=2))
    def start(self, seeds):
        return multiple(*[self.put(leaf(draw(3, seed=s) * 0.5)) for s in seeds])

    @rule(target=values, seed=st.integers(0, 99))
    def new_leaf(self, seed):
        return self.put(leaf(draw(3, seed=seed) * 0.5))

    @rule(target=values, name=st.sampled_from(ONE), a=values)
    def unary(self, name, a):
        return self.put(OPERATIONS[name][0](self.program[a][0]), name, (a,))

    @rule(target=values, name=st.sampled_from(TWO), a=values, b=values)
    def binary(self, name, a, b):
        return self.put(OPERATIONS[name][0](self.program[a][0], self.program[b][0]), name, (a, b))

    @rule(target=values, a=values)
    def detach(self, a):
        return self.put(self.program[a][0].detach(), "detach", (a,), passes=False)

    @rule(target=values, a=values, name=st.sampled_from(ONE))
    def unrecorded(self, a, name):
        with mg.no_grad():
            return self.put(OPERATIONS[name][0](self.program[a][0]), name, (a,), passes=False)

    def tangents(self, source, direction):
        """The change of every value when value `source` moves along `direction`, whatever it was made from."""
        out = []
        for k, (_, _, op, args, passes) in enumerate(self.program):
            if k == source:
                out.append(direction)
            elif op is None or not passes:
                out.append(np.zeros(3))
            else:
                out.append(OPERATIONS[op][1](*[self.program[i][1] for i in args], *[out[i] for i in args]))
        return out

    @rule(y=values, sources=st.lists(values, min_size=1, max_size=3), seed=st.integers(0, 99), graph=st.booleans())
    def differentiate(self, y, sources, seed, graph):
        sources = [s for s in sources if self.program[s][0].requires_grad]
        if not self.program[y][0].requires_grad or not sources:
            return
        u = draw(3, seed=seed)
        inputs = [self.program[s][0] for s in sources]
        gs = mg.grad(
            self.program[y][0], inputs, mg.tensor(u), retain_graph=True, create_graph=graph, allow_unused=True
        )
        for s, g in zip(sources, gs, strict=True):
            expected = np.array([(u * self.tangents(s, e)[y]).sum() for e in np.eye(3)])
            actual = np.zeros(3) if g is None else g.array
            scale = 1 + np.abs(expected).max()
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9 * scale)

    @invariant()
    def nothing_changes(self):
        for tensor, array, *_ in self.program:
            np.testing.assert_array_equal(tensor.array, array)
            assert tensor.grad is None


RandomGraphs.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True)
test_random_graphs_against_forward_mode = RandomGraphs.TestCase
