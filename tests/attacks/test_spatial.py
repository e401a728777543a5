"""Rotations and shifts: the warp is what it says, the first success of the grid is kept, and every try is one query."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import Targeted, Untargeted, Victim, spatial
from attacks.black_box.spatial import grid, warp
from minigrad import nn
from minigrad.random import Stream
from tests.attacks.linear import images, linear, small_network


@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(5, 9), st.integers(5, 9), st.floats(-1, 0.5))
def test_whole_shifts_move_whole_pixels(right, down, height, width, black):
    x = Stream(0, "x").uniform(0, 1, (2, 3, height, width)).astype(np.float32)
    expected = np.full_like(x, black)
    to = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    out_of = (slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0)))
    expected[(..., *to)] = x[(..., *out_of)]
    np.testing.assert_allclose(warp(x, 0, right, down, black), expected, atol=2e-5)


def test_a_quarter_turn_is_counter_clockwise_and_a_turn_comes_before_the_shift():
    x = Stream(0, "x").uniform(0, 1, (1, 1, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(warp(x, 90, 0, 0), np.rot90(x, axes=(2, 3)), atol=1e-5)
    np.testing.assert_allclose(warp(x, 90, 1, 0)[..., 1:], np.rot90(x, axes=(2, 3))[..., :-1], atol=1e-5)
    flat = np.zeros((1, 1, 5, 9), np.float32)
    flat[0, 0, 2, 8] = 1  # far right on a wide picture: up and out of it
    assert warp(flat, 90, 0, 0).sum() < 1e-5
    flat[0, 0, 2, 6] = 1
    assert warp(flat, 90, 0, 0)[0, 0, 0, 4] == pytest.approx(1, abs=1e-5)


@given(st.floats(-40, 40), st.floats(-2, 2), st.floats(-2, 2))
def test_turning_there_and_back_nearly_restores_a_smooth_picture(degrees, right, down):
    i, j = np.mgrid[:24, :24] - 11.5
    x = np.exp(-((i - 2) ** 2 + (j + 1) ** 2) / 30).astype(np.float32)[None, None]
    moved = warp(warp(x, 0, right, down), degrees, 0, 0)
    back = warp(warp(moved, -degrees, 0, 0), 0, -right, -down)
    assert np.abs(back - x)[..., 5:-5, 5:-5].max() < 0.08


def test_the_grid_is_whole_and_begins_with_the_mildest():
    points = grid(31, 5)
    assert len(points) == 774 and len(np.unique(points, axis=0)) == 774
    size = np.square(points).sum(1)
    assert (np.diff(size) > -1e-8).all() and (np.abs(points).max(0) == 1).all()
    assert len(grid(2, 1)) == 2 and len(grid(1, 1)) == 0


@pytest.mark.parametrize("see", ["scores", "labels"])
@pytest.mark.parametrize("draws", [0, 10])
def test_the_first_success_is_kept_and_every_try_counts(see, draws):
    victim, x = Victim(small_network(side=8)), images(n=24, side=8)
    x = 0.4 + 0.2 * x
    y = victim.predict(x).argmax(1)
    found = spatial(getattr(victim, see)(), x, Untargeted(y), 5, 3, draws, angle=10, reach=0.4, rng=2)
    assert 3 < found.success.sum() < 24 and (found.queries == found.steps).all()
    assert (found.queries[~found.success] == (draws or 44)).all()
    for i in np.flatnonzero(found.success):
        move = [found.trace[k][0, i] for k in ("degrees", "right", "down")]
        assert abs(move[0]) <= 10 and max(map(abs, move[1:])) <= 0.4
        np.testing.assert_allclose(warp(x[i : i + 1], *move), found.x_adv[i : i + 1], atol=1e-6)
        assert victim.predict(found.x_adv[i : i + 1]).argmax(1)[0] != y[i]
        if not draws:
            tries = grid(5, 3) * [10, 0.4, 0.4]
            before = np.concatenate([warp(x[i : i + 1], *m) for m in tries[: found.steps[i]]])
            assert ((victim.predict(before).argmax(1) != y[i]) == (np.arange(found.steps[i]) == found.steps[i] - 1)).all()
    alone = spatial(getattr(victim, see)(), x[3:5], Untargeted(y[3:5]), 5, 3, draws, angle=10, reach=0.4, rng=2)
    np.testing.assert_allclose(alone.x_adv, found.x_adv[3:5], atol=1e-6)


def test_a_network_that_looks_at_one_pixel_is_fooled_by_a_shift_alone():
    weight = np.zeros((2, 49))
    weight[1, 24] = 1  # the middle of 7 x 7
    victim = Victim(nn.Sequential(nn.Flatten(), linear(weight, np.array([0.5, 0]))))
    x = np.zeros((2, 1, 7, 7), np.float32)
    x[0, 0, 3, 3], x[1, 0, 3, 5] = 1, 1
    found = spatial(victim, x, Untargeted([1, 0]), 1, 7)
    assert found.success.all() and found.trace["right"][0, 1] == -2 and found.trace["down"][0, 1] == 0
    assert abs(found.trace["right"][0, 0]) + abs(found.trace["down"][0, 0]) == 1
    there = spatial(victim, x[:1], Targeted(0), 1, 7)
    assert there.success.all()
    poor = spatial(victim.labels(budget=3), x, Untargeted([1, 0]), 1, 7)
    assert poor.queries.max() == 3 and "budget" in poor.reason[1]


def test_wrong_calls_are_refused():
    victim, x = Victim(small_network(side=8)), images(n=2, side=8)
    for options in (dict(angle=-1), dict(reach=np.inf), dict(rotations=0), dict(draws=-2)):
        with pytest.raises(ValueError, match="spatial"):
            spatial(victim, x, Untargeted(0), **options)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        spatial(Victim(linear(np.eye(2), np.zeros(2))), np.zeros((1, 2), np.float32), Untargeted(0))
