"""The twin property: the same tree built here and in PyTorch has the same repr and state, and after exchanging weights
by name gives the same outputs, gradients, buffers and Adam steps."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.random import Stream

torch = pytest.importorskip("torch")

IMAGE, ROWS = (4, 6, 9, 8), (4, 6, 11)
LAYERS = [
    # name, arguments, keywords, shape of the input
    ("Linear", (6, 5), {}, (4, 6)), ("Linear", (6, 5), {"bias": False}, (2, 3, 6)), ("Linear", (6, 5), {}, (6,)),
    ("Conv2d", (6, 4, 3), {}, IMAGE), ("Conv2d", (6, 4, (2, 3)), {"stride": (2, 1), "padding": (1, 2)}, IMAGE),
    ("Conv2d", (6, 9, 3), {"groups": 3, "dilation": 2, "bias": False}, IMAGE), ("Conv2d", (6, 4, 3), {}, IMAGE[1:]),
    ("Conv2d", (6, 4, (4, 3)), {"padding": "same"}, IMAGE), ("Conv2d", (6, 4, 3), {"padding": "valid"}, IMAGE),
    ("Conv2d", (6, 4, 2), {"padding": "same", "dilation": 3, "padding_mode": "circular"}, IMAGE),
    *[("Conv2d", (6, 4, 3), {"padding": (1, 2), "padding_mode": m, "stride": 2}, IMAGE)
      for m in ("zeros", "reflect", "replicate", "circular")],
    ("ConvTranspose2d", (6, 4, 3), {}, IMAGE), ("ConvTranspose2d", (6, 4, 4, 2, 1), {"bias": False}, IMAGE),
    ("ConvTranspose2d", (6, 8, (3, 2), (3, 2), 1, (2, 1), 2, True, 2), {}, IMAGE),
    ("BatchNorm1d", (6,), {}, (5, 6)), ("BatchNorm1d", (6, 1e-3, 0.3), {}, (5, 6, 3)),
    ("BatchNorm2d", (6,), {}, IMAGE), ("BatchNorm2d", (6,), {"affine": False, "momentum": None}, IMAGE),
    ("BatchNorm2d", (6,), {"track_running_stats": False, "bias": False}, IMAGE),
    ("InstanceNorm2d", (6,), {}, IMAGE), ("InstanceNorm2d", (6,), {"affine": True, "eps": 0.1}, IMAGE[1:]),
    ("InstanceNorm2d", (6,), {"affine": True, "bias": False}, IMAGE), ("GroupNorm", (2, 6), {"bias": False}, IMAGE),
    ("InstanceNorm2d", (6,), {"track_running_stats": True, "affine": True}, IMAGE),
    ("GroupNorm", (3, 6), {}, IMAGE), ("GroupNorm", (1, 6, 1e-2, False), {}, (4, 6)),
    ("LayerNorm", (8,), {}, IMAGE), ("LayerNorm", ((9, 8),), {"bias": False}, IMAGE),
    ("LayerNorm", ([6, 9, 8],), {"elementwise_affine": False, "eps": 0.1}, IMAGE),
    ("ReLU", (), {}, IMAGE), ("ReLU", (True,), {}, (3,)), ("LeakyReLU", (), {}, IMAGE),
    ("LeakyReLU", (0.2, True), {}, (3,)), ("ELU", (), {}, IMAGE), ("ELU", (0.5,), {"inplace": True}, IMAGE),
    ("GELU", (), {}, IMAGE), ("GELU", ("tanh",), {}, IMAGE),
    ("Tanh", (), {}, IMAGE), ("Sigmoid", (), {}, IMAGE), ("LogSigmoid", (), {}, IMAGE), ("Softplus", (), {}, IMAGE),
    ("Softplus", (2.0, 1.0), {}, IMAGE), ("Softmax", (1,), {}, IMAGE), ("LogSoftmax", (-1,), {}, (4, 6)),
    ("MaxPool2d", (2,), {}, IMAGE), ("MaxPool2d", ((3, 2), 2, 1), {"ceil_mode": True}, IMAGE),
    ("MaxPool2d", (3, 1, 1, 2), {}, IMAGE[1:]),
    ("AvgPool2d", (2,), {}, IMAGE), ("AvgPool2d", (3, 2, 1, True, False), {}, IMAGE),
    ("AvgPool2d", ((3, 2),), {"divisor_override": 5}, IMAGE),
    ("AdaptiveAvgPool2d", (1,), {}, IMAGE), ("AdaptiveAvgPool2d", ((4, None),), {}, IMAGE),
    ("Flatten", (), {}, IMAGE), ("Flatten", (0, 2), {}, IMAGE), ("Unflatten", (1, (2, -1)), {}, IMAGE),
    ("Upsample", (), {"scale_factor": 2}, IMAGE), ("Upsample", ((5, 11),), {"mode": "bilinear"}, IMAGE),
    ("Upsample", (), {"scale_factor": (1.5, 2), "mode": "bilinear", "align_corners": True}, IMAGE),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 3)), ("PixelUnshuffle", (2,), {}, (2, 2, 4, 6)),
    ("ReflectionPad2d", (2,), {}, IMAGE), ("ReflectionPad2d", ((1, 2, 3, 0),), {}, IMAGE[1:]),
    ("ReplicationPad2d", (3,), {}, IMAGE), ("CircularPad2d", ((1, 2, 3, 4),), {}, IMAGE),
    ("ZeroPad2d", (2,), {}, IMAGE), ("ZeroPad2d", ((1, -1, 0, 2),), {}, IMAGE), ("ConstantPad2d", (1, 0.5), {}, IMAGE),
    ("Conv1d", (6, 4, 3), {}, ROWS), ("Conv1d", (6, 9, (3,)), {"groups": 3, "stride": 2, "dilation": 2, "bias": False}, ROWS),
    *[("Conv1d", (6, 4, 3), {"padding": 2, "padding_mode": m}, ROWS) for m in ("zeros", "reflect", "replicate", "circular")],
    ("Conv1d", (6, 4, 4), {"padding": "same"}, ROWS), ("Conv1d", (6, 4, 2), {"padding": "same", "padding_mode": "reflect"}, ROWS),
    ("Conv1d", (6, 4, 3), {"padding": "valid"}, ROWS[1:]),
    ("ConvTranspose1d", (6, 4, 3), {}, ROWS), ("ConvTranspose1d", (6, 8, 4, 3, 1, 2, 2, True, 2), {}, ROWS),
    ("ConvTranspose1d", (6, 4, 4, 2, 1), {"bias": False}, ROWS[1:]),
    ("MaxPool1d", (3,), {}, ROWS), ("MaxPool1d", (3, 2, 1), {"ceil_mode": True}, ROWS[1:]), ("MaxPool1d", (2, 1, 0, 3), {}, ROWS),
    ("AvgPool1d", (3,), {}, ROWS), ("AvgPool1d", (3, 2, 1), {"count_include_pad": False, "ceil_mode": True}, ROWS[1:]),
    ("AdaptiveAvgPool1d", (4,), {}, ROWS), ("AdaptiveMaxPool1d", (4,), {}, ROWS), ("AdaptiveMaxPool2d", (3,), {}, IMAGE),
    ("AdaptiveMaxPool2d", ((2, 5),), {}, IMAGE[1:]),
    ("InstanceNorm1d", (6,), {"affine": True}, ROWS), ("InstanceNorm1d", (6,), {}, ROWS[1:]),
    ("InstanceNorm1d", (6,), {"track_running_stats": True, "affine": True}, ROWS), ("BatchNorm1d", (6,), {}, ROWS),
    ("ReflectionPad1d", (3,), {}, ROWS), ("ReplicationPad1d", ((2, 0),), {}, ROWS[1:]), ("ConstantPad1d", ((1, 2), 0.5), {}, ROWS),
    ("ZeroPad1d", (2,), {}, ROWS),
    ("PReLU", (), {}, IMAGE), ("PReLU", (6, 0.1), {}, IMAGE), ("PReLU", (6,), {}, (4, 6)), ("PReLU", (), {}, (5,)),
    *[(name, (), {}, IMAGE) for name in ("SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid", "Hardtanh", "ReLU6", "CELU",
                                         "Softsign", "Tanhshrink", "Softshrink", "Hardshrink", "GLU", "Softmax2d")],
    *[(name, (), {"inplace": True}, IMAGE) for name in ("SELU", "SiLU", "Mish", "ReLU6", "Hardtanh", "CELU")],
    ("Hardtanh", (-0.3, 0.8), {}, IMAGE), ("CELU", (0.7,), {}, IMAGE), ("Softshrink", (0.2,), {}, IMAGE),
    ("Hardshrink", (0.2,), {}, IMAGE), ("Threshold", (0.1, 3.0), {}, IMAGE), ("GLU", (1,), {}, IMAGE), ("Softmin", (1,), {}, IMAGE),
    ("Softmax2d", (), {}, IMAGE[1:]), ("LocalResponseNorm", (3,), {"alpha": 0.5}, IMAGE), ("LocalResponseNorm", (4,), {}, IMAGE),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, IMAGE), ("UpsamplingBilinear2d", ((5, 11),), {}, IMAGE),
    ("Unfold", (3, 1, 1, 2), {}, IMAGE), ("Fold", ((4, 5), 2), {}, (2, 12, 12)),
    ("Dropout1d", (0.3,), {}, ROWS), ("AlphaDropout", (0.3,), {}, IMAGE),
    ("Identity", (3,), {"some": 1}, IMAGE), ("Dropout", (0.3,), {}, IMAGE), ("Dropout2d", (), {"p": 0.2}, IMAGE),
]


ROUNDED = ("CELU", "Hardsigmoid")  # PyTorch's derivative takes 1 / alpha and 1 / 6 in float32, for float64 too


def values(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def exchange(ours, theirs, seed=0):
    """Give both the same values, drawn anew, through PyTorch's state and by name; then check the way back."""
    state = {k: torch.from_numpy(values(seed + i, v.shape)) * 0.5 if v.is_floating_point() and "running" not in k else v
             for i, (k, v) in enumerate(theirs.state_dict().items())}
    theirs.load_state_dict(state)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})


def same_state(ours, theirs):
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for k in mine:
        assert mine[k].shape == tuple(other[k].shape) and str(mine[k].dtype) == str(other[k].dtype).split(".")[1], k
        np.testing.assert_allclose(mine[k], other[k].numpy(), rtol=1e-9, atol=1e-12, err_msg=k)


def same_pass(ours, theirs, shape, seed, tolerance=1e-9, dtype=np.float64):
    x, twin = (f(values(seed, shape, dtype)) for f in (lambda a: mg.tensor(a, requires_grad=True),
                                                       lambda a: torch.from_numpy(a).requires_grad_()))
    y, z = ours(x), theirs(twin)
    options = {"rtol": tolerance, "atol": tolerance}
    assert y.shape == tuple(z.shape) and y.dtype == dtype
    np.testing.assert_allclose(y.array, z.detach().numpy(), **options)
    g = values(seed + 1, y.shape, dtype)
    ours.zero_grad()
    theirs.zero_grad()
    y.backward(mg.tensor(g))
    z.backward(torch.from_numpy(g))
    np.testing.assert_allclose(x.grad.array, twin.grad.numpy(), **options)
    for (name, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other and p.grad.shape == tuple(q.grad.shape)
        scale = max(1.0, float(q.grad.abs().max()))
        np.testing.assert_allclose(p.grad.array / scale, q.grad.numpy() / scale, err_msg=name, **options)


@pytest.mark.parametrize("name, args, kw, shape", LAYERS, ids=[f"{i}-{case[0]}" for i, case in enumerate(LAYERS)])
def test_every_layer_has_a_twin(name, args, kw, shape):
    ours, theirs = getattr(nn, name)(*args, **kw), getattr(torch.nn, name)(*args, **kw)
    assert repr(ours) == repr(theirs)
    ours.double(), theirs.double()
    exchange(ours, theirs)
    inplace = any(getattr(m, "inplace", False) for m in theirs.modules())
    if inplace:  # PyTorch cannot overwrite a leaf
        theirs = torch.nn.Sequential(torch.nn.Identity(), theirs)
        theirs[1].inplace = False
    for training in (True, False) if "Dropout" not in name else (False,):
        ours.train(training), theirs.train(training)
        for seed in range(2):
            same_pass(ours, theirs, shape, seed, 1e-7 if name in ROUNDED else 1e-9)
        if not inplace:
            same_state(ours, theirs)


def test_defaults_of_every_layer_are_pytorchs():
    import inspect

    for name in dir(nn):
        mine, other = getattr(nn, name), getattr(torch.nn, name, None)
        if not (isinstance(mine, type) and issubclass(mine, nn.Module)) or other is None:
            continue
        ours, theirs = (inspect.signature(c.__init__).parameters for c in (mine, other))
        for key, p in ours.items():
            if key in ("self", "args", "kwargs", "rng", "device", "dtype", "modules") or key not in theirs:
                continue
            default = theirs[key].default
            assert p.default == default or (p.default == 0 and not default), (name, key, p.default, default)


def test_max_pool_indices_and_sizes_at_the_call():
    x = values(0, IMAGE)
    y, index = nn.MaxPool2d(2, return_indices=True)(mg.tensor(x))
    z, other = torch.nn.MaxPool2d(2, return_indices=True)(torch.from_numpy(x))
    np.testing.assert_array_equal(index.array, other.numpy())
    np.testing.assert_array_equal(y.array, z.numpy())
    ours, theirs = nn.ConvTranspose2d(6, 2, 3, 2, 1).double(), torch.nn.ConvTranspose2d(6, 2, 3, 2, 1).double()
    exchange(ours, theirs)
    for size in ((17, 15), (18, 16), (17, 16)):
        np.testing.assert_allclose(ours(mg.tensor(x), output_size=size).array,
                                   theirs(torch.from_numpy(x), output_size=size).detach().numpy(), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=r"output_size \(19, 16\) is out of reach.*between \(17, 15\) and \(18, 16\)"):
        ours(mg.tensor(x), output_size=(19, 16))


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1, "max_norm": 1.0},
                                     {"max_norm": 0.5, "norm_type": 1.0}])
def test_embedding(options):
    ours, theirs = nn.Embedding(7, 3, **options), torch.nn.Embedding(7, 3, **options)
    assert repr(ours) == repr(theirs)
    if "padding_idx" in options:
        assert (ours.weight.array[options["padding_idx"]] == 0).all()
    ours.double(), theirs.double()
    exchange(ours, theirs)
    index = np.array([[0, 2, 6], [2, 2, 5]])
    y, z = ours(mg.tensor(index)), theirs(torch.from_numpy(index))
    np.testing.assert_allclose(y.array, z.detach().numpy(), rtol=1e-6)
    g = values(1, y.shape)
    y.backward(mg.tensor(g))
    z.backward(torch.from_numpy(g))
    np.testing.assert_allclose(ours.weight.grad.array, theirs.weight.grad.numpy(), rtol=1e-9)
    table = values(2, (4, 2), np.float32)
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad and frozen(np.array([3])).tolist() == [table[3].tolist()]


LOSSES = [
    ("MSELoss", {}), ("L1Loss", {}), ("SmoothL1Loss", {"beta": 0.5}), ("BCELoss", {}), ("BCEWithLogitsLoss", {}),
    ("BCEWithLogitsLoss", {"pos_weight": values(3, (5,)) ** 2, "weight": values(4, (5,)) ** 2}),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "ignore_index": 2}),
    ("CrossEntropyLoss", {"weight": values(3, (5,)) ** 2}),
    ("NLLLoss", {"weight": values(3, (5,)) ** 2}), ("KLDivLoss", {}), ("KLDivLoss", {"log_target": True}),
]


@pytest.mark.parametrize("name, options", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.filterwarnings("ignore")
def test_losses(name, options, reduction):
    if reduction == "batchmean" and name != "KLDivLoss":
        with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'batchmean'"):
            getattr(nn, name)(reduction="batchmean")
        return
    there = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    ours = getattr(nn, name)(reduction=reduction, **options)
    theirs = getattr(torch.nn, name)(reduction=reduction, **there)
    assert repr(ours) == repr(theirs)
    x, target = values(0, (4, 5)), values(1, (4, 5))
    if name in ("CrossEntropyLoss", "NLLLoss"):
        target = np.array([0, 2, 4, 1])
    elif name.startswith("BCE"):
        x, target = (x if "Logits" in name else 1 / (1 + np.exp(-x))), (target > 0).astype(float)
    elif name == "KLDivLoss":
        target = target if options else np.abs(target)
    x, twin = mg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
    y, z = ours(x, mg.tensor(target)), theirs(twin, torch.from_numpy(target))
    np.testing.assert_allclose(y.array, z.detach().numpy(), rtol=1e-9)
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(x.grad.array, twin.grad.numpy(), rtol=1e-9, atol=1e-12)


# ---- random trees ----------------------------------------------------------------------------------------------------


def random_tree(rng, library, channels, size, depth=0):
    """A random convolutional network of either library: (module, channels, size). Both consume `rng` alike."""
    layers = []
    for _ in range(rng.integers(2, 5)):
        kind = rng.integers(0, 9)
        after, k = int(rng.choice([2, 4, 6])), int(rng.integers(1, 4))
        if kind <= 1:
            mode = str(rng.choice(["zeros", "reflect", "replicate", "circular"]))
            layers.append(library.Conv2d(channels, after, k, padding=k // 2, groups=2 if rng.random() < 0.5 else 1,
                                         bias=rng.random() < 0.5, padding_mode=mode))
            channels, size = after, size + 2 * (k // 2) - k + 1
        elif kind == 2 and size <= 12:
            layers.append(library.ConvTranspose2d(channels, after, 4, 2, 1, bias=rng.random() < 0.5))
            channels, size = after, 2 * size
        elif kind == 3:
            layers.append(library.BatchNorm2d(channels, momentum=None if rng.random() < 0.3 else 0.2))
        elif kind == 4:
            layers.append(library.GroupNorm(2, channels) if rng.random() < 0.5 else
                          library.InstanceNorm2d(channels, affine=True))
        elif kind == 5 and size >= 6:
            pool = library.MaxPool2d if rng.random() < 0.5 else library.AvgPool2d
            layers.append(pool(2, ceil_mode=True))
            size = -(-size // 2)
        elif kind == 6 and depth < 2:
            inner, channels, size = random_tree(rng, library, channels, size, depth + 1)
            layers.append(inner)
        else:
            pick = int(rng.integers(0, 4))
            layers.append((library.ReLU(), library.LeakyReLU(0.2), library.Tanh(), library.ELU(0.7))[pick])
        if rng.random() < 0.4:
            layers.append(library.LeakyReLU(0.1))
    return library.Sequential(*layers), channels, size


def random_network(seed, library):
    rng = np.random.default_rng(seed)
    body, channels, size = random_tree(rng, library, 2, 8)
    return library.Sequential(body, library.AdaptiveAvgPool2d(2), library.Flatten(), library.Linear(4 * channels, 3))


@pytest.mark.parametrize("seed", range(12))
def test_random_trees_agree(seed):
    ours, theirs = random_network(seed, nn), random_network(seed, torch.nn)
    assert repr(ours) == repr(theirs)
    ours.double(), theirs.double()
    exchange(ours, theirs, seed)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        same_pass(ours, theirs, (3, 2, 8, 8), seed, tolerance=1e-7)
        same_state(ours, theirs)


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_in_float32_agree_to_1e_5_also_after_adam(seed):
    ours, theirs = random_network(seed, nn), random_network(seed, torch.nn)
    ours.load_state_dict(theirs.state_dict())
    same_pass(ours, theirs, (8, 2, 8, 8), seed, tolerance=2e-5, dtype=np.float32)
    mine, other = optim.Adam(ours.parameters(), 1e-3), torch.optim.Adam(theirs.parameters(), 1e-3)
    mine.step()
    other.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        sure = np.abs(q.grad.numpy()) > 1e-4  # where the gradient is 0 but for rounding, Adam's first step is its sign
        np.testing.assert_allclose(p.array[sure], q.detach().numpy()[sure], rtol=1e-5, atol=1e-5)


def test_streams_make_layers_that_agree_with_nothing_global():
    before = np.random.get_state()[1].copy()
    nn.Conv2d(3, 4, 3, rng=Stream(0, "init"))
    nn.Linear(3, 4)
    np.testing.assert_array_equal(before, np.random.get_state()[1])
