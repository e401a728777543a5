"""Runs: numbered folders, exact resume after every kind of stop, one-line errors, reports; and the command line."""

import html.parser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import checkpoint, command, progress, report
from minigrad.data import DataError
from minigrad.run import NonFiniteError, Run, RunError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# a least-squares fit by noisy SGD with momentum: everything that a real training has, in NumPy
TRAIN = '''
import os, signal, sys, time
import numpy as np
from minigrad import command
from minigrad.data import DataLoader, load
from minigrad.random import Streams

def main(argv):
    parser = command.Parser("toy fit", "Fit a plane.", data="ring", steps=40, presets={"fast": {"lr": 0.5}},
                            examples=["--steps 10"])
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
    parser.add_argument("--act", default="", help="what to do at which step, for tests")
    options = parser.parse(argv)
    run = command.start("fit", options)
    streams = Streams(options.seed)
    loader = DataLoader(load(options.data, limit=50), 8, rng=streams["data"])
    state = {"w": np.zeros((2, 2), np.float32), "m": np.zeros((2, 2), np.float32)}
    if run.restored is not None:
        state = run.restored["state"]
        streams.load_state_dict(run.restored["streams"])
        loader.load_state_dict(run.restored["loader"])
    tree = lambda: {"state": state, "streams": streams.state_dict(), "loader": loader.state_dict()}
    batches = loader.forever()
    for step in run.loop(run.step, options.steps, save=tree, every=7):
        x, _ = next(batches)
        x = x + 0.1 * streams["noise"].normal(x.shape)
        grad = x.T @ (x @ state["w"] - x[:, ::-1]) / len(x)
        state["m"] = 0.9 * state["m"] + grad
        state["w"] = state["w"] - np.float32(options.lr) * state["m"]
        run.log(step, loss=float((grad ** 2).sum()), w=float(state["w"][0, 0]))
        if step % 10 == 0:
            run.image(step, np.tanh(state["w"])[None, None], scale=8)
        if options.act == f"int{step}" or options.act == f"twice{step}":
            os.kill(os.getpid(), signal.SIGINT)
        if options.act == f"twice{step}":
            os.kill(os.getpid(), signal.SIGINT)
        if options.act == f"term{step}":
            os.kill(os.getpid(), signal.SIGTERM)
        if options.act == f"kill{step}":
            os.kill(os.getpid(), signal.SIGKILL)
        if options.act == f"nan{step}":
            run.log(step, loss_d=float("nan"))
        if options.act == "slow":
            time.sleep(0.02)
    run.finish(title="fit <1>", summary={"w": float(state["w"][0, 0])})
'''


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    os.makedirs(folder / "toy")
    (folder / "toy" / "__init__.py").write_text("")
    (folder / "toy" / "fit.py").write_text(TRAIN)
    (folder / "toy" / "__main__.py").write_text(
        "import sys\nfrom minigrad.command import main\n"
        "if __name__ == '__main__':\n    sys.exit(main('toy', {'fit': ('toy.fit', 'fit a plane')}))\n")
    return folder


def start(toy, where, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, str(toy)])}
    environment.pop("MINIGRAD_DEBUG", None)
    return subprocess.Popen([sys.executable, "-m", "toy", *arguments], cwd=where, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def call(toy, where, *arguments):
    process = start(toy, where, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    where = tmp_path_factory.mktemp("whole")
    assert call(toy, where, "fit")[0] == 0
    return where / "runs" / "fit-0001"


def contents(run):
    """Everything that must not depend on interruptions."""
    found = {}
    for folder, _, names in os.walk(run):
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, run)
            if relative not in ("environment.json", "sessions.jsonl", "report.html", "config.json"):
                with open(path, "rb") as file:
                    found[relative] = file.read()
    return found


def test_a_run_holds_what_it_says(whole):
    assert {"metrics.jsonl", "curves.png", "checkpoints/latest.json", "checkpoints/step_000035.npz",
            "checkpoints/step_000040.npz", "samples/fakes_000010.png"} <= set(contents(whole))
    assert json.load(open(whole / "checkpoints" / "latest.json")) == {"step": 40, "file": "step_000040.npz"}
    assert sorted(os.listdir(whole / "checkpoints")) == ["latest.json", "step_000035.npz", "step_000040.npz"]
    config = json.load(open(whole / "config.json"))
    assert config == {"preset": None, "data": "ring", "steps": 40, "seed": 0, "device": "cpu", "lr": 0.05, "act": ""}
    environment = json.load(open(whole / "environment.json"))
    assert environment["packages"]["numpy"] == np.__version__ and environment["command"] == "python -m toy fit"
    assert [record["step"] for _, record in report.read_lines(whole / "metrics.jsonl")] == list(range(1, 41))


@pytest.fixture
def here(toy, tmp_path, monkeypatch, capfd):
    """`call` without a new process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(toy))
    monkeypatch.delenv("MINIGRAD_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        try:
            status = command.main("toy", {"fit": ("toy.fit", "fit a plane")}, arguments)
        except SystemExit as leaving:
            status = leaving.code
        return status, *capfd.readouterr()
    return run


@pytest.mark.parametrize("act, code, reached", [
    ("int11", 130, 11), ("term15", 130, 15), ("kill18", -9, 14), ("twice16", 130, 14), ("kill3", -9, 0),
    ("nan22", 3, 21),
])
def test_stopped_and_resumed_equals_uninterrupted_byte_for_byte(toy, whole, tmp_path, here, act, code, reached):
    if act in ("term15", "twice16", "nan22"):
        status, out, err = here("fit", "--act", act)
    else:
        status, out, err = call(toy, tmp_path, "fit", "--act", act)
        assert ("python -m toy fit --resume runs/fit-0001" in out) == (act == "int11")
    run = tmp_path / "runs" / "fit-0001"
    assert status == code, err
    assert ("--resume runs/fit-0001" in out) == (act in ("int11", "term15"))
    if code == 3:
        assert "step 22: not finite: loss_d = nan" in err and "step_000021.npz" in err and "Traceback" not in err
    config = json.load(open(run / "config.json"))
    (run / "config.json").write_text(json.dumps({**config, "act": ""}))
    status, out, err = here("fit", "--resume", "runs/fit-0001")
    assert status == 0 and f"after step {reached}" in out, err
    assert contents(run) == contents(whole)
    ended = [json.loads(line)["ended"] for line in open(run / "sessions.jsonl")]
    assert ended[-1] == "finished" and len(ended) == (1 if code == -9 else 2)


def test_signals_from_outside_and_more_steps(toy, whole, tmp_path, here):
    process = start(toy, tmp_path, "fit", "--act", "slow", "--steps", "1000")
    metrics = tmp_path / "runs" / "fit-0001" / "metrics.jsonl"
    for _ in range(2000):
        if metrics.exists() and metrics.read_text().count("\n") >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume runs/fit-0001" in out and "once more" in err
    assert "Traceback" not in err
    config = json.load(open(metrics.parent / "config.json"))
    (metrics.parent / "config.json").write_text(json.dumps({**config, "act": ""}))
    assert here("fit", "--resume", "fit-0001", "--steps", "40")[0] == 0
    assert contents(metrics.parent)["metrics.jsonl"] == contents(whole)["metrics.jsonl"]


def test_killed_at_any_moment_resumes_to_the_same_bytes(toy, whole, tmp_path, here):
    """SIGKILL at arbitrary times, also in the middle of writing a checkpoint, again and again until it is through."""
    arguments, killed = ["fit"], 0
    for attempt in range(8):
        process = start(toy, tmp_path, *arguments)
        checkpoints = tmp_path / "runs" / "fit-0001" / "checkpoints"
        before = len(os.listdir(checkpoints)) if checkpoints.exists() else 0
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            names = os.listdir(checkpoints) if checkpoints.exists() else []
            if len(names) > before + attempt % 2 or any(name.endswith(".tmp") for name in names):
                process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if (tmp_path / "runs" / "fit-0001" / "config.json").exists():
            arguments = ["fit", "--resume", "runs/fit-0001"]
            Run.open(tmp_path / "runs" / "fit-0001", quiet=True)
        if process.returncode == 0:
            break
    assert killed and here(*arguments)[0] == 0
    assert contents(tmp_path / "runs" / "fit-0001") == contents(whole)


# ---- in this process


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
    assert [step for step, _ in run._checkpoints()] == [30, 20]
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
    assert [step for step, _ in resumed._checkpoints()] == [25, 20]
    resumed.close()


def test_nothing_good_left_starts_from_the_beginning(run):
    run.checkpoint(5, {"a": 1})
    run.log(3, loss=1.0)
    run.close()
    checkpoint.save(run.file("checkpoints", "step_000005.npz"), {"other": 1})
    resumed = Run.resume(run.path, quiet=True)
    assert resumed.step == 0 and resumed.restored is None and open(run.file("metrics.jsonl")).read() == ""
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
    assert [step for step, _ in run._checkpoints()] == [3]
    good, bad = np.ones(3, np.float32), np.float32([1, np.nan, 3])
    huge = np.full(9, 3e38, np.float32)  # finite, though its sum is not
    with np.errstate(over="ignore"):
        run.check_finite(6, {"w": Box(good, Box(good)), "n": np.arange(3), "h": huge})
    with pytest.raises(NonFiniteError, match=r"not finite: gradient of w, b;"):
        run.check_finite(6, [("w", Box(good, Box(bad))), ("b", bad), ("c", Box(good))])


def test_report_is_one_self_contained_escaped_file(run):
    for step in run.loop(0, 60, save=dict, every=30):
        run.log(step, loss_d=1 / step, loss_g=step, same=0.7)
        if step % 20 == 0:
            run.image(step, np.zeros((4, 1, 8, 8), np.float32), "fakes", columns=2, labels="abcd")
    path = run.finish(title="<script>alert(1)</script>", summary={"FD & more": 1.25, "note": "<b>"})
    page = open(path, encoding="utf-8").read()
    assert "<script" not in page and "&lt;script&gt;" in page and "FD &amp; more" in page and "&lt;b&gt;" in page
    assert page.count("data:image/png;base64,") == 1 + 3 + 1 and "http" not in page.split("<style>")[0]
    assert not re.search(r"(src|href)='(?!data:)", page)
    seen = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: seen.append(tag)
    parser.feed(page)
    assert seen.count("figure") == 5 and seen.count("section") == 6
    assert os.path.getsize(run.file("curves.png")) > 5000
    shutil.rmtree(run.file("samples"))
    os.unlink(run.file("metrics.jsonl"))
    assert run.finish() == path  # a report of little is still a report


def test_smoothing_has_no_start_up_pull_and_keeps_constants():
    assert report.smooth([0.7] * 50, 0.9) == [0.7] * 50
    values = [1.0, 2.0, 4.0]
    weights = [0.25, 0.5, 1.0]
    assert report.smooth(values, 0.5)[-1] == pytest.approx(np.average(values, weights=weights))


def test_progress_without_a_terminal_is_lines(run, capsys, monkeypatch):
    monkeypatch.setattr(progress.Progress, "interval", 0.0)
    run.quiet = False
    for step in run.loop(8, 10):
        run.log(step, loss=0.5)
    assert re.fullmatch(r"step 9/10  90 %  .* steps/s  0:\d\d left  loss 0.5\nstep 10/10  100 %  .*\n",
                        capsys.readouterr().err)


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
        assert name == "config.json" and error.path == made.path
    else:
        assert resumed.restored in ({"a": 1}, None)
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


# ---- the command line


def test_dry_run_keeps_nothing(here, tmp_path):
    status, out, err = here("fit", "--dry-run")
    assert status == 0 and '"steps": 40' in out and "step 2/2" in err and os.listdir(tmp_path) == [], err


@pytest.mark.parametrize("arguments, code, words", [
    ([], 2, "fit  fit a plane"),
    (["--help"], 0, "fit  fit a plane"),
    (["fti"], 2, "unknown command 'fti'; did you mean 'fit'"),
    (["fit", "--help"], 0, "learning rate (default: 0.05)"),
    (["fit", "--help"], 0, "python -m toy fit --steps 10"),
    (["fit", "--stepz", "3"], 2, "unknown option '--stepz'; did you mean '--steps'"),
    (["fit", "--steps", "0"], 2, "at least 1, got '0'"),
    (["fit", "--steps", "x"], 2, "at least 1, got 'x'"),
    (["fit", "--device", "tpu"], 2, "invalid choice: 'tpu'"),
    (["fit", "--data", "rong"], 1, "did you mean 'ring'"),
    (["fit", "--data", "npz:absent.npz"], 1, "absent.npz: no such file"),
    (["fit", "--resume", "absent"], 1, "absent: not a run (no config.json)"),
    (["fit", "--out", "/dev/null/x"], 1, "cannot be written"),
    (["fit", "--preset", "slow"], 2, "invalid choice: 'slow'"),
    (["fit", "--resume", "x", "--dry-run"], 2, "--dry-run"),
])
def test_command_line_tells_in_one_line(here, arguments, code, words):
    status, out, err = here(*arguments)
    assert status == code and words in out + err and "Traceback" not in err


def options(tmp_path, *arguments, presets=None):
    parser = command.Parser("toy fit", "x", presets={"fast": {"lr": 0.5, "steps": 7}} if presets is None else presets)
    parser.add_argument("--lr", type=float, default=0.1, help="rate")
    parser.add_argument("--verbose", action="store_true", help="more")
    return parser.parse(arguments)


def test_presets_set_defaults_and_typed_options_win(tmp_path):
    assert (options(tmp_path).lr, options(tmp_path).steps) == (0.1, 2000)
    found = options(tmp_path, "--preset", "fast", "--lr", "0.1")
    assert (found.lr, found.steps, found.preset) == (0.1, 7, "fast")
    with pytest.raises(ValueError, match="wings"):
        options(tmp_path, "--preset", "p", presets={"p": {"wings": 2}})


def test_commands_without_a_run_have_none_of_its_options():
    parser = command.Parser("gan sample", "x", data=None, steps=None, run=False)
    parser.add_argument("path")
    assert vars(parser.parse(["runs/a", "--seed", "3"])) == {"seed": 3, "path": "runs/a"}


def test_resuming_takes_the_options_of_the_run(tmp_path):
    made = Run.create("fit", {"lr": 0.3, "steps": 50, "data": "ring", "seed": 4, "verbose": True}, tmp_path, quiet=True)
    made.close()
    found = options(tmp_path, "--resume", made.path, "--steps", "80", "--lr", "0.3")
    assert (found.lr, found.steps, found.data, found.seed, found.verbose) == (0.3, 80, "ring", 4, True)
    with pytest.raises(ValueError, match="--lr 0.1: the run .* was made with 0.3"):
        options(tmp_path, "--resume", made.path, "--lr", "0.1")


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_DEBUG", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_command.py").write_text(
        "from minigrad.data import load\ndef main(argv):\n    load('text:absent')\n")
    with pytest.raises(DataError):
        command.main("toy", {"x": ("broken_command", "")}, ["x"])
