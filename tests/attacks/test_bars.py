"""The bar of every command: it moves with the steps of the inner loop, it ends full, and Ctrl-C keeps what is finished or says
that nothing is. Measured in work (forward passes and steps of training), because seconds depend on the machine."""

import json
import os
import re
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from parsers import parser_of
from test_attack_commands import attacks, in_an_empty_folder, model, tiny_imagenet, weights  # noqa: F401

from attacks import __main__ as attacks_main
from attacks.commands import certify
from attacks.commands.helpers.catalogue import ATTACKS
from attacks.core.victim import Victim
from attacks.core.watch import Watch, watching
from attacks.defend import Smoothed
from minigrad import data, optim, progress
from minigrad.run import Run
from minigrad.tensor import Tensor

STILL = 45  # forward passes and steps of training, at most, in which the bar may stand still
NOTHING = {"rho", "panda"}  # take seconds and have no part that is finished before the end: Ctrl-C says so
SIZES = {  # inner loops longer than STILL; M stands for --model RUN
    "curve": "M --steps 60 --count 4 --epsilon 0.05", "loss": "M --steps 60 --count 4",
    "table": "M --steps 60 --count 1 --epsilon 0.02", "universal": "M --count 20 --held-out 20 --passes 40",
    "certify": "M --count 3 --draws 600 --attacked 1",
    "transfer": "--networks mlp lenet --images 160 --epochs 6 --count 20 --attack pgd",
    "substitute": "--seeds 20 --rounds 2 --epochs 50 --repeats 2 --count 10", "extract": "--queries 10 20 --steps 60 --count 10",
    "evaluate": "M --count 3 --steps 50 --strong 15 --queries 60 --draws 50 --epsilon 0.03",
    "goodfellow": "--only softmax maxout ensemble --epochs 13 --members 3 --units 4",
    "defenses": "--only none dropout-at-test weight-decay --steps 50 --width 2 --count 4 --attack-steps 16 --draws 3",
    "linear": "--only PGD FAB --models 2", "rho": "--steps 60 --count 20", "panda": "--target 7 --steps 60",
    "train": "--steps 60 --batch 20 --width 2", "pgd": "M --steps 60 --count 4 --epsilon 0.02",
    "zoo": "M --steps 40 --count 5", "carlini_l2": "M --steps 30 --count 4",
}
TRAINED = {"transfer", "substitute", "extract", "goodfellow", "defenses", "rho", "train"}


class Work:
    """Counts forward passes and steps of training; sees how the bars move; presses Ctrl-C when a share of a bar is done."""

    def __init__(self, monkeypatch, press=None):
        self.done, self.last, self.stood, self.open, self.press, self.bars = 0, 0, 0, False, press, []
        for owner, name in ((Victim, "__call__"), (optim.Adam, "step")):
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))
        for name in ("__init__", "update", "close"):
            monkeypatch.setattr(progress.Progress, name, self.seen(name, getattr(progress.Progress, name)))

    def counted(self, function):
        def call(this, *given):
            self.done += not given or isinstance(given[0], Tensor)
            if self.open:
                self.stood = max(self.stood, self.done - self.last)
            return function(this, *given)
        return call

    def seen(self, name, function):
        def call(this, *given, **options):
            function(this, *given, **options)
            self.last, self.open = self.done, name != "close"
            if name == "close":
                self.bars.append((this.step, this.steps))
            elif self.press is not None and this.step >= self.press * this.steps > 0:
                self.press = None
                os.kill(os.getpid(), signal.SIGINT)
        return call


@pytest.fixture
def words(request, monkeypatch, tmp_path):
    """The options of one command, on a few small glyphs; nothing is drawn."""
    name = request.node.callspec.params["name"]
    module = __import__(attacks_main.COMMANDS[name][0], fromlist=["main"])
    for drawing in ("lines", "heat", "bars", "spans", "columns", "equation", "sheet", "picture"):
        monkeypatch.setattr(module, drawing, lambda *a, **k: np.zeros((8, 8, 3), np.uint8), raising=False)
    monkeypatch.setattr(Run, "image", lambda *a, **k: "")
    monkeypatch.setattr(Run, "finish", lambda self, title, summary: Path(self.path, "title").write_text(title, encoding="utf-8"))
    monkeypatch.setattr(certify, "Smoothed", partial(Smoothed, batch=10))
    if name in TRAINED:
        digits = {t: data.load("glyphs", train=t, size=16, limit=400 if t else 120) for t in (True, False)}
        monkeypatch.setattr(data, "load", lambda source, train=True, **kw: digits[train])
    found = SIZES[name].split()
    if found[0] == "M":
        found[:1] = ["--model", request.getfixturevalue("model")]
    if name == "panda":
        found += request.getfixturevalue("tiny_imagenet")
    return [*found, *(["--data", "glyphs"] if name in TRAINED else [])]


def test_every_command_is_here():
    """The attacks go through one function, `in_batches`; three of them stand for all (and see test_first_hour)."""
    assert set(SIZES) >= set(attacks_main.COMMANDS) - set(ATTACKS)


@pytest.mark.parametrize("name", attacks_main.COMMANDS)
def test_help_says_how_long_the_defaults_take(name):
    assert re.search(r"The defaults take \d+ (seconds?|minutes?) on one core", parser_of("attacks", name).description)


@pytest.mark.filterwarnings("ignore:.*too short")
@pytest.mark.parametrize("name", SIZES)
def test_the_bar_moves_with_the_inner_loop_and_ctrl_c_keeps_what_is_finished(name, words, monkeypatch, capsys):
    work = Work(monkeypatch, press=0.1 if name == "panda" else 0.85)
    assert attacks(name, *words) == 130
    assert work.stood <= STILL and (work.done > STILL or name == "panda")
    told = capsys.readouterr().out
    (folder,) = (path for path in Path("runs").iterdir() if not path.name.startswith("classifier"))
    if name == "train":
        assert f"--resume {folder}" in told and attacks("train", "--resume", str(folder)) == 0
        return
    kept = folder / f"{ {'evaluate': 'evaluation'}.get(name, 'result' if name in ATTACKS else name) }.json"
    assert kept.exists() is ("what is finished is kept" in told) and kept.exists() is not ("nothing was saved" in told)
    if kept.exists():
        assert json.loads(kept.read_text(encoding="utf-8")) and "stopped" in (folder / "title").read_text(encoding="utf-8")
    assert kept.exists() or name in NOTHING


@pytest.mark.parametrize("name", ["curve", "certify", "transfer", "linear", "rho"])
def test_the_bar_ends_full(name, words, monkeypatch):
    work = Work(monkeypatch)
    assert attacks(name, *words) == 0
    assert work.bars and all(step == steps for step, steps in work.bars) and work.stood <= STILL


# ---- the watch itself


class Bar:
    spent, stopped = 0.0, False

    def spend(self, units):
        self.spent += units

    def reach(self, units):
        self.spent = max(self.spent, units)


def test_batches_of_one_part_add_up_and_the_part_ends_where_it_was_planned():
    bar, victim = Bar(), Victim(lambda x: x, bounds=(0, 1))
    with watching(bar, 10, victim, cost=2.0) as watch:
        for batch in range(3):
            watch.begun()
            for most in (1, 2, 3):
                watch.seen(most)
                assert bar.spent == 2 * (3 * batch + most)
        watch.spend(5)
        assert bar.spent == 20  # no more than planned
    assert victim.watch is None and bar.spent == 20
    with watching(bar, 7, victim):
        assert isinstance(victim.watch, Watch)
        victim.watch.seen(1)
    assert bar.spent == 27
    with watching(None, 7, victim) as watch:
        assert watch is None and victim.watch is None
