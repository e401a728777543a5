"""The diagnosis: each measure at a closed form, each finding provoked and its healthy twin not, resuming to the bit."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan.diagnosis import LIMITS, NAMES, REMEDIES, Watch, coarse, grid, spread, wander
from minigrad.random import Stream


def pictures(n=100, size=8, seed=0):
    """Smooth noise: a falling spectrum, as pictures have."""
    x = Stream(seed, "pictures").normal((n, 1, size, size))
    for axis in (2, 3):
        x = (x + np.roll(x, 1, axis)) / 2
    return x


def pulses(watch, count=20, real=1.0, fake=-1.0, gradient=1.0, batches=None, seed=0):
    """`count` steps in which each player is as sure as |real|, |fake| say: logits real + N(0, 1)."""
    rng = Stream(seed, "pulses")
    for i in range(count):
        batch = pictures(16, seed=100 + i + seed) if batches is None else batches(i)
        a, b = (mg.tensor(rng.normal(32) + np.float32(m)) for m in (real, fake))
        watch.pulse(a, b, mg.tensor(batch), gradient if np.isscalar(gradient) else gradient[i])


def names(found):
    return [finding.name for finding in found]


def healthy():
    return Watch(pictures(), warm=1)


def test_a_healthy_game_has_no_finding():
    watch = healthy()
    for step in (500, 1000, 1500):
        pulses(watch, seed=step)
        logits = (np.full(9, 1.0), np.full(9, 0.9), np.full(9, -1.0))
        assert watch.look(step, pictures(seed=step), logits) == []
    assert watch.found == [] and set(watch.evidence) == set(LIMITS)
    for name in ("diversity", "repeats", "grid", "wander", "push"):
        assert watch.evidence[name] == pytest.approx(1, abs=0.35), name


def test_a_network_that_grows_is_compared_with_pictures_of_its_size_and_judged_where_it_is_steady():
    watch = healthy()
    same = np.repeat(pictures(1), 100, axis=0)
    pulses(watch)
    assert watch.look(500, same, judged=False) == [] and watch.evidence["diversity"] < 0.01  # measured all the same
    pulses(watch)
    assert names(watch.look(1000, same)) == ["collapse"]  # and found at the first look that judges
    small = pictures(seed=1).reshape(100, 1, 4, 2, 4, 2).mean((3, 5))
    watch = healthy()
    assert watch.real_grid is not None
    watch.against(small[50:])
    assert watch.real_grid is None  # 4 pixels have no such frequency
    pulses(watch)
    assert watch.look(500, small[:50]) == [] and watch.evidence["diversity"] == pytest.approx(1, abs=0.2)
    with pytest.raises(ValueError, match="at least 3 pictures"):
        watch.against(small[:2])


def test_a_discriminator_that_is_too_good():
    watch = healthy()
    pulses(watch, real=5, fake=-5)
    (found,) = watch.look(500, pictures(seed=1))
    assert found.name == "too good" and "100.0 % of real and 100.0 % of generated" in found.evidence
    one_sided = healthy()  # sure of the real ones only: it takes samples for real too
    pulses(one_sided, real=5, fake=0)
    assert one_sided.look(500, pictures(seed=1)) == []
    critic = Watch(pictures(), boundary=None, warm=1)  # a Wasserstein critic should be as good as it can
    pulses(critic, real=5, fake=-5)
    assert critic.look(500, pictures(seed=1)) == []
    squares = Watch(pictures(), boundary=0.5, warm=1)  # least squares: 1 is real, 0 is drawn
    pulses(squares, real=5, fake=0)
    assert squares.look(500, pictures(seed=1)) == []
    young = Watch(pictures())
    pulses(young, real=5, fake=-5)
    assert young.look(500, pictures(seed=1) * 0.1) == [] and young.evidence["sure"] == 1
    paired = Watch(pictures(), paired=True, warm=1)  # both far above 0, and told apart pair by pair
    pulses(paired, real=20, fake=5)
    assert names(paired.look(500, pictures(seed=1))) == ["too good"]


def test_a_gradient_that_vanishes_and_one_that_explodes():
    watch = healthy()
    pulses(watch)
    assert watch.look(500, pictures(seed=1)) == []
    pulses(watch, gradient=LIMITS["push"] / 2)
    assert names(watch.look(1000, pictures(seed=1))) == ["vanishing"]
    assert watch.look(1500, pictures(seed=1)) == []  # nothing was seen since
    pulses(watch, gradient=[1.0] * 19 + [200.0])
    assert names(watch.look(2000, pictures(seed=1))) == ["exploding"]


@given(kinds=st.integers(1, 3))
def test_samples_of_few_kinds_are_a_collapse(kinds):
    watch, few = healthy(), np.repeat(pictures(kinds, seed=9), 40, 0)[:100]
    near = few + np.float32(0.05) * pictures(len(few), seed=8)
    assert names(watch.look(500, near)) == ["collapse"]
    assert names(healthy().look(500, pictures(seed=4) * 0.4)) == ["collapse"]  # all of them near their mean


def test_a_discriminator_that_knows_its_pictures_by_heart():
    held_out = {0.2: [], 0.9: ["memorising"]}
    for share, wanted in held_out.items():
        logits = (np.full(9, 2.0), np.full(9, 2.0 - 5 * share), np.full(9, -3.0))
        assert names(healthy().look(500, pictures(seed=1), logits)) == wanted
    same = (np.zeros(9), np.zeros(9), np.zeros(9))  # it cannot tell at all: no ratio, no finding
    watch = healthy()
    assert watch.look(500, pictures(seed=1), same) == [] and "memory" not in watch.evidence


def test_a_generator_that_goes_to_and_fro_and_one_that_moves_on():
    def there_and_back(i):
        return pictures(16, seed=200 + i) + np.float32(1.5 * np.sin(i))

    def onwards(i):
        return pictures(16, seed=200 + i) + np.float32(0.1 * i)

    for batches, wanted in ((there_and_back, ["oscillation"]), (onwards, [])):
        watch = healthy()
        pulses(watch, batches=batches)
        assert names(watch.look(500, pictures(seed=1))) == wanted


def test_a_checkerboard():
    board = ((np.indices((8, 8)).sum(0) % 2) * 2 - 1).astype(np.float32)
    stripes = np.broadcast_to((np.arange(8) % 2 * 2 - 1).astype(np.float32), (8, 8))
    for pattern in (board, stripes, stripes.T):
        assert names(healthy().look(500, pictures(seed=1) + 0.4 * pattern)) == ["checkerboard"]
    broad = np.broadcast_to(np.where(np.arange(8) % 4 < 2, 1, -1).astype(np.float32), (8, 8))  # two pixels wide: no grid
    assert names(healthy().look(500, pictures(seed=1) + 0.4 * broad)) == []


def test_a_finding_is_told_once_until_it_has_gone():
    watch = healthy()
    for step, share, wanted in ((1, 0.4, ["collapse"]), (2, 0.4, []), (3, 1.0, []), (4, 0.4, ["collapse"])):
        assert names(watch.look(step, pictures(seed=1) * np.float32(share))) == wanted
    assert [f.step for f in watch.found] == [1, 4]


def test_what_is_broken_is_named_and_every_name_has_a_remedy():
    watch = Watch(pictures(), {"not finite": "--rate 1e-4"})
    found = watch.broken(7, "loss_d = nan")
    assert str(found) == "step 7: not finite: loss_d = nan. What helps: --rate 1e-4" and watch.found == [found]
    assert set(REMEDIES) == set(NAMES)
    json.dumps(watch.records())


# ---- measures


def test_spread_by_hand():
    x = np.zeros((3, 1, 1, 2))
    x[1, 0, 0, 0], x[2, 0, 0, 1] = 3, 4
    assert spread(x) == (pytest.approx((3 + 4 + 5) / 3), 3.0)
    with pytest.raises(ValueError, match="3 pictures"):
        spread(x[:2])


def test_grid_of_white_noise_is_one_and_of_odd_sizes_is_none():
    """Power is flat: a row of the spectrum has as much as the next."""
    assert grid(Stream(0, "g").normal((4000, 1, 8, 8))) == pytest.approx(1, abs=0.02)
    assert grid(np.zeros((3, 1, 9, 8))) is None and grid(np.zeros((3, 1, 6, 6))) is None
    assert grid(np.zeros((3, 1, 8, 8))) is None  # no power at all


@given(h=st.integers(1, 9), w=st.integers(1, 9), seed=st.integers(0, 99))
def test_coarse_keeps_the_mean_of_even_cells(h, w, seed):
    x = np.random.default_rng(seed).normal(size=(2, 3, h, w))
    small = coarse(x)
    assert small.shape == (2, 3 * min(4, h) * min(4, w))
    if not (h % min(4, h) or w % min(4, w)):
        np.testing.assert_allclose(small.reshape(2, 3, -1).mean(2), x.mean((2, 3)), atol=1e-12)


@given(seed=st.integers(0, 999), slope=st.floats(-5, 5))
def test_wander_of_batches_is_one_whatever_their_trend(seed, slope):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(400, 6)) * 0.3 + slope * np.arange(400)[:, None]
    assert wander(means, 6 * 0.09) == pytest.approx(1, abs=0.15)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="at least 3 pictures"):
        Watch(pictures(2))
    with pytest.raises(ValueError, match="Watch.look: step"):
        healthy().look(0, pictures())


@given(cut=st.integers(0, 30))
def test_a_diagnosis_goes_on_from_any_moment(cut):
    def play(watch, first, last):
        for i in range(first, last):
            pulses(watch, 1, gradient=1.0 + i, seed=i)
            if i % 10 == 9:
                watch.look(i, pictures(seed=i) * np.float32(1 - i / 40), (np.full(3, 2.0), np.full(3, 1.0 - i / 10), np.zeros(3)))

    whole, first, second = healthy(), healthy(), healthy()
    play(whole, 0, 30)
    play(first, 0, cut)
    second.load_state_dict(first.state_dict())
    play(second, cut, 30)
    assert second.found == whole.found and len(whole.found) > 1
    a, b = second.state_dict(), whole.state_dict()
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a if k not in ("found", "present"))
