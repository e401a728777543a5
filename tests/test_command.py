"""The command line: a toy training that is stopped in every way and resumes to the byte, options, errors in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from attacks import __main__ as attacks_main
from gan import __main__ as gan_main
from minigrad import command, report
from minigrad.data import DataError
from minigrad.records import SEAL
from minigrad.run import Run
from nets import __main__ as nets_main

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
    options = parser.parse(argv)
    act = os.environ.get("TOY_ACT", "")  # what to do at which step; no option, because those cannot change when a run is resumed
    run = command.start("fit", options)
    streams = Streams(options.seed)
    loader = DataLoader(load(options.data, limit=50), 8, shuffle=True, drop_last=True, rng=streams["data"])
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
        if act == f"int{step}" or act == f"twice{step}":
            os.kill(os.getpid(), signal.SIGINT)
        if act == f"twice{step}":
            os.kill(os.getpid(), signal.SIGINT)
        if act == f"term{step}":
            os.kill(os.getpid(), signal.SIGTERM)
        if act == f"hup{step}":
            os.kill(os.getpid(), signal.SIGHUP)
        if act == f"kill{step}":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == f"nan{step}":
            run.log(step, loss_d=float("nan"))
        if act == "slow":
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


def start(toy, where, *arguments, act="", **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, str(toy)]), "TOY_ACT": act}
    environment.pop("MINIGRAD_DEBUG", None)
    return subprocess.Popen([sys.executable, "-m", "toy", *arguments], cwd=where, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def call(toy, where, *arguments, act=""):
    process = start(toy, where, *arguments, act=act)
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
    assert config == {"preset": None, "data": "ring", "steps": 40, "seed": 0, "device": "cpu", "lr": 0.05,
                      "skip_broken": False, SEAL: config[SEAL]}
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

    def run(*arguments, act=""):
        monkeypatch.setenv("TOY_ACT", act)
        try:
            status = command.main("toy", {"fit": ("toy.fit", "fit a plane")}, arguments)
        except SystemExit as leaving:
            status = leaving.code
        return status, *capfd.readouterr()
    return run


@pytest.mark.parametrize("act, code, reached", [
    ("int11", 130, 11), ("term15", 130, 15), ("hup13", 130, 13), ("kill18", -9, 14), ("twice16", 130, 14), ("kill3", -9, 0),
    ("nan22", 3, 21),
])
def test_stopped_and_resumed_equals_uninterrupted_byte_for_byte(toy, whole, tmp_path, here, act, code, reached):
    if act in ("term15", "hup13", "twice16", "nan22"):
        status, out, err = here("fit", act=act)
    else:
        status, out, err = call(toy, tmp_path, "fit", act=act)
        assert ("python -m toy fit --resume runs/fit-0001" in out) == (act == "int11")
    run = tmp_path / "runs" / "fit-0001"
    assert status == code, err
    assert ("--resume runs/fit-0001" in out) == (act in ("int11", "term15", "hup13"))
    if code == 3:
        assert "step 22: not finite: loss_d = nan" in err and "step_000021.npz" in err and "Traceback" not in err
    status, out, err = here("fit", "--resume", "runs/fit-0001")
    assert status == 0 and f"after step {reached}" in out, err
    assert contents(run) == contents(whole)
    ended = [json.loads(line)["ended"] for line in open(run / "sessions.jsonl")]
    assert ended[-1] == "finished" and len(ended) == (1 if code == -9 else 2)


def test_signals_from_outside_and_more_steps(toy, whole, tmp_path, here):
    process = start(toy, tmp_path, "fit", "--steps", "1000", act="slow")
    metrics = tmp_path / "runs" / "fit-0001" / "metrics.jsonl"
    for _ in range(2000):
        if metrics.exists() and metrics.read_text().count("\n") >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume runs/fit-0001" in out and "once more" in err
    assert "Traceback" not in err
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
    (["fit", "--resume", "x", "--out", "y"], 2, "stays where it is"),
    (["fit", "--resume", ""], 2, "argument --resume: must be a path"),
    (["fit", "--seed", "1.5"], 2, "argument --seed: must be an integer, got '1.5'"),
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


# ---- the packages' own commands

PACKAGES = {"nets": nets_main.COMMANDS, "gan": gan_main.COMMANDS, "attacks": attacks_main.COMMANDS}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_commands_is_named_as_its_command_is_typed(package):
    """But for attack.py, which serves every attack by its own name; what is no command lies in helpers/."""
    files = {p.stem for p in (Path(ROOT) / package / "commands").glob("*.py")} - {"__init__"}
    modules = {name: module.removeprefix(f"{package}.commands.") for name, (module, _) in PACKAGES[package].items()}
    assert files == set(modules.values())
    assert all(name.replace("-", "_") == module or module == "attack" for name, module in modules.items())
