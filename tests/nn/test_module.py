"""Module: registration, walking, state, errors; containers; hooks."""

import copy
import gc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import checkpoint, nn
from minigrad.random import Stream


class Block(nn.Module):
    def __init__(self, rng=None):
        super().__init__()
        self.first = nn.Linear(3, 4, rng=rng)
        self.register_buffer("count", np.zeros((), np.int64))
        self.scale = nn.Parameter([1.0, 2.0])
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("scratch", mg.zeros(2), persistent=False)

    def forward(self, x):
        return self.norm(self.first(x)) * self.scale.sum()


def test_names_come_in_pytorchs_order_own_parameters_then_buffers_then_children():
    block = Block()
    assert list(block.state_dict()) == ["scale", "count", "first.weight", "first.bias", "norm.weight", "norm.bias",
                                        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert [n for n, _ in block.named_parameters()] == ["scale", "first.weight", "first.bias", "norm.weight",
                                                        "norm.bias"]
    assert [n for n, _ in block.named_buffers()] == ["count", "scratch", "norm.running_mean", "norm.running_var",
                                                     "norm.num_batches_tracked"]
    assert [n for n, _ in block.named_modules()] == ["", "first", "norm"]
    assert [n for n, _ in block.named_children()] == ["first", "norm"]
    assert block.get_submodule("norm") is block.norm
    assert block.norm.num_batches_tracked.dtype == np.int64


def test_parameters_carry_their_path_and_errors_use_it():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    assert [p.name for p in net.parameters()] == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]
    loss = net(mg.ones(1, 2)).sum()
    net[1][0].weight.assign_(0)
    with pytest.raises(RuntimeError, match=r"'1\.0\.weight'.*modified in place"):
        loss.backward()


def test_a_shared_parameter_appears_once_and_under_both_names_in_the_state():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert {"0.weight", "2.weight"} <= set(net.state_dict())
    twice = nn.ModuleList([net[0], net[0]])
    assert len(list(twice.modules())) == 2 and len(list(twice.parameters())) == 2
    assert set(twice.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_train_and_eval_belong_to_each_module():
    net = Block()
    net.norm.eval()
    assert net.training and net.first.training and not net.norm.training
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    with pytest.raises(TypeError, match="mode"):
        net.train("yes")


def test_state_travels_through_a_checkpoint_and_is_a_copy(tmp_path):
    source, target = Block(Stream(0, "a")), Block(Stream(0, "b"))
    source(mg.tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)))
    state = source.state_dict()
    source.scale.assign_(9)
    assert state["scale"].tolist() == [1.0, 2.0]
    checkpoint.save(tmp_path / "x.npz", state)
    checkpoint.save_weights(tmp_path / "w.npz", state)
    for loaded in (checkpoint.load(tmp_path / "x.npz"), checkpoint.load_weights(tmp_path / "w.npz")):
        result = target.load_state_dict(loaded)
        assert result.missing_keys == result.unexpected_keys == []
        for name, value in target.state_dict().items():
            np.testing.assert_array_equal(value, state[name])
            assert value.dtype == state[name].dtype
    assert target.norm.num_batches_tracked.item() == 1


def test_numbers_that_the_module_cannot_hold_are_refused_and_nothing_is_written():
    net = nn.Linear(2, 1)
    before = {name: np.asarray(value) for name, value in net.state_dict().items()}
    for bad in ([[1e39, 0]], [[0, -1e300]], [[float(np.finfo(np.float32).max) * (1 + 1e-7), 0]]):
        with pytest.raises(ValueError, match="weight holds numbers that are infinite as float32"):
            net.load_state_dict({"weight": np.array(bad), "bias": np.zeros(1)})
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())
    largest = np.array([[np.finfo(np.float32).max, np.nan]], np.float64)
    net.load_state_dict({"weight": largest, "bias": np.array([np.inf])})  # what is no number already stays what it is
    assert np.array_equal(net.weight.array, largest.astype(np.float32), equal_nan=True)


def test_load_state_dict_lists_everything_wrong_and_writes_nothing():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = net.state_dict()
    wrong = {**{k: v + 1 for k, v in before.items()}, "0.weight": np.zeros((3, 5)), "extra": np.zeros(2)}
    del wrong["1.bias"]
    with pytest.raises(ValueError) as error:
        net.load_state_dict(wrong)
    assert str(error.value) == (
        "Sequential.load_state_dict: missing: 1.bias; unexpected: extra; wrong shape: 0.weight: (3, 5) given, "
        "(3, 2) needed (strict=False skips names that only one side has)")
    with pytest.raises(ValueError, match=r"wrong shape: 0\.weight"):
        net.load_state_dict(wrong, strict=False)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    del wrong["0.weight"]
    result = net.load_state_dict(wrong, strict=False)
    assert result.missing_keys == ["0.weight", "1.bias"] and result.unexpected_keys == ["extra"]
    np.testing.assert_array_equal(net[0].bias.array, before["0.bias"] + 1)
    with pytest.raises(TypeError, match="dict"):
        net.load_state_dict([1])
    with pytest.raises(TypeError, match="no real number"):
        net.load_state_dict({**before, "0.bias": np.array(["a", "b", "c"])})


def test_batch_norms_counter_may_be_missing_as_in_old_files():
    state = nn.BatchNorm2d(2).state_dict()
    del state["num_batches_tracked"]
    nn.BatchNorm2d(2).load_state_dict(state)
    nn.Sequential(nn.BatchNorm2d(2)).load_state_dict({f"0.{k}": v for k, v in state.items()})


def test_loading_bumps_versions_and_keeps_dtype():
    layer = nn.Linear(2, 2).double()
    version = layer.weight.version
    layer.load_state_dict({"weight": np.ones((2, 2), np.float32), "bias": [1, 2]})
    assert layer.weight.dtype == np.float64 and layer.weight.version == version + 1


def test_to_changes_dtype_in_place_and_leaves_integers():
    net = Block()
    weight = net.first.weight
    net(mg.ones(2, 3) * mg.tensor([[1.0], [2.0]])).sum().backward()
    net.double()
    assert net.first.weight is weight and weight.dtype == weight.grad.dtype == np.float64
    assert net.count.dtype == np.int64 and net.norm.running_mean.dtype == np.float64
    assert net.float().first.weight.dtype == np.float32
    with pytest.raises(TypeError, match="int64"):
        net.to(np.int64)
    assert weight.dtype == np.float32


def test_requires_grad_zero_grad_apply():
    net = Block()
    assert net.requires_grad_(False) is net and not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(mg.tensor(np.eye(3, dtype=np.float32))).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all((p.grad.array == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    order = []
    assert net.apply(lambda m: order.append(type(m).__name__)) is net
    assert order == ["Linear", "BatchNorm1d", "Block"]


def test_repr_is_pytorchs():
    net = nn.Sequential(nn.Linear(2, 3), nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Linear(1, 1, bias=False)]))
    assert repr(net) == """Sequential(
  (0): Linear(in_features=2, out_features=3, bias=True)
  (1): ModuleList(
    (0-1): 2 x ReLU()
    (2): Linear(in_features=1, out_features=1, bias=False)
  )
)"""
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.Parameter([1.0])) == "Parameter containing:\ntensor([1.], requires_grad=True)"


def test_assigning_before_init_says_so():
    class Wrong(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)
            super().__init__()

    with pytest.raises(AttributeError, match=r"Wrong\.layer .*call super\(\)\.__init__\(\) first"):
        Wrong()

    class Forgotten(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"super\(\)\.__init__\(\)"):
        Forgotten()(1)
    with pytest.raises(AttributeError, match=r"super\(\)\.__init__\(\)"):
        Forgotten().register_buffer("x", None)
    with pytest.raises(AttributeError, match=r"super\(\)\.__init__\(\)"):
        list(Forgotten().parameters())


def test_missing_attributes_and_forbidden_assignments():
    net = Block()
    with pytest.raises(AttributeError, match="Block has no attribute 'frist' .registered: first, count, scale"):
        net.frist  # noqa: B018
    assert not hasattr(net, "nothing")
    with pytest.raises(TypeError, match="scale is registered as a parameter.*not Tensor"):
        net.scale = mg.zeros(2)
    with pytest.raises(TypeError, match="first is registered as a module"):
        net.first = lambda x: x
    with pytest.raises(TypeError, match="count is registered as a buffer"):
        net.count = 3
    net.count = mg.tensor(3)
    net.norm = None
    assert "norm" not in dict(net.named_children()) and "norm.weight" not in net.state_dict()
    del net.scale
    net.scale = 7
    assert "scale" not in net.state_dict()
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(1)


def test_registration_errors():
    net = nn.Module()
    for name in ("", "a.b", 3):
        with pytest.raises(KeyError, match="without '.'"):
            net.register_buffer(name, mg.zeros(1))
    with pytest.raises(KeyError, match="already an attribute"):
        net.register_module("forward", nn.ReLU())
    with pytest.raises(TypeError, match="Parameter or None"):
        net.register_parameter("w", mg.zeros(1))
    with pytest.raises(TypeError, match="Module or None"):
        net.register_module("m", mg.zeros(1))
    with pytest.raises(AttributeError, match="no module '0.1'"):
        nn.Sequential(nn.ReLU()).get_submodule("0.1")
    with pytest.raises(TypeError, match="floating-point"):
        nn.Parameter(np.arange(3))


def test_results_on_parameters_are_plain_tensors():
    w = nn.Parameter([1.0, 2.0])
    assert isinstance(w, nn.Parameter) and w.requires_grad
    assert type(w * 2) is mg.Tensor and type(w.detach()) is mg.Tensor
    source = np.ones(2, np.float32)
    nn.Parameter(source).assign_(0)
    assert source.tolist() == [1, 1]


def test_deepcopy_is_independent_and_keeps_shared_parameters_shared():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    twin = copy.deepcopy(net)
    assert twin[0].weight is twin[1].weight and twin[0].weight is not net[0].weight
    twin[0].weight.assign_(0)
    assert not (net[0].weight.array == 0).any()
    assert repr(twin) == repr(net)


def test_sequential_as_a_list():
    a, b, c = nn.ReLU(), nn.Linear(1, 1), nn.Tanh()
    net = nn.Sequential(a, b, a)
    assert len(net) == 3 and net[-1] is a and list(net) == [a, b, a] and list(net[:2]) == [a, b]
    assert len(net[0:3]) == 3
    net.append(c).insert(0, c)
    assert list(net) == [c, a, b, a, c] and list(dict(net.named_modules(remove_duplicate=False)))[1:] == list("01234")
    assert net.pop() is c
    del net[0]
    net[0] = c
    assert list(net) == [c, b, a]
    named = nn.Sequential({"conv": b, "act": a})
    assert named.conv is b and list(named.state_dict()) == ["conv.weight", "conv.bias"] and list(named[1:]) == [a]
    with pytest.raises(IndexError, match="out of range for 3"):
        net[3]
    with pytest.raises(TypeError, match="instance, not the class"):
        nn.Sequential(nn.ReLU)


def test_module_dict():
    layers = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    layers["c"] = nn.Tanh()
    assert list(layers) == ["a", "b", "c"] and "b" in layers and len(layers) == 3
    assert list(layers.state_dict()) == ["b.weight", "b.bias"]
    assert [k for k, _ in layers.items()] == list(layers.keys()) and len(list(layers.values())) == 3
    layers.pop("a")
    del layers["c"]
    with pytest.raises(KeyError, match="has no module 'a'; it has b"):
        layers["a"]
    with pytest.raises(KeyError, match="already an attribute"):
        layers["keys"] = nn.ReLU()
    layers.clear()
    assert len(layers) == 0


def test_hooks_see_replace_and_go_away():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    seen = []
    with net[0].register_forward_hook(lambda module, args, out: seen.append((module, out.shape))):
        net(mg.ones(3, 2))
    handle = net[1].register_forward_pre_hook(lambda module, args: (args[0] * 0 - 1,))
    assert (net(mg.ones(3, 2)).array == 0).all()
    with net.register_forward_hook(lambda module, args, out: out + 5):
        assert (net(mg.ones(1, 2)).array == 5).all()
    handle.remove()
    handle.remove()
    assert seen == [(net[0], (3, 2))] and not net._hooks


def test_identity_hands_on_anything():
    x = mg.ones(2)
    assert nn.Identity(3, wild=True)(x) is x and repr(nn.Identity(1)) == "Identity()"


def test_a_network_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
        alive = [weakref.ref(p) for p in net.parameters()]
        net(mg.tensor(np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32))).sum().backward()
        del net
        assert all(ref() is None for ref in alive)
    finally:
        gc.enable()


def test_a_numpy_scalar_makes_a_parameter_that_can_be_assigned():
    p = nn.Parameter(np.float64(2))
    assert isinstance(p.array, np.ndarray) and p.shape == ()
    assert p.assign_(3).item() == 3.0
