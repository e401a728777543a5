"""DataLoader: each row once an epoch, exact values and layout, exact resume at any batch."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.data import DataLoader, Dataset
from minigrad.random import Stream


def numbers(n, labels=True):
    return Dataset(np.arange(2 * n, dtype=np.float32).reshape(n, 2), np.arange(n) if labels else None)


options = st.fixed_dictionaries({"batch_size": st.integers(1, 9), "shuffle": st.booleans(), "drop_last": st.booleans()})


def make(n, options, seed=0):
    options = {**options, "batch_size": min(n, options["batch_size"])}
    return DataLoader(numbers(n), rng=Stream(seed, "data"), **options)


@given(st.integers(1, 30), options)
def test_an_epoch_has_every_row_once(n, options):
    loader = make(n, options)
    seen = [y for _, y in loader]
    size = loader.batch_size
    assert len(seen) == len(loader) == (n // size if loader.drop_last else -(-n // size))
    rows = np.concatenate(seen) if seen else np.array([])
    assert len(set(rows.tolist())) == len(rows) == (n // size * size if loader.drop_last else n)
    assert loader.epoch == 1 and loader.batch == 0
    if not loader.shuffle:
        assert rows.tolist() == list(range(len(rows)))


@given(st.integers(1, 30), options, st.integers(0, 25), st.integers(0, 25))
@settings(max_examples=80)
def test_resume_at_any_batch_gives_the_rest(n, options, before, after):
    loader = make(n, options)
    endless = loader.forever()
    for _ in range(before):
        next(endless)
    state = json.loads(json.dumps(loader.state_dict()))
    expected = [next(endless) for _ in range(after)]
    other = make(n, options, seed=1)  # the seed is taken over
    other.load_state_dict(state)
    endless = other.forever()
    for x, y in expected:
        x2, y2 = next(endless)
        assert np.array_equal(x, x2) and np.array_equal(y, y2)


def test_for_loops_resume_the_rest_of_the_epoch():
    loader, other = (DataLoader(numbers(20), 4, shuffle=True, drop_last=True, rng=Stream(0, "data")) for _ in range(2))
    seen = []
    for _, y in loader:
        seen.append(y.tolist())
        if len(seen) == 2:
            state = loader.state_dict()
    other.load_state_dict(state)
    assert [y.tolist() for _, y in other] == seen[2:]
    assert [y.tolist() for _, y in other] == [y.tolist() for _, y in loader] and other.epoch == loader.epoch == 2


def test_a_loop_that_was_left_starts_the_next_epoch():
    loader, other = (DataLoader(numbers(20), 4, shuffle=True, drop_last=True, rng=Stream(0, "data")) for _ in range(2))
    next(iter(loader))
    list(other)
    assert [y.tolist() for _, y in loader] == [y.tolist() for _, y in other]


def test_epochs_differ_and_depend_on_the_seed_only():
    orders = [[y.tolist() for _, y in make(50, {"batch_size": 10, "shuffle": True, "drop_last": True}, seed)]
              for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    loader = make(50, {"batch_size": 10, "shuffle": True, "drop_last": True})
    loader.rng.normal(100)  # what else is drawn from the stream does not matter
    assert [y.tolist() for _, y in loader] == orders[0] != [y.tolist() for _, y in loader]


def test_images_become_channels_last_float32():
    pixels = Stream(0, "x").integers(0, 256, (10, 3, 5, 4)).astype(np.uint8)
    pixels[0, 0, 0, :2] = 0, 255
    x, y = next(iter(DataLoader(pixels, 10, shuffle=False)))
    assert y is None and x.dtype == np.float32 and x.shape == (10, 3, 5, 4)
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous
    assert x[0, 0, 0, 0] == -1 and x[0, 0, 0, 1] == 1
    assert np.allclose(x, pixels / 127.5 - 1, atol=1e-6)
    x, _ = next(iter(DataLoader(pixels, 10, shuffle=False, value_range=(0, 1))))
    assert x.min() == 0 and x.max() == 1 and np.allclose(x, pixels / 255, atol=1e-6)
    assert np.array_equal(Dataset(pixels).normalised((0, 1)), x)


def test_transform_numpy_generator_and_tuple():
    data = np.ones((6, 2), np.float32), np.arange(6)
    loader = DataLoader(data, 3, shuffle=True, rng=np.random.default_rng(0), transform=lambda x: x * 2)
    same = DataLoader(data, 3, shuffle=True, rng=np.random.default_rng(0))
    for (x, y), (_, y2) in zip(loader, same, strict=True):
        assert (x == 2).all() and np.array_equal(y, y2)


def test_text_windows():
    codes = Dataset(np.arange(20), classes=[chr(97 + i) for i in range(20)])
    windows = codes.windows(5)
    x, y = next(iter(DataLoader(windows, 3, shuffle=False)))
    assert x.dtype == y.dtype == np.int64 and x[1].tolist() == [5, 6, 7, 8, 9] and y[1].tolist() == [6, 7, 8, 9, 10]
    assert len(codes.windows(5, stride=1)) == 15 and codes.text(x[0]) == "abcde"
    for length in (0, 20):
        with pytest.raises(ValueError, match="windows"):
            codes.windows(length)


def test_dataset_parts():
    data = numbers(10)
    first, second = data.split(0.3, seed=1)
    assert len(first) == 7 and len(second) == 3 and sorted([*first.y, *second.y]) == list(range(10))
    assert data[3][1] == 3 and data[2:4][0].shape == (2, 2) and numbers(3, labels=False)[0][1] is None
    assert "10 x (2,)" in repr(data)


@pytest.mark.parametrize("call, error, words", [
    (lambda: DataLoader(numbers(3), 4, drop_last=True), ValueError, "batch_size=4 but data has 3 rows"),
    (lambda: DataLoader(numbers(3), 0), ValueError, "batch_size"),
    (lambda: DataLoader(numbers(3), 1.5), ValueError, "1.5"),
    (lambda: DataLoader(numbers(3).subset(slice(0)), 1), ValueError, "empty"),
    (lambda: DataLoader(numbers(3), 1, value_range=(1, 1)), ValueError, "value_range"),
    (lambda: DataLoader(numbers(3), 1, rng=3), TypeError, "rng"),
    (lambda: Dataset(np.array([None])), TypeError, "object"),
    (lambda: Dataset(np.ones(3), np.ones(3)), TypeError, "integers"),
    (lambda: Dataset(np.ones(3), np.arange(2)), ValueError, "3 rows of x but 2 labels"),
    (lambda: numbers(3).split(1.5), ValueError, "fraction"),
    (lambda: numbers(3).windows(1), ValueError, "text"),
    (lambda: DataLoader(numbers(3), 1).load_state_dict({}), ValueError, "not the state"),
])
def test_wrong_calls_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("change, words", [
    ({"batch_size": 2}, "batch_size=2, this loader has 4"), ({"rows": 21}, "rows"), ({"shuffle": False}, "shuffle"),
    ({"batch": 5}, "position"), ({"epoch": -1}, "position"), ({"stream": "other"}, "stream"),
])
def test_state_of_another_loader_is_refused(change, words):
    loader = DataLoader(numbers(20), 4, shuffle=True, drop_last=True, rng=Stream(0, "data"))
    with pytest.raises(ValueError, match=words):
        loader.load_state_dict({**loader.state_dict(), **change})
