"""CycleGAN's losses at networks whose answers are known, the pool as a distribution, the oracle by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan.translate import Pool, cycle_losses, discriminator_loss, oracle
from minigrad.random import Stream


def pictures(seed=0, n=2):
    return mg.tensor(Stream(seed, "x").normal((n, 3, 4, 4)))


def constant(value):
    return lambda x: mg.full((len(x), 1, 2, 2), value)


@given(p=st.floats(-2, 2), q=st.floats(-2, 2), cycle=st.floats(0, 20), identity=st.floats(0.1, 2))
def test_losses_of_a_translator_that_shifts(p, q, cycle, identity):
    """G adds p, F adds q, the discriminators answer 0.3 and -1: every term in closed form."""
    a, b = pictures(0), pictures(1)
    found, moved = cycle_losses(lambda x: x + p, lambda x: x + q, constant(0.3), constant(-1.0), a, b, cycle=cycle,
                                identity=identity)
    assert found["adversarial"].item() == pytest.approx(0.7**2 + 2**2, rel=1e-5)
    assert found["cycle"].item() == pytest.approx(2 * abs(p + q) * cycle, abs=1e-4)
    assert found["identity"].item() == pytest.approx((abs(p) + abs(q)) * cycle * identity, abs=1e-4)
    np.testing.assert_allclose(moved.fake_b.array, a.array + np.float32(p), atol=1e-6)
    np.testing.assert_allclose(moved.back_b.array, b.array + np.float32(p + q), atol=1e-5)
    assert "identity" not in cycle_losses(lambda x: x, lambda x: x, constant(0.0), constant(0.0), a, b, identity=0)[0]


@given(real=st.floats(-3, 3), fake=st.floats(-3, 3))
def test_the_discriminators_loss(real, fake):
    def d(x):
        return x.mean((1, 2, 3))

    x, y = mg.full((2, 3, 4, 4), real), mg.full((2, 3, 4, 4), fake, requires_grad=True)
    assert discriminator_loss(d, x, y).item() == pytest.approx(((real - 1) ** 2 + fake**2) / 2, rel=1e-4, abs=1e-5)
    assert not discriminator_loss(d, x, y).requires_grad  # nothing here learns: a fake is a constant


# ---- the pool


def numbered(*values):
    return mg.tensor(np.array(values, np.float32).reshape(-1, 1, 1, 1))


def values(images):
    return images.array.ravel().tolist()


def test_until_it_is_full_everything_is_handed_on():
    pool = Pool(5, Stream(0))
    assert [values(pool.draw(numbered(i, i + 1))) for i in (0, 2)] == [[0, 1], [2, 3]] and len(pool.kept) == 4
    assert Pool(0, None).draw(numbered(7)).array.item() == 7


def test_half_are_old_ones_drawn_evenly_and_none_is_lost():
    pool, out = Pool(10, Stream(0)), []
    for i in range(10_000):
        out += values(pool.draw(numbered(i)))
    old = [i - v for i, v in enumerate(out) if v != i]
    assert len(old) / len(out) == pytest.approx(0.5, abs=0.02)
    # a kept picture leaves with probability 1/2 * 1/10 at each step: it is handed on about 20 steps later
    assert np.mean(old) == pytest.approx(20, rel=0.08)
    assert len(set(out)) == len(out) - 10  # each comes out once; those that filled the pool were handed on before as well


@given(cut=st.integers(0, 30), seed=st.integers(0, 99))
def test_a_pool_goes_on_from_any_moment(cut, seed):
    def play(pool, first, last):
        return [values(pool.draw(numbered(i, -i))) for i in range(first, last)]

    whole, stream = Pool(7, Stream(seed)), Stream(seed)
    expected = play(whole, 0, 30)
    one = Pool(7, stream)
    first = play(one, 0, cut)
    two = Pool(7, Stream(1))
    two.load_state_dict(one.state_dict())
    two.rng.load_state_dict(stream.state_dict())
    assert first + play(two, cut, 30) == expected


def test_what_is_kept_is_a_copy():
    pool, images = Pool(2, Stream(0)), numbered(1, 2)
    pool.draw(images)
    images.array[...] = 9
    assert values(mg.tensor(np.stack(pool.kept))) == [1, 2]


# ---- the oracle


def test_oracle_of_the_truth_of_nothing_and_of_a_constant():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9, 1, 3, 3))
    best = oracle(b, b, a)
    assert best.error == 0 and best.rank == 1 and best.better == 1 and best.of == 9
    nothing = oracle(a, b, a)
    assert nothing.error == pytest.approx(nothing.identity) and nothing.better == pytest.approx(0, abs=1e-12)
    same = oracle(np.zeros_like(b), np.ones_like(b), a)  # all candidates tie: the middle place, chance
    assert same.rank == 5
    shifted = oracle(np.roll(b, 1, 0), b, a)
    assert shifted.rank > 1 and shifted.better < 0.2


def test_oracle_refuses_sets_that_do_not_fit():
    with pytest.raises(ValueError, match="one shape"):
        oracle(np.zeros((2, 3)), np.zeros((3, 3)), np.zeros((2, 3)))
