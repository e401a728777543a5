"""Runs: numbered folders, checkpoints, parts by name, bars, errors in one line, reports. Resuming after a stop: test_command.py."""

import json
import os
import re
import shutil
import signal
import threading
import time
import urllib.parse

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import curves, progress, report
from minigrad.run import NonFiniteError, Run, RunError


@pytest.fixture
def run(tmp_path):
    made = Run.create("toy", {"lr": 0.1}, tmp_path, quiet=True, command="python -m toy")
    yield made
    made.close()


def test_numbers_are_never_used_twice(tmp_path):
    os.makedirs(tmp_path / "toy-0007")
    (tmp_path / "toy-x").mkdir()
    runs, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: runs.append(Run.create("toy", {}, tmp_path, quiet=True))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert sorted(run.name for run in runs) == [f"toy-{n:04d}" for n in range(8, 16)]


def test_damaged_newest_checkpoint_falls_back_and_says_so(run, tmp_path, capsys):
    for step in run.loop(0, 30, save=lambda: {"step": run.step}, every=10):
        run.log(step, loss=1 / step)
    assert [step for step, _ in run.checkpoints()] == [30, 20]
    run.close()
    with open(run.file("checkpoints", "step_000030.npz"), "r+b") as file:
        file.seek(40)
        file.write(b"damage")
    looked = Run.open(run.path)
    assert looked.step == 20 and looked.restored == {"step": 20} and "step_000030.npz" in capsys.readouterr().out
    assert len(os.listdir(run.file("checkpoints"))) == 3  # looking changes nothing
    with pytest.raises(RunError, match="reading only"):
        looked.log(21, loss=0)
    resumed = Run.resume(run.path)
    assert resumed.step == 20 and "warning" in capsys.readouterr().out
    assert [record["step"] for _, record in report.read_lines(run.file("metrics.jsonl"))] == list(range(1, 21))
    for _ in resumed.loop(20, 25, save=lambda: 1, every=5):
        pass
    assert [step for step, _ in resumed.checkpoints()] == [25, 20]
    resumed.close()


def test_metrics_cut_in_the_middle_of_a_line_are_repaired(run):
    run.log(1, loss=0.5)
    run.checkpoint(1, 0)
    run.close()
    with open(run.file("metrics.jsonl"), "a") as file:
        file.write('{"step": 2, "lo')
    resumed = Run.resume(run.path, quiet=True)
    resumed.log(2, loss=0.25)
    assert open(run.file("metrics.jsonl")).read() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n'
    resumed.close()


def test_two_processes_cannot_work_in_one_run(run):
    with pytest.raises(RunError, match="another process"):
        Run.resume(run.path, quiet=True)
    run.close()
    Run.resume(run.path, quiet=True).close()


def test_handlers_are_put_back(run):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for _ in run.loop(0, 1):
        assert signal.getsignal(signal.SIGINT) != before[0]
    with pytest.raises(ZeroDivisionError):
        for _ in run.loop(0, 5):
            raise ZeroDivisionError
    for _ in run.loop(0, 5):
        break
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    ended = [json.loads(line)["ended"] for line in open(run.file("sessions.jsonl"))]
    assert ended == ["finished", "stopped", "stopped"]
    with pytest.raises(SystemExit) as caught:
        for step in run.loop(0, 9):
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.code == 130 and run.step == 4
    with pytest.raises(KeyboardInterrupt):
        for _ in run.loop(0, 9):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_loop_in_a_thread_leaves_signals_alone(run):
    steps = []
    thread = threading.Thread(target=lambda: steps.extend(run.loop(0, 3)))
    thread.start()
    thread.join()
    assert steps == [1, 2, 3]


class Counter:
    """A part of a training: it counts, and can be saved and loaded."""

    def __init__(self, count=0):
        self.count = count

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_parts_are_saved_and_restored_by_name(run):
    kept = dict(one=Counter(), two=Counter(10), none=None)
    run.restore(kept)  # a new run: nothing to do
    for step in run.loop(run.step, 5, save=kept, every=2):
        kept["one"].count += step
    assert (kept["one"].count, kept["two"].count) == (15, 10)
    run.close()
    again = Run.resume(run.path, quiet=True)
    assert again.restored == {"one": {"count": 15}, "two": {"count": 10}}  # a part that is None is not kept
    fresh = dict(two=Counter(), one=Counter(), none=None)
    again.restore(fresh)
    assert (fresh["one"].count, fresh["two"].count) == (15, 10)
    untouched = Counter()
    with pytest.raises(RunError, match="checkpoint of step 5 has no average, pool; it holds one, two"):
        again.restore(dict(one=untouched, average=Counter(), pool=Counter()))
    assert untouched.count == 0
    again.restored = [1, 2]
    with pytest.raises(RunError, match="has no one; it holds nothing by name"):
        again.restore(dict(one=untouched))
    again.close()


def test_units_of_unlike_sizes_move_one_bar(run):
    with run.units(10.4) as bar:
        bar.spend(2.5)
        assert (bar.total, bar.shown) == (10, 2)
        bar.reach(6)
        assert bar.shown == 6 and bar.spent == 6
        bar.reach(4)  # later than planned: nothing moves back on the bar
        assert bar.shown == 6
        bar.spend(50)  # more than was planned: the last unit is kept for the end
        assert bar.shown == 9
    assert run.step == bar.shown == 10


def test_units_that_end_early_are_told_as_stopped_and_ctrl_c_leaves_at_the_next_one(run):
    with pytest.raises(ZeroDivisionError), run.units(3):
        raise ZeroDivisionError
    with pytest.raises(SystemExit) as caught, run.units(3) as bar:
        os.kill(os.getpid(), signal.SIGINT)
        bar.spend(1)
    assert caught.value.code == 130
    with run.units(0):  # nothing to do is still a bar
        pass
    ended = [json.loads(line)["ended"] for line in open(run.file("sessions.jsonl"))]
    assert ended == ["stopped", "interrupted by SIGINT", "finished"]


class Box:
    def __init__(self, array, grad=None):
        self.array, self.grad = array, grad

    def item(self):
        return self.array.item()


def test_non_finite_numbers_are_named_and_not_written(run):
    run.checkpoint(3, {})
    with pytest.raises(NonFiniteError, match=r"step 4: not finite: loss_g = inf, fd = nan.*step_000003") as caught:
        run.log(4, loss_d=1, loss_g=float("inf"), fd=np.float32("nan"))
    assert caught.value.step == 4 and not os.path.exists(run.file("metrics.jsonl"))
    run.log(5, a=np.float32(0.5), b=Box(np.array(2)), c=np.int64(3), d=np.array([1.5]))
    assert json.loads(open(run.file("metrics.jsonl")).read()) == {"step": 5, "a": 0.5, "b": 2, "c": 3, "d": 1.5}
    with pytest.raises(NonFiniteError, match="not finite: d.w, list.1;.*step_000003"):
        run.checkpoint(6, {"d": {"w": np.array([1, np.nan])}, "list": [0, np.float32([[np.nan]])],
                           "inf": np.array(np.inf)})
    assert [step for step, _ in run.checkpoints()] == [3]
    good, bad = np.ones(3, np.float32), np.float32([1, np.nan, 3])
    huge = np.full(9, 3e38, np.float32)  # finite, though its sum is not
    with np.errstate(over="ignore"):
        run.check_finite(6, {"w": Box(good, Box(good)), "n": np.arange(3), "h": huge})
    with pytest.raises(NonFiniteError, match=r"not finite: gradient of w, b;"):
        run.check_finite(6, [("w", Box(good, Box(bad))), ("b", bad), ("c", Box(good))])


def test_report_is_one_self_contained_escaped_file(run):
    for step in run.loop(0, 60, save=dict, every=30):
        run.log(step, loss_d=1 / step, loss_g=step, same=0.7, **{"gradient_d/conv1": 1 / step})
        if step % 20 == 0:
            run.image(step, np.zeros((4, 1, 8, 8), np.float32), "fakes", columns=2, labels="abcd")
    run.image(None, np.zeros((4, 1, 8, 8), np.float32), "real")
    path = run.finish(title="<script>alert(1)</script>", summary={"FD & more": 1.25, "note": "<b>", "text": "a\nb"})
    page = open(path, encoding="utf-8").read()
    assert page.count("<script") == 1 and "alert" not in page.split("<script")[1] and "&lt;script&gt;" in page
    assert "FD &amp; more" in page and "&lt;b&gt;" in page and "<pre>a\nb</pre>" in page
    assert page.count("data:image/png;base64,") == 1 + 3 + 1 + 1 and "http" not in page.split("<style>")[0]
    assert not re.search(r"src='(?!data:)", page)
    assert os.path.getsize(run.file("curves.png")) > 5000 and os.path.getsize(run.file("gradients.png")) > 5000
    for target in re.findall(r"href='([^']*)'", page):  # links lead to what lies in the run
        assert os.path.exists(run.file(urllib.parse.unquote(target)))
    shutil.rmtree(run.file("samples"))
    os.unlink(run.file("metrics.jsonl"))
    assert run.finish() == path  # a report of little is still a report


def test_smoothing_has_no_start_up_pull_and_keeps_constants():
    assert curves.smooth([0.7] * 50, 0.9) == [0.7] * 50
    values = [1.0, 2.0, 4.0]
    weights = [0.25, 0.5, 1.0]
    assert curves.smooth(values, 0.5)[-1] == pytest.approx(np.average(values, weights=weights))


def test_progress_without_a_terminal_is_lines(run, capsys, monkeypatch):
    monkeypatch.setattr(progress.Progress, "interval", 0.0)
    run.quiet = False
    for step in run.loop(8, 10):
        run.log(step, loss=0.5)
    assert capsys.readouterr().err == "step 9/10  90 %  loss 0.5\nstep 10/10  100 %  loss 0.5\n"  # too soon to tell a pace


def test_temporary_runs_vanish(capsys):
    run = Run.temporary("toy", {}, quiet=True)
    run.log(1, loss=1.0)
    assert os.path.isdir(run.path)
    run.close()
    assert not os.path.exists(run.path)


@given(st.binary(max_size=40), st.sampled_from(["config.json", "environment.json", "metrics.jsonl",
                                                "checkpoints/latest.json", "checkpoints/step_000001.npz"]))
@settings(max_examples=40)
def test_any_bytes_in_any_file_open_or_are_the_one_error(tmp_path_factory, content, name):
    made = Run.create("toy", {}, tmp_path_factory.mktemp("any"), quiet=True)
    made.log(1, loss=1.0)
    made.checkpoint(1, {"a": 1})
    made.close()
    with open(made.file(name), "wb") as file:
        file.write(content)
    try:
        resumed = Run.resume(made.path, quiet=True)
    except RunError as error:
        assert name in ("config.json", "checkpoints/step_000001.npz") and error.path == made.path
    else:
        assert resumed.restored == {"a": 1} and open(made.file("metrics.jsonl")).read() == '{"step": 1, "loss": 1.0}\n'
        resumed.close()


@pytest.mark.parametrize("call, error, words", [
    (lambda p: Run.create("a/b", {}, p), ValueError, "a/b"),
    (lambda p: Run.create("a", {"x": {1, 2}}, p), TypeError, "config"),
    (lambda p: Run.create("a", {"x": float("nan")}, p), TypeError, "finite"),
    (lambda p: Run.create("a", {}, p / "file" / "x"), RunError, "cannot be written.*--out"),
    (lambda p: Run.open(p / "absent"), RunError, r"no config.json\); there are: bad, good-0001"),
    (lambda p: Run.open(p / "bad"), RunError, "config.json is damaged"),
    (lambda p: next(Run.temporary("a", {}, quiet=True).loop(0, 3, every=0)), ValueError, "every"),
    (lambda p: Run.temporary("a", {}, quiet=True).image(1, np.eye(4, dtype="u1"), columns=3), ValueError, "columns"),
])
def test_mistakes_say_what_is_wrong(tmp_path, call, error, words):
    (tmp_path / "file").write_text("")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    Run.create("good", {}, tmp_path, quiet=True).close()
    with pytest.raises(error, match=words):
        call(tmp_path)
