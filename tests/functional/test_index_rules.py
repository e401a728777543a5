"""Indexing by PyTorch's rule, over random expressions: against the rule written out element by element, PyTorch, and NumPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg


def ints(low, high, shape):
    return st.lists(st.integers(low, high), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda v: np.array(v, np.int64).reshape(shape)
    )


@st.composite
def expressions(draw, positive_steps=False, singles=True):
    """(shape, index): every kind of item, a few at a time; index arrays broadcast against each other."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    broadcast = draw(st.sampled_from([(2,), (3,), (1,), (2, 3), (0,)]))
    items, axis, dots = [], 0, False
    masked = False
    while axis < len(shape) or draw(st.booleans()):
        n = shape[axis] if axis < len(shape) else None
        kinds = ["none"] + ([] if dots else ["dots"]) + (["int", "slice", "array", "zero", "mask"] if n is not None else ["stop"])
        kind = draw(st.sampled_from(kinds))
        if kind == "stop" or (n is not None and draw(st.integers(0, 9)) == 0):
            break
        if kind == "none":
            items.append(None)
        elif kind == "dots":
            items.append(...)
            dots, axis = True, draw(st.integers(axis, len(shape)))
        elif kind == "int":
            items.append(draw(st.integers(-n, n - 1)))
            axis += 1
        elif kind == "zero" and singles:
            i = draw(st.integers(-n, n - 1))
            items.append(draw(st.sampled_from([mg.tensor(i), np.int64(i), np.array(i)])))
            axis += 1
        elif kind == "slice":
            part = draw(st.slices(n))
            items.append(slice(None, None, abs(part.step or 1)) if positive_steps and (part.step or 1) < 0 else part)
            axis += 1
        elif kind == "array":
            array = draw(ints(-n, n - 1, draw(st.sampled_from([broadcast, broadcast[-1:], (1,)]))))
            items.append(draw(st.sampled_from([array, mg.tensor(array), array.tolist() if array.size else array])))
            axis += 1
        elif kind == "mask" and not masked:
            axes = draw(st.integers(1, len(shape) - axis))
            mask = np.zeros(shape[axis : axis + axes], bool)
            for k in draw(
                st.lists(
                    st.integers(0, mask.size - 1),
                    min_size=broadcast[-1] if mask.size >= broadcast[-1] else 0,
                    max_size=broadcast[-1],
                    unique=True,
                )
            ):
                mask.flat[k] = True
            items.append(draw(st.sampled_from([mask, mg.tensor(mask)])))
            masked, axis = True, axis + axes
    if dots:  # what stands behind the dots is counted from the end, so it must have been drawn for the right axes
        named = sum(
            getattr(i, "ndim", 1) if getattr(i, "dtype", None) == np.bool_ else i is not None and i is not ... for i in items
        )
        at = [k for k, i in enumerate(items) if i is ...][0]
        before = sum(getattr(i, "ndim", 1) if getattr(i, "dtype", None) == np.bool_ else i is not None for i in items[:at])
        if named > len(shape) or axis != len(shape) and items[at + 1 :]:
            items = items[: at + 1] if before <= len(shape) else items[:at]
    return shape, tuple(items)


def by_the_rule(a, index):
    """The rule of `getitem`, said with loops: integers, slices and None first, then the arrays element by element."""
    items = [i.array if isinstance(i, mg.Tensor) else np.asarray(i) if isinstance(i, list) else i for i in index]
    items = [i.item() if getattr(i, "shape", None) == () else i for i in items]
    named = sum(i.ndim if getattr(i, "dtype", None) == np.bool_ else i is not None and i is not ... for i in items)
    if not any(i is ... for i in items):
        items.append(...)
    at = [k for k, i in enumerate(items) if i is ...][0]
    items[at : at + 1] = [slice(None)] * (a.ndim - named)
    basic, arrays, place = [], [], 0
    for i in items:
        if hasattr(i, "dtype"):
            for part in i.nonzero() if i.dtype == bool else (i,):
                arrays.append((place, part))
                basic.append(slice(None))
                place += 1
        else:
            basic.append(i)
            place += not isinstance(i, int)
    a = np.asarray(a[tuple(basic)])
    if not arrays:
        return a
    places, picks = [p for p, _ in arrays], np.broadcast_arrays(*(part for _, part in arrays))
    others = [k for k in range(a.ndim) if k not in places]
    front = places[0] if places == list(range(places[0], places[-1] + 1)) else 0
    shape = [a.shape[k] for k in others]
    shape[front:front] = picks[0].shape
    out = np.empty(shape, a.dtype)
    count = picks[0].ndim
    for to in itertools.product(*map(range, shape)):
        picked, rest = to[front : front + count], to[:front] + to[front + count :]
        source = [0] * a.ndim
        for k, r in zip(others, rest, strict=True):
            source[k] = r
        for k, p in zip(places, picks, strict=True):
            source[k] = p[picked]
        out[to] = a[tuple(source)]
    return out


def outcome(f):
    try:
        return f()
    except (IndexError, ValueError, RuntimeError):
        return None


@settings(max_examples=400)
@given(expressions())
def test_random_index_expressions_equal_the_rule_written_out(case):
    shape, index = case
    a = np.arange(float(np.prod(shape))).reshape(shape)
    x = mg.tensor(a, requires_grad=True)
    expected = outcome(lambda: by_the_rule(a, index))
    y = outcome(lambda: x[index])
    assert (y is None) == (expected is None)
    if y is None:
        return
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.array, expected)
    u = np.arange(1.0, y.array.size + 1).reshape(y.shape)
    (g,) = mg.grad(y, x, mg.tensor(u))
    counted = np.zeros(a.size)
    np.add.at(counted, expected.astype(int).reshape(-1), u.reshape(-1))  # each value of a is its own place
    np.testing.assert_array_equal(g.array, counted.reshape(shape))


@settings(max_examples=400)
@given(expressions(positive_steps=True))
def test_random_index_expressions_equal_pytorchs(case):
    torch = pytest.importorskip("torch")
    shape, index = case
    a = np.arange(float(np.prod(shape))).reshape(shape)
    theirs = tuple(
        torch.tensor(i.array) if isinstance(i, mg.Tensor) else torch.tensor(i) if isinstance(i, (np.ndarray, np.generic)) else i
        for i in index
    )
    x, t = mg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    expected, y = outcome(lambda: t[theirs]), outcome(lambda: x[index])
    assert (y is None) == (expected is None)
    if y is None:
        return
    assert y.shape == tuple(expected.shape)
    np.testing.assert_array_equal(y.array, expected.detach().numpy())
    u = np.arange(1.0, y.array.size + 1).reshape(y.shape)
    np.testing.assert_array_equal(
        mg.grad(y, x, mg.tensor(u))[0].array, torch.autograd.grad(expected, t, torch.tensor(u))[0].numpy()
    )


@settings(max_examples=200)
@given(expressions(singles=False))
def test_without_an_integer_beside_arrays_it_is_numpys_rule_too(case):
    shape, index = case
    arrays = any(isinstance(i, (list, np.ndarray, mg.Tensor)) for i in index)
    if arrays and any(isinstance(i, int) for i in index):
        return
    a = np.arange(float(np.prod(shape))).reshape(shape)
    expected = outcome(lambda: a[tuple(i.array if isinstance(i, mg.Tensor) else i for i in index)])
    y = outcome(lambda: mg.tensor(a)[index])
    assert (y is None) == (expected is None)
    if y is not None:
        np.testing.assert_array_equal(y.array, expected)


SINGLE = [
    lambda i: mg.tensor(i),
    lambda i: np.int64(i),
    lambda i: np.int8(i),
    lambda i: np.array(i),
    lambda i: mg.tensor([i, 0])[0],
    lambda i: mg.tensor([0, i, 0]).argmax() * 0 + i,
]


@pytest.mark.parametrize("single", SINGLE)
def test_a_single_index_leaves_no_axis_and_passes_its_gradient(single):
    x = mg.tensor(np.arange(12.0, dtype=np.float32).reshape(3, 4), requires_grad=True)
    for y, expected in (
        (x[single(2)], x.array[2]),
        (x[0, single(2)], x.array[0, 2]),
        (x[single(1), single(2)], x.array[1, 2]),
        (x[:, single(2)], x.array[:, 2]),
        (x.reshape(-1)[single(2)], x.array.reshape(-1)[2]),
    ):
        assert y.shape == np.shape(expected)
        np.testing.assert_array_equal(y.array, expected)
        (g,) = mg.grad(y.sum(), x)
        assert g.array.sum() == max(1, np.size(expected))


def test_truth_values_add_an_axis():
    x = mg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    for yes, no in ((True, False), (np.bool_(True), np.bool_(False)), (mg.tensor(True), mg.tensor(False))):
        assert x[yes].shape == (1, 2, 3) and x[no].shape == (0, 2, 3)
    assert mg.grad(x[True].sum(), x)[0].tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("index", [(0, 0, 0), (..., ...), 3, -3, [2], ([0, 1], [0, 1, 2]), np.ones((3, 3), bool)])
def test_an_index_that_does_not_fit_is_an_index_error(index):
    with pytest.raises(IndexError, match=r"indexing a tensor of shape \(2, 3\)|mask"):
        mg.ones(2, 3)[index]


@settings(max_examples=100)
@given(expressions())
def test_assignment_under_no_grad_writes_where_indexing_reads(case):
    shape, index = case
    a = np.arange(float(np.prod(shape))).reshape(shape)
    places = outcome(lambda: by_the_rule(a, index))
    x = mg.tensor(a)
    with mg.no_grad():
        if places is None:
            return
        x[index] = -1.0
    expected = a.copy().reshape(-1)
    expected[places.astype(int).reshape(-1)] = -1.0
    np.testing.assert_array_equal(x.array, expected.reshape(shape))
