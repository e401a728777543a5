"""nn.utils: PyTorch's states and numbers for weights that are computed; vectors of parameters; padded sequences; old names."""

import copy
import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.gradcheck import check_grads
from minigrad.random import Stream

torch = pytest.importorskip("torch")
TN = torch.nn.utils
RNG = np.random.default_rng(0)
LAYERS = [
    ("Linear", (6, 5), {}, (4, 6)), ("Conv2d", (6, 4, 3), {}, (2, 6, 5, 5)),
    ("Conv2d", (6, 4, 3), {"bias": False, "groups": 2}, (2, 6, 5, 5)), ("ConvTranspose2d", (6, 4, 3, 2), {}, (2, 6, 5, 5)),
    ("Conv1d", (6, 4, 3), {}, (2, 6, 5)), ("ConvTranspose1d", (6, 4, 3), {}, (2, 6, 5)),
]
KINDS = [("spectral_norm", {}), ("spectral_norm", {"n_power_iterations": 3, "eps": 1e-6}), ("spectral_norm", {"dim": 1}),
         ("weight_norm", {}), ("weight_norm", {"dim": 1}), ("weight_norm", {"dim": None})]


def twins(kind, options, layer):
    name, args, kw, _ = layer
    ours = getattr(nn.utils, kind)(getattr(nn, name)(*args, **kw).double(), **options)
    theirs = getattr(TN, kind)(getattr(torch.nn, name)(*args, **kw).double(), **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("kind, options", KINDS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer[0])
@pytest.mark.filterwarnings("ignore")
def test_computed_weights_have_twins(kind, options, layer):
    ours, theirs = twins(kind, options, layer)
    for training in (True, True, False, True):
        ours.train(training), theirs.train(training)
        x = RNG.normal(size=layer[-1])
        a, b = mg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
        y, z = ours(a), theirs(b)
        np.testing.assert_allclose(y.array, z.detach().numpy(), 1e-9, 1e-9)
        g = RNG.normal(size=y.shape)
        ours.zero_grad(), theirs.zero_grad()
        y.backward(mg.tensor(g)), z.backward(torch.tensor(g))
        np.testing.assert_allclose(a.grad.array, b.grad.numpy(), 1e-8, 1e-8)
        for (name, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert name == other
            np.testing.assert_allclose(p.grad.array, q.grad.numpy(), 1e-8, 1e-8, err_msg=name)
        for name, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), 1e-9, err_msg=name)
    before = theirs.eval()(b).detach().numpy()
    getattr(nn.utils, f"remove_{kind}")(ours)
    assert sorted(ours.state_dict()) == sorted(getattr(torch.nn, layer[0])(*layer[1], **layer[2]).state_dict())
    np.testing.assert_allclose(ours(mg.tensor(x)).array, before, 1e-9, 1e-9)


@pytest.mark.parametrize("kind", ["spectral_norm", "weight_norm"])
def test_computed_weights_to_the_second_order_and_in_copies(kind):
    layer = getattr(nn.utils, kind)(nn.Linear(4, 3, rng=Stream(0)).double()).eval()
    hook = next(h for before, h in layer._hooks.values() if before)

    def value(*parts):
        stand_in = copy.deepcopy(layer)
        for (name, _), part in zip(layer.named_parameters(), parts, strict=True):
            stand_in.__dict__[name] = part
        return (hook.compute(stand_in, False) ** 2).sum() + (parts[0] ** 2).sum()

    check_grads(value, [p.array.copy() for p in layer.parameters()], order=2)
    net = nn.Sequential(layer, nn.ReLU()).train()
    net(mg.ones(2, 4).double()).sum().backward()
    clone = copy.deepcopy(net)  # also after a forward
    shadow = optim.EMA(net).module
    with mg.no_grad():
        for other in (clone, shadow):
            np.testing.assert_array_equal(other.eval()(mg.ones(2, 4).double()).array, net.eval()(mg.ones(2, 4).double()).array)
    before = clone(mg.ones(2, 4).double()).array.copy()
    for p in net.parameters():
        p.assign_(p.array * 3 + 1)
    np.testing.assert_array_equal(clone(mg.ones(2, 4).double()).array, before)


@pytest.mark.filterwarnings("ignore")
def test_spectral_norm_stays_pytorchs_over_a_hundred_steps_of_training():
    """Weights, u and v of a critic that learns: each step's power iteration starts where the one before ended."""
    layers = [("Conv2d", (1, 4, 3), {}), ("Conv2d", (4, 6, 3), {"stride": 2}), ("Linear", (6, 1), {})]
    ours = nn.Sequential(*(nn.utils.spectral_norm(getattr(nn, name)(*args, **kw).double()) for name, args, kw in layers))
    theirs = torch.nn.Sequential(*(TN.spectral_norm(getattr(torch.nn, name)(*args, **kw).double()) for name, args, kw in layers))
    ours.load_state_dict(theirs.state_dict())
    adam, twin = optim.Adam(ours.parameters(), 1e-2), torch.optim.Adam(theirs.parameters(), 1e-2)
    for _ in range(100):
        x = RNG.normal(size=(4, 1, 7, 7)) + np.arange(4)[:, None, None, None]
        for net, optimizer, batch, leaky in ((ours, adam, mg.tensor(x), mg.functional.leaky_relu),
                                             (theirs, twin, torch.from_numpy(x), torch.nn.functional.leaky_relu)):
            h = leaky(net[1](leaky(net[0](batch), 0.2)), 0.2).mean((2, 3))
            loss = ((net[2](h)[:, 0] - batch.mean((1, 2, 3))) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), rtol=0, atol=1e-6, err_msg=name)


def test_a_critic_with_spectral_norm_has_lipschitz_constant_one():
    layer = nn.utils.spectral_norm(nn.Conv2d(3, 8, 3, padding=1), rng=Stream(0))
    for _ in range(50):
        layer(mg.ones(1, 3, 4, 4))
    assert np.linalg.svd(layer.weight.array.reshape(8, -1), compute_uv=False)[0] == pytest.approx(1, abs=1e-3)
    optimizer = optim.Adam(layer.parameters(), 0.1)
    (layer(mg.ones(1, 3, 4, 4)) ** 2).sum().backward()
    optimizer.step()
    assert layer.weight_orig.grad is not None and layer.weight.dtype == np.float32


def test_vectors_of_parameters():
    ours, theirs = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    vector = nn.utils.parameters_to_vector(ours.parameters())
    np.testing.assert_array_equal(vector.array, TN.parameters_to_vector(theirs.parameters()).detach().numpy())
    (g,) = mg.grad((vector ** 2).sum(), [ours.weight])
    np.testing.assert_allclose(g.array, 2 * ours.weight.array)
    nn.utils.vector_to_parameters(vector.detach() * 2, ours.parameters())
    np.testing.assert_allclose(ours.bias.array, 2 * theirs.bias.detach().numpy())
    with pytest.raises(ValueError, match=r"must be \(8,\)"):
        nn.utils.vector_to_parameters(mg.ones(7), ours.parameters())


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"padding_value": 2.0}, {"padding_side": "left"}])
def test_pad_sequence(options):
    rows = [RNG.normal(size=(n, 2)) for n in (3, 1, 4)]
    np.testing.assert_array_equal(nn.utils.rnn.pad_sequence([mg.tensor(r) for r in rows], **options).array,
                                  TN.rnn.pad_sequence([torch.tensor(r) for r in rows], **options).numpy())


def test_signatures_are_pytorchs_and_old_names_of_init_exist():
    for name in ("clip_grad_norm_", "clip_grad_value_", "spectral_norm", "weight_norm", "remove_spectral_norm",
                 "remove_weight_norm",
                 "parameters_to_vector", "vector_to_parameters"):
        ours, theirs = (inspect.signature(getattr(lib, name)).parameters for lib in (nn.utils, TN))
        assert [k for k in ours if k != "rng"] == list(theirs), name
    for name in ("uniform_", "normal_", "trunc_normal_", "constant_", "ones_", "zeros_", "eye_", "dirac_", "xavier_uniform_",
                 "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_", "calculate_gain"):
        ours, theirs = (inspect.signature(getattr(lib, name)).parameters for lib in (nn.init, torch.nn.init))
        assert [k for k in ours if k != "rng"] == list(theirs), name
        old = name.removesuffix("_")
        assert not hasattr(torch.nn.init, old) or name in ("ones_", "zeros_", "trunc_normal_") or hasattr(nn.init, old), old
    w = nn.init.sparse_(mg.ones(10, 4), 0.25, generator=Stream(0))
    assert ((w.array == 0).sum(0) == 3).all()
    a, b = (nn.init.xavier_uniform(mg.ones(3, 3), generator=mg.Generator().manual_seed(1)).array for _ in range(2))
    assert np.array_equal(a, b)


def test_functional_by_its_other_name():
    import minigrad.nn.functional as F
    from minigrad.nn.functional import leaky_relu

    assert F.relu is mg.functional.relu and leaky_relu is nn.functional.leaky_relu and "conv2d" in dir(F)


@pytest.mark.parametrize("call, error, words", [
    (lambda: nn.utils.spectral_norm(nn.ReLU()), ValueError, "no parameter 'weight'"),
    (lambda: nn.utils.spectral_norm(3), TypeError, "Module"),
    (lambda: nn.utils.spectral_norm(nn.utils.spectral_norm(nn.Linear(2, 2))), ValueError, "once"),
    (lambda: nn.utils.remove_weight_norm(nn.Linear(2, 2)), ValueError, "no weight_norm"),
    (lambda: nn.utils.parameters_to_vector([]), ValueError, "no parameters"),
    (lambda: nn.utils.rnn.pad_sequence([]), ValueError, "no sequences"),
])
def test_wrong_calls_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()
