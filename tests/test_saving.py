"""save and load: the same tree back, kinds of its leaves included; nothing that is code goes in or comes out."""

import argparse
import collections
import io
import pathlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim
from minigrad.checkpoint import CheckpointError, save_weights
from minigrad.checkpoint import save as save_tree

array = st.sampled_from([np.float32, np.float64, np.int64, np.bool_]).flatmap(
    lambda kind: st.lists(st.integers(0, 3), max_size=3).map(lambda shape: np.ones(shape, kind)))
leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), array,
                 array.map(mg.tensor),
                 st.just(1.5).map(lambda v: mg.tensor(v, requires_grad=True)), st.just([1.0]).map(nn.Parameter))
tree = st.recursive(leaf, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple),
    st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=3),
    st.dictionaries(st.text(max_size=4), inner, max_size=3).map(collections.OrderedDict)), max_leaves=12)


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, mg.Tensor):
        assert a.requires_grad == b.requires_grad
        a, b = a.array, b.array
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        [same(a[key], b[key]) for key in a]
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        [same(x, y) for x, y in zip(a, b, strict=True)]
    else:
        assert a == b


@given(tree)
@settings(max_examples=100, deadline=None)
def test_a_tree_comes_back_as_it_was(tmp_path_factory, obj):
    path = tmp_path_factory.mktemp("saved") / "tree.pth"
    mg.save(obj, path)
    same(mg.load(path, weights_only=True), obj)
    file = io.BytesIO()
    mg.save(obj, file)
    file.seek(0)
    same(mg.load(file, map_location="cpu"), obj)


def test_a_whole_training_run_goes_on_from_its_file(tmp_path):
    def parts():
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU() if hasattr(nn, "PReLU") else nn.ReLU(), nn.Linear(4, 1))
        opt = optim.Adam(net.parameters(), 0.1)
        return net, opt, optim.lr_scheduler.StepLR(opt, 2)

    def train(net, opt, scheduler):
        for _ in range(3):
            opt.zero_grad()
            (net(x) ** 2).mean().backward()
            opt.step()
            scheduler.step()

    x = mg.tensor(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    net, opt, scheduler = parts()
    train(net, opt, scheduler)
    mg.save({"epoch": 3, "net": net.state_dict(), "opt": opt.state_dict(), "scheduler": scheduler.state_dict()},
            tmp_path / "run.pt")
    other = parts()
    found = mg.load(str(tmp_path / "run.pt"), map_location=lambda storage, loc: storage)
    for part, key in zip(other, ("net", "opt", "scheduler"), strict=True):
        part.load_state_dict(found[key])
    train(net, opt, scheduler)
    train(*other)
    same(other[0].state_dict(), net.state_dict())


OPTIMISER = optim.SGD([nn.Parameter([1.0])], 0.1)


@pytest.mark.parametrize("obj, words", [
    (nn.Linear(2, 2), r"Save net\.state_dict\(\)"), ({"model": nn.ReLU()}, r"obj\['model'\] is a ReLU.*net\.state_dict\(\)"),
    ([OPTIMISER], r"Save optimizer\.state_dict"), ({"s": optim.lr_scheduler.StepLR(OPTIMISER, 1)}, r"state_dict\(\)"),
    ({"args": argparse.Namespace(a=1)}, r"vars"), ({1.5: 2}, "keys must be str or int"), ({(1, 2): 3}, "keys"),
    (lambda: 1, "function"), ({1, 2}, "set"), (object(), "object"),
])
def test_what_is_no_data_is_refused_before_a_file_is_touched(tmp_path, obj, words):
    with pytest.raises(TypeError, match=words):
        mg.save(obj, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_cycle_and_swapped_arguments_are_said(tmp_path):
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="cycle"):
        mg.save(loop, tmp_path / "file")
    with pytest.raises(TypeError, match=r"save\(obj, path\)"):
        mg.save("file", {"a": 1})


def test_pickles_and_files_of_pytorch_are_refused_with_a_remedy(tmp_path):
    class Trap:
        def __reduce__(self):
            return pathlib.Path(tmp_path / "sprung").touch, ()

    (tmp_path / "trap").write_bytes(pickle.dumps({"w": Trap()}))
    with pytest.raises(CheckpointError, match="never reads pickle.*safetensors"):
        mg.load(tmp_path / "trap", weights_only=False)
    assert not (tmp_path / "sprung").exists()
    torch = pytest.importorskip("torch")
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save({"w": torch.ones(3)}, tmp_path / "theirs.pth", **options)
        with pytest.raises(CheckpointError, match="PyTorch.*In PyTorch, write the weights with"):
            mg.load(tmp_path / "theirs.pth")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"0" * 50, b"hello world, this is text", bytes(200)])
def test_damage_is_one_error(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    for name in ("file", "missing"):
        with pytest.raises(CheckpointError):
            mg.load(tmp_path / name)


def test_trees_and_weights_of_checkpoint_are_read_too(tmp_path):
    save_tree(tmp_path / "tree", {"a": [1, np.ones(2)]})
    same(mg.load(tmp_path / "tree"), {"a": [1, np.ones(2)]})
    for ending in ("npz", "safetensors"):
        save_weights(tmp_path / f"w.{ending}", {"w": np.ones(2, np.float32)})
        same(mg.load(tmp_path / f"w.{ending}"), {"w": np.ones(2, np.float32)})
