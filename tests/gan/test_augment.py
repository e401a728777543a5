"""Augmentation: each kind by what it must keep, gradients of second order, the inverse of what it does to a distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan.regularise.augment import BLIT, COLOUR, MOST, REACH, Adaptive, augment, blit, colour
from minigrad.gradcheck import check_grads
from minigrad.random import Stream


def pictures(n=6, channels=3, size=8, seed=0, dtype=np.float32):
    return mg.tensor(Stream(seed, "pictures").uniform(-1, 1, (n, channels, size, size)).astype(dtype))


@given(seed=st.integers(0, 99), channels=st.sampled_from([1, 3]))
def test_nothing_happens_at_p_0_and_the_stream_moves_on_by_as_much_as_at_p_1(seed, channels):
    x, a, b = pictures(channels=channels), Stream(seed, "a"), Stream(seed, "a")
    assert augment(x, 0.0, a) is x
    augment(x, 1.0, b)
    assert a.uniform() == b.uniform()


@given(seed=st.integers(0, 99), kind=st.sampled_from(BLIT), channels=st.sampled_from([1, 3]))
def test_blits_move_pixels_and_change_none(seed, kind, channels):
    x = pictures(channels=channels, seed=seed)
    y = augment(x, 1.0, Stream(seed, "a"), [kind])
    assert y.dtype == mg.float32 and y.shape == x.shape
    a, b = (v.array.transpose(0, 2, 3, 1).reshape(6, 64, channels) for v in (x, y))
    for i in range(6):
        assert sorted(map(tuple, a[i])) == sorted(map(tuple, b[i]))


def test_blits_by_hand():
    """Every outcome is one of the group's, and all of them come."""
    size = 8
    grid = np.arange(size * size).reshape(size, size)
    reach = round(REACH * size)
    wanted = {"flip": [grid, grid[:, ::-1]], "turn": [np.rot90(grid, k) for k in range(4)],
              "shift": [np.roll(grid, (i, j), (0, 1)) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]}
    for kind, outcomes in wanted.items():
        found = {row.tobytes() for row in blit(400, size, size, 1.0, Stream(0, kind), [kind])}
        assert found == {np.ascontiguousarray(o).tobytes() for o in outcomes}, kind


@given(seed=st.integers(0, 99))
def test_colours_by_what_they_keep(seed):
    n, grey = 50, np.ones((3, 1)) / np.sqrt(3)

    def of(kind):
        return colour(n, 3, 1.0, Stream(seed, kind), [kind])

    for kind in ("hue", "saturation"):  # grey stays grey, as bright as it was
        matrix, offset = of(kind)
        np.testing.assert_allclose(matrix @ grey, np.broadcast_to(grey, (n, 3, 1)), atol=1e-12)
        assert not offset.any()
    turn = of("hue")[0]
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turn.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1)
    luma = of("luma")[0]
    np.testing.assert_allclose(luma @ luma, np.broadcast_to(np.eye(3), luma.shape), atol=1e-12)
    assert {round(float(d)) for d in np.linalg.det(luma)} == {-1, 1}
    matrix, offset = of("brightness")
    assert (matrix == np.eye(3)).all() and np.ptp(offset, axis=1).max() == 0 and offset.std() > 0
    matrix, offset = of("contrast")
    assert not offset.any() and np.abs(np.log2(matrix[:, 0, 0])).max() < 3 and (matrix[:, 0, 0] > 0).all()


def test_strengths_have_the_distributions_of_the_paper():
    n = 20_000
    b = colour(n, 1, 1.0, Stream(0, "b"), ["brightness"])[1].ravel()
    c = np.log2(colour(n, 1, 1.0, Stream(0, "c"), ["contrast"])[0].ravel())
    assert b.std() == pytest.approx(0.2, rel=0.03) and c.std() == pytest.approx(0.5, rel=0.03)
    for kind, left in (("flip", 0.5), ("turn", 0.25)):  # the group's identity counts as a change
        same = (blit(4000, 4, 4, 0.6, Stream(0, kind), [kind]) == np.arange(16)).all(1).mean()
        assert same == pytest.approx(0.4 + 0.6 * left, abs=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_second_order(channels):
    x = pictures(2, channels, 3, dtype=np.float64)
    weights = pictures(2, channels, 3, seed=1, dtype=np.float64)
    x.requires_grad_()
    check_grads(lambda a: (augment(a, 0.7, Stream(3, "g")) ** 3 * weights).sum(), [x], order=2)


def test_an_image_is_changed_alike_in_a_batch_and_by_its_place():
    """Pictures of equal pixels at different places are changed by different draws; the same stream repeats to the bit."""
    x = mg.tensor(np.repeat(pictures(1).array, 40, 0))
    y, again = (augment(x, 0.8, Stream(5, "a")).array for _ in range(2))
    np.testing.assert_array_equal(y, again)
    assert len({row.tobytes() for row in y}) > 20


@given(p=st.floats(0.0, 0.95), seed=st.integers(0, 99), m=st.sampled_from([2, 4]))
def test_the_inverse_for_a_group(p, seed, m):
    """A q = (1 - p) q + p P q on the m pictures that a group turns into each other; (I - p P) / (1 - p) brings q back exactly."""
    q = np.random.default_rng(seed).dirichlet(np.ones(m))
    mean = np.full((m, m), 1 / m)  # P: every picture of the orbit alike
    seen = (1 - p) * q + p * mean @ q
    np.testing.assert_allclose((seen - p * mean @ seen) / (1 - p), q, atol=1e-9)


def test_what_is_seen_has_that_distribution():
    """40,000 pictures of two pixels, q = (0.8, 0.2) for (dark, light) and (light, dark): flips at p = 0.6 show 0.8 -> 0.62."""
    q, p, n = 0.8, 0.6, 40_000
    first = np.arange(n) < q * n
    x = np.where(first[:, None, None, None], [[[[-1.0, 1.0]]]], [[[[1.0, -1.0]]]]).astype(np.float32)
    y = augment(mg.tensor(x), p, Stream(0, "q"), ["flip"]).array
    seen = (y[:, 0, 0, 0] < 0).mean()
    assert seen == pytest.approx((1 - p) * q + p * 0.5, abs=0.01)
    assert (seen - p * 0.5) / (1 - p) == pytest.approx(q, abs=0.02)


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_the_shift_can_be_inverted_up_to_the_largest_p(size):
    """The Fourier coefficients of the mixture, from shifts drawn as `blit` draws them: rounded, so the ends come half as often."""
    reach = REACH * size
    steps = np.arange(-round(reach), round(reach) + 1)
    edges = np.clip(np.stack([steps - 0.5, steps + 0.5]), -reach, reach)
    share = (edges[1] - edges[0]) / (2 * reach)
    line = np.exp(-2j * np.pi * np.outer(np.arange(size), steps) / size) @ share
    both = np.outer(line.real, line.real)
    assert both.min() > -0.23 and ((1 - MOST) + MOST * both).min() > 0


def test_wrong_arguments():
    with pytest.raises(ValueError, match="augment: p"):
        augment(pictures(), 1.5, Stream(0))
    with pytest.raises(ValueError, match="kinds among"):
        augment(pictures(), 0.5, Stream(0), ["sepia"])
    with pytest.raises(ValueError, match="right angle"):
        augment(mg.zeros(1, 1, 4, 6), 0.5, Stream(0))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        augment(mg.zeros(1, 2, 4, 4), 0.5, Stream(0))
    assert augment(mg.zeros(1, 2, 4, 4), 0.5, Stream(0), BLIT).shape == (1, 2, 4, 4)
    assert set(COLOUR) & set(BLIT) == set()


# ---- how p follows


def test_p_rises_while_the_discriminator_is_sure_and_falls_while_it_is_not():
    rule = Adaptive(target=0.6, images=1000, every=2)
    sure, unsure = mg.tensor(np.full(50, 3.0, np.float32)), mg.tensor(np.array([1.0, -1.0] * 25, np.float32))
    assert [round(rule.update(sure), 6) for _ in range(4)] == [0, 0.1, 0.1, 0.2] and rule.r == 1
    assert [round(rule.update(unsure), 6) for _ in range(6)] == [0.2, 0.1, 0.1, 0, 0, 0] and rule.r == 0
    for _ in range(100):
        rule.update(sure)
    assert rule.p == MOST
    exact = Adaptive(target=1.0, images=1000, every=1)
    exact.p = 0.3
    assert exact.update(sure) == 0.3


@given(cut=st.integers(0, 12), seed=st.integers(0, 99))
def test_p_goes_on_from_any_moment(cut, seed):
    logits = [mg.tensor(row) for row in Stream(seed, "l").normal((13, 8)) + np.float32(0.5)]
    whole, first = Adaptive(images=300), Adaptive(images=300)
    for row in logits:
        whole.update(row)
    for row in logits[:cut]:
        first.update(row)
    second = Adaptive(images=300)
    second.load_state_dict(first.state_dict())
    for row in logits[cut:]:
        second.update(row)
    assert second.state_dict() == whole.state_dict()
