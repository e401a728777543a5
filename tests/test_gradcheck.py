"""The checker is checked: it must reject rules broken on purpose, accept right ones, and say where the error is."""

import math
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import autograd
from minigrad.autograd import primitive
from minigrad.functional.common import unbroadcast
from minigrad.gradcheck import GradientError, check_grads
from minigrad.random import Stream


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def away_from_zero(*shape, seed=0):
    x = draw(*shape, seed=seed)
    return x + 0.1 * np.sign(x)


# ---- mutants: each is one mistake that people make -------------------------------------------------------------------


def broken(forward, rule, saves=(), saves_out=()):
    p = primitive(saves=saves, saves_out=saves_out)(forward)
    p.vjp(rule)
    return p


def sign_flip():
    f = broken(np.sin, lambda node, needs, g: (-g * mg.cos(node.inputs[0]),), saves=((0,),))
    return f, [draw(2, 3)]


def missing_factor():
    f = broken(np.square, lambda node, needs, g: (g * node.inputs[0],), saves=((0,),))
    return f, [draw(2, 3)]


def almost_right_factor():
    f = broken(np.square, lambda node, needs, g: (g * node.inputs[0] * 1.9999,), saves=((0,),))
    return f, [draw(5, 7)]


def dropped_broadcast_sum():
    """The row b is added to every row of a; its gradient is taken from the first row instead of summed over all."""
    f = broken(np.add, lambda node, needs, g: (g, g[0]))
    return f, [draw(3, 2), draw(2)]


def broadcast_mean_instead_of_sum():
    f = broken(np.add, lambda node, needs, g: (g, g.mean(0)))
    return f, [draw(3, 2), draw(2)]


def transposed_axis():
    f = broken(np.matmul, lambda node, needs, g: (g @ node.inputs[1], node.inputs[0].mT @ g), saves=((1,), (0,)))
    return f, [draw(3, 3), draw(3, 3, seed=1)]


def permuted_gradient():
    """A derivative that a cotangent of ones (a sum) cannot see."""
    f = broken(lambda x: x * 2.0, lambda node, needs, g: (g.flip(0) * 2.0,))
    return f, [draw(4)]


def swapped_arguments():
    f = broken(np.multiply, lambda node, needs, g: (g * node.inputs[0], g * node.inputs[1]), saves=((0,), (1,)))
    return f, [draw(2, 2), draw(2, 2, seed=1)]


def zero_gradient():
    f = broken(np.exp, lambda node, needs, g: (g * 0.0,))
    return f, [draw(2, 3)]


def no_gradient():
    f = broken(np.exp, lambda node, needs, g: (None,))
    return f, [draw(2, 3)]


def detached_factor():
    return lambda x: x * x.detach(), [draw(2, 3)]


def constant_through_the_array():
    return lambda x: mg.tensor(x.array.sum()), [draw(2, 3)]


def wrong_in_one_element():
    def rule(node, needs, g):
        mask = np.ones((6, 7))
        mask[4, 5] = 0.999
        return (g * mask,)

    return broken(np.copy, rule), [draw(6, 7)]


def derivative_of_a_constant_branch():
    """max without a mask: the gradient goes to both arguments."""
    f = broken(np.maximum, lambda node, needs, g: (g, g))
    return f, [draw(3), draw(3, seed=1)]


def not_linear_in_the_cotangent():
    f = broken(np.copy, lambda node, needs, g: (g * mg.abs(g),))
    return f, [draw(3)]


FIRST = [sign_flip, missing_factor, almost_right_factor, dropped_broadcast_sum, broadcast_mean_instead_of_sum,
         transposed_axis, permuted_gradient, swapped_arguments, zero_gradient, no_gradient, detached_factor,
         constant_through_the_array, wrong_in_one_element, derivative_of_a_constant_branch,
         not_linear_in_the_cotangent]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("mutant", FIRST, ids=lambda f: f.__name__)
def test_a_wrong_rule_is_rejected_at_order_1(mutant, full):
    f, inputs = mutant()
    with pytest.raises(GradientError, match="at order 1"):
        check_grads(f, inputs, order=1, full=full)


# right at order 1, wrong later: the traps of fused kernels


def detached_mean():
    """Normalisation whose rule reads the statistics as constants: the first derivative is right."""

    def forward(x):
        centred = x - x.mean(0)
        return centred / np.sqrt((centred**2).mean(0))

    def rule(node, needs, g):
        xhat = node.output()
        x = node.inputs[0].array
        istd = 1 / np.sqrt(((x - x.mean(0)) ** 2).mean(0))  # an array: the graph does not know where it came from
        return ((g - g.mean(0) - xhat * (g * xhat).mean(0)) * istd,)

    return broken(forward, rule, saves=((0,),), saves_out=(0,)), [draw(5, 2)]


def wrong_second_rule():
    """sin' = cos, but the cos used in the rule has a wrong derivative of its own."""
    bad_cos = broken(np.cos, lambda node, needs, g: (g * mg.sin(node.inputs[0]),), saves=((0,),))
    return broken(np.sin, lambda node, needs, g: (g * bad_cos(node.inputs[0]),), saves=((0,),)), [draw(3)]


def detached_output():
    """exp' = exp, read as an array."""
    return broken(np.exp, lambda node, needs, g: (g * node.outputs[0],), saves_out=(0,)), [draw(3)]


def wrong_only_in_the_cotangent():
    """The gradient of a gradient with respect to the cotangent: a fixed cotangent would not see it."""
    scale = broken(lambda g: g * 3.0, lambda node, needs, g: (g * 2.0,))
    return broken(lambda x: x * 3.0, lambda node, needs, g: (scale(g),)), [draw(3)]


SECOND = [detached_mean, wrong_second_rule, detached_output, wrong_only_in_the_cotangent]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("mutant", SECOND, ids=lambda f: f.__name__)
def test_a_wrong_second_derivative_passes_order_1_and_is_rejected_at_order_2(mutant, full):
    f, inputs = mutant()
    check_grads(f, inputs, order=1, full=full)
    with pytest.raises(GradientError, match="at order 2"):
        check_grads(f, inputs, order=2, full=full)


def test_a_wrong_third_derivative_is_rejected_at_order_3_only():
    bad_sin = broken(np.sin, lambda node, needs, g: (g * -mg.cos(node.inputs[0]),), saves=((0,),))
    my_cos = broken(np.cos, lambda node, needs, g: (-g * bad_sin(node.inputs[0]),), saves=((0,),))
    f = broken(np.sin, lambda node, needs, g: (g * my_cos(node.inputs[0]),), saves=((0,),))
    check_grads(f, draw(3), order=2)
    with pytest.raises(GradientError, match="at order 3"):
        check_grads(f, draw(3), order=3)


# ---- what else is a fault --------------------------------------------------------------------------------------------


def test_a_rule_that_writes_to_its_cotangent_is_rejected():
    def rule(node, needs, g):
        g.array[...] *= 2.0  # the gradient is by reference: this changes what the caller still holds
        return (g,)

    with pytest.raises(GradientError, match="the cotangent of output 0 was written to"):
        check_grads(broken(lambda x: x * 2.0, rule), draw(3), order=1)


def test_a_function_that_writes_to_its_input_is_rejected():
    def f(x):
        y = x * 2.0
        x.array[0] += 1.0
        return y

    with pytest.raises(GradientError, match="input 0 was written to"):
        check_grads(f, draw(3), order=1)


def test_a_random_function_and_a_random_rule_are_rejected():
    rng = np.random.default_rng(0)
    with pytest.raises(GradientError, match="output 0 differs when f runs twice"):
        check_grads(lambda x: x * rng.standard_normal(3), draw(3), order=1)
    noisy = broken(np.copy, lambda node, needs, g: (g * (1 + 1e-15 * rng.integers(1, 9)),))
    with pytest.raises(GradientError, match="differs when it is computed twice"):
        check_grads(noisy, draw(3), order=1)


def test_a_rule_that_assumes_contiguous_cotangents_is_rejected():
    def rule(node, needs, g):
        flat = np.lib.stride_tricks.as_strided(g.array, g.shape, (8,))  # reads memory as if it had no gaps
        return (g.result_type.wrap(flat.copy()),)

    with pytest.raises(GradientError, match="changes when the cotangent"):
        check_grads(broken(np.copy, rule), draw(4), order=1)


def test_a_gradient_of_another_shape_or_dtype_is_rejected():
    with pytest.raises(RuntimeError, match="a gradient has its input's shape and dtype"):
        check_grads(broken(np.copy, lambda node, needs, g: (g.sum(),)), draw(4), order=1)
    with pytest.raises(RuntimeError, match="a gradient has its input's shape and dtype"):
        check_grads(broken(np.copy, lambda node, needs, g: (g.float(),)), draw(4), order=1)


def test_the_message_names_order_input_position_and_both_values():
    f = broken(np.multiply, lambda node, needs, g: (unbroadcast(g * node.inputs[1], node, 0), g * node.inputs[0] * 3.0),
               saves=((1,), (0,)))
    a, b = np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0])
    with pytest.raises(GradientError) as caught:
        check_grads(f, [a, b], order=1, full=True)
    text = str(caught.value)
    assert "order 1" in text and "input 1" in text and "position (" in text
    analytic, numeric = (float(v) for v in re.search(r"analytic (\S+), numeric ([^\s.]+\.?\d*)", text).groups())
    assert math.isclose(analytic, 3 * numeric, rel_tol=1e-4)


def test_the_element_that_is_wrong_is_found_in_a_large_input():
    f, inputs = wrong_in_one_element()
    with pytest.raises(GradientError, match=re.escape("position (4, 5)")):
        check_grads(f, inputs, order=1, full=False)


# ---- right rules pass ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f, shapes",
    [
        (lambda x: x * 3.0, [(2, 3)]),
        (lambda x: mg.exp(x).sum(), [()]),
        (lambda x: (x, mg.sin(x)), [(2,)]),
        (lambda x, y: x @ y, [(2, 3), (3, 2)]),
        (lambda x, y: x * y, [(4, 1, 2), (3, 1)]),
        (lambda x, y: x * 1.0, [(2,), (3,)]),  # y is not used
        (lambda x: mg.exp(x), [(0, 3)]),  # nothing in it
        (lambda x: x.max(0), [(5, 2)]),  # values and indices
        (lambda x: mg.sign(x), [(5,)]),  # derivative 0
        (lambda x: mg.grad(mg.exp(x).sum(), [x], create_graph=True)[0], [(3,)]),
    ],
)
def test_right_rules_pass_to_order_3(f, shapes):
    check_grads(f, [away_from_zero(*s, seed=i) for i, s in enumerate(shapes)], order=3)


def test_large_and_small_inputs_scale_the_step():
    check_grads(lambda x: x * x, np.array([1e6, 1e-6, -3e4]), order=2)
    check_grads(lambda x: mg.log(x), np.array([1e5, 1e-2, 3.0]), order=2, rtol=1e-4)


@pytest.mark.parametrize(
    "f", [mg.relu, lambda x: mg.clamp(x, -1.0, 1.0), lambda x: mg.norm(mg.relu(x)) + mg.relu(x)]
)
def test_right_rules_are_not_blamed_beside_a_kink_and_differences_across_it_are(f):
    near = np.array([-1e-4, 1e-4, 1 + 1e-4, 1 - 1e-4])
    check_grads(f, near, order=2)
    with pytest.raises(GradientError, match="within 1e-06 of a kink"):
        check_grads(f, np.array([0.0, 1.0, -1.0]), order=1)


def test_tensors_arrays_seeds_and_streams_are_taken():
    check_grads(mg.sin, mg.tensor(draw(3)), order=1)
    check_grads(mg.pow, (away_from_zero(3) ** 2, mg.tensor(draw(3))), order=1, rng=7)
    check_grads(mg.sin, draw(3), order=1, rng=Stream(3, "check"))
    check_grads(mg.sin, draw(3), order=1, rng=np.random.default_rng(3))


def test_the_inputs_of_the_caller_are_untouched():
    x = mg.tensor(draw(3), requires_grad=True)
    before = x.array.tobytes()
    check_grads(mg.sin, x)
    assert x.array.tobytes() == before and x.grad is None


def test_cotangents_differ_from_the_callers_own_seeded_inputs():
    """With u = x an error that is invariant under scaling would pass (it did, for `detached_mean`)."""
    seen = []
    f = broken(np.copy, lambda node, needs, g: (seen.append(g.array.copy()), (g,))[1])
    for seed in (None, 0, 1):
        check_grads(f, draw(5, 2), order=1, rng=seed)
    assert not any(np.array_equal(u, draw(5, 2, seed=seed)) for u in seen for seed in (0, 1))


def test_works_inside_no_grad_too_and_restores_it():
    with autograd.no_grad():
        check_grads(mg.sin, draw(2))
        assert not autograd.is_grad_enabled()
    with pytest.raises(GradientError):
        check_grads(*sign_flip())
    assert autograd.is_grad_enabled()


@pytest.mark.parametrize(
    "call, error, text",
    [
        (
            lambda: check_grads(mg.sin, np.zeros(3, np.float32)),
            TypeError,
            "input 0 is float32; central differences need",
        ),
        (lambda: check_grads(mg.sin, [np.zeros(3), np.zeros(3, int)]), TypeError, "input 1 is int64"),
        (lambda: check_grads(lambda x: x.float(), np.zeros(3)), TypeError, "output 0 of f is float32"),
        (lambda: check_grads(lambda x: x.array, np.zeros(3)), TypeError, "returned a ndarray as output 0"),
        (lambda: check_grads(mg.sin, []), ValueError, "nothing to differentiate"),
        (lambda: check_grads(mg.sin, np.zeros(3), order=0), ValueError, "order must be an integer >= 1, got 0"),
        (lambda: check_grads(mg.sin, np.zeros(3), order=True), ValueError, "order must be an integer"),
        (lambda: check_grads(mg.sin, np.zeros(3), eps=0), ValueError, "eps must lie in"),
        (lambda: check_grads(mg.sin, np.zeros(3), full="all"), ValueError, "full must be True, False or 'auto'"),
        (
            lambda: check_grads(mg.log, np.array([1.0, -1.0])),
            GradientError,
            r"not finite at this point, at \(1,\)",
        ),
    ],
)
def test_wrong_calls_are_named(call, error, text):
    with np.errstate(invalid="ignore"), pytest.raises(error, match=text):
        call()
