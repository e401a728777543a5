"""Names of PyTorch's scripts: in-place changes of leaves, .data, Variable, cuda, hooks, no_grad, and functions beside its own."""

import asyncio
import gc

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn


def leaf(*values, requires_grad=True):
    return mg.tensor(list(values), requires_grad=requires_grad)


# ---- .data -----------------------------------------------------------------------------------------------------------


def test_reading_data_is_detach_and_shares_memory():
    w = leaf(1.0, 2.0)
    assert w.data.array is w.array and not w.data.requires_grad
    w.data.add_(1.0)
    assert w.tolist() == [2.0, 3.0] and w.version == 1


@pytest.mark.parametrize("order", [1, 2])
def test_assigning_data_swaps_the_array_and_old_graphs_stay_valid(order):
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (w * w * x).sum()
    w.data = w.data - 10.0
    z = (w * w * x).sum()
    assert z.item() == 81 * 3 + 64 * 4
    g, h = mg.grad(y, [w, x], create_graph=True)
    assert g.tolist() == [6.0, 16.0] and h.tolist() == [1.0, 4.0]  # at the old values
    if order == 2:
        (gg,) = mg.grad(g.sum() + h.sum(), w)
        assert gg.tolist() == [2 * 3 + 2, 2 * 4 + 4.0]
    assert mg.grad(z, w)[0].tolist() == [-54.0, -64.0]


def test_data_of_a_computed_tensor_and_of_parameters_in_a_loop():
    x = leaf(1.0, 2.0)
    y = x * x
    z = y * y
    y.data = mg.zeros(2)
    assert mg.grad(z.sum(), x)[0].tolist() == [4.0, 32.0] and y.tolist() == [0.0, 0.0]
    net = nn.Linear(2, 1)
    for _ in range(3):
        net.zero_grad()
        net(mg.ones(4, 2)).sum().backward()
        for p in net.parameters():
            p.data = p.data - 0.1 * p.grad.data
    assert all(p.is_leaf and p.requires_grad for p in net.parameters())
    with pytest.raises(TypeError, match="holds floating-point"):
        net.weight.data = mg.tensor([1, 2])


def test_swapping_does_not_keep_old_arrays_alive():
    import weakref

    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    old = weakref.ref(w.array)
    gc.disable()
    try:
        w.data = mg.zeros(2)
        assert old() is None
    finally:
        gc.enable()


# ---- in place --------------------------------------------------------------------------------------------------------

NEW = np.array([0.5, -1.5, 2.0])
IN_PLACE = {
    "fill_": lambda t: t.fill_(2),
    "zero_": lambda t: t.zero_(),
    "copy_": lambda t: t.copy_(type(t)(3 * [1.5])),
    "add_": lambda t: t.add_(1),
    "add_ alpha": lambda t: t.add_(t.clone(), alpha=2),
    "sub_": lambda t: t.sub_(t.clone(), alpha=0.5),
    "mul_": lambda t: t.mul_(2.5),
    "div_": lambda t: t.div_(2),
    "pow_": lambda t: t.pow_(2),
    "clamp_": lambda t: t.clamp_(-1, 1),
    "clamp_ low": lambda t: t.clamp_(min=0),
    "abs_": lambda t: t.abs_(),
    "exp_": lambda t: t.exp_(),
    "neg_": lambda t: t.neg_(),
    "sign_": lambda t: t.sign_(),
    "tanh_": lambda t: t.tanh_(),
    "sigmoid_": lambda t: t.sigmoid_(),
    "round_": lambda t: t.round_(),
    "floor_": lambda t: t.floor_(),
    "addcmul_": lambda t: t.addcmul_(t.clone(), t.clone(), value=0.5),
    "addcdiv_": lambda t: t.addcdiv_(t.clone(), t.clone(), value=2),
    "lerp_": lambda t: t.lerp_(t.clone() * 2, 0.5),
    "masked_fill_": lambda t: t.masked_fill_(t > 0, 7.0),
    "relu_": lambda t: t.relu_(),
    "unsqueeze_": lambda t: t.unsqueeze_(0),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_methods_in_place_equal_pytorchs_on_leaves(name):
    torch = pytest.importorskip("torch")
    ours, theirs = mg.tensor(NEW.astype(np.float32)), torch.tensor(NEW.astype(np.float32))
    if name == "copy_":
        result, expected = ours.copy_(mg.tensor([1, 2, 3])), theirs.copy_(torch.tensor([1, 2, 3]))
    else:
        result, expected = IN_PLACE[name](ours), IN_PLACE[name](theirs)
    assert result is ours and ours.version >= 1 and ours.dtype == np.float32
    np.testing.assert_allclose(ours.array, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", [n for n in IN_PLACE if n != "copy_"])
def test_in_place_on_a_recorded_leaf_raises_and_under_no_grad_changes_it(name):
    w = mg.tensor(NEW, requires_grad=True)
    with pytest.raises(RuntimeError, match="no_grad"):
        IN_PLACE[name](w)
    np.testing.assert_array_equal(w.array, NEW)
    with mg.no_grad():
        assert IN_PLACE[name](w) is w
    with pytest.raises(RuntimeError, match="was computed from others"):
        IN_PLACE[name](mg.tensor(NEW, requires_grad=True) * 2)


def test_random_fills_draw_from_the_stream_that_is_handed_in():
    a, b = (mg.zeros(1000).normal_(3, 2, rng=np.random.default_rng(0)) for _ in range(2))
    assert a.tolist() == b.tolist() and abs(a.mean().item() - 3) < 0.3 and abs(a.std().item() - 2) < 0.2
    u = mg.zeros(1000).uniform_(-2, 2, rng=np.random.default_rng(0))
    assert -2 <= u.min().item() and u.max().item() < 2
    assert set(mg.zeros(100).bernoulli_(0.5, rng=np.random.default_rng(0)).tolist()) == {0.0, 1.0}
    assert set(mg.zeros(100, dtype=mg.long).random_(3, rng=np.random.default_rng(0)).tolist()) == {0, 1, 2}


def test_in_place_keeps_dtype_shape_and_gradients():
    with pytest.raises(TypeError, match="cannot be written into int64"):
        mg.tensor([1, 2]).add_(0.5)
    with pytest.raises(ValueError, match="does not fit"):
        mg.ones(2).add_(mg.ones(3, 2))
    with pytest.raises(RuntimeError, match="would be lost"):
        mg.zeros(2).copy_(leaf(1.0, 2.0) * 2)
    assert mg.ones(2).add_(np.ones(2)).dtype == np.float32
    onehot = mg.zeros(2, 3).scatter_(1, mg.tensor([[2], [0]]), 1)
    assert onehot.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_change_in_place_is_noticed_by_the_sweep():
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0, requires_grad=False)
    y = (w * x).sum()
    x.fill_(0.0)
    with pytest.raises(RuntimeError, match="was modified in place"):
        y.backward()


def test_assigning_operators_change_leaves_under_no_grad_raise_on_recorded_ones_and_rebind_others():
    net = nn.Linear(2, 1)
    net(mg.ones(3, 2)).sum().backward()
    before = [p.array.copy() for p in net.parameters()]
    with mg.no_grad():
        for p in net.parameters():
            p -= 0.5 * p.grad
    for p, b in zip(net.parameters(), before, strict=True):
        np.testing.assert_allclose(p.array, b - 0.5 * p.grad.array)
    w = leaf(1.0, 2.0)
    for f in ("w += 1", "w -= 1", "w *= 2", "w /= 2", "w **= 2", "w //= 2", "w %= 2"):
        with pytest.raises(RuntimeError, match="no_grad"):
            exec(f, {"w": w})
    assert w.tolist() == [1.0, 2.0]
    y = x = w * 2
    y += 1.0
    assert y is not x and mg.grad(y.sum(), w)[0].tolist() == [2.0, 2.0]
    c = d = mg.ones(2)
    c *= 3.0
    assert d.tolist() == [1.0, 1.0] and c.tolist() == [3.0, 3.0]
    with mg.no_grad():
        d *= 3.0
        d[0] = 5.0
        d[mg.tensor([False, True])] = 4.0
    assert d.tolist() == [5.0, 4.0]


# ---- Variable, device, cuda, dtypes ----------------------------------------------------------------------------------


def test_variable_makes_a_tensor_and_stays_the_base_class():
    from minigrad.autograd import Variable

    t = mg.ones(2)
    v = Variable(t, requires_grad=True)
    assert type(v) is mg.Tensor and v.requires_grad and v.array is t.array and not t.requires_grad
    assert Variable(t, volatile=True).requires_grad is False and isinstance(v, Variable) and isinstance(nn.Parameter(t), Variable)
    assert Variable(mg.FloatTensor(2, 3).fill_(1.0), requires_grad=False).sum().item() == 6.0


def test_devices_are_names_with_a_type():
    d = mg.device("cuda:0")
    assert (
        d == "cuda:0" and d.type == "cuda" and d.index == 0 and mg.device("cpu").index is None and mg.device("cuda", 1) == "cuda:1"
    )
    x = mg.ones(2, device=mg.device("cpu"))
    assert x.device == "cpu" == x.device.type and x.to(mg.device("cpu")) is x and x.to("cpu", non_blocking=True) is x
    assert mg.zeros(2).to(x.device).tolist() == [0.0, 0.0] and x.get_device() == -1 and not x.is_cuda
    for wrong in ("tpu", "cuda:x", "gpu"):
        with pytest.raises(ValueError, match="device must be"):
            mg.device(wrong)


def test_cuda_says_what_is_there():
    here = mg.cuda.is_available()
    assert here == (mg.cuda.device_count() > 0)
    mg.cuda.synchronize()
    mg.cuda.empty_cache()
    if not here:
        with pytest.raises(RuntimeError, match="no GPU"):
            mg.cuda.get_device_name()


@pytest.mark.parametrize(
    "name, dtype",
    [
        ("float", "f4"),
        ("float32", "f4"),
        ("double", "f8"),
        ("float64", "f8"),
        ("long", "i8"),
        ("int64", "i8"),
        ("int", "i4"),
        ("int32", "i4"),
        ("short", "i2"),
        ("int16", "i2"),
        ("int8", "i1"),
        ("uint8", "u1"),
        ("bool", "?"),
    ],
)
def test_dtype_names(name, dtype):
    assert getattr(mg, name) == np.dtype(dtype) and mg.ones(2, dtype=getattr(mg, name)).dtype == np.dtype(dtype)


def test_type_in_all_its_forms():
    x = mg.tensor([1.5, 2.5])
    assert x.type() == "minigrad.FloatTensor" and x.long().type() == "minigrad.LongTensor"
    for t in (mg.LongTensor, "torch.LongTensor", mg.long, np.int64):
        assert x.type(t).tolist() == [1, 2] and x.type(t).dtype == np.int64
    assert x.type_as(mg.tensor([1])).dtype == np.int64 and x.new(2, 3).shape == (2, 3) and x.new([1, 2]).dtype == np.float32
    assert (
        x.double().new_zeros(2).dtype == np.float64
        and x.new_ones(2, 2).sum().item() == 4
        and x.new_full((2,), 3).tolist() == [3.0, 3.0]
    )
    assert (
        x.new_tensor([1, 2]).dtype == np.float32
        and x.byte().dtype == np.uint8
        and x.int().dtype == np.int32
        and x.bool().dtype == bool
    )


# ---- conversions and Python's own ------------------------------------------------------------------------------------


def test_format_array_and_operators():
    x = mg.tensor([1.0, 2.0])
    assert f"{x.sum():.3f}" == "3.000" and f"{mg.tensor(12.0):.1e}" == "1.2e+01" and f"{x}" == str(x)
    assert np.asarray(x) is x.array and np.asarray(x, np.float64).dtype == np.float64 and np.array(x) is not x.array
    assert not np.shares_memory(np.array(x, copy=True), x.array)
    with pytest.raises(ValueError):
        np.asarray(x, np.float64, copy=False)
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(leaf(1.0))
    assert (x // 2).tolist() == [0.0, 1.0] and (x % 2).tolist() == [1.0, 0.0] and (5 // x).tolist() == [5.0, 2.0]
    assert (mg.tensor([-3, 5]) // 2).tolist() == [-2, 2] and (mg.tensor([-3, 5]) // 2).dtype == np.int64
    assert mg.is_tensor(x) and mg.numel(x) == x.nelement() == 2 and x.ndimension() == 1 and x.size().numel() == 2


def test_the_old_arguments_of_losses_and_layers():
    x, y = mg.tensor([1.0, 3.0]), mg.tensor([0.0, 0.0])
    assert F.mse_loss(x, y, size_average=False).item() == 10.0 and F.mse_loss(x, y, reduce=False).tolist() == [1.0, 9.0]
    assert F.mse_loss(x, y, False).item() == 10.0 and F.mse_loss(x, y, size_average=True).item() == 5.0
    assert F.relu(-x, True).tolist() == [0.0, 0.0] and F.dropout(x, 0.5, False, True) is x
    assert F.softmax(x, 0, dtype=mg.float64).dtype == np.float64 and F.log_softmax(x, dim=0, dtype=mg.double).dtype == np.float64
    assert x.sum(dtype=mg.float64).dtype == np.float64 and x.cumsum(0, dtype=mg.double).dtype == np.float64
    assert (
        x.var(unbiased=False).item() == 1.0
        and x.std(0, False).item() == pytest.approx(1.0)
        and x.var(False).item() == 1.0
        and x.var(0).item() == 2.0
    )
    assert mg.ones(1, 2, 1).squeeze((0, 2)).shape == (2,) and mg.ones(1, 2, 1).squeeze([0]).shape == (2, 1)
    assert mg.grad((leaf(2.0) * 1).sum(), [w := leaf(1.0)], allow_unused=True, only_inputs=True) == (None,) and w.grad is None


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.softmax(x, 1),
        lambda x: F.log_softmax(x, -1),
        F.relu,
        lambda x: x.sum(0),
        lambda x: x.sort(1)[0],
        lambda x: mg.cat([x, x]),
        lambda x: x.cumsum(0),
        lambda x: x @ mg.ones(3, 2),
        lambda x: x.clamp(0, 1),
        lambda x: x.masked_select(x > 0),
        lambda x: F.linear(x, mg.ones(2, 3)),
        lambda x: mg.cat([mg.tensor([]), x]),
    ],
)
def test_an_empty_batch_goes_through(f):
    x = mg.zeros(0, 3, requires_grad=True)
    y = f(x)
    (g,) = mg.grad(y, x, mg.ones_like(y))
    assert g.shape == (0, 3)


# ---- hooks -----------------------------------------------------------------------------------------------------------


def test_hooks_see_the_whole_gradient_and_may_replace_it():
    w, seen = leaf(1.0, 2.0), []
    h = w * 3
    h.register_hook(lambda g: seen.append(g.tolist()))
    handle = h.register_hook(lambda g: g * 10)
    w.register_hook(lambda g: seen.append(g.tolist()))
    (h * h + h).sum().backward(retain_graph=True)
    assert seen == [[7.0, 13.0], [210.0, 390.0]] and w.grad.tolist() == [210.0, 390.0]
    handle.remove()
    assert mg.grad((h * 2).sum(), w)[0].tolist() == [6.0, 6.0]
    with pytest.raises(RuntimeError, match="requires no gradient"):
        mg.ones(2).register_hook(print)
    bad = w * 2
    bad.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="same shape and dtype"):
        bad.sum().backward()


def test_hooks_sit_on_one_output_of_several():
    values, _ = (w := leaf(1.0, 5.0)).max(0)
    parts = mg.split(w * 1, 1)
    parts[1].register_hook(lambda g: g * 100)
    (parts[0] + parts[1] + values).sum().backward()
    assert w.grad.tolist() == [1.0, 101.0]


def test_retain_grad_fills_grad_of_computed_tensors_and_makes_no_cycle():
    import weakref

    gc.disable()
    try:
        w = leaf(1.0, 2.0)
        h = w * 3
        h.retain_grad()
        h.retain_grad()
        (h * h).sum().backward()
        assert h.grad.tolist() == [6.0, 12.0] and w.grad.tolist() == [18.0, 36.0]
        h.grad.zero_()
        assert w.grad.tolist() == [18.0, 36.0]
        gone = weakref.ref(h)
        del h
        assert gone() is None
    finally:
        gc.enable()


def test_backward_of_several_and_for_some_inputs():
    a, b = leaf(1.0), leaf(2.0)
    mg.autograd.backward([(a * b).sum(), (a * a).sum()])
    assert a.grad.tolist() == [4.0] and b.grad.tolist() == [1.0]
    (a * b).sum().backward(inputs=[a])
    assert a.grad.tolist() == [6.0] and b.grad.tolist() == [1.0]
    with pytest.raises(TypeError, match="create_graph"):
        (a * b).sum().backward(create_graph=True)


# ---- no_grad ---------------------------------------------------------------------------------------------------------


def test_a_generator_under_no_grad_runs_its_own_steps_unrecorded_and_its_callers_recorded():
    log = []

    @mg.no_grad()
    def numbers():
        try:
            while True:
                log.append(mg.is_grad_enabled())
                try:
                    got = yield leaf(1.0) * 2
                    if got == "stop":
                        return "done"
                except KeyError:
                    log.append("thrown")
        finally:
            log.append(mg.is_grad_enabled())

    it = numbers()
    assert not next(it).requires_grad and mg.is_grad_enabled()
    it.throw(KeyError())
    assert mg.is_grad_enabled()
    with pytest.raises(StopIteration) as stop:
        it.send("stop")
    assert stop.value.value == "done" and mg.is_grad_enabled()
    other = numbers()
    next(other)
    other.close()
    assert log == [False, "thrown", False, False, False, False]


def test_coroutines_under_no_grad_are_refused():
    async def wait():
        await asyncio.sleep(0)

    async def values():
        yield 1

    for f in (wait, values):
        with pytest.raises(TypeError, match="asynchronous"):
            mg.no_grad()(f)


def test_modes_as_decorators_and_switches():
    @mg.no_grad
    def plain(x):
        return x * 2

    @mg.enable_grad()
    def recorded(x):
        return x * 2

    w = leaf(1.0)
    assert not plain(w).requires_grad and mg.is_grad_enabled()
    with mg.no_grad():
        assert recorded(w).requires_grad and not (w * 2).requires_grad
    with mg.set_grad_enabled(False):
        assert not (w * 2).requires_grad
    assert mg.is_grad_enabled()
    mg.set_grad_enabled(False)
    assert not mg.is_grad_enabled()
    mg.set_grad_enabled(True)
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        1 / 0  # noqa: B018
    once = mg.no_grad()
    with once, once:
        pass
    assert mg.is_grad_enabled()


# ---- functions beside PyTorch's --------------------------------------------------------------------------------------

A = np.array([[1.0, -2.0, 0.5], [3.0, 0.5, -1.0]])
PAIRS = {
    name: (lambda m, x, name=name: getattr(m, name)(x))
    for name in """abs exp log1p sin cos tan tanh sigmoid sign floor ceil round trunc frac
    neg square relu erf atan sinh cosh isnan isinf isfinite
       nonzero numel median prod t flatten logical_not sort argsort unique is_tensor exp2 diag trace norm""".split()
} | {
    "eq": lambda m, x: m.eq(x, 0.5),
    "ne": lambda m, x: m.ne(x, 0.5),
    "lt": lambda m, x: m.lt(x, 0.5),
    "le": lambda m, x: x.le(0.5),
    "gt": lambda m, x: m.gt(x, 0.5),
    "ge": lambda m, x: x.ge(0.5),
    "any": lambda m, x: m.any(x > 2, 1),
    "all": lambda m, x: m.all(x > -3),
    "all dim": lambda m, x: (x > 0).all(1, True),
    "topk": lambda m, x: m.topk(x, 2),
    "topk small": lambda m, x: x.topk(1, 0, False),
    "kthvalue": lambda m, x: m.kthvalue(x, 2),
    "max": lambda m, x: m.max(x, 1),
    "max two": lambda m, x: m.max(x, x * 0),
    "median dim": lambda m, x: m.median(x, 1),
    "sort down": lambda m, x: m.sort(x, 0, True),
    "masked_select": lambda m, x: m.masked_select(x, x > 0),
    "fmod": lambda m, x: m.fmod(x, 0.75),
    "remainder": lambda m, x: m.remainder(x, 0.75),
    "floor_divide": lambda m, x: m.floor_divide(x, 0.75),
    "add": lambda m, x: m.add(x, x, alpha=2),
    "sub": lambda m, x: m.sub(x, 1, alpha=2),
    "div": lambda m, x: m.div(x, 2, rounding_mode="trunc"),
    "addmm": lambda m, x: m.addmm(x[:, :2], x, x.t(), beta=0.5),
    "mm": lambda m, x: m.mm(x, x.t()),
    "mv": lambda m, x: m.mv(x, x[0]),
    "dot": lambda m, x: m.dot(x[0], x[1]),
    "ger": lambda m, x: m.outer(x[0], x[1]),
    "cross": lambda m, x: m.cross(x, x * x - 1, dim=1),
    "bmm": lambda m, x: m.bmm(x[None], x.t()[None]),
    "dist": lambda m, x: m.dist(x, x * 2),
    "lerp": lambda m, x: m.lerp(x, x * 2, 0.3),
    "clamp": lambda m, x: m.clamp(x, min=0),
    "where": lambda m, x: m.where(x > 0, x, x * 0),
    "cumprod": lambda m, x: m.cumprod(x, 1),
    "index_select": lambda m, x: m.index_select(x, 1, m.tensor([2, 0])),
    "take": lambda m, x: m.take(x, m.tensor([5, 0])),
    "gather": lambda m, x: m.gather(x, 1, m.tensor([[0], [2]])),
    "scatter": lambda m, x: m.scatter(x, 1, m.tensor([[0], [2]]), 9.0),
    "allclose": lambda m, x: m.allclose(x, x + 1e-9),
    "equal": lambda m, x: m.equal(x, x),
    "bincount": lambda m, x: m.bincount(m.tensor([1, 1, 3])),
    "logical_and": lambda m, x: m.logical_and(x > 0, x < 1),
    "xor": lambda m, x: (x > 0) ^ (x < 1),
    "count": lambda m, x: m.count_nonzero(x > 0),
    "var": lambda m, x: m.var(x, 1, unbiased=False),
    "std": lambda m, x: x.std(unbiased=False),
    "atan2": lambda m, x: m.atan2(x, x + 5),
    "logit": lambda m, x: m.logit(m.sigmoid(x)),
    "reciprocal": lambda m, x: m.reciprocal(x),
    "rsqrt": lambda m, x: m.rsqrt(x * x),
    "log2": lambda m, x: m.log2(x * x),
    "log10": lambda m, x: m.log10(x * x),
    "asin": lambda m, x: m.asin(x / 4),
    "acos": lambda m, x: m.acos(x / 4),
    "diagonal": lambda m, x: m.diagonal(x, 1),
    "diag of vector": lambda m, x: m.diag(x[0], 1),
    "full": lambda m, x: m.full((2,), 3.0),
    "zeros_like": lambda m, x: m.zeros_like(x),
    "nonzero tuple": lambda m, x: m.nonzero(x > 0, as_tuple=True)[1],
    "eye": lambda m, x: m.eye(2),
    "addcmul": lambda m, x: m.addcmul(x, x, x, value=2),
    "addcdiv": lambda m, x: m.addcdiv(x, x, x, value=2),
    "masked_fill": lambda m, x: x.masked_fill(x > 0, 1),
    "arange": lambda m, x: m.arange(0, 3, 0.5),
    "linspace": lambda m, x: m.linspace(0, 1, 5),
    "size": lambda m, x: m.zeros(*x.size()),
    "empty sort": lambda m, x: m.sort(x[:0], 1),
    "sum": lambda m, x: m.sum(x > 0),
    "tril": lambda m, x: m.tril(x),
    "chunk": lambda m, x: m.chunk(x, 2, 1),
}


def flat(out):
    return [o for part in out for o in flat(part)] if isinstance(out, (tuple, list)) else [out]


@pytest.mark.parametrize("name", PAIRS)
def test_the_function_gives_what_pytorchs_gives(name):
    torch = pytest.importorskip("torch")
    ours, theirs = flat(PAIRS[name](mg, mg.tensor(A))), flat(PAIRS[name](torch, torch.tensor(A)))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if not isinstance(a, mg.Tensor):
            assert a == b
            continue
        assert a.shape == tuple(b.shape) and str(a.dtype) == str(b.dtype).removeprefix("torch.")
        np.testing.assert_allclose(a.array, b.numpy(), rtol=1e-12)


def test_random_tensors():
    rng = np.random.default_rng(0)
    assert mg.randn(2, 3, rng=rng).shape == (2, 3) and mg.rand((4,), rng=rng).dtype == np.float32
    assert mg.randn(5, rng=np.random.default_rng(1)).tolist() == mg.randn(5, rng=np.random.default_rng(1)).tolist()
    i = mg.randint(2, 5, (100,), rng=rng)
    assert i.dtype == np.int64 and set(i.tolist()) == {2, 3, 4} and mg.randint(3, (2, 2), rng=rng).shape == (2, 2)
    assert sorted(mg.randperm(7, rng=rng).tolist()) == list(range(7)) and mg.randn(2, requires_grad=True).requires_grad
    x = mg.ones(3, 2, dtype=mg.float64)
    assert mg.randn_like(x, rng=rng).dtype == np.float64 and mg.rand_like(x, rng=rng).shape == (3, 2)
    assert mg.normal(mg.zeros(1000) + 5, 2.0, rng=rng).mean().item() == pytest.approx(5, abs=0.3) and mg.normal(
        0.0, 1.0, (2,)
    ).shape == (2,)
    p = mg.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
    draws = mg.multinomial(p, 4000, True, rng=rng)
    assert draws.shape == (2, 4000) and set(draws[0].tolist()) == {1, 2} and set(draws[1].tolist()) == {0}
    assert (draws[0] == 2).sum().item() == pytest.approx(3000, abs=150)
    assert sorted(mg.multinomial(mg.tensor([1.0, 2.0, 3.0]), 3, rng=rng).tolist()) == [0, 1, 2]
    first = [mg.multinomial(mg.tensor([1.0, 3.0]), 1, rng=rng).item() for _ in range(2000)]
    assert sum(first) == pytest.approx(1500, abs=100)
    with pytest.raises(ValueError, match="without replacement"):
        mg.multinomial(p, 3, rng=rng)
    assert mg.bernoulli(mg.tensor([0.0, 1.0]), rng=rng).tolist() == [0.0, 1.0]


def test_scatter_written_twice_gives_the_last_and_only_it_a_gradient():
    x, s = mg.zeros(1, 2, requires_grad=True), mg.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    y = mg.scatter(x, 1, mg.tensor([[0, 0, 1]]), s)
    assert y.tolist() == [[2.0, 3.0]]
    gx, gs = mg.grad(y.sum(), [x, s])
    assert gx.tolist() == [[0.0, 0.0]] and gs.tolist() == [[0.0, 1.0, 1.0]]
