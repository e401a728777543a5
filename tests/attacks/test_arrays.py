"""Small tools for arrays: what goes in as a Tensor comes out as one, and a count is an integer."""

import numpy as np
import pytest

import minigrad as mg
from attacks.core.arrays import alike, at_rows, choose, flat, host, joined, raw, replaced, rows_of, whole


def test_a_count_is_an_integer_of_at_least_one_and_comes_back_as_an_int():
    assert whole("f", steps=3) == 3 and whole("f", steps=np.int64(3), tries=2.0) == (3, 2)
    assert isinstance(whole("f", steps=4.0), int) and whole("f", least=0, steps=0) == 0
    for wrong in (0, -1, 2.5, True, np.inf, np.nan, "3", None, [3]):
        with pytest.raises(ValueError, match="f: steps must be an integer >= 1"):
            whole("f", steps=wrong)
    with pytest.raises(ValueError, match="tries must be an integer >= 2"):
        whole("f", least=2, steps=2, tries=1)


@pytest.mark.parametrize("kind", [np.asarray, mg.tensor])
def test_what_is_given_decides_the_type_of_what_comes_back(kind):
    x, y = np.arange(12.0).reshape(3, 2, 2), np.zeros((3, 2, 2))
    given, mask = kind(x), np.array([True, False, True])
    for value, wanted in (
        (choose(mask, kind(y), given), np.where(mask[:, None, None], y, x)),
        (at_rows(given, [2, 0]), x[[2, 0]]), (joined([given, kind(y)]), np.concatenate([x, y])),
        (replaced(given, [1], kind(y[:1])), np.concatenate([x[:1], y[:1], x[2:]])),
        (alike(kind(x.astype(np.float32)), x), x.astype(np.float32)),
    ):
        assert type(value) is type(given) and np.array_equal(host(raw(value)), wanted)
        assert host(raw(value)).dtype == wanted.dtype
    assert np.array_equal(host(raw(given)), x)  # copies, not changes


def test_an_empty_batch_is_flat_and_a_value_for_each_row_broadcasts():
    assert flat(np.zeros((0, 3, 2))).shape == (0, 6)
    x = np.zeros((2, 3, 2), np.float32)
    assert rows_of(np.array([1.0, 2.0]), x).shape == (2, 1, 1) and rows_of([1, 2], x).dtype == np.float32
    assert isinstance(rows_of(np.float64(2), x), float)
