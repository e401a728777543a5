"""--resume is one thing for every command that trains: of a finished run, of one stopped in its last step, with more --steps."""

import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
import signal

import numpy as np
import pytest

from attacks import __main__ as attacks_main
from gan import __main__ as gan_main
from minigrad import command, optim, report
from minigrad.run import Run
from nets import __main__ as nets_main
from tests.trees import same_runs

PACKAGES = {"nets": nets_main.COMMANDS, "gan": gan_main.COMMANDS}
SMALL = ["--data", "npz:small.npz", "--size", "16", "--batch", "4", "--width", "2"]
# command, options, calls of Adam.step in a step, whether the schedule follows from --steps
TABLE = {
    "dcgan, steady": ("gan dcgan", ["--latent", "3", "--lazy", "2", "--fall", "0"], 2, False),
    "dcgan": ("gan dcgan", ["--latent", "3", "--lazy", "2"], 2, True),
    "published": ("gan dcgan", ["--latent", "3", "--preset", "published"], 2, False),
    "classifier": ("nets classifier", [], 1, True),
    "train": ("attacks train", ["--method", "fast"], 1, True),
    "trades": ("attacks train", ["--method", "trades", "--inner-steps", "2", "--early-stop"], 1, True),
}
NAMES = {"gan dcgan": "dcgan-0001", "nets classifier": "classifier-0001", "attacks train": "trained-fast-0001"}
cases = pytest.mark.parametrize("case", TABLE)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIGRAD_DEBUG", raising=False)
    rng = np.random.default_rng(0)
    np.savez("small.npz", x_train=rng.integers(0, 256, (24, 16, 16), np.uint8), y_train=np.arange(24) % 3,
             x_test=rng.integers(0, 256, (9, 16, 16), np.uint8), y_test=np.arange(9) % 3, classes=["a", "b", "c"])


def call(kind, *words):
    """(status, what was printed) of a command."""
    package, name = kind.split()
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            typed = [name, *map(str, words)]
            status = attacks_main.main(typed) if package == "attacks" else command.main(package, PACKAGES[package], typed)
        except SystemExit as leaving:
            status = leaving.code
    return status, out.getvalue()


def train(case, out, *words, stop=None, monkeypatch=None):
    """The folder of a run, its status and what was printed; with `stop`, Ctrl-C comes within that step."""
    kind, options, calls, _ = TABLE[case]
    first = not any(word == "--resume" for word in words)
    given = [*SMALL, *options, "--out", out, *words] if first else words
    if stop is None:
        status, text = call(kind, *given)
    else:
        count, step = [0], optim.Adam.step

        def interrupted(self):
            count[0] += 1
            if count[0] == calls * stop:
                os.kill(os.getpid(), signal.SIGINT)
            step(self)

        with monkeypatch.context() as patch:
            patch.setattr(optim.Adam, "step", interrupted)
            status, text = call(kind, *given)
    return os.path.join(out, os.listdir(out)[0]), status, text


def bytes_of(run):
    found = {}
    for where, _, names in os.walk(run):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, run)] = hashlib.sha256(file.read()).hexdigest()
    return found


def same(a, b):
    """The newest checkpoints, the metrics and the configurations of two runs."""
    same_runs(a, b)
    for name in ("metrics.jsonl", "config.json"):
        with open(os.path.join(a, name)) as x, open(os.path.join(b, name)) as y:
            assert x.read() == y.read(), name


def read(run, name):
    with open(os.path.join(run, name)) as file:
        return json.load(file)


@cases
def test_of_a_finished_run_says_so_and_touches_nothing(case):
    run, status, text = train(case, "done", "--steps", 5)
    before = bytes_of(run)
    assert status == 0 and "report.html" in before
    for words in ([], ["--steps", 5]):
        status, text = call(TABLE[case][0], "--resume", run, *words)
        assert status == 0 and f"{run} is finished: already at step 5 of 5" in text and text.count("\n") == 1
        assert bytes_of(run) == before
    status, text = call(TABLE[case][0], "--resume", run, "--steps", 3)
    assert status == 1 and "--steps 3" in text and "has 5 behind it" in text and bytes_of(run) == before


@cases
@pytest.mark.parametrize("stop", [3, 5])
def test_of_one_that_was_stopped_also_in_its_last_step_ends_as_if_never_stopped(case, stop, monkeypatch):
    whole, _, _ = train(case, "whole", "--steps", 5)
    run, status, text = train(case, "parts", "--steps", 5, stop=stop, monkeypatch=monkeypatch)
    assert status == 130 and f"stopped after step {stop}" in text and f"--resume {run}" in text
    assert report.made_at(run) is None  # there is one, of a run that is not finished
    status, text = call(TABLE[case][0], "--resume", run)
    assert status == 0 and "differs" not in text
    assert "report.html" in bytes_of(run)
    same(whole, run)


@cases
@pytest.mark.parametrize("stop", [3, 5])
def test_of_one_that_was_killed_between_its_last_step_and_its_report_makes_the_report(case, stop, monkeypatch):
    """It was stopped before, so there is a report so far; that is not taken for the one of its end."""
    run, _, _ = train(case, "parts", "--steps", 5, stop=stop, monkeypatch=monkeypatch)

    def killed(self, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "finish", killed)
        assert call(TABLE[case][0], "--resume", run)[0] == 130
    assert report.made_at(run) is None
    status, text = call(TABLE[case][0], "--resume", run)
    assert status == 0 and "is finished" not in text and report.made_at(run) == 5


@cases
@pytest.mark.parametrize("stop", [None, 2])
def test_with_a_longer_end_is_the_long_run_or_says_that_the_schedule_differs(case, stop, monkeypatch):
    """From 7 steps, or from where a run of 7 was stopped, on to 13: neither is a multiple of what is logged every so often."""
    kind, _, _, follows = TABLE[case]
    whole, _, _ = train(case, "whole", "--steps", 13)
    run, _, _ = train(case, "long", "--steps", 7, stop=stop, monkeypatch=monkeypatch)
    status, text = call(kind, "--resume", run, "--steps", 13)
    assert status == 0 and read(run, "config.json")["steps"] == 13
    assert "--steps 13: the run was to have 7" in text
    if "The schedule differs" in text:
        assert follows and "not that of a run of 13 from the start" in text
    else:
        assert "The result is that of a run of 13 from the start" in text
        same(whole, run)
    assert follows or "differs" not in text
    assert call(kind, "--resume", run)[0] == 0


@pytest.mark.parametrize("case", ["dcgan, steady", "classifier", "train"])
def test_stopped_on_the_way_to_a_longer_end_the_printed_command_goes_on(case, monkeypatch):
    kind = TABLE[case][0]
    run, _, _ = train(case, "a", "--steps", 5)
    shutil.copytree("a", "b c")
    other = os.path.join("b c", os.path.basename(run))
    assert call(kind, "--resume", other, "--steps", 11)[0] == 0
    _, status, text = train(case, "a", "--resume", run, "--steps", 11, stop=3, monkeypatch=monkeypatch)
    assert status == 130 and read(run, "config.json")["steps"] == 11
    typed = shlex.split(text[text.index("To go on:"):].splitlines()[1])
    assert typed[typed.index("--resume"):] == ["--resume", run, "--steps", "11"]
    status, text = call(kind, *typed[typed.index("--resume"):])
    assert status == 0 and ("differs" in text) == TABLE[case][3]  # said again: the first five steps are as they are
    same(run, other)


@pytest.mark.parametrize("case", ["dcgan", "classifier", "train"])
def test_a_report_of_an_earlier_end_does_not_make_a_run_finished(case, monkeypatch):
    """Killed between the last step of the longer end and its report; and stopped in that last step."""
    kind = TABLE[case][0]
    run, _, _ = train(case, "a", "--steps", 4)
    early = os.path.join(run, "report.html")
    shutil.copy(early, "early.html")
    _, status, _ = train(case, "a", "--resume", run, "--steps", 6, stop=2, monkeypatch=monkeypatch)
    assert status == 130 and call(kind, "--resume", run)[0] == 0
    shutil.copy("early.html", early)
    status, text = call(kind, "--resume", run)
    assert status == 0 and "is finished" not in text and "of step 6" in open(early).read()
    os.unlink(early)
    assert call(kind, "--resume", run)[0] == 0 and os.path.exists(early)
    assert "is finished" in call(kind, "--resume", run)[1]


def test_a_run_of_another_kind_is_one_line_that_says_what_it_is_and_which_would_do():
    for case in ("dcgan", "classifier", "train"):
        assert train(case, f"{case}-runs", "--steps", 2)[1] == 0
        shutil.copytree(f"{case}-runs", "runs", dirs_exist_ok=True)
    calls = [(kind, ["--resume", NAMES[other]], [kind], other) for kind in NAMES for other in NAMES if other != kind]
    judges = ["nets classifier", "attacks train"]
    calls += [("attacks pgd", ["--model", NAMES["gan dcgan"]], judges, "gan dcgan"),
              ("gan sample", [NAMES["attacks train"]], ["gan dcgan"], "attacks train"),
              ("gan evaluate", [NAMES["gan dcgan"], "--judge", NAMES["gan dcgan"]], judges, "gan dcgan"),
              ("gan evaluate", [NAMES["nets classifier"], "--judge", NAMES["nets classifier"]], ["gan dcgan"], "nets classifier")]
    for kind, words, wanted, other in calls:
        status, text = call(kind, *words)
        assert status == 1 and text.count("\n") == 1, text
        assert f"is a run of `python -m {other}`" in text
        for one in wanted:
            assert f"`python -m {one}`" in text and f"runs/{NAMES[one]}" in text.split("would do")[1]
    for name in ("classifier-0001", "trained-fast-0001"):
        shutil.rmtree(f"runs/{name}")
    assert "no run here would do" in call("nets classifier", "--resume", NAMES["gan dcgan"])[1]


def test_an_empty_name_is_no_new_run():
    assert call("gan dcgan", "--resume", "")[0] == 2 and not os.path.exists("runs")
