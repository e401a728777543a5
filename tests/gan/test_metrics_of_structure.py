"""Path length, stacked digits, the rule of shapes, and distances in blocks: closed forms, floors, planted faults."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan.metrics import birthday, broken, nearest, path_length, prdc, stacked_report, two_sample
from gan.metrics.modes import floor
from gan.metrics.nearest import distances, in_blocks
from gan.metrics.path_length import of_real
from gan.metrics.precision import radii
from gan.metrics.rules import check, parts
from gan.metrics.stacked import read_stack
from minigrad import data, nn
from minigrad.random import Stream


def latents(n=200, z=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, z)), rng.normal(size=(n, z)), rng.uniform(0, 1 - 1e-4, n)


# ---- path length


@given(seed=st.integers(0, 99))
def test_a_straight_path_through_a_linear_generator_has_its_length(seed):
    a, b, t = latents(60, seed=seed)
    matrix = np.random.default_rng(seed + 1).normal(size=(5, 7))
    found = path_length(lambda z: z @ matrix, a, b, t, spherical=False, trim=0)
    assert found.mean == pytest.approx((((b - a) @ matrix) ** 2).sum(1).mean(), rel=1e-6) and found.kept == 60


def test_an_arc_has_the_length_of_its_angle():
    a, b, t = latents()
    a, b = (3 * v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    angle = np.arccos((a * b).sum(1) / 9)
    assert path_length(lambda z: z, a, b, t, trim=0).mean == pytest.approx((9 * angle**2).mean(), rel=1e-5)


def test_path_length_does_not_depend_on_order_or_batch_and_doubles_squared():
    a, b, t = latents()
    bend = lambda z: np.sin(3 * z)  # noqa: E731
    order = np.random.default_rng(1).permutation(200)
    whole = path_length(bend, a, b, t).mean
    assert path_length(bend, a[order], b[order], t[order], batch=7).mean == pytest.approx(whole, rel=1e-9)
    assert path_length(lambda z: 2 * bend(z), a, b, t).mean == pytest.approx(4 * whole, rel=1e-9)


def test_a_cliff_is_trimmed_and_float32_is_refused():
    a, b, t = latents()
    smooth = path_length(lambda z: z, a, b, t)

    def with_a_cliff(z):
        return z + 1e6 * (np.arange(len(z)) == 0)[:, None] * np.sin(1e4 * z)

    assert path_length(with_a_cliff, a, b, t, batch=1000).mean == pytest.approx(smooth.mean, rel=0.1)
    assert path_length(with_a_cliff, a, b, t, batch=1000, trim=0).mean > 1e6 * smooth.mean and smooth.kept == 198
    with pytest.raises(ValueError, match="float64, got float32"):
        path_length(lambda z: z.astype(np.float32), a, b, t)
    with pytest.raises(ValueError, match="1 - epsilon"):
        path_length(lambda z: z, a, b, np.ones(200))
    with pytest.raises(ValueError, match="z1 and z2"):
        path_length(lambda z: z, a, b[:5], t)


def test_no_path_is_shorter_than_the_straight_way_and_a_generator_that_stands_still_has_none():
    """For generated pictures as varied as the real ones, straight paths score 1, detours more, and one picture only 0."""
    a, b, t = latents(5000, 4)
    real = np.random.default_rng(9).normal(size=(5000, 4))
    straight = path_length(lambda z: z, a, b, t, spherical=False, trim=0).mean
    assert of_real(straight, real) == pytest.approx(1, rel=0.05)
    assert of_real(path_length(lambda z: z + np.sin(9 * z), a, b, t, spherical=False, trim=0).mean, real) > 5
    assert of_real(path_length(lambda z: 0 * z, a, b, t).mean, real) == 0
    with pytest.raises(ValueError, match="do not vary"):
        of_real(1.0, np.ones((5, 2)))


# ---- stacked digits


class Level(nn.Module):
    """Reads a flat picture's brightness: class k for (k - 4.5)/5, so that it never errs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 10)
        at = (np.arange(10) - 4.5) / 5  # the nearest of ten levels: the largest of 2 l x - l^2
        self.head.weight.assign_((200 * at[:, None]).astype(np.float32))
        self.head.bias.assign_((-100 * at**2).astype(np.float32))

    def features(self, images):
        return images.mean((2, 3))

    def forward(self, images):
        return self.head(self.features(images))


def flat_digits():
    return np.broadcast_to(((np.arange(10, dtype=np.float32) - 4.5) / 5)[:, None, None, None], (10, 1, 4, 4))


def stack(images, count, stream):
    """(stacks (count, 3, H, W), which image stands in each channel (count, 3))."""
    which = stream.integers(len(images), size=(count, 3))
    return images[which, 0], which


def test_a_stack_is_read_channel_by_channel():
    stacks, which = stack(flat_digits(), 500, Stream(0, "stack"))
    assert stacks.shape == (500, 3, 4, 4) and (read_stack(Level().eval(), stacks) == which).all()
    assert not (which[:, 0] == which[:, 1]).all()
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        read_stack(Level().eval(), stacks[0])


def test_true_stacks_show_all_modes_at_the_floor_and_a_collapsed_generator_does_not():
    judge = Level().eval()
    found = [stacked_report(judge, stack(flat_digits(), 26_000, Stream(i, "stack"))[0]) for i in range(3)]
    assert all(report["modes"] == report["of"] == 1000 and report["samples"] == 26_000 for report in found)
    assert np.mean([report["kl"] for report in found]) == pytest.approx(floor(26_000, 1000), rel=0.05)  # 0.0192
    few = stacked_report(judge, stack(flat_digits()[:3], 5000, Stream(0, "stack"))[0])
    assert few["modes"] == 27 and few["kl"] == pytest.approx(math.log(1000 / 27), abs=0.01)
    one = stacked_report(judge, np.repeat(stack(flat_digits(), 1, Stream(0, "stack"))[0], 100, 0))
    assert one["modes"] == 1 and one["kl"] == pytest.approx(math.log(1000))


# ---- the rule of shapes


@pytest.mark.parametrize("part", ["discs", "bars"])
@pytest.mark.parametrize("size", [20, 28, 32, 48])
def test_the_data_itself_breaks_no_rule(part, size):
    most = min(5, size // 5)
    images = data.load(f"shapes:part={part},most={most}", size=size, limit=300)
    assert broken(images.x, part=part, most=most) == 0 == broken(images.normalised(), part=part, most=most)
    exact = data.load(f"shapes:part={part},count=3", size=size, limit=100).x
    assert broken(exact, part=part, count=3) == 0 and broken(exact, part=part, count=2) == 1


def faulty(kind, images):
    """Pictures of discs (N, 1, 32, 32), uint8, each with a fault of this kind."""
    x = images.copy()
    if kind == "a part too many":
        x[:, 0, 10:12, 10:12] = 255  # where four cells meet, it is dark in every picture
    if kind == "none at all":
        x[:] = 0
    if kind == "at the border":
        x[:, 0, 0:4, 13:18] = 255
    if kind == "a hole":
        found = parts(x[:, 0] / 255)
        x[found.picture, 0, np.rint(found.y).astype(int), np.rint(found.x).astype(int)] = 0
    if kind == "stretched":
        x = x.repeat(2, axis=3)[:, :, :, 16:48]
    if kind == "grey":
        x = (x // 4 * 3).astype(np.uint8)
    if kind == "a haze":
        x = np.maximum(x, 40)
    if kind == "grown together":
        x = np.maximum(x, np.roll(x, 3, axis=3))
    return x


@pytest.mark.parametrize("kind, rule", [
    ("a part too many", "number"), ("none at all", "number"), ("at the border", "border"), ("a hole", "form"),
    ("stretched", "form"), ("grey", "grey"), ("a haze", "grey"), ("grown together", "form"),
])
def test_each_sort_of_fault_is_found(kind, rule):
    images = data.load("shapes:count=2", size=32, limit=200).x
    found = check(faulty(kind, images), count=2)
    assert getattr(found, rule).mean() > 0.95 and broken(faulty(kind, images), count=2) > 0.95
    assert check(images, count=2).shares() == dict.fromkeys(("any", "number", "border", "form", "grey"), 0)


def test_bars_that_lean_float_or_break_are_found():
    images = data.load("shapes:part=bars,count=3", size=64, limit=100).x
    lean = np.stack([np.roll(images[:, :, row], row // 4, axis=2) for row in range(64)], 2)
    assert check(lean, part="bars", count=3).form.mean() > 0.95
    cut = images.copy()
    cut[:, :, 40:43] = 0
    assert check(cut, part="bars", count=3).number.mean() > 0.9
    lifted = images.copy()
    for picture in lifted[:, 0]:
        first = np.flatnonzero(picture.max(0))[0]
        end = first + np.flatnonzero(picture.max(0)[first:] == 0)[0]
        picture[:, first:end] = np.roll(picture[:, first:end], -6, axis=0)
    assert check(lifted, part="bars", count=3).form.mean() > 0.95


def test_rules_refuse_what_they_cannot_judge():
    for images, message in ((np.zeros((2, 3, 32, 32), np.uint8), "size, size"), (np.zeros((0, 1, 32, 32), np.uint8), "N >= 1"),
                            (np.zeros((2, 1, 16, 16), np.uint8), "20 pixels")):
        with pytest.raises(ValueError, match=message):
            check(images)


# ---- distances in blocks


@given(n=st.integers(8, 30), m=st.integers(8, 30), block=st.integers(1, 200), seed=st.integers(0, 99))
def test_no_number_depends_on_the_size_of_the_blocks(n, m, block, seed):
    rng, module = np.random.default_rng(seed), sys.modules["gan.metrics.nearest"]
    a, b = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    a[4:6] = a[:2]

    def numbers():
        some, pairs = min(n, m), birthday(a, 0.5, show=4)
        return [*prdc(a, b, k=3), *two_sample(a[2 : some - 2], b[2 : some - 2]), *radii(a, 2), *nearest(a, b)[1], pairs.pairs,
                *pairs.away]

    whole, twins = numbers(), birthday(a, 0.5, show=4)
    before, module.BLOCK = module.BLOCK, block
    try:
        np.testing.assert_allclose(numbers(), whole, atol=1e-9)
        rows = [(rows.stop - rows.start, away.shape) for rows, away in in_blocks(a, b)]
    finally:
        module.BLOCK = before
    assert all(shape == (count, m) and (shape[0] * m <= block or shape[0] == 1) for count, shape in rows)
    away = distances(a, a)
    i, j = np.triu_indices(n, 1)
    assert twins.pairs == (away[i, j] <= 0.5).sum()
    np.testing.assert_allclose(twins.away, np.sort(away[i, j])[:4], atol=1e-9)
    assert twins.away[:2].max() == 0 and sorted(map(tuple, twins.nearest[:2])) == [(0, 4), (1, 5)]


def test_level_is_a_judge_that_never_errs():
    with mg.no_grad():
        answer = Level().eval()(mg.tensor(np.ascontiguousarray(flat_digits()))).array.argmax(1)
    assert (answer == np.arange(10)).all()
