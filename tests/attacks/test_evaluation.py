"""The ensemble on survivors, curves and the worst case per sample against closed forms, the report and the command."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import binary, classes, images, small_network

from attacks import L1, L2, Box, Linf, Untargeted, Victim, apgd, fgsm, pgd
from attacks.commands import evaluate as evaluate_command
from attacks.evaluate import NUMBERS, ablate, auto, beside, curves, evaluate, report, standard, worst_case
from attacks.white_box.deepfool import deepfool
from minigrad.checkpoint import load
from minigrad.random import Stream
from minigrad.run import Run
from nets.classifiers.lenet import LeNet

QUICK = dict(steps=10, targets=3, queries=60)
DUAL = {Linf: 1, L2: 2, L1: np.inf}


def setting(n=14):
    victim, x = Victim(small_network()), images(n=n)
    y = victim.predict(x).argmax(1)
    y[0] = (y[0] + 1) % 4
    return victim, x, y


# ---- the ensemble ----------------------------------------------------------------------------------------------------


def test_each_attack_meets_only_what_the_ones_before_left_standing():
    victim, x, y = setting()
    met = []

    def spy(attack):
        def run(victim, x, goal, threat, rng):
            met.append(np.array(x))
            return attack(victim, x, goal, threat, rng=rng)

        return run

    e = auto(victim, x, y, Linf(0.03), attacks={"fgsm": spy(fgsm), "pgd": spy(pgd), "apgd": spy(apgd)})
    assert [r["attacked"] for r in e.runs] == [len(m) for m in met]
    assert len(met[0]) == 14 and len(met[1]) == 13 - e.runs[0]["fooled"] and len(met[2]) == len(met[1]) - e.runs[1]["fooled"]
    left = [r["robust_accuracy"] for r in e.runs]
    assert left == sorted(left, reverse=True) and left[-1] == e.robust_accuracy
    assert e.by[0] == "already wrong" and not e.result.success[0]
    assert ((e.by != "") == (e.result.success | e.result.already_wrong)).all()
    for name, r in zip(("fgsm", "pgd", "apgd"), e.runs, strict=True):
        assert (e.by == name).sum() == r["fooled"]


def test_the_ensemble_is_at_least_as_strong_as_each_of_its_attacks():
    victim, x, y = setting()
    for threat in (Linf(0.03), L2(0.15), L1(1.0)):
        e = auto(victim, x, y, threat, **QUICK)
        for name, attack in standard(threat, 4, **QUICK).items():
            alone = attack(victim, x, Untargeted(y), threat, rng=0)
            assert not (alone.success & ~e.result.success).any(), name
        assert (victim.predict(e.result.x_adv).argmax(1) != y)[e.result.success].all()
        assert (threat.size(e.result.x_adv - x) <= threat.epsilon * (1 + 1e-6)).all()


def test_batches_change_nothing():
    victim, x, y = setting()
    whole, parts = (auto(victim, x, y, Linf(0.03), batch=b, **QUICK) for b in (250, 4))
    assert np.array_equal(whole.by, parts.by) and np.allclose(whole.result.x_adv, parts.result.x_adv, atol=1e-6)


def test_radii_of_each_sample_are_kept_also_by_attacks_without_a_radius():
    victim, x, y = setting()
    threat = Linf(np.linspace(0, 0.06, len(x)))
    e = auto(victim, x, y, threat, attacks={"fab-t": standard(threat, 4, **QUICK)["fab-t"]})
    assert e.result.success.any() and (e.result.distance[e.result.success] <= threat.epsilon[e.result.success] + 1e-7).all()


def test_the_attacks_fit_the_threat_the_classes_and_the_network():
    assert list(standard(Linf(1), 10)) == ["apgd-ce", "apgd-dlr-t", "fab-t", "square"]
    assert list(standard(L1(1), 10)) == ["apgd-ce", "apgd-dlr-t", "fab-t"]
    assert list(standard(L2(1), 3)) == ["apgd-ce", "apgd-dlr", "fab-t", "square"]
    assert list(standard(L2(1), 2)) == ["apgd-ce", "apgd-margin", "fab-t", "square"]
    assert list(standard(Linf(1), 10, randomised=True)) == ["apgd-ce", "apgd-dlr"]
    with pytest.raises(TypeError, match="Linf, L2 or L1"):
        standard(Box(), 10)
    with pytest.raises(TypeError, match="belong to the standard"):
        auto(*setting(), Linf(0.1), attacks={"pgd": pgd}, steps=3)
    victim, x, y = setting()
    with pytest.raises(ValueError, match="no samples"):
        auto(victim, x[:0], y[:0], Linf(0.1))


@pytest.mark.parametrize("batch", [250, 2])
def test_the_ablation_of_attacks_whose_successes_are_known(batch):
    """Stub attacks: sample i falls to those that list it; 0 is wrong from the start, 5 stands."""
    victim, x, y, _, _ = classes(0, n=6)
    y[0] = (y[0] + 1) % 5
    lists, met = {"a": [1, 2], "b": [2, 3, 4], "c": [3]}, {"a": [], "b": [], "c": []}

    def stub(name):
        def attack(victim, x_some, goal, threat, rng):
            assert rng == 7
            rows = [int(np.flatnonzero((x == row).all(1))[0]) for row in x_some]
            met[name] += rows
            found = fgsm(victim, x_some, goal, L2(0.0), rng=rng)
            found.success = np.isin(rows, lists[name]) & ~found.already_wrong
            return found

        return attack

    e = auto(victim, x, y, L2(0.1), attacks={name: stub(name) for name in lists}, batch=batch, rng=7)
    assert list(e.by) == ["already wrong", "a", "a", "b", "b", ""]
    assert met == {"a": [0, 1, 2, 3, 4, 5], "b": [3, 4, 5], "c": [5]}
    said = []
    found = ablate(e, victim, x, y, L2(0.1), batch=batch, seen=lambda *a: said.append(a))
    assert met == {"a": [0, 1, 2, 3, 4, 5], "b": [3, 4, 5, 1, 2], "c": [5, 1, 2, 3, 4]}  # no sample twice, none that was wrong
    assert said == [("a", 0), ("b", 2), ("c", 4)]
    assert found.fooled.astype(int).tolist() == [[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0]]
    assert found.rows == [
        {"attack": "a", "first": 2, "alone": 3 / 6, "without": 2 / 6, "only": 1},
        {"attack": "b", "first": 2, "alone": 2 / 6, "without": 2 / 6, "only": 1},
        {"attack": "c", "first": 0, "alone": 4 / 6, "without": 1 / 6, "only": 0},
    ]
    assert found.stands([1, 1, 1]) == e.robust_accuracy == 1 / 6 and found.stands([0, 0, 0]) == 5 / 6


def test_the_ablation_finds_what_each_attack_finds_alone():
    victim, x, y = setting()
    threat = Linf(0.03)
    e = auto(victim, x, y, threat, **QUICK)
    found = ablate(e, victim, x, y, threat)
    for i, (name, attack) in enumerate(standard(threat, 4, **QUICK).items()):
        alone = attack(victim, x, Untargeted(y), threat, rng=0)
        assert np.array_equal(found.fooled[i], alone.success), name
    for row in found.rows:
        assert row["without"] == pytest.approx(e.robust_accuracy + row["only"] / 14)


# ---- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [Linf, L2])
def test_curves_meet_the_closed_form_on_linear_models(norm):
    """Robust accuracy at epsilon = mean[|w x + b| / dual(w) > epsilon], by one run of DeepFool and by FGSM at each epsilon."""
    victim, x, y, w, b = binary(0, n=40)
    exact = np.abs(x @ w + b) / np.linalg.norm(w, DUAL[norm])
    grid = np.quantile(exact, [0.1, 0.4, 0.8]) * 1.001
    c = curves(victim, x, y, norm(1.0), grid, {"fgsm": fgsm}, {"deepfool": lambda *a, **k: deepfool(*a, overshoot=1e-4, **k)})
    truth = (exact[None] > c.epsilons[:, None]).mean(axis=1)
    assert c.epsilons[0] == 0 and np.allclose(c.accuracy["fgsm"], truth) and np.allclose(c.accuracy["deepfool"], truth)
    assert np.allclose(c.worst, truth) and np.allclose(c.distance, exact, rtol=1e-3)
    assert np.isclose(c.half, np.sort(exact)[19], rtol=1e-3) and c.at(grid[1]) == truth[2]


def test_the_worst_case_is_per_sample_and_not_the_least_of_the_means():
    victim, x, y, _, _ = classes(0, n=8)

    def half(which):
        def attack(victim, x, goal, threat, rng=0):
            found = pgd(victim, x, goal, threat, rng=rng)
            found.success &= np.arange(len(found)) % 2 == which
            found.distance[~found.success] = np.inf
            return found

        return attack

    c = curves(victim, x, y, L2(1.0), [50.0], {"even": half(0), "odd": half(1)})
    assert c.accuracy["even"][1] == c.accuracy["odd"][1] == c.least_of_means[1] == 0.5 and c.worst[1] == 0
    assert list(c.by) == ["even", "odd"] * 4


@given(seed=st.integers(0, 100), norm=st.sampled_from([Linf, L2]))
def test_the_worst_case_never_exceeds_any_attack_and_falls_with_epsilon(seed, norm):
    victim, x, y, _, _ = classes(seed, n=6)
    grid = [0.1, 0.15, 0.2, 0.3, 0.7, 1.0]  # most are not what float32 makes of them
    c = curves(victim, x, y, norm(1.0), grid, {"fgsm": fgsm, "pgd": pgd}, {"deepfool": deepfool}, rng=seed)
    for v in c.accuracy.values():
        assert (c.worst <= v + 1e-12).all()
    assert (np.diff(c.worst) <= 0).all() and (c.worst <= c.least_of_means).all()
    assert ((c.by == "") == np.isinf(c.distance)).all()


def test_curves_and_worst_cases_refuse_what_makes_no_sense():
    victim, x, y, _, _ = classes(0)
    with pytest.raises(ValueError, match="at least one attack"):
        curves(victim, x, y, L2(1.0), [1.0])
    with pytest.raises(ValueError, match="at least 0"):
        curves(victim, x, y, L2(1.0), [-1.0], {"fgsm": fgsm})
    a = fgsm(victim, x, Untargeted(y), L2(1.0))
    with pytest.raises(ValueError, match="same samples"):
        worst_case({"a": a, "b": a[:3]})


# ---- published numbers -----------------------------------------------------------------------------------------------


def test_published_numbers_say_where_they_come_from():
    for p in NUMBERS:
        assert p.source and p.status in ("verified", "memory") and p.norm in ("linf", "l2", "l0")
        assert p.unit in ("distance", "rho") or 0 <= p.value <= 1
    assert {p.epsilon for p in beside("mnist", "linf", 0.3)} == {0.3, None}
    assert any(p.value == 0.885 for p in beside("mnist", "linf", 0.3)) and not beside("glyphs")


# ---- the evaluation and its report -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluation():
    victim, x, y = setting(20)
    said = []
    e = evaluate(victim, x, y, Linf(0.03), steps=10, queries=40, draws=6, ensemble=dict(steps=10, targets=3), seen=said.append,
                 statements={"defense": "none <at all>"})
    assert len(said) > 30
    return e


def test_numbers_fall_as_attacks_get_stronger_and_the_last_is_the_least(evaluation):
    numbers = {n.name: n for n in evaluation.numbers()}
    values = [n.value for n in numbers.values()]
    assert len(values) == 6 and values[0] == max(values) == 0.95 and values[-1] == min(values)
    assert np.isclose(values[-1], np.isinf(evaluation.worst[0]).mean())
    for n in numbers.values():
        assert n.low <= n.value <= n.high and n.reasons and n.verdict in ("believable", "with care", "do not believe")


def test_the_curve_knows_of_every_run_at_the_claimed_epsilon(evaluation):
    assert evaluation.curves.at(0.03) <= evaluation.numbers()[-1].value + 1e-12
    for v in evaluation.curves.accuracy.values():
        assert (evaluation.curves.worst <= v + 1e-12).all()
    assert 0.03 in np.round(evaluation.curves.epsilons, 9)


def test_plain_values_go_through_json(evaluation):
    tree = json.loads(json.dumps(evaluation.plain(), allow_nan=False))
    assert len(tree["numbers"]) == 6 and len(tree["checks"]) == len(evaluation.checks)


def test_the_report_is_one_file_that_says_everything(evaluation, tmp_path):
    path = report.write(tmp_path / "report.html", evaluation, title="a <b> title", data="mnist", command="python -m attacks <x>")
    page = open(path, encoding="utf-8").read()
    assert "<script" not in page and "http:" not in page and "src='data:image/png" in page
    assert "a &lt;b&gt; title" in page and "none &lt;at all&gt;" in page and "<b> title" not in page
    assert page.count("NOT STATED") == 2
    for check in evaluation.checks:
        assert check.name in page
    for n in evaluation.numbers():
        assert n.name in page
    for run in evaluation.ensemble.runs:
        assert run["attack"] in page
    assert set(re.findall(r"<(/?section)", page)) == {"section", "/section"}
    assert page.count("<section") == page.count("</section>") == 11
    for row in evaluation.ablation.rows:
        assert f"<tr><td>{row['attack']}<td class=n>{row['first']}<td class=n>{100 * row['alone']:.1f} %" in page
    bare = dataclasses.replace(evaluation, ablation=None)
    assert "each attack adds" not in open(report.write(tmp_path / "bare.html", bare, title="t"), encoding="utf-8").read()
    assert bare.plain()["ablation"] is None


def test_pictures_of_the_report(evaluation):
    curve, sheet = report.curve_picture(evaluation, "linf"), report.examples(evaluation)
    assert curve.dtype == sheet.dtype == np.uint8 and curve.shape[2] == sheet.shape[2] == 3
    assert curve.std() > 5 and sheet.std() > 5


def test_vectors_have_no_sheet_of_pictures(tmp_path):
    victim, x, y, _, _ = classes(0, n=6)
    e = evaluate(victim, x, y, L2(0.3), steps=5, queries=10, draws=2, ensemble=dict(steps=5, targets=2))
    assert report.examples(e) is None
    assert "Examples" not in open(report.write(tmp_path / "r.html", e, title="t"), encoding="utf-8").read()


def test_statements_must_be_known():
    victim, x, y = setting(4)
    with pytest.raises(ValueError, match="defense, adaptive, compare"):
        evaluate(victim, x, y, Linf(0.1), statements={"defence": "x"})


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run of a LeNet that nobody trained."""
    config = dict(data="glyphs", size=16, channels=1, classes=10, width=2)
    run = Run.create("classifier", config, tmp_path_factory.mktemp("runs"), quiet=True)
    run.checkpoint(1, {"network": LeNet(1, 10, 16, 2, rng=Stream(0, "model")).state_dict()})
    return run.path


def test_the_command_goes_all_the_way(model, tmp_path, capsys):
    evaluate_command.main(["--model", model, "--count", "4", "--steps", "3", "--strong", "3", "--queries", "10", "--draws", "2",
                           "--epsilon", "0.05", "--twin", model, "--out", str(tmp_path), "--defense", "nothing"])
    said = capsys.readouterr().out
    assert "worst case for each sample" in said and "clean accuracy" in said and "report:" in said
    folder = tmp_path / "evaluate-0001"
    assert (folder / "report.html").stat().st_size > 20_000 and (folder / "samples").is_dir()
    assert "without it" in said
    assert json.loads((folder / "evaluation.json").read_text())["statements"] == {"defense": "nothing"}
    added = json.loads((folder / "evaluation.json").read_text())["ablation"]
    assert [r["attack"] for r in added] == ["apgd-ce", "apgd-dlr-t", "fab-t", "square"] and all(0 <= r["alone"] <= 1 for r in added)
    assert load(folder / "ensemble.npz")["settings"]["attack"] == "auto"


def test_a_dry_run_keeps_nothing(model, tmp_path, capsys):
    evaluate_command.main(["--model", model, "--dry-run", "--out", str(tmp_path)])
    assert "nothing is kept" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_model_must_be_named(capsys):
    with pytest.raises(SystemExit) as status:
        evaluate_command.main([])
    assert status.value.code == 2 and "--model RUN" in capsys.readouterr().err
