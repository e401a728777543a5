"""What becomes a tensor, and what counts as a number: one rule (minigrad.functional.door), held wherever values come in."""

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.functional.door import PLAIN

A = np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]])
GOOD = [np.dtype(t) for t in "? i1 i2 i4 i8 u1 u2 u4 u8 f4 f8".split()]


class Sub(np.ndarray):
    """Somebody's own kind of array."""


def sub(a):
    return np.asarray(a).view(Sub)


def memmap(tmp_path, a):
    m = np.memmap(tmp_path / "a.bin", a.dtype, "w+", shape=a.shape)
    m[...] = a
    return m


REFUSED = {
    "complex": A + 1j,
    "longdouble": A.astype(np.longdouble),
    "text": A.astype(str),
    "objects": A.astype(object),
    "dates": np.zeros(2, "datetime64[s]"),
    "differences": np.zeros(2, "timedelta64[s]"),
    "bytes": np.zeros(2, "S3"),
    "records": np.zeros(2, [("x", "f4"), ("y", "i4")]),
    "masked": np.ma.array(A, mask=A > 2),
}
SEVERAL = {  # ways in, for whole arrays
    "tensor": mg.tensor,
    "Tensor": mg.Tensor,
    "as_tensor": mg.as_tensor,
    "from_numpy": mg.from_numpy,
    "FloatTensor": mg.FloatTensor,
    "Variable": mg.autograd.Variable,
    "Parameter": nn.Parameter,
    "operand": lambda a: mg.ones(np.shape(a)) * a,
    "operand on the left": lambda a: a * mg.ones(np.shape(a)),
    "where": lambda a: mg.where(True, a, mg.ones(np.shape(a))),
    "maximum": lambda a: mg.maximum(mg.ones(np.shape(a)), a),
    "assign_": lambda a: mg.ones(np.shape(a)).assign_(a),
    "copy_": lambda a: mg.ones(np.shape(a)).copy_(a),
    "comparison": lambda a: mg.ones(np.shape(a)) < a,
    "target": lambda a: F.mse_loss(mg.ones(np.shape(a)), a),
    "matmul": lambda a: mg.ones(2, np.shape(a)[0]) @ a,
}


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")
@pytest.mark.parametrize("way", SEVERAL)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_tensor_can_hold_is_refused_at_every_door(way, kind):
    with pytest.raises(TypeError):
        SEVERAL[way](REFUSED[kind])


@pytest.mark.parametrize("way", SEVERAL)
@pytest.mark.parametrize(
    "dtype", [*GOOD, *(d.newbyteorder(">") for d in GOOD if d.itemsize > 1), np.dtype("f2"), np.dtype(">f2")], ids=str
)
def test_every_dtype_and_byte_order_gives_the_same_values_in_a_plain_native_array(way, dtype):
    a, native = np.abs(A).astype(dtype), np.abs(A).astype(dtype).astype(dtype.newbyteorder("="))
    native = native.astype(np.float32) if dtype.itemsize == 2 and dtype.kind == "f" else native
    if way == "from_numpy" and (not dtype.isnative or dtype.kind + str(dtype.itemsize) == "f2"):
        with pytest.raises(TypeError, match="cannot share the memory"):  # it promises the same memory
            SEVERAL[way](a)
        return
    if way == "Parameter" and dtype.kind != "f":
        with pytest.raises(TypeError, match="only floating-point"):
            SEVERAL[way](a)
        return
    found, expected = SEVERAL[way](a), SEVERAL[way](native)
    for t in (found, expected):
        assert type(t.array) is np.ndarray and t.array.dtype in PLAIN and t.array.dtype.isnative
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("way", SEVERAL)
@pytest.mark.parametrize("subclass", ["matrix", "own", "memmap", "own big-endian"])
def test_subclasses_become_plain_arrays_of_the_same_elements(way, subclass, tmp_path):
    a = A.astype(np.float32)
    made = {
        "matrix": np.matrix,
        "own": sub,
        "memmap": lambda a: memmap(tmp_path, a),
        "own big-endian": lambda a: sub(a.astype(">f4")),
    }
    if way == "from_numpy" and subclass.endswith("endian"):
        return
    found, expected = SEVERAL[way](made[subclass](a)), SEVERAL[way](a)
    assert type(found.array) is np.ndarray and found.dtype == expected.dtype
    np.testing.assert_array_equal(found.array, expected.array)


# ---- numbers ---------------------------------------------------------------------------------------------------------

NUMBERS = {
    "float64": np.float64(2.0),
    "float32": np.float32(2.0),
    "float16": np.float16(2.0),
    "longdouble": np.longdouble(2.0),
    "int64": np.int64(2),
    "uint8": np.uint8(2),
    "array": np.array(2.0),
    "int array": np.array(2),
    "big-endian": np.array(2.0, ">f8"),
}
X = np.array([0.5, 1.5, 3.0], np.float32)
PLACES = {
    "+": lambda x, v: x + v,
    "right +": lambda x, v: v + x,
    "-": lambda x, v: v - x,
    "*": lambda x, v: x * v,
    "/": lambda x, v: v / x,
    "**": lambda x, v: x**v,
    "right **": lambda x, v: v**x,
    "//": lambda x, v: x // v,
    "%": lambda x, v: x % v,
    "clamp min": lambda x, v: x.clamp(min=v),
    "clamp max": lambda x, v: x.clamp(max=v),
    "clamp": lambda x, v: mg.clamp(x, v, v + 1),
    "where": lambda x, v: mg.where(x > 1, x, v),
    "maximum": lambda x, v: mg.maximum(x, v),
    "minimum": lambda x, v: mg.minimum(v, x),
    "add alpha": lambda x, v: mg.add(x, x, alpha=v),
    "sub alpha": lambda x, v: mg.sub(x, x, alpha=v),
    "norm": lambda x, v: mg.norm(x, v),
    "var": lambda x, v: mg.var(x, correction=v),
    "leaky_relu": lambda x, v: F.leaky_relu(-x, v),
    "elu": lambda x, v: F.elu(-x, v),
    "softplus": lambda x, v: F.softplus(x, v),
    "huber": lambda x, v: F.huber_loss(x, 0 * x, delta=v),
    "smooth_l1": lambda x, v: F.smooth_l1_loss(x, 0 * x, beta=v),
    "pad": lambda x, v: F.pad(x, (1, 1), value=v),
    "masked_fill": lambda x, v: x.masked_fill(x > 1, v),
    "normalize": lambda x, v: F.normalize(x, v, 0),
    "lerp": lambda x, v: x.lerp(-x, v),
    "layer_norm": lambda x, v: F.layer_norm(x, 3, eps=v),
    "fill_": lambda x, v: (x * 0).detach().fill_(v),
    "addcmul": lambda x, v: x.addcmul(x, x, value=v),
    "sum over int": lambda x, v: x.sum(int(v) - 2),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NUMBERS)
def test_numpys_scalars_and_arrays_without_axes_count_as_numbers_everywhere(place, kind):
    f, results = PLACES[place], []
    for v in (NUMBERS[kind], 2 if "int" in kind else 2.0):
        x = mg.tensor(X, requires_grad=True)
        y = f(x, v)
        assert y.dtype == np.float32, "a number widens nothing"
        results.append([y.array] + ([mg.grad(y.sum(), x, allow_unused=True)[0]] if y.requires_grad else []))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    for g, h in zip(results[0][1:], results[1][1:], strict=True):
        assert g.dtype == np.float32
        np.testing.assert_array_equal(g.array, h.array)


@pytest.mark.parametrize(
    "v, dtype",
    [
        (np.int64(5), np.int64),
        (np.uint8(5), np.int64),
        (np.bool_(True), np.bool_),
        (np.float64(0.5), np.float32),
        (np.float16(0.5), np.float32),
        (np.array(5), np.int64),
        (mg.tensor(5), np.int64),
    ],
)
def test_full_and_arange_take_the_kind_of_number_that_they_are_given(v, dtype):
    t = mg.full(2, v)
    assert t.dtype == dtype and t.tolist() == [v.item()] * 2
    if dtype == np.int64:
        assert mg.arange(v).dtype == np.int64 and mg.arange(v).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dtype", [d for d in GOOD if d.kind != "f"], ids=str)
def test_sums_of_integers_and_bools_are_int64(dtype):
    x = mg.tensor(np.ones((2, 3), dtype))
    for y in (x.sum(), x.sum(0), mg.sum(x, (0, 1), keepdim=True), x.cumsum(1), x.prod(), x.prod(0), x.count_nonzero(), x.argmax()):
        assert y.dtype == np.int64
    assert mg.tensor(np.full(300, 255, np.uint8)).sum().item() == 76500


# ---- indices and labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u2", "u4", ">i4", ">u2"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_indices_and_labels_of_any_integer_type_mean_the_same(dtype, wrapped):
    places = np.array([2, 0, 1, 2])
    given = mg.tensor(places.astype(dtype)) if wrapped else places.astype(dtype)
    x = mg.tensor(np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32), requires_grad=True)
    cases = [
        lambda i: x[i],
        lambda i: x[:, i],
        lambda i: x[np.arange(4), i],
        lambda i: mg.gather(x, 1, i[:, None]),
        lambda i: mg.index_select(x, 0, i),
        lambda i: F.embedding(i, x),
        lambda i: F.cross_entropy(x, i),
        lambda i: F.nll_loss(x, i),
        lambda i: mg.take(x, i),
        lambda i: F.one_hot(mg.tensor(i), 3),
    ]
    for f in cases:
        y, z = f(given), f(places)
        np.testing.assert_array_equal(y.array, z.array)
        if y.requires_grad:
            np.testing.assert_array_equal(mg.grad(y.sum(), x)[0].array, mg.grad(z.sum(), x)[0].array)


@pytest.mark.parametrize(
    "bad", [np.array([0.0]), np.array([0], np.uint8), np.ma.array([0]), np.array(["a"]), 1.0, "a", np.array([1j])]
)
def test_what_is_no_index_is_refused(bad):
    with pytest.raises((TypeError, IndexError)):
        mg.tensor(A)[bad]


# ---- requires_grad, mixed dtypes, the constructor --------------------------------------------------------------------


@pytest.mark.parametrize(
    "way",
    [
        lambda t: setattr(t, "requires_grad", True),
        lambda t: t.requires_grad_(),
        lambda t: mg.tensor(t, requires_grad=True),
        lambda t: mg.autograd.Variable(t, requires_grad=True),
        lambda t: nn.Parameter(t),
        lambda t: mg.LongTensor([1], requires_grad=True),
        lambda t: mg.zeros(2, dtype=mg.int64, requires_grad=True),
        lambda t: mg.ones_like(t, requires_grad=True),
    ],
)
def test_no_way_makes_an_integer_tensor_require_a_gradient(way):
    with pytest.raises(TypeError, match="only floating-point tensors can require a gradient, got int64"):
        way(mg.tensor([1, 2]))


def test_requires_grad_of_a_computed_tensor_is_not_taken_away():
    y = mg.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="only a leaf"):
        y.requires_grad = False


LAYERS = {
    "Linear": (lambda: nn.Linear(3, 4), (2, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (4, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3), (2, 3, 5, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 3), (2, 3, 5, 5)),
    "GroupNorm": (lambda: nn.GroupNorm(1, 3), (2, 3, 4, 4)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3, affine=True), (2, 3, 4, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(3), (2, 3)),
    "LSTM": (lambda: nn.LSTM(3, 4), (5, 2, 3)),
    "GRU": (lambda: nn.GRU(3, 4), (5, 2, 3)),
    "RNN": (lambda: nn.RNN(3, 4), (5, 2, 3)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), (2, 3)),
    "fused": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (2, 3, 5, 5)),
    "fused linear": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LeakyReLU(0.2)), (4, 3)),
    "fused bias": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (2, 3, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_float64_input_to_a_float32_layer_runs_both_ways_or_is_refused_at_the_door(name, training):
    make, shape = LAYERS[name]
    layer = make().train(training)
    x = mg.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
    try:
        y = layer(x)
    except TypeError as error:
        assert "dtype" in str(error) or "float64" in str(error)
        return
    while isinstance(y, tuple):
        y = y[0]
    (y * y).sum().backward()
    assert x.grad.dtype == np.float64
    for p in layer.parameters():
        assert p.grad is None or p.grad.dtype == np.float32


def test_the_constructor_is_pytorchs():
    assert mg.Tensor(np.random.default_rng(0).normal(0, 1, (2, 3))).dtype == np.float32
    assert mg.Tensor([1, 2]).dtype == np.float32 and mg.Tensor([1, 2]).tolist() == [1.0, 2.0]
    assert mg.Tensor(2, 3).shape == (2, 3) and mg.Tensor(2).shape == (2,) and mg.Tensor().shape == (0,)
    assert mg.Tensor(mg.ones(4, 5).size()).shape == (4, 5) and mg.Tensor((2, 3)).tolist() == [2.0, 3.0]
    assert mg.Tensor(np.zeros(2), dtype=mg.float64).dtype == np.float64 and mg.tensor(np.zeros(2)).dtype == np.float64
    assert mg.LongTensor([1.7]).tolist() == [1] and mg.LongTensor(3).shape == (3,) and isinstance(mg.zeros(2), mg.FloatTensor)
    assert not isinstance(mg.zeros(2), mg.LongTensor) and isinstance(mg.tensor([1]), mg.LongTensor)


def test_other_libraries_tensors_come_in_through_the_array_protocol():
    class Foreign:
        dtype = "theirs"

        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0], np.float32 if dtype is None else dtype)

    assert mg.tensor(Foreign()).tolist() == [1.0, 2.0] and mg.tensor(Foreign()).dtype == np.float32
