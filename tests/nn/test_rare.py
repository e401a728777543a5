"""Losses, activations and maps of pairs that are used seldom: PyTorch's values and gradients, at the limits too."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.functional import rare_losses
from minigrad.gradcheck import check_grads
from minigrad.random import Stream, manual_seed

torch = pytest.importorskip("torch")
F, TF = mg.functional, torch.nn.functional
RNG = np.random.default_rng(0)


def draw(*shape, positive=False):
    values = RNG.normal(size=shape)
    return np.abs(values) + 0.1 if positive else values


SIGNS = np.where(RNG.normal(size=4) > 0, 1.0, -1.0)
LOSSES = [  # module, options, inputs, how many of them are differentiated
    ("HuberLoss", {"delta": 0.7}, (draw(4, 5), draw(4, 5)), 1), ("SoftMarginLoss", {}, (draw(4, 1) * 3, SIGNS[:, None]), 1),
    ("HingeEmbeddingLoss", {"margin": 0.5}, (draw(4), SIGNS), 1),
    ("MarginRankingLoss", {"margin": 0.2}, (draw(4), draw(4), SIGNS), 2),
    ("CosineEmbeddingLoss", {"margin": -0.1}, (draw(4, 5), draw(4, 5), SIGNS), 2),
    ("TripletMarginLoss", {}, (draw(4, 5), draw(4, 5), draw(4, 5)), 3),
    ("TripletMarginLoss", {"swap": True, "p": 1.0, "margin": 2.0}, (draw(4, 5), draw(4, 5), draw(4, 5)), 3),
    ("PoissonNLLLoss", {}, (draw(4, 5), draw(4, 5, positive=True) * 2), 1),
    ("PoissonNLLLoss", {"log_input": False, "full": True}, (draw(4, 5, positive=True), np.arange(20.0).reshape(4, 5)), 1),
    ("GaussianNLLLoss", {}, (draw(4, 5), draw(4, 5), draw(4, 5, positive=True)), 3),
    ("GaussianNLLLoss", {"full": True, "eps": 0.5}, (draw(4, 5), draw(4, 5), draw(4, 1, positive=True)), 3),
]
OLD = [  # what size_average and reduce meant
    {"size_average": False}, {"size_average": True}, {"reduce": False}, {"size_average": False, "reduce": True},
]


def same(ours, theirs, inputs, trained, tolerance=1e-9):
    here = [mg.tensor(a, requires_grad=i < trained) for i, a in enumerate(inputs)]
    there = [torch.from_numpy(a).requires_grad_(i < trained) for i, a in enumerate(inputs)]
    y, z = ours(*here), theirs(*there)
    assert y.shape == tuple(z.shape)
    np.testing.assert_allclose(y.array, z.detach().numpy(), tolerance, tolerance)
    g = RNG.normal(size=y.shape)
    y.backward(mg.tensor(g))
    z.backward(torch.tensor(g))
    for a, b in zip(here[:trained], there, strict=False):
        np.testing.assert_allclose(a.grad.array, b.grad.numpy(), tolerance, tolerance)


@pytest.mark.parametrize("name, options, inputs, trained", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_have_twins(name, options, inputs, trained, reduction):
    ours, theirs = (getattr(lib, name)(reduction=reduction, **options) for lib in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    same(ours, theirs, inputs, trained)
    if options.get("eps") != 0.5:  # the cut at eps lets the gradient through
        check_grads(lambda *a: ours(*a, *map(mg.tensor, inputs[trained:])).sum(), list(inputs[:trained]), order=2)


@pytest.mark.parametrize("old", OLD)
@pytest.mark.filterwarnings("ignore")
def test_the_old_names_of_the_reduction(old):
    probabilities = 1 / (1 + np.exp(-draw(3, 4)))
    values, labels, bits = draw(3, 4), np.array([0, 3, 1]), (draw(3, 4) > 0) * 1.0
    targets = {"MSELoss": values, "L1Loss": values, "SmoothL1Loss": values, "BCELoss": bits, "BCEWithLogitsLoss": bits,
               "CrossEntropyLoss": labels, "NLLLoss": labels, "KLDivLoss": probabilities, "SoftMarginLoss": bits * 2 - 1}
    for name, target in targets.items():
        same(getattr(nn, name)(**old), getattr(torch.nn, name)(**old), (probabilities, target), 1)


PAIRS = [("CosineSimilarity", (), {"dim": -1}), ("PairwiseDistance", (), {}), ("PairwiseDistance", (1.0,), {"keepdim": True}),
         ("Bilinear", (5, 5, 3), {}), ("Bilinear", (5, 5, 3, False), {})]


@pytest.mark.parametrize("name, args, options", PAIRS)
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5)])
def test_maps_of_pairs_have_twins(name, args, options, shape):
    ours, theirs = (getattr(lib, name)(*args, **options).double() for lib in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    same(ours, theirs, (draw(*shape), draw(*shape)), 2)
    check_grads(lambda a, b: ours(a, b).sum(), [draw(*shape), draw(*shape)], order=2)


HALF = [1e-3, 0.5, 1.0, 3.0, 6.0, 200.0, 1e4, 1e38, np.inf]
EDGES = np.array([*(-h for h in reversed(HALF)), 0.0, *HALF])
CURVES = ("selu", "celu", "silu", "mish", "hardtanh", "relu6", "hardsigmoid", "hardswish", "softsign", "tanhshrink", "softshrink",
          "hardshrink")  # where PyTorch is NaN at an infinity, the limit is given here


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strict", [False, True])
def test_curves_at_their_limits(name, dtype, strict):
    edges = EDGES.astype(dtype)
    x, twin = mg.tensor(edges, requires_grad=True), torch.from_numpy(edges.copy()).requires_grad_()
    with np.errstate(all="raise" if strict else "warn", under="ignore"):
        y = getattr(F, name)(x)
        y.sum().backward() if not strict else None
    z = getattr(TF, name)(twin)
    z.sum().backward()
    keep = np.isfinite(z.detach().numpy()) | ~np.isfinite(edges) & ~np.isnan(z.detach().numpy())  # theirs overflows at 1e38
    assert y.dtype == dtype and not np.isnan(y.array).any()
    np.testing.assert_allclose(y.array[keep], z.detach().numpy()[keep], 1e-5, 1e-6)
    if not strict:
        keep = ~np.isnan(twin.grad.numpy())
        assert not np.isnan(x.grad.array).any()
        np.testing.assert_allclose(x.grad.array[keep], twin.grad.numpy()[keep], 1e-5, 1e-6)
        assert np.isnan(getattr(F, name)(mg.tensor(np.array([np.nan], dtype))).array).all()


@pytest.mark.parametrize("name", [*CURVES, "glu", "softmin"])
def test_curves_to_the_second_order(name):
    check_grads(lambda x: getattr(F, name)(x).sum(), [draw(3, 4) * 2], order=2)


def test_prelu_at_zero_and_infinity():
    for weight in (0.3, 0.0):
        same(F.prelu, TF.prelu, (np.array([-2.0, 0.0, 3.0]), np.array([weight])), 2)
    x, w = mg.tensor([math.inf, 1.0], requires_grad=True), mg.tensor([0.0], requires_grad=True)
    F.prelu(x, w).sum().backward()
    assert w.grad.tolist() == [0.0] and x.grad.tolist() == [1.0, 1.0]


def test_random_ones():
    manual_seed(0)
    x = mg.tensor(draw(2000, 3), requires_grad=True)
    for hard in (False, True):
        y = F.gumbel_softmax(x * 0, tau=0.5, hard=hard)
        np.testing.assert_allclose(y.array.sum(1), 1)
        np.testing.assert_allclose(y.array.mean(0), 1 / 3, atol=0.05)
        assert not hard or set(y.array.round(12).ravel()) == {0.0, 1.0}
    assert np.array_equal(*(F.gumbel_softmax(x, rng=Stream(1)).array for _ in range(2)))
    z = nn.AlphaDropout(0.3, rng=Stream(0))(mg.tensor(draw(100000)))
    assert abs(z.array.mean()) < 0.02 and abs(z.array.std() - 1) < 0.02
    rows = nn.Dropout1d(0.5, rng=Stream(0))(mg.ones(50, 6, 4)).array
    assert set(map(tuple, rows.reshape(-1, 4).tolist())) == {(0.0,) * 4, (2.0,) * 4}


def test_conv_transpose1d_reaches_the_lengths_that_it_can():
    ours, theirs = nn.ConvTranspose1d(6, 2, 3, 2, 1).double(), torch.nn.ConvTranspose1d(6, 2, 3, 2, 1).double()
    ours.load_state_dict(theirs.state_dict())
    x = draw(2, 6, 5)
    for size in (9, 10, [9], [2, 2, 10]):
        theirs_size = [size] if isinstance(size, int) else size
        y, z = ours(mg.tensor(x), size), theirs(torch.from_numpy(x), theirs_size)
        np.testing.assert_allclose(y.array, z.detach().numpy())
    with pytest.raises(ValueError, match="between 9 and 10"):
        ours(mg.tensor(x), 11)


def test_parameter_containers_have_pytorchs_names():
    def build(lib, make):
        class Net(lib.Module):
            def __init__(self):
                super().__init__()
                self.many = lib.ParameterList([make(2), make(3)])
                self.named = lib.ParameterDict({"a": make(1)})

        return Net()

    ours, theirs = build(nn, lambda n: nn.Parameter(mg.ones(n))), build(torch.nn, lambda n: torch.nn.Parameter(torch.ones(n)))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [p.shape for p in ours.many] == [(2,), (3,)] and ours.many[-1] is ours.many[1] and "a" in ours.named
    assert len(optim.SGD(ours.parameters(), 0.1).param_groups[0]["params"]) == 3


def test_max_unpool_indices_of_rows():
    x = draw(2, 3, 9)
    y, index = nn.MaxPool1d(3, return_indices=True)(mg.tensor(x))
    z, other = torch.nn.MaxPool1d(3, return_indices=True)(torch.from_numpy(x))
    assert np.array_equal(index.array, other.numpy()) and np.array_equal(y.array, z.numpy())


WRONG = [
    (lambda: F.conv1d(mg.ones(2, 3, 4, 5), mg.ones(1, 3, 2)), ValueError, "conv1d"),
    (lambda: F.glu(mg.ones(3)), ValueError, "even"),
    (lambda: F.prelu(mg.ones(2, 3), mg.ones(2)), ValueError, "each channel"),
    (lambda: F.hardtanh(mg.ones(2), 1, 0), ValueError, "below"),
    (lambda: F.celu(mg.ones(2), 0), ValueError, "alpha"),
    (lambda: F.softshrink(mg.ones(2), -1), ValueError, "lambd"),
    (lambda: nn.Conv1d(4, 4, 3, groups=3), ValueError, "divisible"),
    (lambda: nn.PReLU(0), ValueError, "num_parameters"),
    (lambda: F.gumbel_softmax(mg.ones(2), 0), ValueError, "tau"),
    (lambda: nn.AlphaDropout(2), ValueError, "probability"),
    (lambda: F.bilinear(mg.ones(2, 3), mg.ones(3, 3), mg.ones(1, 3, 3)), ValueError, "bilinear"),
    (lambda: rare_losses.reduced("f", mg.ones(0), "mean"), ValueError, "nothing"),
    (lambda: nn.HuberLoss("avg"), ValueError, "reduction"),
    (lambda: F.gaussian_nll_loss(mg.ones(2, 3), mg.ones(2, 3), mg.ones(5)), ValueError, "var"),
]


@pytest.mark.parametrize("call, error, words", WRONG)
def test_wrong_calls_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_every_layer_here_is_float32_in_and_out():
    x = mg.ones(2, 4, 6)
    for layer in (nn.Conv1d(4, 2, 3), nn.ConvTranspose1d(4, 2, 3), nn.PReLU(4), nn.InstanceNorm1d(4, affine=True), nn.MaxPool1d(2),
                  nn.SELU()):
        y = layer(x)
        y.sum().backward() if y.requires_grad else None
        assert y.dtype == np.float32 and all(p.grad.dtype == np.float32 for p in layer.parameters())
