"""axis and keepdims, as NumPy's users type them, in every function that has dim or keepdim; a name given twice is an error."""

import inspect

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F

OWN = {"dim", "dims", "dim0", "dim1", "dim2", "keepdim"}
SKIPPED = {"size"}  # Tensor.size(dim): in NumPy a number, and no function
INDEX = np.array([[0, 1, 0], [1, 0, 1]])
MORE = {  # arguments beside dim that a call on a tensor (2, 3) needs
    **dict.fromkeys(("cosine_similarity", "pairwise_distance"), lambda x: {"x2": x * 2}),
    "cross": lambda x: {"other": x * 2}, "topk": lambda x: {"k": 1}, "kthvalue": lambda x: {"k": 1},
    "narrow": lambda x: {"start": 1, "length": 1}, "split": lambda x: {"split_size": 1}, "chunk": lambda x: {"chunks": 2},
    "unflatten": lambda x: {"sizes": (3, 1)}, "roll": lambda x: {"shifts": 1}, "gather": lambda x: {"index": mg.tensor(INDEX)},
    "gumbel_softmax": lambda x: {"rng": mg.random.Stream(0)}, "index_select": lambda x: {"index": mg.tensor([0, 1])},
    **dict.fromkeys(("scatter", "scatter_", "scatter_add", "scatter_add_"),
                    lambda x: {"index": mg.tensor(INDEX), "src": x.detach()}),
    "index_add": lambda x: {"index": mg.tensor([0, 1, 0]), "source": x.detach()},
}
PLACES = {"dims": (1,), "dim0": 0, "dim1": 1, "dim": 1, "keepdim": True, "dim2": 1}
FIRST = {"diagonal": {"dim1": 1, "dim2": 0}, "permute": {"dims": (1, 0)}, "squeeze": {"dim": 0}, "squeeze_": {"dim": 0},
         "pairwise_distance": {"keepdim": True}, "unsqueeze_": {"dim": 1}}
THEIRS = {"dims": "axis", "keepdim": "keepdims"}


def functions():
    for where in (mg, F, mg.Tensor):
        for name in dir(where):
            f = getattr(where, name, None)
            if name.startswith("_") or name in SKIPPED or not callable(f) or inspect.isclass(f):
                continue
            try:
                found = [p for p in inspect.signature(f).parameters if p in OWN]
            except (TypeError, ValueError):
                continue
            if found:
                yield where, name, found


ALL = {f"{where.__name__}.{name}": (getattr(where, name), name, found) for where, name, found in functions()}


def arguments(name):
    x = mg.tensor(np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32))
    x = [x, x * 3] if name in ("cat", "concat", "stack") else x
    if name == "glu":
        x = mg.tensor(np.arange(8, dtype=np.float32).reshape(2, 4))
    return x, MORE.get(name, lambda x: {})(x)


def arrays(out):
    return [np.asarray(t.array) for t in (out if isinstance(out, (tuple, list)) else [out])]


@pytest.mark.parametrize("label", ALL)
def test_numpys_names_mean_what_pytorchs_mean(label):
    f, name, found = ALL[label]
    own = FIRST.get(name, {p: PLACES[p] for p in found})
    theirs = {"axes" if name == "permute" else THEIRS.get(k, k.replace("dim", "axis")): v for k, v in own.items()}
    x, more = arguments(name)
    expected = arrays(f(x, **more, **own))
    x, more = arguments(name)  # those whose names end in _ have changed the first
    got = arrays(f(x, **more, **theirs))
    assert len(got) == len(expected)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(got, expected, strict=True))
    called = {"concat": "cat", "swapaxes": "transpose"}.get(name, name)
    for k, other in zip(own, theirs, strict=True):
        x, more = arguments(name)
        with pytest.raises(TypeError, match=f"{called}: .*two names of one"):
            f(x, **more, **own, **{other: own[k]})


def test_a_place_and_a_name_are_one_argument_too():
    x = mg.ones(2, 3)
    for call in (lambda: x.sum(0, axis=1), lambda: x.mean(0, True, keepdims=True), lambda: mg.softmax(x, 0, axis=0),
                 lambda: x.permute(1, 0, axes=(0, 1))):
        with pytest.raises(TypeError, match="two names of one argument; give it once"):
            call()


def test_derivatives_go_through():
    x = mg.randn(2, 3, requires_grad=True)
    (g,) = mg.grad((x.sum(axis=0, keepdims=True) ** 2).sum(), [x])
    assert np.allclose(g.array, 2 * x.array.sum(axis=0, keepdims=True).repeat(2, 0))
