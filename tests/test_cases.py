"""Properties that hold for every public operation, over the table in tests/cases.py, and the completeness of that table."""

import importlib
import inspect
import pkgutil

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import minigrad.functional as F
from minigrad import autograd
from minigrad.autograd import Primitive, Variable
from minigrad.gradcheck import GradientError, check_grads

CASES = cases.CASES
DIFFERENTIABLE = [c for c in CASES if c.order]
every = pytest.mark.parametrize("case", CASES, ids=repr)
differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=repr)


def drawn(case, data):
    return data.draw(case.sample)


def several(share=1.0):
    """A test over `examples * share` calls of its case."""

    def decorate(test):
        def run(case):
            @settings(max_examples=max(3, int(case.examples * share * settings.default.max_examples / 15)))
            @given(data=st.data())
            def body(data):
                test(case, drawn(case, data), np.random.default_rng(7))

            body()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def tensors(arrays, dtype=None, requires_grad=True):
    out = [mg.Tensor.wrap(np.asarray(a) if dtype is None else np.asarray(a, dtype=dtype)) for a in arrays]
    return [t.requires_grad_(requires_grad) for t in out]


def tuple_of(out):
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def floats(outputs):
    return [y for y in outputs if y.requires_grad]


def pull(case, call, arrays, cotangents=None, dtype=None, wanted=None):
    """Outputs, and gradients for the inputs in `wanted` (default all) with the given cotangents (default random)."""
    inputs = tensors(arrays, dtype)
    if wanted is not None:
        inputs = [t if i in wanted else t.detach() for i, t in enumerate(inputs)]
    outputs = tuple_of(case.function(*inputs, **call.options))
    ys = floats(outputs)
    if cotangents is None:
        rng = np.random.default_rng(11)
        cotangents = [rng.standard_normal(y.shape).astype(y.dtype) for y in ys]
    if not ys:
        return outputs, [None] * len(inputs), cotangents
    targets = [t for t in inputs if t.requires_grad]
    found = iter(mg.grad(ys, targets, [mg.Tensor.wrap(u) for u in cotangents], allow_unused=True))
    return outputs, [next(found) if t.requires_grad else None for t in inputs], cotangents


def close(actual, expected, rtol, what=""):
    scale = max(1.0, float(np.abs(np.asarray(expected, np.float64)[np.isfinite(expected)]).max(initial=0.0)))
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol=rtol, atol=rtol * scale, err_msg=what)


# ---- values ----------------------------------------------------------------------------------------------------------


@every
@several()
def test_forward_equals_the_reference_in_float64_and_float32(case, call, rng):
    if case.reference is None:
        return  # compared with PyTorch in tests/functional
    expected = tuple_of(case.reference(*call.arrays, **call.options))
    for dtype, rtol in ((np.float64, 1e-10), (np.float32, case.rtol32)):
        outputs = tuple_of(case.function(*tensors(call.arrays, dtype, requires_grad=False), **call.options))
        assert len(outputs) == len(expected)
        for y, e in zip(outputs, expected, strict=True):
            assert isinstance(y, mg.Tensor) and isinstance(y.array, np.ndarray)
            assert y.shape == np.shape(e)
            assert y.dtype == (dtype if np.asarray(e).dtype.kind == "f" else np.int64)
            close(y.array, e, rtol)


@differentiable
@several()
def test_derivatives_agree_with_differences(case, call, rng):
    check_grads(lambda *xs: case.function(*xs, **call.options), call.arrays, case.order)


@differentiable
@several(0.5)
def test_gradients_have_the_inputs_shape_and_dtype_and_float32_agrees_with_float64(case, call, rng):
    _, exact, us = pull(case, call, call.arrays)
    outputs, gradients, _ = pull(case, call, call.arrays, [u.astype(np.float32) for u in us], np.float32)
    for x, g, e in zip(call.arrays, gradients, exact, strict=True):
        if e is None:
            assert g is None
            continue
        assert (g.shape, g.dtype) == (x.shape, np.float32)
        assert (e.shape, e.dtype) == (x.shape, np.float64)
        close(g.array, e.array, 10 * case.rtol32)


@every
@several(0.5)
def test_nan_goes_where_it_goes_in_the_reference(case, call, rng):
    if case.reference is None or not case.nan:
        return
    for i, x in enumerate(call.arrays):
        if x.size == 0 or case.order == 0 or i not in case.nan:
            continue
        poisoned = x.copy()
        poisoned.flat[rng.integers(x.size)] = np.nan
        arrays = [*call.arrays[:i], poisoned, *call.arrays[i + 1 :]]
        with np.errstate(all="ignore"):
            expected = tuple_of(case.reference(*arrays, **call.options))
            for dtype in (np.float64, np.float32):
                outputs = tuple_of(case.function(*tensors(arrays, dtype, requires_grad=False), **call.options))
                for y, e in zip(outputs, expected, strict=True):
                    if y.dtype.kind == "f":
                        np.testing.assert_array_equal(np.isnan(y.array), np.isnan(e))


# ---- memory ----------------------------------------------------------------------------------------------------------


def fortran(a):
    return np.asfortranarray(a).reshape(a.shape, order="F")


def negative(a):
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip] if a.ndim else a


def gaps(a):
    return np.repeat(a[..., None], 2, axis=-1)[..., 0]


def channels_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 2 else gaps(a)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = [fortran, negative, gaps, channels_last, read_only]


@differentiable
@several(0.5)
def test_any_memory_layout_of_inputs_and_cotangents_gives_the_same_result(case, call, rng):
    for dtype, rtol in ((np.float64, 1e-11), (np.float32, case.rtol32)):
        arrays = [x.astype(dtype) for x in call.arrays]
        outputs, gradients, us = pull(case, call, arrays)
        for layout in LAYOUTS:
            others, grads, _ = pull(case, call, [layout(x) for x in arrays], [layout(u) for u in us])
            for y, z in zip(outputs, others, strict=True):
                close(z.array, y.array, rtol, layout.__name__)
            for g, h in zip(gradients, grads, strict=True):
                assert (g is None) == (h is None)
                if g is not None:
                    close(h.array, g.array, rtol, layout.__name__)


@differentiable
@several(0.34)
def test_a_cotangent_with_stride_0_gives_the_same_result(case, call, rng):
    outputs, _, us = pull(case, call, call.arrays)
    _, full, _ = pull(case, call, call.arrays, [np.full(u.shape, 0.5) for u in us])
    _, thin, _ = pull(case, call, call.arrays, [np.broadcast_to(np.float64(0.5), u.shape) for u in us])
    for g, h in zip(full, thin, strict=True):
        if g is not None:
            close(h.array, g.array, 1e-11)
            steps = [s for s, n in zip(h.array.strides, h.shape, strict=True) if n > 1]
            assert h.array.flags.writeable and (0 not in steps or h.array.size == 0)


@differentiable
@several(0.5)
def test_nothing_is_mutated_nothing_is_aliased_and_every_run_is_the_same_to_the_bit(case, call, rng):
    for dtype in (np.float64, np.float32):
        arrays = [x.astype(dtype) for x in call.arrays]
        before = [x.tobytes() for x in arrays]
        constants = {k: v.copy() for k, v in call.options.items() if isinstance(v, np.ndarray)}
        outputs, gradients, us = pull(case, call, arrays)
        held = [u.tobytes() for u in us]
        again, repeated, _ = pull(case, call, arrays, us)
        assert [x.tobytes() for x in arrays] == before and [u.tobytes() for u in us] == held
        for k, v in constants.items():
            np.testing.assert_array_equal(call.options[k], v)
        for y, z in zip(outputs, again, strict=True):
            assert y.array.tobytes() == z.array.tobytes()
        own = [g.array for g in gradients if g is not None]
        for g, h in zip(gradients, repeated, strict=True):
            assert (g is None) == (h is None) and (g is None or g.array.tobytes() == h.array.tobytes())
        for i, g in enumerate(own):
            assert not any(np.shares_memory(g, o) for o in own[i + 1 :] + arrays + list(us) if o.size and g.size)


@differentiable
@several(0.34)
def test_a_gradient_asked_for_alone_is_the_one_asked_for_together(case, call, rng):
    if len(call.arrays) < 2:
        return
    _, together, us = pull(case, call, call.arrays)
    for i in range(len(call.arrays)):
        outputs, alone, _ = pull(case, call, call.arrays, us if len(us) == 1 else None, wanted={i})
        if len(us) > 1 and len(floats(outputs)) != len(us):
            continue  # some outputs do not depend on this input: the cotangents drawn are others
        assert (alone[i] is None) == (together[i] is None)
        if alone[i] is not None:
            close(alone[i].array, together[i].array, 1e-12)


@differentiable
@several(0.34)
def test_without_recording_the_values_are_the_same_and_no_node_is_made(case, call, rng):
    recorded = tuple_of(case.function(*tensors(call.arrays), **call.options))
    with mg.no_grad():
        plain = tuple_of(case.function(*tensors(call.arrays), **call.options))
    for y, z in zip(recorded, plain, strict=True):
        assert z.node is None or z is y
        assert y.array.tobytes() == z.array.tobytes()


@differentiable
@several(0.34)
def test_constants_of_a_node_hold_no_floating_arrays(case, call, rng):
    """Rule 2: what a rule closes over is constant almost everywhere: sizes, masks, indices."""
    outputs = tuple_of(case.function(*tensors(call.arrays), **call.options))
    seen, stack = set(), [y.node for y in outputs if y.node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(p for p in node.parents if isinstance(p, autograd.Node))
        for key, value in node.kw.items():
            assert not isinstance(value, Variable), f"{node.op.name} takes a Tensor as the constant {key}"
            assert not (isinstance(value, np.ndarray) and value.dtype.kind == "f"), f"{node.op.name}: {key}"


# ---- errors ----------------------------------------------------------------------------------------------------------

ERRORS = [(c.name, i, *e) for c in CASES for i, e in enumerate(c.errors)]


@pytest.mark.parametrize("name, i, call, error, text", ERRORS, ids=[f"{e[0]} {e[1]}" for e in ERRORS])
def test_wrong_calls_raise_the_documented_error(name, i, call, error, text):
    with pytest.raises(error, match=text):
        call()


# ---- the table is complete -------------------------------------------------------------------------------------------

# public names that are no differentiable operations; test_tensor, test_autograd and kernels/ hold their tests
NOT_OPERATIONS = {
    "minigrad": """arange eye from_numpy full full_like linspace ones ones_like tensor zeros zeros_like
                   enable_grad grad is_grad_enabled no_grad primitive
                   as_tensor empty empty_like rand rand_like randint randn randn_like randperm normal bernoulli multinomial
                   is_tensor numel inference_mode eq ne lt le gt ge isnan isinf isfinite isclose allclose equal any all
                   logical_and logical_or logical_xor logical_not count_nonzero is_floating_point is_nonzero
                   nonzero unique bincount argsort
                   get_conv_precision get_num_threads set_conv_precision set_num_threads
                   get_rng_state initial_seed manual_seed set_rng_state load save""",
    # one axis of positions, seldom activations and losses: tests/nn/test_rare.py and test_twins.py hold them at both orders
    "minigrad.functional": """adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d conv1d conv_transpose1d max_pool1d alpha_dropout
                              celu glu gumbel_softmax hardshrink hardsigmoid hardswish hardtanh mish prelu relu6 selu silu softmin
                              softshrink softsign tanhshrink threshold bilinear cosine_embedding_loss gaussian_nll_loss
                              hinge_embedding_loss local_response_norm margin_ranking_loss pairwise_distance poisson_nll_loss
                              soft_margin_loss triplet_margin_loss""",
    "Tensor": """__getattr__ shape dtype ndim device is_leaf name result_type size numel dim numpy item tolist describe
                 requires_grad_ detach detach_ backward assign_ isfinite isnan isinf any all data start quietly is_cuda grad_fn
                 nelement ndimension register_hook retain_grad __array__ __format__ __rand__ __ror__ __rxor__ __xor__
                 eq ne lt le gt ge equal allclose isclose logical_and logical_or logical_xor logical_not count_nonzero
                 is_floating_point nonzero unique bincount multinomial bernoulli __pos__ reshape_as
                 constant ones_like accumulate_ memory_is_shared owned spec differentiable wrap _compare
                 __init__ __hash__ __array_ufunc__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __invert__ __and__ __or__
                 __setitem__ __len__ __bool__ __float__ __int__ __index__ __repr__ __reduce__ __deepcopy__
                 __module__ __doc__ __slots__ __dict__ __weakref__ __static_attributes__ __firstlineno__""",
}


def public_names():
    """(where, name, object) for everything that a user can call."""
    for where, space in (("minigrad", vars(mg)), ("minigrad.functional", vars(F))):
        for name, value in space.items():
            if not name.startswith("_") and (isinstance(value, Primitive) or inspect.isfunction(value)):
                yield where, name, value
    yield from (("Tensor", name, value) for name, value in vars(mg.Tensor).items()
                if name != "__annotations__")  # Python makes it when somebody asks


def test_every_public_operation_has_a_case():
    covered = {id(o) for case in CASES for o in case.objects}
    missing = [
        f"{where}.{name}"
        for where, name, value in public_names()
        if name not in NOT_OPERATIONS[where].split() and id(value) not in covered
    ]
    assert not missing, f"no case in tests/cases.py for {missing}"


def test_case_names_are_unique():
    names = [c.name for c in CASES]
    assert len(set(names)) == len(names)


def primitives():
    """Every primitive defined in minigrad.functional."""
    found = {}
    for info in pkgutil.iter_modules(F.__path__):
        module = importlib.import_module(f"minigrad.functional.{info.name}")
        found.update({id(v): (info.name, v) for v in vars(module).values() if isinstance(v, Primitive)})
    return [pair for pair in found.values() if pair[1].forward.__module__ == f"minigrad.functional.{pair[0]}"]


@pytest.fixture(scope="module")
def exercised():
    """For each primitive, calls of the table in which it is differentiated once or twice: {primitive: [(case, call)]}."""
    found = {}

    def exercise(case, call, dtype):
        inputs = tensors(call.arrays, dtype)
        ys = floats(tuple_of(case.function(*inputs, **call.options)))
        if not ys:
            return
        us = [mg.ones_like(y, requires_grad=True) for y in ys]
        gs = mg.grad(ys, inputs, us, create_graph=True, allow_unused=True)
        gs = [g for g in gs if g is not None and g.requires_grad]
        if gs:
            mg.grad(gs, inputs + us, [mg.ones_like(g) for g in gs], allow_unused=True)

    for case in DIFFERENTIABLE:

        @settings(max_examples=max(3, case.examples // 2))
        @given(data=st.data(), dtype=st.sampled_from([np.float64, np.float32]))
        def body(data, dtype):
            call = drawn(case, data)  # noqa: B023
            ops = set()
            with autograd.observing(lambda op, *_: ops.add(op)):
                exercise(case, call, dtype)  # noqa: B023
            for op in ops:
                found.setdefault(op, []).append((case, call))  # noqa: B023

        body()
    return found


def test_every_primitive_has_a_derivative_rule_and_is_differentiated_by_some_case(exercised):
    without = [f"{module}.{op.name}" for module, op in primitives() if op.rule is None]
    missing = [f"{module}.{op.name}" for module, op in primitives() if op not in exercised and op.name != "to_device"]
    assert not without, f"no derivative rule: {without}"
    assert not missing, f"primitives that no case exercises: {missing}"  # to_device needs a GPU


FLAT = ("sign", "one", "floored", "truncated", "floor", "ceil", "trunc", "rint")  # primitives whose derivative is 0


def too_large(results):
    """The first gradient a thousandth too large: a missing term, a wrong factor."""
    results = list(results)
    i = next((i for i, g in enumerate(results) if g is not None), None)
    if i is not None:
        results[i] = results[i] * 1.001
    return results


def from_zero(results):
    """For derivatives that are 0 everywhere: 1 instead."""
    return [None if g is None else g + 1.0 for g in results]


def test_the_rule_of_every_primitive_broken_by_a_thousandth_is_rejected(exercised, monkeypatch):
    survivors = []
    for module, op in primitives():
        if op.name in ("to_device", "astype"):  # float64 is not cast
            continue
        right, mutate = op.rule, from_zero if op.name in FLAT else too_large
        monkeypatch.setattr(op, "rule", lambda *a, right=right, mutate=mutate, **kw: mutate(right(*a, **kw)))
        calls = [pair for pair in exercised[op] if all(x.size for x in pair[1].arrays)]
        for case, call in calls[:: max(1, len(calls) // 25)]:
            try:
                check_grads(lambda *xs: case.function(*xs, **call.options), call.arrays, case.order, full=False)  # noqa: B023
            except GradientError:
                break
        else:
            survivors.append(f"{module}.{op.name} ({len(calls)} calls)")
        monkeypatch.undo()
    assert not survivors, f"broken rules that no case rejects: {survivors}"
