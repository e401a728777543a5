"""Goals and the losses that attacks climb, against plain NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from attacks import Targeted, Toward, Untargeted
from attacks.core import loss as losses
from attacks.core.arrays import said
from attacks.core.goal import likeliest
from minigrad import functional as F
from minigrad.random import Stream

seeds = st.integers(0, 10**6)


def draw(seed, n=7, k=5):
    s = Stream(seed, "logits")
    return s.normal((n, k), np.float64) * 3, s.integers(0, k, n)


@given(seed=seeds)
def test_cross_entropy_and_its_gradient_are_the_textbooks(seed):
    z, y = draw(seed)
    for goal, sign in ((Untargeted(y), 1), (Targeted(y), -1)):
        a, b = mg.tensor(z, requires_grad=True), mg.tensor(z, requires_grad=True)
        ours, theirs = goal.objective(a), sign * F.cross_entropy(b, y, reduction="none")
        assert np.allclose(ours.array, theirs.array, atol=1e-12)
        (g,), (h,) = mg.grad(ours.sum(), [a]), mg.grad(theirs.sum(), [b])
        assert np.allclose(g.array, h.array, atol=1e-12)
        assert np.allclose(goal.objective(z), ours.array)


@pytest.mark.parametrize("gap", [17, 30, 60, 80])
def test_cross_entropy_has_a_gradient_where_the_textbooks_vanishes(gap):
    """At a margin of 17 and more p_y - 1 is 0 in float32; -sum_{j != y} p_j is not."""
    z = mg.tensor([[float(gap), 0.0, -1.0]], requires_grad=True)
    (g,) = mg.grad(Untargeted([0]).objective(z).sum(), [z])
    exact = 1 / (1 + 1 / (np.exp(-float(gap)) * (1 + np.exp(-1.0))))
    assert g.array[0, 0] == pytest.approx(-exact, rel=1e-4) and g.array[0, 1] > 0
    plain = mg.tensor([[float(gap), 0.0, -1.0]], requires_grad=True)
    (h,) = mg.grad(F.cross_entropy(plain, np.array([0]), reduction="sum"), [plain])
    assert abs(h.array[0, 0]) < 1e-7


@given(seed=seeds)
def test_margins(seed):
    z, y = draw(seed)
    rows = np.arange(len(y))
    other = np.where(np.arange(5) == y[:, None], -np.inf, z).max(1)
    assert np.allclose(Untargeted(y).margin(z), other - z[rows, y])
    assert np.allclose(Targeted(y).margin(z), z[rows, y] - other)
    for goal in (Untargeted(y), Targeted(y)):
        assert ((goal.margin(z) > 0) == goal.success(z)).all()
        assert (goal.success(z, 1.0) == (goal.success(z) & (goal.margin(z) >= 1.0))).all()
        clipped = goal.objective(z, losses.clipped_margin(0.5))
        assert np.allclose(clipped, np.minimum(goal.margin(z) - 0.5, 0))


def test_the_excluded_class_counts_as_minus_infinity_also_when_all_logits_are_negative():
    z = np.array([[-9.0, -3.0, -5.0]])
    assert Untargeted([1]).margin(z)[0] == -2.0 and Targeted([0]).margin(z)[0] == -6.0


@given(seed=seeds, scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_dlr_is_the_definition_and_ignores_scale_and_shift(seed, scale, shift):
    z, y = draw(seed)
    t = (y + 1) % 5
    rows, down = np.arange(len(y)), -np.sort(-z, axis=1)
    other = np.where(np.arange(5) == y[:, None], -np.inf, z).max(1)
    plain = -(z[rows, y] - other) / (down[:, 0] - down[:, 2])
    assert np.allclose(Untargeted(y).objective(z, "dlr"), plain, rtol=1e-6)
    towards = -(z[rows, y] - z[rows, t]) / (down[:, 0] - (down[:, 2] + down[:, 3]) / 2)
    assert np.allclose(Targeted(t, y).objective(z, "dlr"), towards, rtol=1e-6)
    assert np.allclose(Untargeted(y).objective(z * scale + shift, "dlr"), plain, rtol=1e-4)


def test_dlr_has_the_derivative_of_its_definition():
    z, y = draw(3)
    for goal in (Untargeted(y), Targeted((y + 2) % 5, y)):
        a = mg.tensor(z, requires_grad=True)
        (g,) = mg.grad(goal.objective(a, "dlr").sum(), [a])
        for j in range(5):
            step = np.zeros(5)
            step[j] = 1e-6
            slope = (goal.objective(z + step, "dlr") - goal.objective(z - step, "dlr")) / 2e-6
            assert np.allclose(g.array[:, j], slope, atol=1e-5)


NAN, INF = np.nan, np.inf
ODD = {  # logits -> the class that is answered; none where the largest logit is no finite number
    (0, 2, 1): 1, (1, 1, 0): 0, (-INF, 2, 1): 1, (-INF, -INF, -5): 2, (NAN, 0, 0): -1, (0, NAN, 9): -1, (0, INF, 0): -1,
    (INF, INF, 0): -1, (-INF, -INF, -INF): -1, (NAN, NAN, NAN): -1, (INF, NAN, -INF): -1,
}


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_not_finite_is_never_right_and_a_class_ruled_out_is_an_answer():
    z = np.array(list(ODD))
    answer = said(z)
    assert answer.tolist() == list(ODD.values()) and said(np.stack([z, z])).shape == (2, len(z))
    for k in range(3):
        wrong, reached = Untargeted(k).on(len(z)), Targeted(k).on(len(z))
        tie = np.array([row == (1, 1, 0) and k < 2 for row in ODD])
        assert (wrong.already_wrong(z) == (answer != k)).all() and (reached.already_wrong(z) == np.isin(answer, (k, -1))).all()
        assert (wrong.success(z) == ((answer != k) & ~tie)).all() and (reached.success(z) == ((answer == k) & ~tie)).all()


def test_a_success_keeps_a_margin_that_rounding_cannot_make():
    z = np.array([[100.0, 100.0 + gap] for gap in (0, 1e-6, 1e-5, 2e-3, 1)], np.float32)
    assert Untargeted(0).on(5).success(z).tolist() == [False] * 3 + [True] * 2
    assert Untargeted(0).on(5).success(z, 0.5).tolist() == [False] * 4 + [True]
    assert Untargeted(0).on(5).already_wrong(z).tolist() == [False] * 2 + [True] * 3  # a clean look needs no margin


def test_already_wrong_means_nothing_left_to_do():
    z = np.eye(3)
    assert Untargeted([0, 2, 2]).already_wrong(z).tolist() == [False, True, False]
    assert Targeted([1, 1, 1]).already_wrong(z).tolist() == [False, True, False]
    assert Targeted([1, 0, 0], y=[0, 2, 2]).already_wrong(z).tolist() == [False, True, False]


def test_toward_pulls_to_one_class_and_accepts_any():
    z, y = draw(1)
    t = (y + 1) % 5
    goal = Toward(y, t)
    assert np.allclose(goal.objective(z, "ce"), Targeted(t).objective(z, "ce"))
    assert (goal.success(z) == Untargeted(y).success(z)).all() and np.allclose(goal.margin(z), Untargeted(y).margin(z))
    part = goal.on(7, 5)[[2, 4]]
    assert np.allclose(part.objective(z[[2, 4]], "dlr"), Targeted(t, y).objective(z, "dlr")[[2, 4]])


def test_goals_for_some_samples_and_one_label_for_all():
    goal = Targeted(3, y=[0, 1, 2]).on(3, 5)
    assert goal[[0, 2]].labels.tolist() == [3, 3] and goal[[0, 2]].y.tolist() == [0, 2] and len(goal) == 3
    assert Untargeted(mg.tensor([1, 2]))[1:].labels.tolist() == [2]
    with pytest.raises(TypeError, match="no length"):
        len(Targeted(3))


def test_wrong_goals_say_what_is_wrong():
    with pytest.raises(TypeError, match="integers"):
        Untargeted([0.5, 1.0])
    with pytest.raises(ValueError, match="class numbers"):
        Untargeted(np.eye(3, dtype=int))
    with pytest.raises(ValueError, match="true label"):
        Targeted([1, 2], y=[0, 2])
    with pytest.raises(ValueError, match=r"\[0, 3\)"):
        Untargeted([0, 3]).on(2, 3)
    with pytest.raises(ValueError, match="2 labels for 3 samples"):
        Untargeted([0, 1]).on(3)
    with pytest.raises(ValueError, match="'ce', 'margin', 'dlr'"):
        Untargeted([0]).objective(np.eye(3)[:1], "cw")
    with pytest.raises(ValueError, match="4 classes"):
        Targeted([0]).objective(np.eye(3)[:1], "dlr")


@given(seed=seeds, count=st.one_of(st.none(), st.integers(1, 6)))
def test_the_likeliest_other_classes_come_in_order_and_never_hold_the_label(seed, count):
    z, y = draw(seed)
    wanted = [[k for k in np.argsort(-row) if k != label][:count] for row, label in zip(z, y, strict=True)]
    assert np.array_equal(likeliest(z, y, count), wanted)
    assert likeliest(z[:0], y[:0], count).shape[0] == 0
