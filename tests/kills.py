"""Kill trainings at random moments, and hold what they end with against one that was left alone: python tests/kills.py [--kills N]

Each trial starts a command on a small data set, kills it by SIGKILL, SIGTERM, SIGINT or SIGHUP, resumes it, kills it again, up to
four times, and lets it finish. Then every file must be that of its twin, byte for byte: metrics, checkpoints, samples, curves, and
the report but for when it ran and on what. (Of the two checkpoints that are kept, the older one may be of another step where a
signal had one saved.) A moment is one of

    any       at any time, from the first line of the command to the last
    step      after a line was logged
    save      while a checkpoint is being written, or just after
    last      in or after the last step
    finish    after the last checkpoint: the evaluation, the report
    compile   while kernels are compiled, with an empty cache (`--compiling N`, because each costs a minute)

Commands save every fifth step here. They run in forks of this process, so that a kill costs a second and not an import.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from attacks import __main__ as attacks_main  # noqa: E402
from gan import __main__ as gan_main  # noqa: E402
from minigrad import command  # noqa: E402
from minigrad.run import Run, RunError  # noqa: E402
from nets import __main__ as nets_main  # noqa: E402

SMALL = ["--data", "npz:small.npz", "--size", "16", "--batch", "4", "--width", "2"]
STEPS = 47  # no multiple of what is logged or saved
COMMANDS = {
    "gan dcgan": [*SMALL, "--latent", "3", "--lazy", "2", "--steps", str(STEPS)],
    "nets classifier": [*SMALL, "--steps", str(STEPS)],
    "attacks train": [*SMALL, "--method", "trades", "--inner-steps", "2", "--early-stop", "--steps", str(STEPS)],
}
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
SIGNALS_CAUGHT = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
MOMENTS = ["any", "step", "save", "last", "finish"]
OTHERWISE = {".lock", "environment.json", "sessions.jsonl"}  # they say when, and on what


def make_data(folder) -> None:
    rng = np.random.default_rng(0)
    np.savez(os.path.join(folder, "small.npz"), x_train=rng.integers(0, 256, (24, 16, 16), np.uint8), y_train=np.arange(24) % 3,
             x_test=rng.integers(0, 256, (9, 16, 16), np.uint8), y_test=np.arange(9) % 3, classes=["a", "b", "c"])


def call(typed: list[str]) -> int:
    """The exit status of a command in this process; it saves every fifth step."""
    Run.loop.__kwdefaults__["every"] = 5
    package, *rest = typed
    try:
        if package == "attacks":
            return attacks_main.main(rest)
        return command.main(package, {"gan": gan_main, "nets": nets_main}[package].COMMANDS, rest)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1


def start(typed: list[str], folder: str, cache: str | None = None):
    """A process at work in `folder`: its number. With `cache`, a new one that keeps its kernels there."""
    log = open(os.path.join(folder, "log.txt"), "a")
    if cache is not None:
        return subprocess.Popen([sys.executable, __file__, "--call", *typed], cwd=folder, stdout=log, stderr=log,
                                env={**os.environ, "NUMBA_CACHE_DIR": cache}).pid
    # a signal that came before the child is in its `try` would send it up the parent's stack, to tidy the parent's folder away
    held = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_CAUGHT)
    number = os.fork()
    if number:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        log.close()
        return number
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.chdir(folder)
        for output in (1, 2):
            os.dup2(log.fileno(), output)
        status = call(typed)
    finally:
        sys.stdout.flush()
        os._exit(status)


def run_in(folder: str) -> str | None:
    """The run that can be resumed there; None where none was made in full."""
    below = os.path.join(folder, "runs")
    names = sorted(os.listdir(below)) if os.path.isdir(below) else []
    return next((name for name in names if os.path.exists(os.path.join(below, name, "config.json"))), None)


def wait_for(moment: str, number: int, folder: str, rng, seconds: float) -> int | None:
    """Wait for a moment to kill at. The status of a process that ended before it, else None."""
    deadline, lines, step = time.monotonic() + 60, rng.randrange(1, 4), rng.randrange(5, STEPS, 5)
    pause = rng.uniform(0, seconds) if moment == "any" else rng.uniform(0, seconds / 2) if moment == "finish" else \
        rng.choice([0, 0, rng.uniform(0, 0.05)])
    found = moment == "any"
    while True:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if not found and run_in(folder) is not None:
            run = os.path.join(folder, "runs", run_in(folder))
            saved = os.listdir(os.path.join(run, "checkpoints")) if os.path.isdir(os.path.join(run, "checkpoints")) else []
            if moment == "step":
                found = os.path.exists(log := os.path.join(run, "metrics.jsonl")) and open(log).read().count("\n") >= lines
            elif moment == "save":
                found = any(f"step_{s:06d}.npz" in name for s in range(step, STEPS + 1) for name in saved)
            else:
                found = any(f"step_{STEPS:06d}.npz" in name for name in saved)
        if found or time.monotonic() > deadline:
            time.sleep(pause)
            return None
        time.sleep(0.0005)


def contents(run: str) -> dict:
    """Digests by name of all that must not depend on interruptions."""
    found = {}
    for where, _, names in os.walk(run):
        for name in names:
            path = os.path.join(where, name)
            if (relative := os.path.relpath(path, run)) in OTHERWISE:
                continue
            with open(path, "rb") as file:
                content = file.read()
            if name == "report.html":
                content = re.sub(rb"<details><summary>(environment|sessions)</summary>.*?</details>", b"", content, flags=re.S)
                content = re.sub(rb"<section><h2>Files</h2>.*?</section>", b"", content, flags=re.S)
            found[relative] = hashlib.sha256(content).hexdigest()
    return found


def twin(kind: str, folder: str) -> tuple[dict, float]:
    """(what a run holds that was left alone, how long it took)."""
    os.makedirs(folder)
    make_data(folder)
    seconds = 0.0
    for _ in range(2):  # the first may load kernels
        shutil.rmtree(os.path.join(folder, "runs"), ignore_errors=True)
        began = time.monotonic()
        status = os.waitstatus_to_exitcode(os.waitpid(start([*kind.split(), *COMMANDS[kind]], folder), 0)[1])
        seconds = time.monotonic() - began
        if status:
            raise SystemExit(f"{kind} ends with {status}: " + open(os.path.join(folder, "log.txt")).read())
    return contents(os.path.join(folder, "runs", run_in(folder))), seconds


def trial(kind: str, folder: str, expected: dict, seconds: float, rng, most: int, compiling=False) -> tuple[list, str]:
    """(the kills as (signal, moment), what went wrong or "")."""
    os.makedirs(folder)
    make_data(folder)
    kills: list = []
    while True:
        run = run_in(folder)
        if run is None:
            shutil.rmtree(os.path.join(folder, "runs"), ignore_errors=True)  # killed before there was anything
            typed = [*kind.split(), *COMMANDS[kind]]
        else:
            try:
                Run.open(os.path.join(folder, "runs", run), quiet=True)
            except RunError as error:
                return kills, f"refused: {error}"
            typed = [*kind.split(), "--resume", os.path.join("runs", run)]
        fresh = compiling and not kills
        cache = os.path.join(folder, "cache") if fresh else None
        number = start(typed, folder, cache)
        if len(kills) >= most:
            status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
            break
        moment = rng.choice(MOMENTS)
        if fresh:
            moment = "compile"
            time.sleep(rng.uniform(3, 30))
            ended, status = os.waitpid(number, os.WNOHANG)
            status = os.waitstatus_to_exitcode(status) if ended else None
        else:
            status = wait_for(moment, number, folder, rng, seconds)
        if status is not None:
            break
        how = rng.choice(SIGNALS)
        os.kill(number, how)
        kills.append((how.name, moment))
        os.waitpid(number, 0)
    if status:
        return kills, f"exit status {status}: " + open(os.path.join(folder, "log.txt")).read()[-300:]
    found = contents(os.path.join(folder, "runs", run_in(folder)))
    differ = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if any(how != "SIGKILL" for how, _ in kills):  # such a signal saves at its own step, and the older one may be that
        older = re.compile(rf"checkpoints/step_(?!{STEPS:06d})\d+\.npz")
        differ = [name for name in differ if not (older.fullmatch(name) and (name not in found or name not in expected))]
    return kills, f"not as the twin's: {', '.join(differ)}" if differ else ""


def main() -> int:
    if sys.argv[1:2] == ["--call"]:
        return call(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}, in quotes (default: all)")
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--compiling", type=int, default=0, metavar="N", help="trials of each that begin with an empty cache")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    if set(o.commands) - set(COMMANDS):
        parser.error(f"there are {', '.join(COMMANDS)}")
    rng, kinds, wrong = random.Random(o.seed), o.commands or list(COMMANDS), 0
    with tempfile.TemporaryDirectory() as folder:
        for i, kind in enumerate(kinds):
            expected, seconds = twin(kind, os.path.join(folder, f"twin-{i}"))
            share, done, trials = -(-o.kills // len(kinds)), Counter(), 0
            while done.total() < share:
                where = os.path.join(folder, f"{i}-{trials}")
                most = min(4, share - done.total())
                kills, failure = trial(kind, where, expected, seconds, rng, most, compiling=trials < o.compiling)
                done.update(kills)
                trials += 1
                if failure:
                    wrong += 1
                    print(f"{kind}, {' '.join(f'{how}/{moment}' for how, moment in kills)}: {failure}", flush=True)
                else:
                    shutil.rmtree(where)
            by = [Counter(kill[place] for kill in done.elements()) for place in (0, 1)]
            print(f"{kind}: {done.total()} kills in {trials} trials of {seconds:.1f} s; "
                  + "; ".join(", ".join(f"{name} {n}" for name, n in sorted(c.items())) for c in by), flush=True)
    print(f"{wrong} trials went wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
