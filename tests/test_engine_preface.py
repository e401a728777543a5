"""docs/engine.md: its toy engine agrees with the real one, its examples print what they say, its tables are what the sweep does."""

import doctest
import gc
import math
import re
import weakref
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minigrad
import minigrad as mg
from minigrad import autograd
from minigrad.functional import elementwise

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "engine.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
(TOY,) = [block for block in BLOCKS if not block.startswith(">>>")]
EXAMPLES = "\n".join(block for block in BLOCKS if block.startswith(">>>"))


@pytest.fixture
def toy():
    names = {"__name__": "toy"}
    exec(compile(TOY, "docs/engine.md", "exec"), names)
    return names


def tables(heading):
    """The rows of cells of each table below a heading, without the table's own head."""
    part = TEXT.split(f"{heading}\n")[1]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in re.split(r"^#+ ", part, flags=re.MULTILINE)[0].splitlines()
            if line.startswith("|")]
    return rows[2:]


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_toy_has_at_most_60_lines():
    assert sum(bool(line.strip()) for line in TOY.splitlines()) <= 60


def test_the_examples_print_what_the_page_says(toy):
    test = doctest.DocTestParser().get_doctest(EXAMPLES, toy, "docs/engine.md", None, 0)
    assert len(test.examples) > 15
    messages = []
    doctest.DocTestRunner(verbose=False).run(test, out=messages.append)
    assert not messages, "".join(messages)


def watched(operations, monkeypatch, value_of):
    """Have the rules of {name: operation} note (name, cotangent's value, arguments of the rule, what it hands out) in a list."""
    log = []

    def watch(name, op, rule, position):
        def noting(*given, **constants):
            out = rule(*given, **constants)
            log.append((name, value_of(given[position]), given, out))
            return out

        monkeypatch.setattr(op, "rule", noting)

    for name, op in operations.items():
        watch(name, op, op.rule, 2 if isinstance(op, autograd.Primitive) else 0)  # rule(node, needs, g) or rule(g, *args)
    return log


def number(cell):
    return float(cell.rpartition("=")[2].rpartition(":")[2])


def check_sweep(rows, log, values, x):
    """Each row of a page's table against one call of a rule: names, cotangent, what is handed on, what has arrived at x."""
    arrived = 0.0
    assert len(rows) == len(log)
    for (call, cotangent, first, second, so_far), (op, g, (_, *args), out) in zip(rows, log, strict=True):
        name, left, sign, right = re.fullmatch(r"`(\w) = (\w) ([*+]) (\w)`", call).groups()
        assert {"*": "mul", "+": "add"}[sign] == op and float(cotangent) == g
        for symbol, a, cell, gradient in zip((left, right), args, (first, second), out, strict=True):
            assert a.value == (1.0 if symbol == "1" else values[symbol])
            assert (a is x) == (symbol == "x")
            if symbol == "1":
                assert cell == "the 1: nothing" and not a.requires_grad
                continue
            assert cell.startswith(f"{symbol}: ") and number(cell) == gradient.value
            if sign == "*":
                one, two, product = map(float, re.fullmatch(r"\w: (\S+) · (\S+) = (\S+)", cell).groups())
                assert one == g and one * two == product
            if a is x:
                arrived += gradient.value
        assert float(so_far) == arrived
    return arrived


def test_the_tables_are_what_the_sweeps_do(toy, monkeypatch):
    log = watched({name: toy[name] for name in ("add", "mul")}, monkeypatch, lambda g: g.value)
    x = toy["Variable"](2.0, requires_grad=True)
    y = x * x * x
    values = {"x": 2.0, "a": 4.0, "y": 8.0}
    dy = toy["grad"](y, x, create_graph=True)
    assert check_sweep(tables("### The first sweep: dy/dx"), log, values, x) == dy.value == 12.0

    recorded = tables("### The sweep was recorded")
    for call, value, _ in recorded:
        name, expression = call.strip("`").split(" = ")
        values[name] = eval(expression, {}, dict(values))
        assert values[name] == float(value)
    nodes = toy["topological"](dy.node)
    assert len(nodes) == len(recorded) + 1 and y.node not in nodes and y.node.args[0].node in nodes  # a's, but not y's
    log.clear()
    d2y = toy["grad"](dy, x, create_graph=True)
    assert check_sweep(tables("### The second sweep: d²y/dx²"), log, values, x) == d2y.value == 12.0


def test_the_real_engine_does_the_same_steps_in_the_same_order(toy, monkeypatch):
    small = watched({name: toy[name] for name in ("add", "mul")}, monkeypatch, lambda g: g.value)
    real = watched({"add": elementwise.add, "mul": elementwise.mul}, monkeypatch, lambda g: g.item())
    x, X = toy["Variable"](2.0, requires_grad=True), mg.tensor(2.0, requires_grad=True)
    dy, (DY,) = toy["grad"](x * x * x, x, create_graph=True), mg.grad(X * X * X, X, create_graph=True)
    toy["grad"](dy, x)
    mg.grad(DY, X)
    assert [(op, g) for op, g, *_ in small] == [(op, g) for op, g, *_ in real] and len(small) == 9


def test_the_names_on_the_right_of_the_map_exist():
    rows = tables("## 3. From the toy to the real one")
    names = [name for _, cell, _ in rows for name in re.findall(r"`([^`]+)`", cell)]
    assert len(rows) > 10 and len(names) > 20
    for name in names:
        if name.startswith("minigrad."):
            places = [(minigrad, name.removeprefix("minigrad."))]
        else:
            places = [(module, name) for module in (autograd.graph, autograd.sweep) if hasattr(module, name.split(".")[0])]
        assert places, name
        for start, path in places:
            reduce(getattr, path.split("."), start)


def test_the_names_on_the_left_of_the_map_stand_in_the_toy():
    for cell, _, _ in tables("## 3. From the toy to the real one"):
        assert all(name in TOY for name in re.findall(r"`([^`]+)`", cell)), cell


# ---- the toy against the real engine ---------------------------------------------------------------------------------


def steps_of(operations, most):
    """Up to `most` steps, each an operation and the numbers of two values that are there."""
    return st.lists(st.tuples(st.sampled_from(operations), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=most)


CONSTANTS = st.lists(st.sampled_from([-1.5, -1.0, 0.5, 2.0]), max_size=2)


def expression(operations, x, constants, steps):
    """Each step applies an operation to values that are there; the last result. Values are shared at will."""
    values = [x, *constants]
    for name, i, j in steps:
        i, j = i % len(values), j % len(values)
        if not any(hasattr(values[k], "node") for k in ((i, j) if name in ("add", "mul") else (i,))):
            i = 0  # at least one argument is a Variable
        args = (values[i], values[j]) if name in ("add", "mul") else (values[i],)
        values.append(operations[name](*args))
    return values[-1]


def toy_derivatives(toy, at, constants, steps):
    x = toy["Variable"](at, requires_grad=True)
    values = [expression(toy, x, constants, steps)]
    for _ in range(3):
        values.append(toy["grad"](values[-1], x, create_graph=True))
    return [v.value for v in values]


def real_derivatives(at, constants, steps):
    x = mg.tensor(np.float64(at), requires_grad=True)
    y = expression(vars(elementwise), x, constants, steps)
    values = [y.item()]
    for _ in range(3):
        y = mg.grad(y, x, create_graph=True, allow_unused=True)[0] if y is not None and y.requires_grad else None
        values.append(0.0 if y is None else y.item())
    return values


TOYS = {}
exec(TOY, TOYS)


@given(st.floats(-1.25, 1.25), CONSTANTS, steps_of(["add", "mul", "sin", "cos"], 9))
def test_values_and_three_derivatives_are_those_of_the_real_engine(at, constants, steps):
    small = toy_derivatives(TOYS, at, constants, steps)
    size = max(map(abs, small))
    assume(size < 1e4)
    np.testing.assert_allclose(small, real_derivatives(at, constants, steps), rtol=1e-9, atol=1e-9 * max(1.0, size))


@given(st.integers(-3, 3), steps_of(["add", "mul"], 5))
def test_polynomials_agree_exactly(at, steps):
    small = toy_derivatives(TOYS, float(at), [2.0], steps)
    assume(max(map(abs, small)) < 2**40)
    assert small == real_derivatives(at, [2.0], steps)


def test_sines_differentiate_into_each_other(toy):
    x = toy["Variable"](0.7, requires_grad=True)
    values = [toy["sin"](x)]
    for _ in range(4):
        values.append(toy["grad"](values[-1], x, create_graph=True))
    s, c = math.sin(0.7), math.cos(0.7)
    assert [v.value for v in values] == [s, c, -s, -c, s]


# ---- what a reader must be able to rely on ---------------------------------------------------------------------------


def test_a_value_that_was_computed_can_be_differentiated_with_respect_to(toy):
    x = toy["Variable"](3.0, requires_grad=True)
    a = x * x
    assert toy["grad"](a * a + a, a).value == 19.0
    assert toy["grad"](x, x).value == 1.0 and toy["grad"](a, toy["Variable"](1.0, requires_grad=True)).value == 0.0


def test_a_long_chain_and_a_ladder_of_doublings(toy):
    x = y = toy["Variable"](1.0, requires_grad=True)
    for _ in range(100_000):
        y = y + 1.0
    assert toy["grad"](y, x).value == 1.0
    y = x
    for _ in range(60):
        y = y + y
    assert toy["grad"](y, x).value == 2.0**60


def test_no_cycle_keeps_a_graph_alive(toy):
    gc.disable()
    try:
        x = toy["Variable"](2.0, requires_grad=True)
        dy = toy["grad"](x * x * x, x, create_graph=True)
        node = weakref.ref(dy.node)
        del dy
        assert node() is None
    finally:
        gc.enable()


def test_recording_comes_back_after_an_error(toy):
    def wrong(g, a):
        raise ArithmeticError

    broken = toy["primitive"](lambda a: a)
    broken.vjp(wrong)
    x = toy["Variable"](1.0, requires_grad=True)
    with pytest.raises(ArithmeticError):
        toy["grad"](broken(x), x)
    assert toy["recording"] is True and (x * x).node is not None
