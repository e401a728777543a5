"""A network that does not answer (NaN, +inf, or nothing but -inf) is never right: clean, attacked, voted, certified or copied."""

from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from attacks import Linf, Targeted, Untargeted, Victim, agreement, fgsm, pgd, transfer
from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, perform
from attacks.copying.extract import extract
from attacks.copying.transfer import train_substitute
from attacks.core.arrays import NO_ANSWER
from attacks.defend import Smoothed, training
from attacks.defend.base import log_votes
from attacks.evaluate import auto, curves, evaluate
from attacks.evaluate.case import Case
from attacks.evaluate.of_victim import finite_answers
from minigrad import nn
from minigrad.random import Stream
from tests.attacks.linear import small_network

BAD = {"nan": (np.nan, 0), "nan elsewhere": (np.nan, 2), "+inf": (np.inf, 0), "+inf elsewhere": (np.inf, 2)}  # value, where
quiet = pytest.mark.filterwarnings("ignore:invalid value", "ignore:.*too short", "ignore:Mean of empty", "ignore:divide by zero",
                                   "ignore:All-NaN", "ignore:overflow", "ignore:Degrees of freedom")


class Broken(nn.Module):
    """net, whose logit `where` is `value` on pictures with a first pixel far from 0.25; masked: class 3 is ruled out everywhere."""

    def __init__(self, value=np.nan, where=0, masked=False):
        super().__init__()
        self.net, self.value, self.where, self.masked = small_network(), value, where, masked

    def forward(self, x):
        z = self.net(x)
        if self.masked:
            z = mg.where(np.arange(4) == 3, -np.inf, z)
        bad = (np.abs(x.array[:, 0, 0, 0] - 0.25) > 0.2)[:, None] & (np.arange(4) == self.where)
        return mg.where(bad, self.value, z) if self.value is not None else z


def pictures(n=12):
    """x (n, 1, 6, 6), every third of which is broken, and the classes of the sound network."""
    x = Stream(0, "x").uniform(0.1, 0.4, (n, 1, 6, 6)).astype(np.float32)
    broken = np.arange(n) % 3 == 0
    x[broken, 0, 0, 0] = 0.9
    return x, Victim(small_network()).predict(x).argmax(1), broken


@quiet
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", ATTACKS)
def test_under_every_attack_it_is_wrong_before_and_after_and_is_said(name, kind):
    victim, (x, y, broken) = Victim(Broken(*BAD[kind])), pictures()
    y[broken] = BAD[kind][1]  # the class that argmax would take NaN or inf for
    few = SimpleNamespace(norm=ATTACKS[name].norms[0], steps=3, queries=20, draws=10, search_steps=2, population=6, generations=2,
                          samples=4, coordinates=4, pixels=2, targets=2, restarts=1, candidates=3, lr=0.3, seed=5)
    threat = setting.ball(few.norm, 0.05 if few.norm != "l0" else 2) if "threat" in ATTACKS[name].takes else None
    found = perform(ATTACKS[name], victim, x, Untargeted(y), threat, few)
    assert (victim.answers(x) == NO_ANSWER).tolist() == broken.tolist() and victim.accuracy(x, y) == (~broken).mean()
    assert found.already_wrong.tolist() == broken.tolist() and not found.success[broken].any()
    assert found.clean_accuracy == (~broken).mean() and found.robust_accuracy <= found.clean_accuracy
    assert all("no answer" in found.reason[i] for i in np.flatnonzero(broken))
    assert found.settings["no_answer"]["clean"] == broken.sum()


@quiet
def test_an_attack_that_makes_the_network_break_has_fooled_it():
    victim, (x, y, broken) = Victim(Broken()), pictures()
    x[~broken, 0, 0, 0] = 0.25
    for attack in (fgsm, pgd):
        found = attack(victim, x, Untargeted(y), Linf(0.25))
        gone = victim.answers(found.candidate) == NO_ANSWER
        assert (gone & ~broken).any() and found.success[gone & ~broken].all() and found.settings["no_answer"]["attacked"] >= 1
        assert all("no answer" in found.reason[i] for i in np.flatnonzero(gone))
    aimed = fgsm(victim, x, Targeted((y + 1) % 4), Linf(0.25))
    assert not aimed.success[victim.answers(aimed.candidate) == NO_ANSWER].any() and aimed.already_wrong[broken].all()


@quiet
def test_a_class_ruled_out_is_an_answer_and_changes_nothing():
    x, y, _ = pictures()
    masked = Victim(Broken(None, masked=True))
    y = masked.predict(x).argmax(1)
    assert masked.accuracy(x, y) == 1 and (masked.answers(x) == y).all()
    found = pgd(masked, x, Untargeted(y), Linf(0.3), steps=20)
    assert found.clean_accuracy == 1 and found.success.any() and "no_answer" not in found.settings
    case = Case(masked, x, y, Linf(0.3), steps=4)
    assert case.right.all() and case.spread == 0 and finite_answers(case).status == "passed"
    assert auto(masked, x, y, Linf(0.3), steps=5, queries=20).result.success.sum() >= found.success.sum()


@quiet
def test_an_evaluation_says_it_and_counts_it_as_wrong():
    victim, (x, y, broken) = Victim(Broken()), pictures()
    y[broken] = 0
    e = evaluate(victim, x, y, Linf(0.01), steps=3, queries=20, draws=3, scales=(1.0,), ensemble=dict(steps=3), ablation=False)
    share = (~broken).mean()
    assert all(n.value <= share + 1e-9 for n in e.numbers()) and e.numbers()[0].value == share
    assert "do not believe" in {n.verdict for n in e.numbers()}
    check = {c.name: c for c in e.checks}["finite answers"]
    assert check.status == "fail" and f"{broken.sum()} of {len(x)}" in check.evidence
    assert curves(victim, x, y, Linf(0.01), [0.01], {"fgsm": fgsm}).worst.max() <= share


@quiet
def test_copies_votes_certificates_and_training_count_no_answer_for_no_class():
    victim, (x, y, broken) = Victim(Broken()), pictures()
    y[broken] = 0
    assert agreement(victim, victim, x) == (~broken).mean()
    found = transfer({"a": victim}, {"b": victim}, x, y, lambda v, *a, **k: fgsm(v, *a, Linf(0.01), **k))
    assert found.right[0] == (~broken).sum()
    for learn in (lambda: extract(victim, x, small_network(1), epochs=1),
                  lambda: train_substitute(victim.labels(), x, small_network(1)),
                  lambda: extract(victim, x, small_network(1), "probabilities", epochs=1)):
        with pytest.raises(ValueError, match="no answer"):
            learn()
    assert (victim.labels()(x) == NO_ANSWER).tolist() == broken.tolist()

    batch = training.Batch(None, mg.tensor(victim.predict(x)), x)
    assert batch.accuracy(y) == (~broken).mean()
    votes = log_votes([mg.tensor(victim.predict(x))] * 3)
    assert np.ptp(votes[broken], axis=1).max() == 0 and (votes[~broken].argmax(1) == y[~broken]).all()

    smoothed = Smoothed(victim, 0.01)
    certificate = smoothed.certify(x, 20, 100, 0.01)
    assert (certificate.prediction[broken] == -1).all() and not certificate.radius[broken].any()
    assert not certificate.votes[broken].any() and (smoothed.predict(x, 50)[broken] == -1).all()
    assert certificate.accuracy(y) <= (~broken).mean()
