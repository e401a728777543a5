"""Datasets written elsewhere: PyTorch's names, defaults and batches. Iterators of one loader are independent."""

import collections
import inspect
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import data as mg_data
from minigrad.random import Generator, Stream, get_rng_state, manual_seed, set_rng_state
from minigrad.utils import data

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="compares with PyTorch")

Point = collections.namedtuple("Point", "x y")
SAMPLES = {  # what __getitem__(i) gives, in either library
    "tensor": lambda lib, i: lib.tensor([float(i), 2.0]), "pair": lambda lib, i: (lib.tensor([[1.0], [i * 0.5]]), i % 3),
    "array": lambda lib, i: np.full((2, 3), i, np.float32), "double array": lambda lib, i: np.full(2, i / 3),
    "numpy scalar": lambda lib, i: np.float32(i) / 7, "bytes array": lambda lib, i: np.full((1, 2), i, np.uint8),
    "integer": lambda lib, i: i, "float": lambda lib, i: i / 3, "bool": lambda lib, i: i % 2 == 0, "string": lambda lib, i: f"s{i}",
    "dict": lambda lib, i: {"image": lib.tensor([1.0 * i]), "label": i, "name": str(i)},
    "nested": lambda lib, i: ([i, (i / 2, np.ones(2))], {"a": [np.int64(i)]}), "named": lambda lib, i: Point(i, lib.tensor([i])),
}


def plain(batch):
    if hasattr(batch, "numpy"):
        return batch.numpy().dtype.name, batch.numpy().tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    if isinstance(batch, np.ndarray):
        return batch.tolist()
    return (type(batch).__name__, [plain(value) for value in batch]) if isinstance(batch, (list, tuple)) else batch


def dataset(base, lib, sample, n=7):
    class Mine(base):
        def __len__(self):
            return n

        def __getitem__(self, i):
            if not 0 <= i < n:
                raise IndexError(i)
            return sample(lib, i)

    return Mine()


@needs_torch
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
@pytest.mark.parametrize("options", [{}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None},
                                     {"batch_size": 4, "num_workers": 0, "pin_memory": False}, {"sampler": [4, 0, 4, 2, 6]},
                                     {"batch_sampler": [[0, 1], [5]]}, {"batch_size": 2, "collate_fn": list}])
def test_batches_are_pytorchs(sample, options):
    ours = data.DataLoader(dataset(data.Dataset, mg, sample), **options)
    theirs = torch.utils.data.DataLoader(dataset(torch.utils.data.Dataset, torch, sample), **options)
    assert [plain(batch) for batch in ours] == [plain(batch) for batch in theirs] and len(ours) == len(theirs)


@needs_torch
def test_names_arguments_and_defaults_are_pytorchs():
    for name in data.__all__:
        ours, theirs = (inspect.signature(getattr(lib, name)).parameters for lib in (data, torch.utils.data))
        for (key, p), (other, q) in zip(ours.items(), theirs.items(), strict=False):
            if p.kind == p.POSITIONAL_OR_KEYWORD == q.kind and name not in ("IterableDataset", "Sampler", "default_collate",
                                                                           "default_convert"):
                assert key == other and (p.default == q.default or key == "generator"), (name, key, other)
    keywords = set(inspect.signature(torch.utils.data.DataLoader).parameters) - set(inspect.signature(data.DataLoader).parameters)
    assert not keywords


def test_any_sequence_will_do_and_an_array_dataset_gives_arrays():
    x, y = mg.tensor(np.arange(12.0, dtype=np.float32).reshape(6, 2)), mg.tensor(np.arange(6))
    for source in (data.TensorDataset(x, y), [(x[i], y[i]) for i in range(6)], data.Subset(data.TensorDataset(x, y), range(6)),
                   data.ConcatDataset([data.TensorDataset(x[:2], y[:2]), data.TensorDataset(x[2:], y[2:])]),
                   data.TensorDataset(x[:4], y[:4]) + data.TensorDataset(x[4:], y[4:])):
        a, b = zip(*data.DataLoader(source, 4, num_workers=8, pin_memory=True), strict=True)
        assert type(a[0]) is mg.Tensor and np.concatenate([t.array for t in a]).tolist() == x.tolist()
        assert np.concatenate([t.array for t in b]).tolist() == y.tolist()
    assert [t.shape for t in data.DataLoader(x, 4)] == [(4, 2), (2, 2)]
    a, b = next(iter(mg_data.DataLoader(mg_data.Dataset(x.array, y.array), 4)))
    assert isinstance(a, np.ndarray) and b.tolist() == [0, 1, 2, 3]

    class Mine(mg_data.Dataset):  # a subclass that gives something else is asked for it
        def __getitem__(self, index):
            return mg.tensor([float(index)])

    assert next(iter(data.DataLoader(Mine(x.array), 2))).tolist() == [[0.0], [1.0]]


def test_iterable_datasets():
    class Stream3(data.IterableDataset):
        def __iter__(self):
            return iter(range(7))

    assert [b.tolist() for b in data.DataLoader(Stream3(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in data.DataLoader(Stream3(), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]


# ---- orders


def rows(loader):
    return [b.tolist() for b in loader]


def test_shuffled_orders_follow_manual_seed_and_generators():
    loader = data.DataLoader(list(range(20)), 5, True)
    assert loader.shuffle
    first, again = (manual_seed(3) and rows(loader) for _ in range(2))
    assert first == again != rows(loader) and sorted(sum(first, [])) == list(range(20))
    with_generator = data.DataLoader(list(range(20)), 5, True, generator=Generator().manual_seed(1))
    other = data.DataLoader(list(range(20)), 5, True, generator=Generator().manual_seed(1))
    assert rows(with_generator) == rows(other) and rows(with_generator) == rows(other)
    assert rows(data.DataLoader(list(range(20)), 5, True, generator=Stream(1))) == rows(
        data.DataLoader(list(range(20)), 5, True, rng=Stream(1)))


@given(st.integers(0, 6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_loader_without_a_stream_resumes_with_the_default_streams_state(steps, generic):
    source = list(range(10)) if generic else np.arange(10)
    take = (lambda b: b.tolist()) if generic else (lambda b: b[0].tolist())
    loader = data.DataLoader(source, 4, shuffle=True)
    endless = loader.forever()
    for _ in range(steps):
        next(endless)
    state = json.loads(json.dumps([loader.state_dict(), get_rng_state()]))
    expected = [take(next(endless)) for _ in range(7)]
    manual_seed(99)
    other = data.DataLoader(source, 4, shuffle=True)
    other.load_state_dict(state[0])
    set_rng_state(state[1])
    endless = other.forever()
    assert [take(next(endless)) for _ in range(7)] == expected


@pytest.mark.parametrize("stream", ["data", "unseeded", "numpy"])
def test_states_saved_by_earlier_versions_go_on_as_they_did(stream):
    state = {"epoch": 2, "batch": 1, "seed": 11, "stream": "data" if stream == "numpy" else stream, "rows": 10, "batch_size": 4,
             "shuffle": True, "drop_last": True}
    rng = {"data": Stream(0, "data"), "unseeded": None, "numpy": np.random.default_rng(0)}[stream]
    loader = mg_data.DataLoader(np.arange(10), 4, shuffle=True, drop_last=True, rng=rng)
    loader.load_state_dict(state)
    orders = [Stream(11, state["stream"]).child(f"epoch {e}").permutation(10) for e in (2, 3, 4)]
    assert [x.tolist() for _ in range(3) for x, _ in loader] == [o[4 * b:4 * b + 4].tolist() for i, o in enumerate(orders)
                                                               for b in range(i == 0, 2)]


# ---- independence


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=60), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_iterators_of_one_loader_are_independent(plan, shuffle, named):
    """Up to four at once, advanced in any order, dropped at any moment: each sees every row once, in an order of its own."""
    loader = data.DataLoader(list(range(24)), 4, shuffle, rng=Stream(0, "data") if named else None)
    under_way, orders = {}, []
    for key, drop in plan:
        iterator, seen = under_way.setdefault(key, (iter(loader), []))
        batch = next(iterator, None)
        if batch is not None:
            seen.append(tuple(batch.tolist()))
        if batch is None or drop:
            if batch is None:
                assert sorted(sum(seen, ())) == list(range(24))
            orders.append(seen)
            del under_way[key]
    orders += [seen for _, seen in under_way.values()]
    firsts = [seen[0] for seen in orders if seen]
    assert len(set(firsts)) == (len(firsts) if shuffle else 1)


def test_zip_nesting_and_two_that_never_end():
    loader = data.DataLoader(list(range(8)), 2, shuffle=True, rng=Stream(0, "data"))
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)]
    for side in zip(*pairs, strict=True):
        assert sorted(sum(side, [])) == list(range(8))
    assert any(a != b for a, b in pairs)
    inner = [[b.tolist() for b in loader] for _ in loader]
    assert len(inner) == 4 and all(sorted(sum(order, [])) == list(range(8)) for order in inner)
    a, b = loader.forever(), loader.forever()
    seen = [(next(a).tolist(), next(b).tolist()) for _ in range(8)]
    for side in zip(*seen, strict=True):
        assert sorted(sum(side[:4], [])) == sorted(sum(side[4:], [])) == list(range(8))
    assert [s[0] for s in seen] != [s[1] for s in seen]


def test_an_iterator_that_never_began_takes_nothing():
    loader, other = (data.DataLoader(list(range(8)), 2, shuffle=True, rng=Stream(0, "data")) for _ in range(2))
    iter(loader), loader.forever()
    assert rows(loader) == rows(other)


# ---- splits and samplers


@pytest.mark.filterwarnings("ignore:Length of split")
@given(st.integers(0, 40), st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(max_examples=50)
def test_random_split_by_fractions(n, shares):
    fractions = [s / sum(shares) for s in shares]
    parts = data.random_split(list(range(n)), fractions, generator=Stream(0))
    assert sorted(sum((list(p) for p in parts), [])) == list(range(n))
    if torch:
        assert list(map(len, parts)) == list(map(len, torch.utils.data.random_split(list(range(n)), fractions)))


def test_random_split_of_an_array_dataset_stays_one():
    parts = data.random_split(mg_data.Dataset(np.arange(10), np.arange(10)), [7, 3])
    assert [type(p) for p in parts] == [mg_data.Dataset] * 2 and sorted([*parts[0].y, *parts[1].y]) == list(range(10))


def test_samplers():
    manual_seed(0)
    assert sorted(data.RandomSampler(range(5))) == list(range(5)) and list(data.SequentialSampler("abc")) == [0, 1, 2]
    assert len(list(data.RandomSampler(range(5), num_samples=12))) == 12
    assert set(data.RandomSampler(range(3), True, 50)) == {0, 1, 2}
    assert sorted(data.SubsetRandomSampler([4, 9, 2])) == [2, 4, 9]
    assert set(data.WeightedRandomSampler([0, 1, 0, 3], 50)) == {1, 3}
    assert list(data.BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    loader = data.DataLoader(list(range(9)), 2, sampler=data.SubsetRandomSampler([4, 9 - 1, 2]))
    assert sorted(sum(rows(loader), [])) == [2, 4, 8] and len(loader) == 2


@pytest.mark.parametrize("call, error, words", [
    (lambda: data.DataLoader(5), TypeError, "__len__ and __getitem__"),
    (lambda: data.DataLoader([1], 2, drop_last=True), ValueError, "1 rows"),
    (lambda: data.DataLoader([1, 2], 1, "yes"), TypeError, "shuffle"),
    (lambda: data.DataLoader([1], sampler=[0], shuffle=True), ValueError, "not both"),
    (lambda: data.DataLoader([1], batch_sampler=[[0]], batch_size=2), ValueError, "decides alone"),
    (lambda: data.DataLoader([1], transform=abs), ValueError, "__getitem__"),
    (lambda: data.DataLoader([], shuffle=True), ValueError, "empty"),
    (lambda: data.DataLoader([1], rng=Stream(0), generator=Stream(0)), ValueError, "not both"),
    (lambda: rows(data.DataLoader([np.ones(2), np.ones(3)], 2)), ValueError, "one shape.*collate_fn"),
    (lambda: rows(data.DataLoader([object()])), TypeError, "collate_fn"),
    (lambda: rows(data.DataLoader([None])), TypeError, "NoneType"),
    (lambda: data.TensorDataset(mg.ones(2), mg.ones(3)), ValueError, "one length"),
    (lambda: data.TensorDataset(), ValueError, "at least"),
    (lambda: data.random_split([1, 2], [1, 2]), ValueError, "add up to 3"),
    (lambda: data.Dataset()[0], NotImplementedError, "getitem"),
    (lambda: data.WeightedRandomSampler([0, 0], 1), ValueError, "weights"),
    (lambda: data.ConcatDataset([[1]])[1], IndexError, "range"),
])
def test_wrong_calls_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()
