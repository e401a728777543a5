"""Results: what counts, curves, merging, files."""

import numpy as np
import pytest
from linear import binary, classes, images, small_network

import minigrad as mg
from attacks import L2, Additive, Linf, Result, SignSGD, Targeted, Task, Untargeted, Victim, batched, optimise, pgd
from minigrad.checkpoint import CheckpointError


def minimum(seed=0, n=30, wrong=0):
    """A minimum-norm result on a logistic model, from the closed form: x - f w / ||w||^2 and a little further."""
    victim, x, y, w, b = binary(seed, n)
    y[:wrong] = 1 - y[:wrong]
    task = Task("closed form", victim.white_box(), x, Untargeted(y))
    candidate = x.copy()
    f = (x @ w + b)[task.rows, None]
    candidate[task.rows] = x[task.rows] - 1.0001 * f * w / (w @ w)
    return task.result(candidate, threat=L2(np.inf), settings={"overshoot": 1e-4}), np.abs(x @ w + b) / np.linalg.norm(w)


def test_a_minimum_norm_result_is_the_whole_curve():
    result, distance = minimum()
    assert result.success.all() and np.allclose(result.distance, distance, rtol=1e-3)
    eps, accuracy = result.curve()
    assert eps[0] == 0 and accuracy[0] == 1 and accuracy[-1] == 0 and (np.diff(accuracy) < 0).all()
    for e in (0.1, 0.5, 1.5):
        part = result.at(e)
        assert part.robust_accuracy == (result.distance > e).mean() == result.curve([e])[1][0]
        assert (part.x_adv[~part.success] == result.original[~part.success]).all()
        assert (part.x_adv[part.success] == result.x_adv[part.success]).all()
        assert np.isinf(part.distance[~part.success]).all() and part.settings["at"] == e
        assert all("needs" in r for r in part.reason[~part.success])
    assert result.at(np.inf).success.all()


def test_already_wrong_samples_count_as_wrong_at_every_epsilon():
    result, _ = minimum(wrong=6)
    assert result.already_wrong[:6].all() and result.clean_accuracy == 0.8 == result.curve([0.0])[1][0]
    assert result.robust_accuracy == 0 and result.success_rate == 1 and (result.distance[:6] == 0).all()
    assert np.isnan(result.objective[:6]).all() and (result.x_adv[:6] == result.original[:6]).all()
    assert not result.at(0.0).already_wrong[6:].any()


def test_success_is_decided_on_what_is_returned_whatever_the_attack_believes():
    victim, x, y, _, _ = binary(1)
    task = Task("liar", victim.white_box(), x, Untargeted(y))
    result = task.result(x, threat=Linf(1), found=np.ones(len(x), bool))
    assert not result.success.any() and (result.x_adv == x).all() and result.robust_accuracy == 1
    moved = task.result(-x, threat=L2(100), found=np.zeros(len(x), bool))
    assert not moved.success.any()
    broken = np.full_like(x, np.nan)
    assert set(task.result(broken, threat=Linf(1)).reason) == {"the gradient is not finite"}


def test_a_candidate_out_of_ball_or_box_is_put_back():
    victim, x = Victim(small_network()), images()
    task = Task("far", victim.white_box(), x, Untargeted(victim.predict(x).argmax(1)))
    for threat in (Linf(0.1), L2(0.1)):
        candidate = task.result(x + 0.1 * (1 + 1e-5), threat=threat).candidate
        assert candidate.max() <= 1 and (threat.size(candidate - x) <= 0.1 * (1 + 1e-6)).all()


def test_merge_takes_the_better_and_adds_the_effort():
    victim, x, y, _, _ = classes(0, n=20)
    weak = pgd(victim, x, Untargeted(y), Linf(0.05), 5, rng=0)
    left = np.flatnonzero(~weak.success)
    strong = pgd(victim, x[left], Untargeted(y[left]), Linf(0.4), 5, rng=0)
    both = weak.merge(left, strong)
    assert (both.success[left] == strong.success).all() and both.success[weak.success].all()
    assert (both.queries[left] == weak.queries[left] + strong.queries).all()
    won = left[strong.success]
    assert (both.x_adv[won] == strong.x_adv[strong.success]).all() and strong.success.any()
    assert weak.success.sum() < both.success.sum()


def test_join_and_rows_take_results_apart_and_together():
    victim, x, y, _, _ = classes(1, n=12)
    whole = pgd(victim, x, Untargeted(y), Linf(0.2), 5, rng=3, trace=True)
    parts = [pgd(victim, x[i : i + 5], Untargeted(y[i : i + 5]), Linf(0.2), 5, rng=3) for i in (0, 5, 10)]
    joined = Result.join(parts)
    assert len(joined) == 12 and (joined.success == whole.success).all()
    assert np.allclose(joined.x_adv, whole.x_adv, atol=1e-5)
    assert (whole[5:10].success == parts[1].success).all() and whole[5:10].trace["objective"].shape == (6, 5)
    again = batched(pgd, victim, x, Untargeted(y), Linf(np.full(12, 0.2)), 5, batch=5, rng=3)
    assert (again.success == whole.success).all() and np.allclose(again.candidate, whole.candidate, atol=1e-5)
    with pytest.raises(ValueError, match="nothing"):
        Result.join([])


@pytest.mark.parametrize("tensors", [False, True])
def test_a_result_survives_the_disk(tmp_path, tensors):
    victim, x, y, _, _ = classes(2)
    given = mg.tensor(x) if tensors else x
    result = pgd(victim, given, Targeted((y + 1) % 5), L2(2.0), 5, trace=True)
    result.save_npz(tmp_path / "result.npz")
    again = Result.load_npz(tmp_path / "result.npz")
    assert (again.x_adv == (result.x_adv.array if tensors else result.x_adv)).all() and again.settings == result.settings
    for name in ("success", "already_wrong", "distance", "objective", "steps", "queries", "reason", "zero_gradient"):
        a, b = getattr(again, name), getattr(result, name)
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    assert np.array_equal(again.trace["objective"], result.trace["objective"], equal_nan=True)
    assert again.robust_accuracy == result.robust_accuracy and "pgd" in repr(again)
    from minigrad import checkpoint

    checkpoint.save(tmp_path / "other.npz", {"success": np.ones(3)})
    with pytest.raises(CheckpointError, match="not the result of an attack"):
        Result.load_npz(tmp_path / "other.npz")


def test_settings_name_everything_that_made_the_result():
    victim, x, y, _, _ = binary(0)
    settings = optimise(Additive(x), victim, Untargeted(y), Linf(0.1), SignSGD(0.01), 3, rng=9).settings
    for key in ("attack", "threat", "goal", "seed", "victim", "view", "optimiser", "steps", "loss", "keep", "start"):
        assert key in settings
    assert settings["seed"] == 9 and settings["threat"] == "Linf(0.1)" and "SignSGD(0.01" in settings["optimiser"]
