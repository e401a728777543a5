"""The exhibits `defenses` and `goodfellow`: every line of their tables on networks that train for a moment, their arithmetic,
and that the check they name fires for the reason they give."""

import dataclasses
import json
import math
import os
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import binary, classes, images, linear, small_network

from attacks import Linf, Untargeted, Victim, fgsm, pgd
from attacks import __main__ as attacks_main
from attacks.commands import defenses, goodfellow
from attacks.commands.helpers import defenses_built, setting
from attacks.commands.helpers.defenses_built import DEFENSES, Built, Defense, Lab, Way, one_step, through
from attacks.defend import Hidden, training
from attacks.evaluate import Case
from attacks.evaluate.of_attack import iterative_not_weaker
from attacks.evaluate.published import GOODFELLOW, NUMBERS
from minigrad import data
from minigrad.pictures import bars
from minigrad.random import Stream
from minigrad.words import percent, plain
from nets.training import fit


@pytest.fixture(scope="module")
def digits():
    """Training and test set: a few glyphs of 16 pixels."""
    return {True: data.load("glyphs", size=16, limit=512), False: data.load("glyphs", train=False, size=16, limit=60)}


@pytest.fixture
def small_data(digits, monkeypatch, tmp_path):
    """--data is those, in an empty folder."""
    monkeypatch.setattr(data, "load", lambda name, train=True, **kw: digits[train])
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def lab(digits):
    """A laboratory whose networks learn for a moment."""
    o = Namespace(seed=0, epsilon=0.3, radius=0.5, count=16, steps=50, batch=32, width=4, attack_steps=8, draws=3, points=10,
                  members=2, looks=100, certified=4, sigma=0.3, decay=1e-3)
    test = digits[False]
    samples = samples_of(test, o.count)
    return Lab(o, digits[True], samples)


def samples_of(test, count):
    return setting.Samples(test.normalised((0.0, 1.0))[:count], test.y[:count], test.classes, "glyphs")


def run_of(*argv):
    return attacks_main.main(list(argv))


# ---- attacks through a stand-in --------------------------------------------------------------------------------------


def test_through_itself_is_pgd():
    victim, x, y, *_ = classes(3, n=20)
    own = pgd(victim, x, Untargeted(y), Linf(0.3), 5, early_stop=False, attack_wrong=True, rng=4)
    same = through(victim)(victim, x, Untargeted(y), Linf(0.3), steps=5, rng=4)
    assert np.array_equal(own.success, same.success) and np.array_equal(own.x_adv, same.x_adv)
    assert 0 < same.robust_accuracy < 1


def test_through_another_is_judged_on_the_victim():
    """On linear models: what the stand-in's worst step does to the victim is <w, step>."""
    victim, x, y, w, b = binary(1, n=40)
    other = binary(2)[0]
    v = other.net.weight.array[1].astype(np.float64)
    found = through(other)(victim, x, Untargeted(y), Linf(0.5), steps=3, rng=0)
    moved = x @ w + b - np.where(y == 1, 1, -1) * 0.5 * (w @ np.sign(v))
    assert np.array_equal(found.success, (moved > 0) != (y == 1))
    assert np.array_equal(found.x_adv[~found.success], x[~found.success])
    assert found.settings["stand-in"] == repr(other)


def test_the_majority_of_fresh_looks_decides():
    """A victim that answers y in two of three looks is not fooled, one that does so in one of three is."""
    x = images(n=6)
    y = np.zeros(6, int)

    def every(third):
        turn = iter(range(10**6))

        def net(t):
            z = np.zeros((len(t), 4), np.float32)
            z[:, 1 if (next(turn) % 3 == 0) == third else 0] = 1
            return t.wrap(z) + 0.0 * t.flatten(1).sum(1, keepdim=True)

        return Victim(net)

    still = Victim(small_network().eval())
    for third, wrong in ((True, False), (False, True)):
        victim = every(third)
        votes = through(still, 9)(victim, x, Untargeted(y), Linf(0.1), steps=1)
        assert (votes.success | votes.already_wrong).all() == wrong


@given(st.sampled_from([0.05, 0.3]), st.integers(0, 5))
def test_one_step_is_fgsm_to_the_bit(epsilon, seed):
    victim, x = Victim(small_network(seed).eval()), images(seed)
    y = victim.predict(x).argmax(1)
    way = one_step()
    found = way.attack(victim, x, Untargeted(y), Linf(epsilon), steps=way.steps, early_stop=False)
    single = fgsm(victim, x, Untargeted(y), Linf(epsilon))
    # PGD keeps the better of start and end: the same where FGSM raised the loss
    assert np.array_equal(found.success, single.success)
    assert np.array_equal(found.x_adv[single.success], single.x_adv[single.success])


def test_a_stand_in_that_knows_nothing_is_found_out():
    victim, x, y, *_ = classes(3, n=40)
    nothing = linear(np.zeros((5, 10)), np.zeros(5))
    case = Case(victim, x, y, Linf(0.3), attack=through(Victim(nothing, bounds=(-20, 20)), random_start=False),
                steps=5)
    answer = iterative_not_weaker(case)
    assert answer.status == "fail" and answer.value == pytest.approx(1 - case.run(fgsm).robust_accuracy)


# ---- defenses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(DEFENSES))
def test_a_dry_run_of_every_defense_leaves_nothing(name, small_data, capsys):
    assert run_of("defenses", "--dry-run", "--only", name) == 0
    assert DEFENSES[name].title in (out := capsys.readouterr().out) and "the check that warns" in out
    assert ("what holds" in out) == DEFENSES[name].holds
    assert not os.path.exists("runs")


@pytest.mark.parametrize("name, check", [
    ("quantised-3", "zero gradients"), ("quantised-1", "zero gradients"), ("purification", "zero gradients"),
    ("noise-at-test", "determinism"), ("dropout-at-test", "determinism"),
])
def test_the_check_that_is_named_fires_where_a_gradient_is_masked(name, check, lab):
    row = defenses.judged(name, DEFENSES[name], lab)
    assert (row.check, row.status) == (check, "fail") and row.evidence and row.warning.startswith(f"{check}: fail, ")
    assert max(row.naive, row.own) <= row.clean + 0.1  # a random defense has a clean accuracy of its own at each look
    if check == "zero gradients":
        assert row.value == 1 and row.naive > row.own


def test_what_hides_nothing_is_not_accused(lab):
    for name in ("weight-decay", "noise-at-training", "dropout-at-training"):
        row = defenses.judged(name, DEFENSES[name], lab)
        assert row.check == row.warning == "none needed: PGD already breaks it" and row.own < row.clean
    honest = Defense("the undefended network", 1,
                     lambda lab: Built(lab.undefended, Way("PGD"), Way("PGD"), defenses_built.STAND_IN))
    row = defenses.judged("honest", honest, lab)
    assert row.check == "none of 3 warns" and row.status == "" and "robust accuracy" in row.evidence


def test_the_margin_sees_what_the_saturated_cross_entropy_does_not(lab):
    """Distillation's attacks and its check, without its training: logits ten thousand times as large."""
    built = DEFENSES["distillation"].build(lab)

    def scaled(lab):
        net = lab.undefended.net
        return built._replace(victim=lab.victim(lambda x: net(x) * 1e4))

    row = defenses.judged("scaled", Defense("scaled", 1, scaled), lab)
    assert (row.naive_attack, row.own_attack) == ("PGD, cross-entropy", "PGD, margin")
    assert row.naive > row.own and row.check == "zero gradients" and row.status in ("warn", "fail")


def test_a_hidden_gradient_is_found_out_by_the_search_without_one(lab):
    hidden = Defense("hidden", 1, lambda lab: Built(lab.victim(Hidden(lab.undefended.net)), Way("PGD"), Way("PGD"),
                                                    (defenses_built.black_box_finds_nothing,)))
    row = defenses.judged("hidden", hidden, lab)
    assert row.naive > 0 and row.check == "white box not weaker than black box" and row.status == "fail"


def test_smoothing_is_proved_in_l2_and_each_network_is_trained_once(lab):
    row = defenses.judged("smoothing", DEFENSES["smoothing"], lab)
    assert row.check == "certificate" and "proved in L2 0.5, of 4 images" in row.evidence
    kept = dict(lab.kept)
    assert "gaussian" in kept and lab.gaussian is kept["gaussian"] and lab.undefended is lab.undefended


def rows():
    return [defenses.Row("a", "first", False, 0.99, 0.9, "FGSM", 0.0, "PGD", "determinism", "fail", 0.123456, "seen"),
            defenses.Row("b", "second", False, 0.98, 0.5, "FGSM", 0.1, "PGD", "none needed: PGD already breaks it"),
            defenses.Row("c", "third", True, 0.97, 0.96, "FGSM", 0.9, "PGD", "certificate", evidence="at least 80 %")]


def test_the_table_of_defenses_in_letters():
    lines = defenses.table(rows()).splitlines()
    assert len(lines) == 5 and lines[3].startswith("-- what holds")
    assert lines[1].split() == ["first", "99.0", "%", "90.0", "%", "FGSM", "0.0", "%", "PGD", "determinism:", "fail,", "0.123"]
    assert lines[2].endswith("none needed: PGD already breaks it") and lines[4].endswith("at least 80 %")
    assert defenses.table(rows()[2:]).splitlines()[1].startswith("-- what holds")
    picture = defenses.picture(rows(), "title")
    assert picture.dtype == np.uint8 and picture.std() > 5


def test_the_run_keeps_what_was_printed(small_data, capsys):
    assert run_of("defenses", "--only", "none", "quantised-3", "--steps", "20", "--width", "2", "--count", "20",
                  "--attack-steps", "3") == 0
    found = json.load(open("runs/defenses-0001/defenses.json"))
    assert [r["name"] for r in found] == ["none", "quantised-3"]
    out = capsys.readouterr().out
    for r in found:
        assert 0 <= r["own"] <= r["clean"] <= 1 and percent(r["own"]) in out
    report = open("runs/defenses-0001/report.html").read()
    assert "data:image/png;base64" in report and "3-bit images" in report


# ---- training ----------------------------------------------------------------------------------------------------


def test_training_is_the_same_for_equal_seeds_and_lowers_the_loss(digits):
    def trained():
        net = small_network(side=16, k=10, dropout=0.0)
        victim, losses = Victim(net), []

        def loss_of(x, y, step):
            losses.append(training.standard(victim, x, y).loss)
            return losses[-1]

        batches = data.DataLoader(digits[True], 64, shuffle=True, drop_last=True, rng=Stream(0, "data"),
                                  value_range=(0.0, 1.0)).forever()
        assert not fit(net, loss_of, batches, 20, rate=0.01).training
        return net.state_dict(), [float(v.array) for v in losses]

    (one, losses), (two, _) = trained(), trained()
    assert all(np.array_equal(one[k], two[k]) for k in one) and np.mean(losses[-3:]) < 0.7 * losses[0]


# ---- Goodfellow et al. -----------------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.floats(0.01, 0.5))
def test_fgsm_on_logistic_regression_reaches_the_closed_form(seed, epsilon):
    s = Stream(seed, "logistic")
    net = goodfellow.Logistic(12)
    net.linear.weight.assign_(s.normal((1, 12)))
    net.linear.bias.assign_(s.normal((1,)))
    victim, x, y = Victim(net), s.uniform(0, 1, (30, 1, 3, 4)), s.integers(0, 2, 30)
    moved = goodfellow.points(victim, x, y, epsilon)
    z = victim.within((-1, 2)).predict(moved)[:, 1].astype(np.float64)
    sign = np.where(y == 1, 1.0, -1.0)
    w, b = (p.array.astype(np.float64).ravel() for p in net.linear.parameters())
    worst = goodfellow.worst_logistic_loss(w, b, x.reshape(30, -1), sign, epsilon)
    np.testing.assert_allclose(np.logaddexp(0, -sign * z), worst, rtol=1e-4, atol=1e-5)
    margin = sign * (x.reshape(30, -1) @ w + b) - epsilon * np.abs(w).sum()
    if np.abs(margin).min() > 1e-4:
        assert goodfellow.measured(victim, moved, y)[0] == pytest.approx((margin < 0).mean())


def test_points_are_not_clipped_and_all_are_moved():
    victim, x = Victim(small_network().eval()), images()
    y = (victim.predict(x).argmax(1) + np.arange(len(x)) % 2) % 4  # every other one is wrong already
    moved = goodfellow.points(victim, x, y, 0.25)
    step = np.abs(moved - x)
    assert np.minimum(step, np.abs(step - 0.25)).max() < 1e-6 and (step.reshape(len(x), -1).max(1) > 0.2).all()
    assert moved.min() < -0.2 and moved.max() > 1.2


def test_error_and_confidence_are_counted_over_all_and_over_the_errors():
    z = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]], np.float32))
    victim = Victim(linear(np.eye(3), np.zeros(3)), bounds=(-5, 5))
    error, confidence = goodfellow.measured(victim, z, np.array([0, 1, 2, 0]))
    assert error == 0.5 and confidence == pytest.approx((0.6 + 0.5) / 2, rel=1e-5)
    assert math.isnan(goodfellow.measured(victim, z, z.argmax(1))[1])


def test_the_papers_figures_stand_beside_equal_conditions_only(digits):
    o = Namespace(data="mnist", epsilon=0.25, epochs=1, dry_run=True)
    lab = goodfellow.Replication(o, digits[True], digits[False])
    assert lab.published("softmax regression") == 0.999 and lab.both("softmax regression") == (0.999, 0.793)
    assert lab.both(goodfellow.TRAINED) == (0.179, 0.814)
    assert lab.both(goodfellow.MAXOUT, "FGSM from the FGSM-trained network") == (0.409, None)
    for changed in (dict(data="glyphs"), dict(epsilon=0.1)):
        lab.o = Namespace(**{**vars(o), **changed})
        assert lab.both("softmax regression") == (None, None)
    named = {(p.what, p.attack) for p in NUMBERS if p.source == GOODFELLOW and p.data == "mnist"}
    source = open(goodfellow.__file__).read()
    for what, attack in named - {("MP-DBM, generative training", "FGSM")}:
        assert f'"{what}"' in source or what in (goodfellow.MAXOUT, goodfellow.TRAINED, goodfellow.DECAY), what
        assert attack == "none" or f'"{attack}"' in source or attack == "FGSM"


@pytest.mark.parametrize("name", list(goodfellow.EXPERIMENTS))
def test_a_dry_run_of_every_line_of_the_paper_leaves_nothing(name, small_data, capsys):
    assert run_of("goodfellow", "--dry-run", "--only", name) == 0
    assert "FGSM error" in capsys.readouterr().out and not os.path.exists("runs")


def test_the_papers_table_in_letters_and_bars():
    rows = [goodfellow.Row("ours", 0.01, 0.9, 0.975, 0.894, 0.976, "a note"), goodfellow.Row("perfect", 0.0, 0.0, math.nan)]
    lines = goodfellow.table(rows).splitlines()
    assert lines[1].split() == ["ours", "1.0", "%", "90.0", "%", "89.4", "%", "97.5", "%", "97.6", "%"]
    assert lines[2].strip() == "a note" and lines[3].split() == ["perfect", "0.0", "%", "0.0", "%", "-", "-", "-"]
    assert plain(dataclasses.asdict(rows[1]))["confidence"] is None
    assert goodfellow.in_report(rows[0])["error under FGSM"].endswith("89.4 %)")
    assert goodfellow.picture(rows, "title").std() > 5
    assert bars(["a"], {"x": [0.5]}, "t", "%").ndim == 3


@pytest.mark.parametrize("published", [None, 0.9])
def test_a_stroke_for_published_figures_is_explained_only_where_there_is_one(published, monkeypatch):
    given = {}
    monkeypatch.setattr(goodfellow, "bars", lambda names, series, title, across, marks, **rest: given.update(marks=marks))
    goodfellow.picture([goodfellow.Row("softmax", 0.1, 0.9, 0.5, published_error=published)], "on glyphs")
    assert (given["marks"] is not None) == (published is not None)
