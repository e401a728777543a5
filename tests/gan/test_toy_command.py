"""`gan toy` as a student types it: every loss and remedy, resume to the byte, wrong calls."""

import contextlib
import gc
import json
import os

import pytest

from gan import __main__ as gan_main
from gan.commands import toy
from minigrad import command
from minigrad.checkpoint import load
from tests.trees import newest, same

TINY = ["--width", "4", "--depth", "2", "--generator-depth", "2", "--batch", "16", "--frames", "1"]


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("options", [
    *(["--loss", loss] for loss in ("minimax", "least_squares", "wasserstein", "hinge", "relativistic")),
    ["--preset", "plain"], ["--preset", "plain", "--unroll", "2"], ["--unroll", "1"], ["--pack", "2", "--r1", "0", "--r2", "0"],
    ["--pack", "2"], ["--stddev", "4"], ["--noise", "0.1"], ["--preset", "plain", "--smooth", "0.1"],
    ["--loss", "wasserstein", "--clip", "0.01", "--critic-steps", "2", "--r1", "0", "--r2", "0", "--drift", "0.001"],
    ["--loss", "wasserstein", "--gradient-penalty", "10"], ["--generator-norm", "--average", "0"], ["--data", "swissroll"],
    ["--loss", "hinge", "--spectral-norm", "--r1", "0", "--r2", "0"],
], ids=" ".join)
def test_every_loss_and_remedy_plays(options, capsys):
    assert gan("toy", "--dry-run", *TINY, *options) == 0
    assert os.listdir(".") == [] and "modes" in capsys.readouterr().out


class Stop(Exception):
    pass


@pytest.mark.parametrize("options", [[], ["--preset", "plain", "--unroll", "1", "--noise", "0.1", "--stddev", "4"]])
def test_a_resumed_toy_equals_an_uninterrupted_one(options, monkeypatch):
    assert gan("toy", "--steps", "6", "--out", "whole", *TINY, *options) == 0
    calls, step, start = [], toy.optim.Adam.step, toy.command.start

    def stop_after_four_steps(self):
        calls.append(1)
        if len(calls) > 8:  # two players
            raise Stop
        step(self)

    def every_step(run):
        loop = run.loop
        run.loop = lambda start, steps, save: loop(start, steps, save=save, every=1)
        return run

    with monkeypatch.context() as patch:
        patch.setattr(toy.optim.Adam, "step", stop_after_four_steps)
        patch.setattr(toy.command, "start", lambda name, o: every_step(start(name, o)))
        with contextlib.suppress(Stop):
            gan("toy", "--steps", "6", "--out", "broken", *TINY, *options)
    gc.collect()
    assert not os.path.exists("broken/toy-0001/report.html")
    assert gan("toy", "--resume", "broken/toy-0001") == 0
    same(load(newest("whole/toy-0001")), load(newest("broken/toy-0001")))
    for name in ("metrics.jsonl", "result.json", "game.gif"):
        whole, broken = (open(f"{folder}/toy-0001/{name}", "rb").read() for folder in ("whole", "broken"))
        assert whole == broken, name
    result = json.load(open("whole/toy-0001/result.json"))
    assert result["of"] == 8 and 0 <= result["high_quality"] <= 1 and result["samples"] == 2500


@pytest.mark.parametrize("argv, status, message", [
    (["--data", "glyphs"], 1, "points in the plane"),
    (["--data", "rign"], 1, "did you mean 'ring'"),
    (["--loss", "hinge", "--smooth", "0.1"], 1, "targets"),
    (["--gradient-penalty", "1", "--pack", "2"], 1, "neither"),
    (["--unroll", "1", "--spectral-norm"], 1, "power iteration"),
    (["--r1", "-1"], 2, "at least 0"),
    (["--device", "cuda"], 2, "invalid choice: 'cuda'"),
    (["--batch", "10", "--pack", "3"], 1, "multiple"),
    (["--unrol", "3"], 2, "did you mean '--unroll'"),
])
def test_wrong_calls_are_told_in_one_line(argv, status, message, capsys):
    try:
        found = gan("toy", *argv)
    except SystemExit as leaving:
        found = leaving.code
    err = capsys.readouterr().err
    assert found == status and message in err and "Traceback" not in err
