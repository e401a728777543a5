"""What a newcomer meets: how long things take, what comes next, a picture at once, what numbers mean, and what Ctrl-C leaves."""

import ast
import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from attacks.commands.helpers.catalogue import ATTACKS, in_batches
from attacks.core.goal import Untargeted
from attacks.core.threat import Linf
from attacks.core.victim import Victim
from attacks.core.watch import Watch
from gan import __main__ as gan_main
from minigrad import command, next_steps, nn, report, terms
from minigrad.random import Stream
from minigrad.report_pictures import CAPTIONS
from minigrad.run import Run
from tests.parsers import COMMANDS, PACKAGES, parser_of

ROOT = Path(__file__).resolve().parent.parent


# ---- how long


@pytest.mark.parametrize("package, name", COMMANDS)
def test_help_says_how_long_a_command_takes(package, name, monkeypatch):
    assert re.search(r"The defaults take .*\d+ (seconds?|minutes?|hours?)\b", parser_of(package, name).format_help())


def test_the_readme_says_how_long_the_first_commands_and_the_tests_take():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    start = re.search(r"```sh\n(.*?)```", text, re.S)[1]
    assert all(re.search(r"\d+ (s|min)\b|minutes?", line) for line in start.splitlines())
    for word in ("python -m minigrad.explain", "python -m minigrad.warmup", ".[gpu]", ".[imagenet]"):
        assert word in text


def test_the_package_shows_what_there_is():
    for words, status in (([], 0), (["--help"], 0), (["trian"], 2)):
        done = subprocess.run([sys.executable, "-m", "minigrad", *words], capture_output=True, text=True, cwd=ROOT, timeout=60)
        told = done.stdout + done.stderr
        assert done.returncode == status
        assert all(f"python -m {word}" in told for word in ("nets", "gan", "attacks", "minigrad.explain", "minigrad.warmup"))


# ---- what comes next


def made(root, kind, name, **config):
    """A run with a checkpoint, as one that has been trained leaves it."""
    run = Run.create(name, config, root, quiet=True, command=f"python -m {kind}", kind=kind)
    run.checkpoint(1, {})
    run.close()
    return run.path


DIGITS = {"data": "glyphs", "size": 28, "channels": 1}


def runs_of_every_kind(root):
    classifier = made(root, "nets classifier", "classifier", **DIGITS, classes=10)
    yield classifier
    for kind in ("gan dcgan", "gan toy", "gan mlp", "gan progan", "gan cyclegan", "gan cartoon", "nets autoencoder", "nets vae",
                 "nets charrnn", "nets blur", "attacks train"):
        yield made(root, kind, kind.split()[1], **{**DIGITS, "data": "ring"} if kind == "gan toy" else DIGITS)
    for name in ("pgd", "table", "evaluate", "curve"):
        yield made(root, f"attacks {name}", name, **DIGITS, model=classifier)
    yield made(root, "attacks defenses", "defenses", data="glyphs")


@pytest.mark.parametrize("where", ["runs", "my runs; $HOME"])
def test_every_next_command_can_be_typed(where, tmp_path, monkeypatch):
    """Quoted for the shell, known to its command, and with paths that are there."""
    monkeypatch.chdir(tmp_path)
    for path in runs_of_every_kind(where):
        lines = next_steps.after(path)
        assert 1 <= len(lines) <= 3, path
        for line, why in lines:
            python, dash, package, name, *rest = shlex.split(line)
            assert (python, dash) == ("python", "-m") and name in PACKAGES[package] and why and "\n" not in line
            options = parser_of(package, name).parse_args(rest)
            for key in ("run", "judge", "model", "gan"):
                value = getattr(options, key, None)
                assert value is None or os.path.isdir(value)
        page = open(report.write(path, title="t", config={}, summary={}, after=lines), encoding="utf-8").read()
        assert all(line.replace("'", "&#x27;").replace("$", "$") in page for line, _ in lines)


def test_the_judge_is_one_that_is_there_or_one_that_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gan = made("runs", "gan dcgan", "dcgan", **DIGITS)
    made("runs", "nets classifier", "classifier", **{**DIGITS, "data": "mnist"})  # of other data: no judge
    lines = [line for line, _ in next_steps.after(gan)]
    assert lines[1:] == ["python -m nets classifier --data glyphs", f"python -m gan evaluate {gan} --judge runs/classifier-0002"]
    judge = made("runs", "nets classifier", "classifier", **DIGITS, classes=10)
    assert judge == "runs/classifier-0002"
    assert next_steps.after(gan)[1][0] == f"python -m gan evaluate {gan} --judge {judge}"
    photos = made("runs", "gan dcgan", "dcgan", **{**DIGITS, "data": "folder:photos"})
    lines = [line for line, _ in next_steps.after(photos)]  # no classes are known there: a judge of how far a picture is turned
    assert lines[1:] == ["python -m nets classifier --data folder:photos --turns",
                         f"python -m gan evaluate {photos} --judge runs/classifier-0003"]


@pytest.mark.parametrize("package, name", COMMANDS)
def test_exhibits_without_a_run_lead_on(package, name, monkeypatch):
    """A command makes a run, or looks at one, or has its line in EXHIBITS."""
    kind = f"{package} {name}"
    options = {action.dest for action in parser_of(package, name)._actions}
    assert options & {"resume", "dry_run", "run"} or kind in next_steps.EXHIBITS
    if kind in next_steps.EXHIBITS:
        (line, _), = next_steps.following(kind)
        words = line.split()
        assert words[3] in PACKAGES[words[2]]
    assert next_steps.following(kind, "no such folder") in ([], next_steps.following(kind))


# ---- a picture at once


def test_the_first_picture_is_told_and_the_newest_is_a_copy(tmp_path, capsys):
    run = Run.create("toy", {}, tmp_path)
    latest, newest = run.file("samples", "latest.png"), None
    for step in run.loop(0, 6):
        for name in ("fakes", "copies"):
            if run.due(step, 4, first=2):
                path = run.image(step, np.full((1, 1, 8, 8), step / 6, np.float32), name)
                newest = path if name == "fakes" else newest
                assert np.array_equal(np.asarray(Image.open(latest)), np.asarray(Image.open(newest)))
    run.image(None, np.zeros((1, 1, 8, 8), np.float32), "real")
    assert sorted(os.listdir(run.file("samples"))) == sorted(
        ["latest.png", "real.png", *(f"{name}_{step:06d}.png" for name in ("fakes", "copies") for step in (2, 4, 6))])
    told = capsys.readouterr().out
    assert told.count("picture: ") == 2 and told.index("fakes_000002.png") < told.index("copies_000002.png") and latest in told
    run.close()


def test_an_interrupted_run_has_its_report_and_is_not_taken_for_finished(tmp_path, capsys):
    run = Run.create("toy", {"steps": 9}, tmp_path)
    with pytest.raises(SystemExit):
        for step in run.loop(0, 9, save=dict):
            run.log(step, loss=1.0 / step)
            if step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
    page = open(run.file("report.html"), encoding="utf-8").read()
    assert "Stopped after step 4 of 9" in page and "--resume" in page and report.made_at(run.path) is None
    assert run.file("report.html") in capsys.readouterr().out
    run.close()


# ---- what numbers mean


def logged():
    """(file, name) of every number that a command logs by name."""
    for folder in ("nets", "gan", "attacks"):
        for path in sorted((ROOT / folder / "commands").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "log":
                    yield from ((path.name, keyword.arg) for keyword in node.keywords if keyword.arg)


def test_every_number_that_is_logged_has_a_sentence():
    found = list(logged())
    assert len(found) > 20 and [(file, name) for file, name in found if not terms.meaning(name)] == []
    assert terms.meaning("gradient_d/conv3") == terms.TERMS["gradient_d/"] and terms.meaning("other/x") == ""
    assert all(text.endswith(".") and not text.endswith("..") for text in terms.TERMS.values())


def test_every_number_that_is_explained_has_a_unit_at_its_axis():
    from minigrad import curves

    assert {re.split(r"[_/]", name)[0] if "/" not in name else name.strip("/") for name in terms.TERMS} - set(curves.UNITS) == set()


@pytest.mark.parametrize("many", [False, True])
def test_captions_are_true(many, tmp_path):
    """Of few values none is smoothed, and series whose pictures are made of parts say which part is what."""
    run = Run.create("toy", {}, tmp_path, quiet=True)
    for step in range(1, 42 if many else 6):
        run.log(step, loss=1.0 / step)
    for step in (1, 2):
        for name in ("a_to_b", "fakes"):
            run.image(step, np.zeros((1, 1, 8, 8), np.float32), name)
    run.image(None, np.zeros((2, 1, 8, 8), np.float32), "nearest", columns=1)
    for name, step in (("exhibit", 0), ("late", 7)):
        run.image(step, np.zeros((1, 1, 8, 8), np.float32), name)
    run.finish(title="t", summary={})
    page = open(run.file("report.html"), encoding="utf-8").read()
    assert "after step 7" in page and "after step 0" not in page  # 0: a picture that belongs to no step
    assert ("Pale: each value. Strong: smoothed." in page) is many and ("Each value." in page) is not many
    for name in ("a_to_b", "nearest"):
        assert f"<figcaption>{CAPTIONS[name]}</figcaption>" in page
    assert "<figcaption>fakes</figcaption>" in page


@pytest.mark.parametrize("name", terms.GAMES)
def test_dashed_lines_stand_where_the_losses_are_at_rest(name):
    """By the losses themselves: where D cannot tell real from fake, its logits are those of a guess."""
    from gan import losses
    from gan.translate import adversarial_loss
    from minigrad import tensor

    loss, rest = getattr(losses, {"cartoon": "non_saturating"}.get(name, name)), {"least_squares": 0.5}.get(name, 0.0)
    logits = tensor(np.full(8, rest, np.float32))
    found, of_d = terms.references({"loss": name}), loss.discriminator(logits, logits)
    if name == "cartoon":  # two kinds of fakes
        of_d = adversarial_loss(lambda x: x, logits, logits, logits)[0]
    assert found["loss_d"][0] == pytest.approx(of_d.item(), abs=1e-6)
    assert found["loss_g"][0] == pytest.approx(loss.generator(logits, logits).item(), abs=1e-6)


def test_references_of_other_settings():
    assert terms.references({"classes": 10})["loss"][0] == pytest.approx(np.log(10))
    for config in ({}, {"loss": "mse"}, {"loss": ["x"]}, {"classes": "many"}, {"classes": 1}):
        assert terms.references(config) == {}


def test_the_command_stands_in_the_report_as_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gan/__main__.py", "dcgan", "--data", "folder:my photos", "--seed", "3"])
    run = Run.create("dcgan", {}, tmp_path, quiet=True, command="python -m gan dcgan")
    page = open(run.finish(), encoding="utf-8").read()
    assert "python -m gan dcgan --data &#x27;folder:my photos&#x27; --seed 3" in page
    run.close()


def test_what_an_evaluation_leaves_comes_into_the_page(tmp_path):
    run = Run.create("dcgan", {"loss": "non_saturating"}, tmp_path, quiet=True, kind="gan dcgan")
    assert report.again(run.path) is None  # there is no report to write again
    run.log(1, loss_d=1.0, loss_g=1.0)
    path = run.finish(title="T", summary={"a": 1})
    with open(run.file("evaluation.json"), "w", encoding="utf-8") as file:
        json.dump({"metric": "FD-x", "frechet_distance": 11.2, "histogram": {"zero": 0.75, "one": 0.25}}, file)
    before = report.made_at(run.path)
    assert report.again(run.path) == path and report.made_at(run.path) == before
    page = open(path, encoding="utf-8").read()
    assert "11.2" in page and "75.0 %" in page and "zero" in page and "2 log 2 = 1.386" in page
    for broken in ("{", "[]", '{"histogram": {"a": "x"}, "metric": [1]}'):
        Path(run.file("evaluation.json")).write_text(broken)
        assert report.again(run.path) == path
    run.close()


# ---- Ctrl-C in an attack


class Bar:
    """Counts units, and is stopped when `limit` of them are spent."""

    def __init__(self, limit=float("inf")):
        self.spent, self.limit, self.seen = 0.0, limit, []

    @property
    def stopped(self):
        return self.spent >= self.limit

    def spend(self, units):
        self.spent += units
        self.seen.append(self.spent)

    def reach(self, units):
        self.spent = max(self.spent, units)


SMALL = dict(steps=3, queries=40, draws=30, generations=2, population=6, search_steps=2, targets=2, samples=2, coordinates=4,
             rotations=3, shifts=2)


def attacked(name, bar, count=4):
    """One attack on a small linear network, watched by a bar."""
    attack = ATTACKS[name]
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4, rng=Stream(0, "attacked")))
    victim = Victim(net, bounds=(0, 1), classes=4)
    x = np.random.default_rng(0).uniform(0.2, 0.8, (count, 1, 6, 6)).astype(np.float32)
    y = victim.predict(x).argmax(1)
    given = {key: SMALL[key] for key in SMALL if key in attack.takes}
    if name in ("pgd", "apgd"):
        given["samples"] = 1
    if name == "jsma":
        given["theta"] = 0.1
    o = type("Options", (), {key: parameter.default for key, parameter in attack.takes.items()} | given)
    planned = attack.queries(o)
    victim.watch = Watch(bar, planned)
    for key, value in (("threat", Linf(0.01)), ("norm", attack.norms[0]), ("rng", 0)):
        if key in attack.takes:
            given[key] = value
    view = getattr(victim, attack.view)()
    with contextlib.suppress(UserWarning):
        return attack.function(view, x, Untargeted(y), **given), planned, victim.watch


@pytest.mark.filterwarnings("ignore:.*too short")
@pytest.mark.parametrize("name", ATTACKS)
def test_the_bar_moves_with_every_attack_and_a_stop_ends_it_with_a_result(name):
    bar = Bar()
    whole, planned, watch = attacked(name, bar)
    assert bar.seen == sorted(bar.seen) and 0 < bar.spent <= planned
    watch.next()
    assert bar.spent == planned
    stopped, _, _ = attacked(name, Bar(limit=1))
    assert len(stopped) == len(whole) == 4
    assert stopped.queries.sum() <= whole.queries.sum()  # what is there so far, and no more questions than the whole costs
    if whole.queries.max() > 60:
        assert stopped.queries.max() < whole.queries.max()


@pytest.mark.parametrize("name", ATTACKS)
def test_queries_are_planned_by_defaults_where_a_command_has_no_option(name, tmp_path):
    """`attacks table` has no --restarts: what an attack takes and no option sets is the function's own default."""
    attack, victim, o = ATTACKS[name], SimpleNamespace(watch=None), SimpleNamespace(norm="l2")
    run = Run.create("table", {}, tmp_path, quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attacks.commands.helpers.catalogue.perform", lambda attack, victim, x, goal, threat, o: len(x))
        found, stopped = in_batches(attack, run, victim, np.zeros(7), np.zeros(7), None, o, 3)
    assert found == [3, 3, 1] and not stopped
    run.close()


def test_ctrl_c_in_an_attack_keeps_what_is_finished(tmp_path):
    run, before = Run.create("pgd", {}, tmp_path, quiet=True), signal.getsignal(signal.SIGINT)
    with run.units(10, partial=True) as bar:
        bar.spend(3)
        os.kill(os.getpid(), signal.SIGINT)
        bar.spend(1)
        assert bar.stopped
        bar.spend(5)  # the work that was begun goes on to its end
    ended = [json.loads(line) for line in open(run.file("sessions.jsonl"), encoding="utf-8")]
    assert ended[-1]["ended"] == "interrupted by SIGINT" and ended[-1]["to"] < 10
    assert threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is before
    run.close()


@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_in_the_defenses_keeps_the_rows_that_are_finished(finished, tmp_path, monkeypatch, capsys):
    from attacks.commands import defenses

    row = defenses.Row("none", "no defense", False, 1.0, 0.5, "FGSM", 0.0, "PGD", "none needed")
    begun = []

    def judged(name, defense, lab, end):
        begun.append(name)
        if len(begun) > finished:
            os.kill(os.getpid(), signal.SIGINT)
            lab.bar.spend(2)
            raise AssertionError("the bar raises SystemExit")
        return row

    monkeypatch.setattr(defenses, "judged", judged)
    words = ["--data", "shapes", "--only", "none", "ensemble", "--count", "2", "--steps", "5", "--out", str(tmp_path)]
    if finished:
        assert defenses.main(words) == 130
        assert len(json.loads((tmp_path / "defenses-0001" / "defenses.json").read_text())) == 1
        assert "stopped after 1 of 2 defenses" in (tmp_path / "defenses-0001" / "report.html").read_text(encoding="utf-8")
    else:
        with pytest.raises(SystemExit):
            defenses.main(words)
    assert ("nothing was saved" in capsys.readouterr().out) is not bool(finished)


def test_no_default_of_an_attack_warns_about_itself(recwarn):
    """lr * steps reaches from black to white, for every attack that trains tanh's argument."""
    from attacks.white_box.carlini import REACH

    need = abs(np.arctanh(0.999999)) + REACH
    for name in ("carlini_l2", "carlini_linf"):
        takes = ATTACKS[name].takes
        assert takes["lr"].default * takes["steps"].default >= need


def test_next_lines_are_printed_at_the_end_of_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert command.main("gan", gan_main.COMMANDS, ["losses"]) == 0
    assert "what comes next:\n    python -m gan toogood" in out.getvalue()
