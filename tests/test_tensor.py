"""Tensor: creation, dtypes, operators, indexing, conversions, and the messages for wrong calls."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import minigrad.functional as F

DTYPES = [np.float32, np.float64, np.int64, np.bool_]


def array(t):
    assert isinstance(t, mg.Tensor) and isinstance(t.array, np.ndarray)
    return t.array


# ---- creation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, dtype",
    [
        (1.5, np.float32),
        (3, np.int64),
        (True, np.bool_),
        ([1, 2], np.int64),
        ([1, 2.0], np.float32),
        ([], np.float32),
        ([[True, False]], np.bool_),
        (np.float64(2.0), np.float64),
        (np.zeros(2), np.float64),
        (np.zeros(2, np.float32), np.float32),
        (np.arange(3), np.int64),
        (np.zeros(2, np.uint8), np.uint8),
        (range(3), np.int64),
        ((1.0, 2.0), np.float32),
    ],
)
def test_the_dtype_of_a_new_tensor_is_that_of_pytorch(data, dtype):
    t = mg.tensor(data)
    assert t.dtype == dtype and t.shape == np.shape(data) and not t.requires_grad and t.is_leaf and t.device == "cpu"


def test_a_new_tensor_copies_and_from_numpy_shares():
    a = np.zeros(3, np.float32)
    copied, shared = mg.tensor(a), mg.from_numpy(a)
    a[0] = 5.0
    assert array(copied)[0] == 0.0 and array(shared)[0] == 5.0
    t = mg.tensor([1.0, 2.0])
    assert not np.shares_memory(array(mg.tensor(t)), array(t))
    assert array(mg.tensor([t[0], 3.0])).tolist() == [1.0, 3.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_explicit_dtype_wins(dtype):
    for t in (
        mg.tensor([0, 1], dtype),
        mg.zeros(2, dtype=dtype),
        mg.ones((2, 1), dtype=dtype),
        mg.full((2,), 1, dtype=dtype),
        mg.arange(3, dtype=dtype),
        mg.linspace(0, 1, 3, dtype=dtype),
        mg.eye(2, dtype=dtype),
        mg.zeros_like(mg.ones(2), dtype=dtype),
        mg.ones_like(mg.ones(2), dtype=dtype),
        mg.full_like(mg.ones(2), 1, dtype=dtype),
    ):
        assert t.dtype == dtype


def test_filled_tensors():
    assert (
        array(mg.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
        and mg.zeros((2, 3)).shape == (2, 3)
        and mg.zeros().shape == ()
    )
    assert array(mg.ones(2)).tolist() == [1.0, 1.0]
    assert (
        mg.full((2,), 7).dtype == np.int64
        and mg.full((2,), 7.0).dtype == np.float32
        and mg.full((), True).dtype == np.bool_
    )
    assert array(mg.eye(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert array(mg.full_like(mg.zeros(2), 3)).tolist() == [3.0, 3.0]
    assert mg.zeros(2, requires_grad=True).requires_grad


@given(st.integers(-5, 5), st.integers(-5, 5), st.sampled_from([1, 2, -1, -2]))
def test_arange_counts_like_numpy(start, end, step):
    if (end - start) * step < 0:
        with pytest.raises(ValueError, match="arange: from .* goes nowhere"):
            mg.arange(start, end, step)
    else:
        assert array(mg.arange(start, end, step)).tolist() == list(range(start, end, step))


def test_arange_and_linspace_of_floats():
    assert mg.arange(3).dtype == np.int64 and mg.arange(0.0, 1.0, 0.25).dtype == np.float32
    assert array(mg.arange(0.0, 1.0, 0.25)).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert array(mg.linspace(-1, 1, 5)).tolist() == [-1, -0.5, 0, 0.5, 1] and mg.linspace(0, 1, 1).shape == (1,)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (
            lambda: mg.tensor([[1, 2], [3]]),
            ValueError,
            "tensor: the nested list is ragged.* every row needs the same length",
        ),
        (lambda: mg.tensor("abc"), TypeError, "tensor: cannot hold str 'abc'; give numbers"),
        (lambda: mg.tensor(["a", "b"]), TypeError, "tensor: cannot hold list"),
        (lambda: mg.tensor(None), TypeError, "tensor: cannot hold NoneType"),
        (lambda: mg.tensor(1j), TypeError, "tensor: cannot hold complex"),
        (lambda: mg.tensor([1.0], dtype=complex), TypeError, "tensor: dtype complex128 is not supported"),
        (
            lambda: mg.tensor([1, 2], requires_grad=True),
            TypeError,
            "only floating-point tensors can require a gradient, got int64",
        ),
        (
            lambda: mg.tensor([True]).requires_grad_(),
            TypeError,
            "only floating-point tensors can require a gradient, got bool",
        ),
        (lambda: mg.zeros(2, device="tpu"), ValueError, "device must be 'cpu' or 'cuda', got 'tpu'"),
        (lambda: mg.tensor(1.0, device="tpu"), ValueError, "device must be 'cpu' or 'cuda', got 'tpu'"),
        (lambda: mg.zeros(2, -1), ValueError, r"zeros: sizes must be >= 0, got \(2, -1\)"),
        (lambda: mg.ones(2.5), TypeError, "ones: size must be an integer, got 2.5"),
        (lambda: mg.arange(0, 3, 0), ValueError, "arange: from 0 to 3 by 0 goes nowhere"),
        (lambda: mg.linspace(0, 1, -1), ValueError, "linspace: steps must be >= 0, got -1"),
        (lambda: mg.from_numpy([1.0]), TypeError, "from_numpy: expected a NumPy array, got list"),
        (lambda: mg.from_numpy(np.zeros(2, complex)), TypeError, "from_numpy: cannot hold complex128"),
    ],
)
def test_wrong_data_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


# ---- dtypes ----------------------------------------------------------------------------------------------------------

BINARY = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / b,
    lambda a, b: a**b,
    mg.maximum,
    mg.minimum,
    lambda a, b: mg.where(np.array(True), a, b),
]


@pytest.mark.parametrize("f", BINARY)
@pytest.mark.parametrize(
    "other",
    [2, 2.0, True, np.float64(2.0), np.int64(2), np.array(2.0), mg.tensor(2), mg.tensor([2, 3]), mg.tensor(True)],
    ids=repr,
)
def test_float32_stays_float32_next_to_numbers_integers_and_bools(f, other):
    x = mg.tensor([1.5, 2.5])
    if isinstance(other, mg.Tensor) and other.dtype == bool and f is BINARY[1]:
        return  # NumPy and PyTorch refuse to subtract bools
    assert f(x, other).dtype == np.float32
    assert f(other, x).dtype == np.float32
    assert f(x.double(), other).dtype == np.float64


@pytest.mark.parametrize("f", BINARY)
def test_two_floating_types_promote(f):
    a, b = mg.tensor([1.5]), mg.tensor([2.5], dtype=mg.float64)
    assert f(a, b).dtype == f(b, a).dtype == np.float64


@pytest.mark.parametrize(
    "f",
    [mg.exp, mg.log, mg.sqrt, mg.sin, mg.cos, mg.tanh, mg.sigmoid, mg.erf, mg.log1p, lambda x: x / 2, lambda x: x / x],
)
def test_real_functions_of_integers_are_float32(f):
    assert f(mg.tensor([1, 2, 3])).dtype == np.float32


def test_integers_stay_integers():
    x = mg.tensor([1, 2, 3])
    for y in (x + 1, x * x, -x, mg.abs(x), x.sum(), x.max(), x.cumsum(0), x[1:], x**2, x - 2):
        assert y.dtype == np.int64
    assert mg.tensor([True, True]).sum().item() == 2
    assert (x + 0.5).dtype == np.float32


def test_integer_matrices_do_not_widen_float32():
    assert (mg.ones(2, 2) @ mg.tensor([[1, 2], [3, 4]])).dtype == np.float32


# ---- operators -------------------------------------------------------------------------------------------------------

FLOATS = hnp.arrays(
    np.float64, hnp.array_shapes(max_dims=3, max_side=3), elements=st.floats(-4, 4).map(lambda v: round(v, 2))
)


@given(FLOATS, st.floats(-3, 3))
def test_operators_with_numbers_on_both_sides_equal_numpy(a, k):
    t = mg.tensor(a)
    for ours, theirs in (
        (t + k, a + k),
        (k + t, k + a),
        (t - k, a - k),
        (k - t, k - a),
        (t * k, a * k),
        (k * t, k * a),
        (-t, -a),
    ):
        np.testing.assert_array_equal(array(ours), theirs)
    np.testing.assert_allclose(array(t / (abs(k) + 1)), a / (abs(k) + 1))


@given(FLOATS)
def test_comparisons_give_bools_and_logic_works(a):
    t, u = mg.tensor(a), mg.tensor(np.roll(a, 1))
    for ours, theirs in (
        (t < u, a < u.array),
        (t <= 0, a <= 0),
        (t > u, a > u.array),
        (t >= 1, a >= 1),
        (t == u, a == u.array),
        (t != u, a != u.array),
    ):
        assert ours.dtype == np.bool_ and not ours.requires_grad
        np.testing.assert_array_equal(array(ours), theirs)
    np.testing.assert_array_equal(array(~(t < 0)), a >= 0)
    np.testing.assert_array_equal(array((t > 0) & (u > 0)), (a > 0) & (u.array > 0))
    np.testing.assert_array_equal(array((t > 0) | (u > 0)), (a > 0) | (u.array > 0))


def test_arrays_on_the_left_defer_to_tensors():
    t = mg.tensor([1.0, 2.0])
    for y in (
        np.ones(2, np.float32) + t,
        np.ones(2, np.float32) * t,
        np.ones(2, np.float32) - t,
        np.ones((2, 2), np.float32) @ t,
    ):
        assert isinstance(y, mg.Tensor) and y.dtype == np.float32


def test_comparison_with_nothing_is_false_and_hash_is_identity():
    t = mg.tensor([1.0])
    assert (t == None) is False and (t != None) is True and (t == "a") is False  # noqa: E711
    assert len({t, t, mg.tensor([1.0])}) == 2


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda t: t + "a", TypeError, "not with str"),
        (lambda t: t + None, TypeError, "NoneType"),
        (lambda t: t + [1.0, 2.0], TypeError, "not with list"),
        (lambda t: t + mg.ones(3), ValueError, r"\(2,\).*\(3,\)"),
        (lambda t: bool(t), ValueError, r"the truth of a tensor of shape \(2,\) is ambiguous"),
        (lambda t: t.item(), ValueError, r"item: a tensor of shape \(2,\) has 2 elements, not one"),
        (lambda t: float(t), ValueError, "has 2 elements, not one"),
        (lambda t: [1, 2, 3][t[0]], TypeError, "only an integer tensor can be an index, got float32"),
        (lambda t: len(t[0]), TypeError, "len\\(\\) of a tensor without axes"),
        (lambda t: list(t[0]), TypeError, "iteration over a tensor without axes"),
        (lambda t: t.requires_grad_().numpy(), RuntimeError, r"call .detach\(\).numpy\(\)"),
        (lambda t: (t.requires_grad_() * 2).requires_grad_(False), RuntimeError, "only a leaf can be changed"),
        (lambda t: t.to(complex), TypeError, "to: complex128 is not supported"),
        (lambda t: t.to("tpu"), (TypeError, ValueError), "tpu"),
        (lambda t: pickle.dumps(t), TypeError, "save arrays with minigrad.checkpoint.save"),
        (lambda t: copy.deepcopy(t.requires_grad_() * 2), RuntimeError, r"use .detach\(\) first"),
    ],
)
def test_wrong_uses_are_named(call, error, text):
    with pytest.raises(error, match=text):
        call(mg.tensor([1.0, 2.0]))


def test_there_is_no_gpu_without_cupy():
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r'needs CuPy: pip install -e "\.\[gpu\]"'):
            mg.zeros(2, device="cuda")


# ---- conversions -----------------------------------------------------------------------------------------------------


def test_conversions():
    t = mg.tensor([[1.5, -2.5]])
    assert t.tolist() == [[1.5, -2.5]] and t.numpy() is t.array
    assert mg.tensor(2.5).item() == 2.5 and isinstance(mg.tensor(2).item(), int) and float(mg.tensor(2)) == 2.0
    assert int(mg.tensor([2.7])) == 2 and [10, 20, 30][mg.tensor(1)] == 20 and bool(mg.tensor([0.0])) is False
    assert t.size() == (1, 2) and t.size(-1) == 2 and t.numel() == 2 and t.dim() == t.ndim == 2 and len(t) == 1
    assert t.double().dtype == np.float64 and t.double().float().dtype == np.float32 and t.long().tolist() == [[1, -2]]
    assert t.to(t.double()).dtype == np.float64 and t.to("cpu") is t and t.to(mg.float32) is t and t.cpu() is t
    assert t.to("cpu", mg.float64).dtype == np.float64
    assert t.any().item() is True and t.all().item() is True and t.isfinite().all().item()
    assert mg.tensor([math.nan, 1.0]).isnan().tolist() == [True, False]


def test_a_cast_passes_gradients_between_floats_and_stops_them_at_integers():
    x = mg.tensor([1.5, 2.5], requires_grad=True)
    (g,) = mg.grad((x.double() ** 2).sum(), x)
    assert g.dtype == np.float32 and g.tolist() == [3.0, 5.0]
    assert not x.long().requires_grad and not (x > 1).requires_grad


def test_detach_shares_memory_and_deepcopy_does_not():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    x.name = "x"
    d, c = x.detach(), copy.deepcopy(x)
    assert d.array is x.array and not d.requires_grad
    assert not np.shares_memory(c.array, x.array) and c.requires_grad and c.name == "x" and c.grad is None
    x.assign_([5.0, 6.0])
    assert d.tolist() == [5.0, 6.0] and c.tolist() == [1.0, 2.0]


def test_assign_broadcasts_and_keeps_dtype():
    x = mg.zeros(2, 3)
    assert x.assign_(mg.tensor([1.0, 2.0, 3.0])) is x and x.tolist() == [[1, 2, 3]] * 2 and x.dtype == np.float32
    with pytest.raises(ValueError):
        x.assign_(np.zeros(4))


@pytest.mark.parametrize(
    "t, text",
    [
        (mg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (mg.tensor([1, 2]), "tensor([1, 2])"),
        (mg.tensor([1.0], dtype=mg.float64), "tensor([1.], dtype=float64)"),
        (mg.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (mg.exp(mg.tensor([0.0], requires_grad=True)), "tensor([1.], from=exp)"),
        (mg.tensor(True), "tensor(True)"),
    ],
)
def test_repr(t, text):
    assert repr(t) == text


# ---- indexing --------------------------------------------------------------------------------------------------------


@st.composite
def indexed(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    index = draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    return np.arange(float(np.prod(shape))).reshape(shape), index


@given(indexed())
def test_basic_indexing_equals_numpy_and_its_gradient_marks_what_was_taken(case):
    a, index = case
    x = mg.tensor(a, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(array(y), a[index])
    (g,) = mg.grad(y, x, mg.ones_like(y))
    expected = np.zeros_like(a)
    expected[index] = 1.0
    np.testing.assert_array_equal(g.array, expected)


@given(st.data())
def test_integer_indexing_adds_up_repeated_places(data):
    a = np.arange(12.0).reshape(4, 3)
    index = data.draw(hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=4), elements=st.integers(-4, 3)))
    x = mg.tensor(a, requires_grad=True)
    y = x[mg.tensor(index)]
    np.testing.assert_array_equal(array(y), a[index])
    (g,) = mg.grad(y, x, mg.ones_like(y))
    np.testing.assert_array_equal(g.array, np.bincount(index.ravel() % 4, minlength=4)[:, None] * np.ones(3))


def test_masks_and_iteration():
    x = mg.tensor([[1.0, -2.0], [3.0, -4.0]])
    assert x[x > 0].tolist() == [1.0, 3.0] and x[mg.tensor([True, False])].tolist() == [[1.0, -2.0]]
    assert [row.tolist() for row in x] == [[1.0, -2.0], [3.0, -4.0]]
    a, b = x
    assert a.tolist() == [1.0, -2.0] and b.shape == (2,)


# ---- values at the edge ----------------------------------------------------------------------------------------------

FAR = [-1e4, -1e2, 0.0, 1e2, 1e4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "f, values, slopes",
    [
        (F.softplus, lambda x: np.maximum(x, 0), lambda x: (x > 0) + 0.5 * (x == 0)),
        (F.logsigmoid, lambda x: np.minimum(x, 0), lambda x: (x < 0) + 0.5 * (x == 0)),
        (mg.sigmoid, lambda x: (x > 0) + 0.5 * (x == 0), lambda x: 0.25 * (x == 0)),
        (mg.tanh, np.sign, lambda x: 1.0 * (x == 0)),
        (F.elu, lambda x: np.where(x > 0, x, -1.0 * (x < 0)), lambda x: 1.0 * (x >= 0)),
        (F.gelu, lambda x: np.maximum(x, 0), lambda x: (x > 0) + 0.5 * (x == 0)),
        (lambda x: F.gelu(x, "tanh"), lambda x: np.maximum(x, 0), lambda x: (x > 0) + 0.5 * (x == 0)),
        (
            lambda x: F.binary_cross_entropy_with_logits(x, mg.ones_like(x), reduction="none"),
            lambda x: np.maximum(-x, 0),
            lambda x: -((x < 0) + 0.5 * (x == 0)),
        ),
    ],
    ids=["softplus", "logsigmoid", "sigmoid", "tanh", "elu", "gelu", "gelu tanh", "bce with logits"],
)
def test_far_out_nothing_overflows(f, values, slopes, dtype):
    x = mg.tensor(np.array(FAR, dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise"):
        y = f(x)
        (g,) = mg.grad(y, x, mg.ones_like(y))
    offset = {F.softplus: math.log(2), F.logsigmoid: -math.log(2)}.get(f, math.log(2) if y.array[2] > 0.6 else 0.0)
    np.testing.assert_allclose(y.array, values(x.array) + offset * (x.array == 0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(g.array, slopes(x.array), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_and_logsumexp_of_large_and_infinite_scores(dtype):
    x = mg.tensor(np.array([[1e4, 0.0, -1e4], [1e4, 1e4, -np.inf]], dtype), requires_grad=True)
    np.testing.assert_allclose(mg.softmax(x, 1).array, [[1, 0, 0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(mg.logsumexp(x, 1).array, [1e4, 1e4 + math.log(2)], rtol=1e-6)
    (g,) = mg.grad(mg.logsumexp(x, 1).sum(), x)
    np.testing.assert_allclose(g.array, [[1, 0, 0], [0.5, 0.5, 0]], atol=1e-7)
    assert np.isfinite(mg.grad(F.cross_entropy(x[:1], mg.tensor([2])), x)[0].array).all()
    assert mg.logsumexp(mg.tensor([-np.inf, -np.inf])).item() == -np.inf


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_norm_neither_underflows_nor_overflows(scale):
    x = mg.tensor(np.array([3.0, 4.0], np.float32) * np.float32(scale), requires_grad=True)
    y = mg.norm(x)
    assert y.item() == pytest.approx(5 * scale, rel=1e-6)
    np.testing.assert_allclose(mg.grad(y, x)[0].array, [0.6, 0.8], rtol=1e-6)


def test_nan_propagates_through_extremes_and_comparisons_of_it_are_false():
    x = mg.tensor([1.0, math.nan, 3.0])
    for y in (
        x.max(),
        x.min(),
        x.amax(),
        x.sum(),
        mg.maximum(x, 0.0)[1],
        mg.minimum(x, 0.0)[1],
        mg.relu(x)[1],
        F.leaky_relu(x)[1],
        mg.clamp(x, 0.0, 1.0)[1],
        mg.norm(x),
        mg.abs(x)[1],
        mg.sign(x)[1],
        F.elu(x)[1],
        mg.logsumexp(x),
        mg.softmax(x)[0],
    ):
        assert math.isnan(y.item())
    assert (x > 0).tolist() == [True, False, True]
