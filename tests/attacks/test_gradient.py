"""FGSM, BIM, PGD and MI-FGSM: the closed forms on linear models, and what every attack promises."""

import numpy as np
import pytest
from linear import DUAL, binary, classes, images, small_network

import minigrad as mg
from attacks import (
    L1,
    L2,
    Linf,
    Targeted,
    Untargeted,
    Victim,
    apgd,
    apgd_targeted,
    bim,
    fgsm,
    mi_fgsm,
    perturb,
    pgd,
)
from minigrad import kernels, nn
from minigrad.random import Stream

THREATS = [Linf, L2, L1]
ATTACKS = {
    "fgsm": fgsm,
    "bim": bim,
    "pgd": pgd,
    "mi_fgsm": mi_fgsm,
    "apgd": lambda *a, steps=20, **kw: apgd(*a, steps, **kw),
    "apgd_targeted": lambda *a, steps=20, **kw: apgd_targeted(*a, steps, targets=2, loss="margin", **kw),
}
attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
threats = pytest.mark.parametrize("kind", THREATS)


def softplus(t):
    return np.logaddexp(0, t)


# ---- closed forms ----------------------------------------------------------------------------------------------------


@threats
@pytest.mark.parametrize("block", range(4))
def test_on_200_logistic_models_every_attack_is_the_worst_case(kind, block):
    """Loss softplus(eps ||w||_dual - s (w x + b)), and robust exactly where s (w x + b) > eps ||w||_dual."""
    for seed in range(50 * block, 50 * block + 50):
        victim, x, y, w, b = binary(seed)
        eps = [0.05, 0.3, 1.0][seed % 3]
        margin = np.where(y == 1, 1, -1) * (x @ w + b)
        reach = eps * np.linalg.norm(w, DUAL[kind.name])
        results = [
            fgsm(victim, x, Untargeted(y), kind(eps)),
            bim(victim, x, Untargeted(y), kind(eps), 3),
            pgd(victim, x, Untargeted(y), kind(eps), 12, step=eps, early_stop=False, rng=seed),
            mi_fgsm(victim, x, Untargeted(y), kind(eps), 3),
        ]
        clear = np.abs(margin - reach) > 1e-3
        for result in results:
            assert not result.already_wrong.any()
            worst = softplus(reach - margin)
            assert np.allclose(result.objective, worst, rtol=2e-4, atol=2e-5), result
            assert ((margin < reach) == result.success)[clear].all()
            assert (result.distance[result.success] <= eps + 1e-6).all()


@threats
def test_fgsm_on_a_logistic_model_is_epsilon_times_the_dual_vector(kind):
    victim, x, y, w, _ = binary(3)
    moved = fgsm(victim, x, Untargeted(y), kind(0.5)).candidate - x
    direction = {"linf": np.sign(w), "l2": w / np.linalg.norm(w), "l1": np.sign(w) * (abs(w) == abs(w).max())}[kind.name]
    assert np.allclose(moved, -0.5 * np.where(y == 1, 1, -1)[:, None] * direction, atol=1e-5)


@pytest.mark.parametrize("kind", THREATS)
def test_targeted_margins_find_the_exact_robust_accuracy_of_linear_models_with_five_classes(kind):
    for seed in range(10):
        victim, x, y, weight, bias = classes(seed)
        eps = {"linf": 0.12, "l2": 0.4, "l1": 0.8}[kind.name]
        z = x @ weight.T + bias
        gap = z[np.arange(len(x)), y][:, None] - z
        reach = eps * np.linalg.norm(weight[y][:, None] - weight[None], DUAL[kind.name], axis=2)
        need = np.where(np.arange(5) == y[:, None], np.inf, gap - reach).min(1)
        result = apgd_targeted(victim, x, Untargeted(y), kind(eps), 30, targets=4, loss="margin", rng=seed)
        clear = np.abs(need) > 2e-2
        assert ((need < 0) == result.success)[clear].all()
        for t in range(5):  # one target alone
            result = pgd(victim, x[y != t], Targeted(t, y[y != t]), kind(eps), 20, step=eps / 2, loss="margin", rng=seed)
            assert (result.success <= (victim.predict(result.x_adv).argmax(1) == t)).all()


def test_fgsm_without_clipping_leaves_the_box_and_only_then():
    net, x = small_network(), images()
    victim = Victim(net)
    y = victim.predict(x).argmax(1)
    free = fgsm(victim, x, Untargeted(y), Linf(0.25), clip=False)
    assert free.candidate.min() == -0.25 and free.candidate.max() == 1.25 and not free.settings["clip"]
    clipped = fgsm(victim, x, Untargeted(y), Linf(0.25))
    assert np.allclose(np.clip(free.candidate, 0, 1), clipped.candidate, atol=1e-7)
    with pytest.raises(ValueError, match="outside the victim's bounds"):
        fgsm(victim, x + 0.1, Untargeted(y), Linf(0.25), clip=False)


# ---- promises of every attack ----------------------------------------------------------------------------------------


@attacks
@threats
def test_results_lie_in_ball_and_box_and_success_is_what_a_fresh_look_says(attack, kind):
    victim, x = Victim(small_network()), images(n=24)
    y = victim.predict(x).argmax(1)
    y[::4] = (y[::4] + 1) % 4  # a quarter is wrong from the start
    eps = {"linf": 0.3, "l2": 1.5, "l1": 6.0}[kind.name]
    result = attack(victim, x, Untargeted(y), kind(eps), rng=1)
    threat = kind(eps)
    for points in (result.x_adv, result.candidate):
        assert points.dtype == np.float32 and points.shape == x.shape
        assert points.min() >= 0 and points.max() <= 1
        assert (threat.size(points - x) <= eps * (1 + 1e-6)).all()
    assert result.already_wrong[::4].all() and result.already_wrong.sum() == 6
    assert not (result.success & result.already_wrong).any()
    assert result.success.any()
    alone = np.array([victim.predict(a[None]).argmax(1)[0] for a in result.x_adv])
    assert ((alone != y) == (result.success | result.already_wrong)).all()
    assert (result.x_adv[~result.success] == x[~result.success]).all()
    assert np.allclose(threat.size(result.x_adv - x)[result.success], result.distance[result.success])
    assert (result.distance[result.already_wrong] == 0).all()
    assert np.isinf(result.distance[~result.success & ~result.already_wrong]).all()
    assert all((r == "") == s for r, s in zip(result.reason, result.success))
    assert (result.queries[result.already_wrong] == 0).all() and (result.queries[~result.already_wrong] > 0).all()
    assert result.robust_accuracy == (~result.success & ~result.already_wrong).mean()
    assert result.success_rate == result.success.sum() / 18


@attacks
def test_a_sample_fares_the_same_alone_in_a_batch_and_in_another_order(attack):
    victim, x = Victim(small_network()), images(n=10)
    y = victim.predict(x).argmax(1)
    together = attack(victim, x, Untargeted(y), Linf(0.15), rng=7)
    order = np.random.default_rng(0).permutation(10)
    shuffled = attack(victim, x[order], Untargeted(y[order]), Linf(0.15), rng=7)
    assert (shuffled.success == together.success[order]).all()
    assert np.abs(shuffled.candidate - together.candidate[order]).max() < 1e-5
    for i in range(0, 10, 3):
        alone = attack(victim, x[i : i + 1], Untargeted(y[i : i + 1]), Linf(0.15), rng=7)
        assert alone.success[0] == together.success[i] and alone.queries[0] == together.queries[i]
        assert np.abs(alone.candidate[0] - together.candidate[i]).max() < 1e-5


@attacks
def test_the_same_seed_gives_the_same_result(attack):
    victim, x = Victim(small_network()), images()
    y = victim.predict(x).argmax(1)
    a, b, c = (attack(victim, x, Untargeted(y), L2(0.5), rng=r) for r in (5, 5, np.random.default_rng(3)))
    assert (a.candidate == b.candidate).all() and (a.queries == b.queries).all()
    assert c.settings["seed"] != a.settings["seed"]


@attacks
def test_attacks_launch_no_weight_gradient_and_leave_mode_and_gradients_alone(attack):
    net, x = small_network(), images()
    net.train()
    net[2].eval()
    net[5].bias.requires_grad_(False)
    victim = Victim(net)
    before = net.state_dict()
    y = victim.predict(x).argmax(1)
    with kernels.counting() as calls:
        attack(victim, x, Untargeted(y), Linf(0.2))
    assert calls["conv2d"] > 0 and calls["conv2d_dx"] > 0 and calls["conv2d_dw"] == 0
    assert net.training and net[1].training and not net[2].training
    assert [p.requires_grad for p in net.parameters()] == [True] * 5 + [False]
    assert all(p.grad is None for p in net.parameters())
    after = net.state_dict()
    assert all((before[k] == after[k]).all() for k in before)


def test_a_linear_layer_is_multiplied_twice_a_step_and_never_for_its_weights():
    victim, x, y, _, _ = binary(0)
    victim.predict(x)
    with kernels.counting() as calls:
        bim(victim, x, Untargeted(y), Linf(0.1), 5)
    assert calls["matmul"] == 1 + 2 * 5 + 1 + 1  # clean look, forward and backward of each step, last forward, judgement


@attacks
def test_mode_and_gradients_are_restored_when_the_network_fails(attack):
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = small_network(), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("out of order")
            return self.inner(x)

    net = Failing()
    victim, x = Victim(net), images()
    y = victim.predict(x).argmax(1)
    net.calls = 1
    with pytest.raises(RuntimeError, match="out of order"):
        attack(victim, x, Untargeted(y), Linf(0.01))
    assert all(m.training for m in net.modules()) and all(p.requires_grad for p in net.parameters())
    assert mg.is_grad_enabled()


@attacks
def test_tensors_in_tensors_out_and_float64_stays(attack):
    victim, x = Victim(small_network()), images()
    y = victim.predict(x).argmax(1)
    arrays = attack(victim, x, Untargeted(y), Linf(0.2))
    tensors = attack(victim, mg.tensor(x), Untargeted(mg.tensor(y)), Linf(0.2))
    assert isinstance(tensors.x_adv, mg.Tensor) and isinstance(tensors.candidate, mg.Tensor)
    assert (tensors.x_adv.array == arrays.x_adv).all() and not tensors.x_adv.requires_grad
    double = attack(victim, x.astype(np.float64), Untargeted(y), Linf(0.2))
    assert double.x_adv.dtype == np.float64 and double.x_adv.max() <= 1 and np.abs(double.x_adv - x).max() <= 0.2 + 1e-7


@attacks
def test_an_empty_batch_is_attacked_without_complaint(attack):
    result = attack(Victim(small_network()), images(n=0), Untargeted([]), Linf(0.1))
    assert len(result) == 0 and np.isnan(result.robust_accuracy)


@attacks
def test_epsilon_zero_changes_nothing(attack):
    victim, x = Victim(small_network()), images()
    y = victim.predict(x).argmax(1)
    for kind in THREATS:
        result = attack(victim, x, Untargeted(y), kind(0.0))
        assert (result.candidate == x).all() and not result.success.any()


# ---- each for itself -------------------------------------------------------------------------------------------------


def test_pgd_starts_inside_the_ball_and_restarts_attack_only_survivors():
    victim, x = Victim(small_network()), images(n=30)
    y = victim.predict(x).argmax(1)
    one = pgd(victim, x, Untargeted(y), Linf(0.04), 3, rng=0)
    many = pgd(victim, x, Untargeted(y), Linf(0.04), 3, restarts=6, rng=0)
    assert (one.success <= many.success).all() and many.robust_accuracy <= one.robust_accuracy
    assert (many.queries[one.success] == one.queries[one.success]).all()
    assert (many.queries[~many.success] == 6 * 4).all() and (many.steps[~many.success] == 6 * 3).all()


def test_early_stop_saves_queries_and_loses_no_success():
    victim, x = Victim(small_network()), images(n=30)
    y = victim.predict(x).argmax(1)
    fast = pgd(victim, x, Untargeted(y), Linf(0.1), 20, rng=0)
    full = pgd(victim, x, Untargeted(y), Linf(0.1), 20, early_stop=False, rng=0)
    assert (fast.success == full.success).all() and fast.success.any()
    assert (fast.queries[fast.success] < 21).any() and (full.queries == 21).all()
    assert (full.objective >= fast.objective - 1e-4).all()


def test_momentum_adds_normalised_gradients():
    victim, x, y, w, _ = binary(1)
    steps = mi_fgsm(victim, x, Untargeted(y), L2(1.0), 4, step=0.1)
    assert np.allclose(steps.candidate - x, -0.4 * np.where(y == 1, 1, -1)[:, None] * w / np.linalg.norm(w), atol=1e-5)


def test_an_epsilon_for_each_sample():
    victim, x, y, w, b = binary(2, n=20)
    need = np.abs(x @ w + b) / np.abs(w).sum()
    for factor, fooled in ((1.01, True), (0.99, False)):
        for attack in (fgsm, bim, pgd, lambda *a: apgd(*a, 30)):
            assert (attack(victim, x, Untargeted(y), Linf(factor * need)).success == fooled).all()


@attacks
def test_radii_stay_with_their_samples_when_some_are_not_attacked(attack):
    victim, x = Victim(small_network()), images(n=9)
    y = victim.predict(x).argmax(1)
    y[[0, 4]] = (y[[0, 4]] + 1) % 4
    eps = np.linspace(0.01, 0.3, 9)
    for kind in (Linf, L2):
        result = attack(victim, x, Untargeted(y), kind(eps), rng=2)
        assert (kind(eps).size(result.candidate - x) <= eps * (1 + 1e-6)).all()
        alone = attack(victim, x[7:8], Untargeted(y[7:8]), kind(eps[7]), rng=2)
        assert np.abs(alone.candidate[0] - result.candidate[7]).max() < 1e-5 and alone.steps[0] == result.steps[7]


def test_already_wrong_samples_are_attacked_only_when_asked_and_never_count():
    victim, x = Victim(small_network()), images()
    y = (victim.predict(x).argmax(1) + 1) % 4
    rest = pgd(victim, x, Untargeted(y), Linf(0.1))
    assert np.isnan(rest.success_rate) and rest.robust_accuracy == 0 and (rest.candidate == x).all()
    asked = pgd(victim, x, Untargeted(y), Linf(0.1), attack_wrong=True, early_stop=False)
    assert not asked.success.any() and (asked.candidate != x).any(axis=(1, 2, 3)).all()
    assert set(asked.reason) == {"already wrong"} and np.isfinite(asked.objective).all()


def test_targeted_attacks_reach_their_class():
    victim, x, y, _, _ = classes(0)
    target = (y + 1) % 5
    for attack in (fgsm, bim, pgd, mi_fgsm, lambda *a: apgd(*a, 40), lambda *a: apgd(*a, 40, loss="dlr")):
        result = attack(victim, x, Targeted(target, y), L2(4.0))
        assert result.success.mean() > 0.7
        assert (victim.predict(result.x_adv).argmax(1)[result.success] == target[result.success]).all()


def test_the_trace_holds_every_step():
    victim, x = Victim(small_network()), images()
    y = victim.predict(x).argmax(1)
    trace = bim(victim, x, Untargeted(y), Linf(0.2), 6, trace=True).trace
    assert trace["objective"].shape == (7, 12) and (trace["distance"][0] == 0).all()
    assert np.allclose(trace["distance"].max(1), 0.2 * np.arange(7) / 6, atol=1e-6)
    assert pgd(victim, x, Untargeted(y), Linf(0.2), 6, trace=True).trace["success"].shape == (7, 12)


@threats
def test_perturb_is_the_last_point_of_pgd_for_the_price_of_its_gradients(kind):
    victim, x = Victim(small_network()), images()
    y = np.zeros(12, int)
    white = victim.white_box()
    point = perturb(white, x, Untargeted(y), kind(0.3), 3, step=0.1, random_start=False)
    whole = pgd(victim, x, Untargeted(y), kind(0.3), 3, 0.1, random_start=False, early_stop=False, keep="last",
                attack_wrong=True)
    assert np.abs(point - whole.candidate).max() < 1e-5 and white.total == 3 * 12
    s = Stream(0, "start")
    a, b = (perturb(victim, mg.tensor(x), Untargeted(y), kind(0.3), step=0.05, rng=s) for _ in range(2))
    assert isinstance(a, mg.Tensor) and (a.array != b.array).any()
    assert (kind(0.3).size(a.array - x) <= 0.3 + 1e-5).all() and a.array.min() >= 0 and a.array.max() <= 1


# ---- wrong calls -----------------------------------------------------------------------------------------------------


@attacks
def test_wrong_calls_say_what_is_wrong(attack):
    victim, x = Victim(small_network()), images()
    y = victim.predict(x).argmax(1)
    for view in (victim.scores(), victim.labels()):
        with pytest.raises(TypeError, match="gives? none|no gradients"):
            attack(view, x, Untargeted(y), Linf(0.1))
    with pytest.raises(TypeError, match="Victim\\(net"):
        attack(victim.net, x, Untargeted(y), Linf(0.1))
    with pytest.raises(TypeError, match="255"):
        attack(victim, (x * 255).astype(np.uint8), Untargeted(y), Linf(0.1))
    with pytest.raises(ValueError, match="normalisation"):
        attack(victim, x * 2 - 1, Untargeted(y), Linf(0.1))
    with pytest.raises(ValueError, match="outside the victim's bounds"):
        attack(victim, np.full_like(x, np.nan), Untargeted(y), Linf(0.1))
    with pytest.raises(ValueError, match="labels"):
        attack(victim, x, Untargeted(y[:5]), Linf(0.1))
    with pytest.raises(ValueError, match="lie in"):
        attack(victim, x, Untargeted(y + 4), Linf(0.1))
    with pytest.raises(ValueError, match="radii|one each"):
        attack(victim, x, Untargeted(y), Linf(np.full(3, 0.1)))


def test_steps_and_restarts_are_checked():
    victim, x = Victim(small_network()), images()
    y = victim.predict(x).argmax(1)
    with pytest.raises(ValueError, match="restarts"):
        pgd(victim, x, Untargeted(y), Linf(0.1), restarts=0)
    for steps in (-1, 2.5, True):
        with pytest.raises(ValueError, match="steps"):
            pgd(victim, x, Untargeted(y), Linf(0.1), steps, step=0.1)
    with pytest.raises(TypeError, match="goal"):
        pgd(victim, x, y, Linf(0.1))
    with pytest.raises(TypeError, match="rng"):
        pgd(victim, x, Untargeted(y), Linf(0.1), rng="0")
    with pytest.raises(ValueError, match="3 classes"):
        net = nn.Linear(4, 2, rng=Stream(0, "two"))
        pgd(Victim(net), np.ones((2, 4), np.float32), Untargeted(Victim(net).predict(np.ones((2, 4), np.float32)).argmax(1)),
            Linf(0.1), loss="dlr")
