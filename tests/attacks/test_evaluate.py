"""Every check fires on a network or an attack built to violate it, and is silent on a plain one."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import linear

from attacks import L2, Linf, Untargeted, Victim, fgsm, pgd
from attacks.evaluate import CHECKS, Case, Check, ask, interval, verdict
from attacks.evaluate import of_attack as attack_checks
from attacks.evaluate import of_victim as victim_checks
from attacks.evaluate.case import lost
from attacks.white_box.deepfool import deepfool
from minigrad import nn
from minigrad.random import Stream

CLASSES, SIDE, EPS = 4, 6, 0.12


def pictures(n=40, seed=1, noise=0.1):
    """Noisy copies of four templates: (n, 1, 6, 6) in [0, 1] and their classes."""
    s = Stream(seed, "pictures")
    y = s.integers(0, CLASSES, n)
    return np.clip(templates()[y].reshape(n, 1, SIDE, SIDE) + noise * s.normal((n, 1, SIDE, SIDE)), 0, 1).astype(np.float32), y


def templates():
    return Stream(7, "templates").uniform(0.2, 0.8, (CLASSES, SIDE * SIDE), np.float64)


class Nearest(nn.Module):
    """-||x - template||^2 for each class, but for what is common to all: 2 <t, x> - ||t||^2, a linear network."""

    def __init__(self, before=None, after=None):
        super().__init__()
        t = templates()
        self.read = linear(2 * t, -np.square(t).sum(axis=1))
        self.before, self.after = before, after

    def forward(self, x):
        x = x if self.before is None else self.before(x)
        z = self.read(x.flatten(1))
        return z if self.after is None else self.after(z)


def stairs(x, levels=4):
    """x rounded to a few levels: its derivative is 0 wherever it has one."""
    return sum(((x - (k + 0.5) / levels).sign() + 1) * (0.5 / levels) for k in range(levels))


def killed(x):
    """x, without a gradient."""
    return x.detach() + 0 * x


def reversed_gradient(x):
    """x, with the gradient of -x."""
    return 2 * x.detach() - x


class Trembling(nn.Module):
    """Noise at test time, as a defense that answers at random."""

    def __init__(self, sigma=0.1):
        super().__init__()
        self.sigma, self.stream = sigma, Stream(3, "trembling")

    def forward(self, x):
        return x + self.sigma * self.stream.normal(x.shape)


class Listed(nn.Module):
    """Dropout in a plain list, where eval() does not reach it."""

    def __init__(self):
        super().__init__()
        self.net, self.parts = Nearest(), [nn.Dropout(0.3, rng=Stream(0, "listed"))]

    def forward(self, x):
        return self.net(self.parts[0](x))


def case(net=None, n=40, noise=0.1, threat=None, x=None, y=None, **options):
    made = pictures(n, noise=noise)
    x, y = made[0] if x is None else x, made[1] if y is None else y
    options = {"steps": 20, "queries": 100, "draws": 20, **options}
    return Case(Victim(net or Nearest(), classes=CLASSES), x, y, threat or Linf(EPS), **options)


def altered(change, attack=pgd):
    """The attack, and then change(result, options) -> the fields that it lies about."""

    def dishonest(victim, x, goal, threat, **options):
        result = attack(victim, x, goal, threat, **options)
        return dataclasses.replace(result, **change(result, {**options, "threat": threat}))

    return dishonest


# ---- a plain network and a plain attack ------------------------------------------------------------------------------


def test_nothing_fires_on_a_linear_network_attacked_by_pgd():
    twin = Victim(Nearest(), classes=CLASSES)
    for threat in (Linf(EPS), L2(0.6)):
        answers = ask(case(threat=threat, attack=partial(pgd, loss="margin"), restarts=4))
        assert 0.2 < np.mean([c.value for c in answers if c.name == "8-bit survival"]) <= 1
        assert [(c.name, c.evidence) for c in answers if c.status in ("warn", "fail")] == []
        unasked = sorted(c.name for c in answers if c.status == "n/a")
        assert unasked == ["positive control", "samples of EOT", "transfer not stronger"]
        assert verdict(answers)[0] == "believable"
    answers = {c.name: c for c in ask(case(twin=twin, threat=Linf(0.3)))}
    assert answers["positive control"].status == "passed" and answers["positive control"].value == 1


def test_every_check_says_what_it_saw_and_where_it_comes_from():
    answers = ask(case(Nearest(killed)))
    assert len(answers) == len(CHECKS) == len({c.name for c in answers})
    for c in answers:
        assert c.evidence and c.reference and c.about in ("victim", "attack")
        assert bool(c.advice) == (c.status in ("warn", "fail")), c
        assert c.plain()["name"] == c.name


# ---- networks that violate -------------------------------------------------------------------------------------------

BROKEN = {  # network -> checks that must fail, and checks that must warn
    "staircase": (lambda: Nearest(stairs), "zero gradients, loss rises, unbounded, chance at a large epsilon", ""),
    "killed gradient": (lambda: Nearest(killed), "zero gradients, gradient against differences, loss rises, unbounded, "
                        "chance at a large epsilon, white box not weaker than black box", ""),
    "reversed gradient": (lambda: Nearest(reversed_gradient), "gradient against differences, unbounded", ""),
    "probabilities": (lambda: Nearest(after=lambda z: z.softmax(1)), "logits, not probabilities", ""),
    "saturated": (lambda: Nearest(after=lambda z: z * 1e4), "", "zero gradients"),
    "noise at test time": (lambda: Nearest(Trembling()), "determinism", ""),
    "dropout left on": (Listed, "evaluation mode, determinism", ""),
    "neighbours": (lambda: Nearest(after=lambda z: z - 0.5 * z.mean(0, keepdim=True)), "batch independence", ""),
    "untrained": (lambda: linear(np.zeros((CLASSES, SIDE * SIDE)) + np.eye(CLASSES, 1) * 0.01, np.arange(CLASSES) * 0.0),
                  "clean accuracy", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_check_fires_on_a_network_built_to_violate_it(name):
    make, fail, warn = BROKEN[name]
    net = make()
    if name == "untrained":
        net = nn.Sequential(nn.Flatten(), net)
    answers = {c.name: c for c in ask(case(net, threat=Linf(0.2)))}
    for status, names in (("fail", fail), ("warn", warn)):
        for wanted in filter(None, names.replace("logits, not", "logits; not").split(", ")):
            wanted = wanted.replace("logits; not", "logits, not")
            assert answers[wanted].status == status, answers[wanted]
    assert verdict(answers.values())[0] != "believable"


def test_a_rough_loss_is_told_from_a_smooth_one():
    wave = Nearest(lambda x: x + 0.15 * ((x.detach() * 400).sin() - (x.detach() * 400).sin() * 0) + 0 * x)
    smooth, rough = (victim_checks.smooth_loss(case(net, threat=Linf(0.2))) for net in (None, wave))
    assert smooth.status == "passed" and abs(smooth.value - 0.05) < 0.02
    assert rough.status in ("warn", "fail") and rough.value > 0.3
    assert victim_checks.smooth_loss(case(threat=Linf(0.0))).status == "n/a"


def test_inputs_that_do_not_use_the_bounds_are_noticed():
    x, y = pictures()
    odd = Case(Victim(Nearest(), bounds=(0, 255), classes=CLASSES), x, y, Linf(EPS))
    assert victim_checks.range_used(odd).status == "warn"


def test_a_network_without_any_gradient_fails_the_check_and_does_not_stop_the_others():
    def cut(x):
        return x.detach()

    answers = ask(case(Nearest(cut)), CHECKS[:9])
    assert len(answers) == 9 and {c.name: c for c in answers}["zero gradients"].status == "fail"


def test_a_callable_cannot_be_asked_for_its_mode():
    net = Nearest()
    assert victim_checks.evaluation_mode(case(lambda x: net(x))).status == "n/a"


def test_eot_restores_the_verdict_on_a_network_that_answers_at_random():
    random_case = case(Nearest(Trembling(0.02)), samples=8, steps=10)
    assert random_case.randomised and victim_checks.deterministic(random_case).status == "warn"
    assert victim_checks.batch_independent(random_case).status == "n/a"
    assert attack_checks.enough_eot(random_case).status in ("passed", "warn")
    lucky = altered(lambda r, o: {} if o.get("samples", 1) > 8 else {"success": r.success & False})
    assert attack_checks.enough_eot(case(Nearest(Trembling(0.02)), samples=4, steps=10, attack=lucky)).status == "fail"


# ---- attacks that violate --------------------------------------------------------------------------------------------


def outside(r, o):
    return {"x_adv": np.where(r.success[:, None, None, None], np.clip(r.x_adv + 0.01, 0, 1), r.x_adv)}


def forgets(r, o):
    return {"success": r.success & False}


def counts_mistakes(r, o):
    return {"success": r.success | r.already_wrong}


def returns_the_original(r, o):
    return {"x_adv": r.original}


def needs_many_starts(r, o):
    return {} if o["restarts"] > 3 else {"success": r.success & (np.arange(len(r)) % 2 == 0)}


def fails_far_out(r, o):
    return {} if o["threat"].epsilon <= EPS else {"success": r.success & False}


ATTACKS = [
    (attack_checks.inside_ball, altered(outside)),
    (attack_checks.silent_success, altered(forgets)),
    (attack_checks.already_wrong_excluded, altered(counts_mistakes)),
    (attack_checks.success_is_real, altered(returns_the_original)),
    (attack_checks.restarts_add_nothing, altered(needs_many_starts)),
    (attack_checks.monotone, altered(fails_far_out)),
    (attack_checks.unbounded, altered(fails_far_out)),
    (attack_checks.chance_at_large_epsilon, altered(fails_far_out)),
    (attack_checks.converged, partial(pgd, step=0.003, random_start=False)),
    (attack_checks.iterative_not_weaker, partial(pgd, step=0.002, random_start=False)),
    (attack_checks.black_box_finds_nothing, altered(forgets)),
]


@pytest.mark.parametrize("check, attack", ATTACKS, ids=lambda v: getattr(v, "name", ""))
def test_a_check_fires_on_an_attack_built_to_violate_it(check, attack):
    x, y = pictures(60)
    y = np.where(np.arange(60) % 10 == 0, (y + 1) % CLASSES, y)
    assert check(case(x=x, y=y, attack=partial(pgd, loss="margin"), restarts=3)).status == "passed"
    found = check(case(x=x, y=y, attack=attack, restarts=3, queries=400))
    assert found.status == "fail", found


def test_noise_that_fools_whom_the_attack_spared_is_noticed():
    near = dict(noise=0.5, threat=Linf(0.4))
    assert attack_checks.noise_finds_nothing(case(Nearest(killed), **near)).status == "fail"
    assert attack_checks.noise_finds_nothing(case(noise=0.3, threat=Linf(0.02))).status == "passed"
    assert attack_checks.noise_finds_nothing(case(threat=Linf(0.5))).status == "n/a"


def test_a_step_that_tells_the_label_is_noticed():
    """The network's gradient points to the true class: FGSM's points are classified better than the samples."""
    assert attack_checks.label_leaking(case(Nearest(reversed_gradient), noise=0.5)).status == "fail"
    assert attack_checks.label_leaking(case(noise=0.5)).status == "passed"


def test_perturbations_lost_in_a_picture_file_are_noticed():
    def barely(victim, x, goal, threat, **options):
        return deepfool(victim, x, goal, Linf, overshoot=1e-5).at(threat.epsilon)

    found = attack_checks.eight_bit(case(attack=barely, threat=Linf(0.3)))
    assert found.status == "warn" and found.value < 0.9
    assert attack_checks.eight_bit(case(threat=Linf(0.3))).status == "passed"


def test_the_twin_controls_the_attack_and_transfers():
    plain, masked = Victim(Nearest(), classes=CLASSES), Victim(Nearest(killed), classes=CLASSES)
    assert attack_checks.positive_control(case(twin=masked, threat=Linf(0.3))).status == "fail"
    assert attack_checks.transfer_not_stronger(case(Nearest(killed), twin=plain, threat=Linf(0.2))).status == "fail"
    assert attack_checks.transfer_not_stronger(case(twin=plain, attack=partial(pgd, loss="margin"))).status in ("passed", "n/a")


# ---- the machinery ---------------------------------------------------------------------------------------------------


def test_equal_runs_are_made_once():
    calls = []

    def counted(victim, x, goal, threat, **options):
        calls.append(options)
        return pgd(victim, x, goal, threat, **options)

    c = case(attack=counted, n=10)
    assert c.base is c.base and len(calls) == 1
    assert c.run(steps=5) is c.run(steps=5) and c.run(scale=2) is not c.run(scale=3) and len(calls) == 4
    assert len(c.at_claim) == 2 and c.at_claim[0] is c.base


def test_batches_change_nothing_and_keep_the_trace():
    whole, parts = case(n=13), case(n=13, batch=4)
    assert np.array_equal(whole.base.success, parts.base.success) and np.allclose(whole.base.x_adv, parts.base.x_adv, atol=1e-6)
    assert parts.base.trace["objective"].shape == whole.base.trace["objective"].shape == (21, 13)


def test_a_case_refuses_what_it_cannot_judge():
    x, y = pictures(4)
    with pytest.raises(TypeError, match="wrap the network"):
        Case(Nearest(), x, y, Linf(EPS))
    with pytest.raises(ValueError, match="no samples"):
        Case(Victim(Nearest()), x[:0], y[:0], Linf(EPS))
    with pytest.raises(ValueError, match="status"):
        Check("a", "good", 1.0, 1.0, "b", "", "c")


@given(count=st.integers(0, 500), n=st.integers(1, 500))
def test_one_sample_warns_and_a_point_of_accuracy_fails(count, n):
    assert lost(count, n) == ("passed" if count == 0 else "fail" if count > 1 and count > 0.01 * n else "warn")


@given(k=st.integers(0, 200), n=st.integers(1, 200))
def test_the_interval_holds_the_share_and_shrinks_with_n(k, n):
    k = min(k, n)
    low, high = interval(k / n, n)
    assert 0 <= low <= k / n + 1e-12 and k / n - 1e-12 <= high <= 1
    more = interval(k / n, 4 * n)
    assert more[1] - more[0] < high - low


def test_the_interval_is_wilsons():
    """Wilson 1927: 8 of 10 give 0.4902 to 0.9433."""
    assert np.allclose(interval(0.8, 10), (0.4902, 0.9433), atol=1e-4)


def test_fgsm_and_untargeted_are_what_the_checks_compare_with():
    c = case(n=8)
    again = fgsm(c.victim, c.x, Untargeted(c.y), Linf(EPS))
    assert np.array_equal(c.run(fgsm).success, again.success)
