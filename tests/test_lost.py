"""Nothing that a run wrote is lost: what cannot be read is not damaged, what is damaged is put back or told, and links, pipes and
folders in odd places are one error. Kills: tests/kills.py; damage by the thousand: tests/damage.py."""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from attacks import __main__ as attacks_main
from gan import __main__ as gan_main
from minigrad import checkpoint, command, kinds, records, report
from minigrad.checkpoint import CheckpointError
from minigrad.data import save_png
from minigrad.kernels.cpu.machine import threads
from minigrad.records import SEAL, sealed
from minigrad.run import Run, RunError
from nets import __main__ as nets_main

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = {"data": "glyphs", "steps": 30, "rate": 0.002, "betas": [0.5, 0.99], "norm": False, "device": "cpu"}


def made(folder, steps=30, config=CONFIG) -> Run:
    """A run with checkpoints at 20 and 30 of 30 steps."""
    run = Run.create("toy", config, folder, quiet=True, command="python -m toy fit", kind="toy fit")
    for step in run.loop(0, steps, save=lambda: {"w": np.arange(50.0) + run.step}, every=10):
        run.log(step, loss=1 / step)
    run.close()
    return run


def tree(folder) -> dict:
    """What lies in a folder: links, folders, and the digests of files."""
    found = {}
    for where, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(where, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = hashlib.sha256(file.read()).hexdigest()
            else:
                found[path] = "no file"
    return found


def spoil(path, at=200):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"damage")


def text_of(path) -> str:
    with open(path) as file:
        return file.read()


# ---- unreadable is not damaged

TROUBLES = [OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
            for name in ("EIO", "EACCES", "EMFILE", "ENFILE", "ESTALE", "ETIMEDOUT", "EPERM", "ENOMEM", "EAGAIN")]
TROUBLES.append(MemoryError())


class Troubled(io.FileIO):
    """A file that fails after some bytes."""

    def readinto(self, buffer):
        if self.tell() >= self.good:
            raise self.trouble
        return super().readinto(buffer)


def trouble(monkeypatch, name, error, good):
    """Reading files of this name fails with `error`: when they are opened (good < 0), or after some bytes."""
    whole = checkpoint.open_regular

    def opened(path):
        if os.path.basename(path) != name:
            return whole(path)
        if good < 0:
            raise error
        file = Troubled(path)
        file.trouble, file.good = error, good
        return io.BufferedReader(file)

    monkeypatch.setattr(checkpoint, "open_regular", opened)


@pytest.mark.parametrize("good", [-1, 100])
@pytest.mark.parametrize("error", TROUBLES, ids=lambda e: errno.errorcode.get(getattr(e, "errno", 0), "memory"))
def test_an_unreadable_checkpoint_is_an_error_that_changes_nothing(tmp_path, monkeypatch, error, good):
    """Twenty kinds of trouble. Once it is over, the run goes on as if nothing had been."""
    run = made(tmp_path)
    before = tree(tmp_path)
    with monkeypatch.context() as patch:
        trouble(patch, "step_000030.npz", error, good)
        for come in (Run.open, Run.resume):
            with pytest.raises(RunError, match=r"step_000030.npz cannot be read now .*Nothing was changed: try again"):
                come(run.path, quiet=True)
        with pytest.raises((OSError, MemoryError), match="step_000030.npz"):
            checkpoint.load(run.file("checkpoints", "step_000030.npz"))
    assert tree(tmp_path) == before
    again = Run.resume(run.path, quiet=True)
    assert again.step == 30 and tree(tmp_path) == before
    again.close()


@pytest.mark.skipif(os.name != "posix", reason="no limit on descriptors on this system")
def test_too_few_descriptors_are_no_damage(tmp_path):
    """In a new process, which has yet to import what reading needs."""
    run = made(tmp_path)
    code = ("import os, resource, sys; from minigrad.run import Run, RunError\n"
            "spare = int(sys.argv[2]); held = [os.open(os.devnull, os.O_RDONLY) for _ in range(9)]\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, held[-1] + 1))\n"
            "for number in held[9 - spare:]: os.close(number)\n"
            "try: print('step', Run.open(sys.argv[1], quiet=True).step)\n"
            "except RunError as error: print(error)")
    said = [subprocess.run([sys.executable, "-c", code, run.path, str(spare)], capture_output=True, text=True, timeout=120,
                           env={**os.environ, "PYTHONPATH": ROOT}).stdout for spare in (0, 1, 2, 3)]
    assert "Too many open files" in said[0] and said[-1] == "step 30\n"
    assert all("damaged (" not in text and text for text in said), said


def test_an_unreadable_one_behind_a_damaged_one_changes_nothing_either(tmp_path, monkeypatch):
    run = made(tmp_path)
    spoil(run.file("checkpoints", "step_000030.npz"))
    before = tree(tmp_path)
    trouble(monkeypatch, "step_000020.npz", OSError(errno.EIO, "Input/output error"), 0)
    with pytest.raises(RunError, match="step_000020.npz cannot be read now"):
        Run.resume(run.path, quiet=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("lock", [True, False])
def test_where_no_checkpoint_is_good_the_run_is_refused_and_left_as_it_is(tmp_path, lock):
    run = made(tmp_path)
    for _, file in run.checkpoints():
        spoil(file)
    if not lock:
        os.unlink(run.file(".lock"))
    before = tree(tmp_path)
    for come in (Run.open, Run.resume):
        with pytest.raises(RunError, match="all of its checkpoints, 2, are damaged .*step_000030.*move the folder checkpoints"):
            come(run.path, quiet=True)
    assert tree(tmp_path) == before
    os.rename(run.file("checkpoints"), tmp_path / "away")
    again = Run.resume(run.path, quiet=True)
    assert again.step == 0 and again.restored is None
    again.close()


def test_after_a_damaged_checkpoint_the_lines_behind_the_good_one_are_kept_aside(tmp_path, capsys):
    run = made(tmp_path)
    lines = text_of(run.file("metrics.jsonl")).splitlines(keepends=True)
    for n in (1, 2):  # a second one with the name of the first does not take its place
        spoil(run.file("checkpoints", "step_000030.npz"))
        again = Run.resume(run.path)
        assert again.step == 20 and "step_000030.npz" in (said := capsys.readouterr().out)
        assert "the 10 lines of metrics.jsonl after step 20 are kept in metrics.aside.jsonl" in said
        assert text_of(run.file("metrics.jsonl")) == "".join(lines[:20])
        assert text_of(run.file("metrics.aside.jsonl")) == "".join(lines[20:] * n)
        for step in again.loop(20, 30, save=lambda: {"w": np.ones(50)}, every=10):
            again.log(step, loss=1 / step)
        again.close()
        assert text_of(run.file("metrics.jsonl")) == "".join(lines)
    assert sorted(os.listdir(run.file("checkpoints"))) == [
        "latest.json", "step_000020.npz", "step_000030.npz", "step_000030.npz.damaged", "step_000030.npz.damaged-2"]


def test_a_run_whose_checkpoints_were_not_copied_keeps_its_metrics(tmp_path):
    """git keeps no empty folders, and a rule may leave out *.npz."""
    run = made(tmp_path)
    lines = text_of(run.file("metrics.jsonl"))
    for _, file in run.checkpoints():
        os.unlink(file)
    os.rmdir(run.file("samples"))
    again = Run.resume(run.path, quiet=True)
    assert again.step == 0 and text_of(run.file("metrics.aside.jsonl")) == lines
    again.image(1, np.zeros((1, 1, 8, 8), np.float32))
    again.close()
    empty = Run.create("toy", CONFIG, tmp_path, quiet=True)
    empty.close()
    for folder in ("samples", "checkpoints"):
        os.rmdir(empty.file(folder))
    again = Run.resume(empty.path, quiet=True)
    for step in again.loop(0, 2, save=dict, every=1):
        again.image(step, np.zeros((1, 1, 8, 8), np.float32))
    again.close()


# ---- metrics and sessions

BAD = {
    "a flipped bit": lambda line: line[:3] + bytes([line[3] ^ 1]) + line[4:],
    "another number": lambda line: line.replace(b"0.", b"1.", 1),
    "no text": lambda line: b"\xff\xfe" + line,
    "no JSON": lambda line: b"{" + line,
    "no record": lambda line: b"[1, 2]\n",
    "not a number": lambda line: b'{"step": 7, "loss": NaN}\n',
    "too large": lambda line: b'{"step": 7, "loss": 1e999}\n',
    "a word": lambda line: b'{"step": 7, "loss": "x"}\n',
    "deep": lambda line: b"[" * 100_000 + b"\n",
    "nothing": lambda line: b"",
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_a_damaged_line_of_metrics_costs_no_other_line(tmp_path, bad, old, capsys):
    """It is put back from the checkpoint, or, where an older version wrote that, taken out; it is kept, and it is said."""
    run = made(tmp_path)
    if old:
        for _, file in run.checkpoints():
            checkpoint.save(file, {key: value for key, value in checkpoint.load(file).items() if key in ("step", "tree")})
    with open(run.file("metrics.jsonl"), "rb") as file:
        lines = file.read().splitlines(keepends=True)
    broken = BAD[bad](lines[6])
    with open(run.file("metrics.jsonl"), "wb") as file:
        file.write(b"".join([*lines[:6], broken, *lines[7:]]))
    readable = [record["step"] for _, record in report.read_lines(run.file("metrics.jsonl"))]
    assert set(readable) >= {*range(1, 31)} - {7}
    Run.resume(run.path).close()
    said = capsys.readouterr().out
    with open(run.file("metrics.jsonl"), "rb") as file:
        now = file.read().splitlines(keepends=True)
    if not old:
        assert now == lines and "metrics.jsonl is not as it was" in said
        assert not broken or open(run.file("metrics.aside.jsonl"), "rb").read() == broken
    elif bad not in ("another number", "nothing"):  # which only a checkpoint can tell
        assert now == lines[:6] + lines[7:] and "1 damaged lines" in said
        assert open(run.file("metrics.aside.jsonl"), "rb").read() == broken


def test_the_lines_of_a_run_that_was_killed_come_again_and_leave_nothing_behind(tmp_path):
    run = made(tmp_path)
    with open(run.file("metrics.jsonl"), "a") as file:
        file.write('{"step": 31, "loss": 0.5}\n{"step": 32, "lo')
    Run.resume(run.path, quiet=True).close()
    assert text_of(run.file("metrics.jsonl")).count("\n") == 30 and not os.path.exists(run.file("metrics.aside.jsonl"))


def test_a_damaged_line_of_sessions_costs_no_other_line(tmp_path):
    run = made(tmp_path)
    line = text_of(run.file("sessions.jsonl"))
    for bad in ('{"from": 0, "to": 1e9, "of": "x"}\n', "\0\n", "[]\n", '{"from": 0, "to": 3, "of": 30, "closing": 5}\n',
                '{"from": 0, "to": 3, "of": -1}\n', "{\n"):
        with open(run.file("sessions.jsonl"), "w") as file:
            file.write(line + bad + line)
        assert len(kinds.sessions(run.path)) == 2 and kinds.last_session(run.path)["to"] == 30
    with open(run.file("sessions.jsonl"), "w") as file:
        file.write(line + line[:20])  # of a process that was killed
    again = Run.resume(run.path, quiet=True)
    for _ in again.loop(30, 30):
        pass
    again.close()
    assert len(kinds.sessions(run.path)) == 2


@pytest.mark.parametrize("stop", ["before a checkpoint", "after an error", "damaged meanwhile"])
def test_lines_of_an_earlier_end_stay_out_where_the_run_was_killed_on_its_way_to_a_later_one(tmp_path, stop, capsys):
    def train(run, steps, until=None):
        for step in run.loop(run.step, steps, save=lambda: {"n": run.step}, every=10):
            if until == step:
                raise ZeroDivisionError
            if run.due(step, 5):
                run.log(step, loss=1 / step)

    def ask(path, steps):
        run = Run.resume(path)
        run.ask({**run.config, "steps": steps})
        return run

    whole, run = (Run.create("toy", {"steps": steps}, tmp_path, quiet=True) for steps in (23, 7))
    train(whole, 23)
    train(run, 7)
    run.close()
    assert text_of(run.file("metrics.jsonl")).count("\n") == 2
    again = ask(run.path, 23)
    if stop == "after an error":
        with pytest.raises(ZeroDivisionError):
            train(again, 23, until=9)
    again.close()
    if stop == "damaged meanwhile":
        spoil(run.file("metrics.jsonl"), 2)
    capsys.readouterr()
    again = ask(run.path, 23)
    assert ("warning" in capsys.readouterr().out) == (stop == "damaged meanwhile")
    train(again, 23)
    assert text_of(run.file("metrics.jsonl")) == text_of(whole.file("metrics.jsonl"))
    assert '"step": 7' in text_of(run.file("metrics.aside.jsonl"))
    whole.close()
    again.close()


# ---- the configuration


@pytest.mark.parametrize("change, words", [
    ({"rate": 0.02}, "rate is 0.02 and was 0.002"), ({"norm": 0}, "norm is 0 and was False"), ({"steps": 31}, "steps is 31"),
    ({"betas": [0.5, 0.9]}, "betas is"), ({"rate": None, "norm": True}, "norm is True and was False"), ({"more": 1}, "changed"),
    ({SEAL: "0"}, "changed"), ({SEAL: 5}, "changed"),
])
@pytest.mark.parametrize("again", ["as it is", "with a new digest", "without a digest"])
def test_a_changed_configuration_is_told_option_by_option_and_can_be_had_back(tmp_path, change, words, again):
    run = made(tmp_path)
    file = run.file("config.json")
    whole = text_of(file)
    changed = {**json.loads(whole), **change}
    if again != "as it is":
        changed.pop(SEAL)
    with open(file, "w") as out:
        out.write(sealed(changed, "x") if again == "with a new digest" else json.dumps(changed))
    before = tree(tmp_path)
    if again == "with a new digest" and set(change) & {"steps", "more", SEAL}:
        if SEAL not in change:
            Run.resume(run.path, quiet=True).close()  # as `ask` writes it
        return
    for come in (Run.open, Run.resume):
        with pytest.raises(RunError, match="config.json is .*rename the file and resume") as caught:
            come(run.path, quiet=True)
        assert again == "without a digest" and words == "changed" or words in str(caught.value)
    assert tree(tmp_path) == before
    os.rename(file, file + ".old")
    Run.resume(run.path, quiet=True).close()
    assert text_of(file) == whole


def test_an_option_that_is_missing_is_no_default(tmp_path):
    run = made(tmp_path)
    for keys in (["rate"], ["rate", SEAL], ["data", "steps"]):
        config = json.loads(text_of(run.file("config.json")))
        for key in keys:
            del config[key]
        with open(run.file("config.json"), "w") as out:
            json.dump(config, out)
        with pytest.raises(RunError, match=f"{keys[0]} is nothing and was"):
            Run.open(run.path, quiet=True)
        os.unlink(run.file("config.json"))
        Run.resume(run.path, quiet=True).close()


def test_a_run_without_a_checkpoint_has_its_digest(tmp_path):
    run = Run.create("toy", CONFIG, tmp_path, quiet=True)
    run.close()
    whole = json.loads(text_of(run.file("config.json")))
    for change in ({"rate": 1.0}, {"rate": 1.0, SEAL: None}, {SEAL: None}):
        config = {**whole, **change}
        with open(run.file("config.json"), "w") as out:
            json.dump({key: value for key, value in config.items() if value is not None}, out)
        with pytest.raises(RunError, match="config.json is damaged.*start a new run"):
            Run.resume(run.path, quiet=True)


def test_what_may_change_changes_and_nothing_else(tmp_path):
    run = made(tmp_path)
    again = Run.resume(run.path, quiet=True)
    again.ask({**again.config, "steps": 40, "device": "cuda", "new": 1})
    with pytest.raises(RunError, match="resuming cannot change rate, norm; start a new run"):
        again.ask({**again.config, "rate": 1.0, "norm": True})
    again.close()
    found = Run.resume(run.path, quiet=True)  # before the next checkpoint
    assert found.config == {**CONFIG, "steps": 40, "device": "cuda", "new": 1}
    found.close()


def test_a_run_of_an_older_version_resumes_as_it_did(tmp_path):
    run = made(tmp_path)
    for name in ("config.json", "environment.json"):
        old = json.loads(text_of(run.file(name)))
        del old[SEAL]
        with open(run.file(name), "w") as out:
            json.dump(old, out)
    for _, file in run.checkpoints():
        checkpoint.save(file, {key: value for key, value in checkpoint.load(file).items() if key in ("step", "tree")})
    again = Run.resume(run.path, quiet=True)
    assert again.step == 30 and again.config == CONFIG and kinds.kind_of(run.path) == "toy fit"
    again.ask({**again.config, "steps": 40})
    again.close()
    assert SEAL not in text_of(run.file("config.json"))  # as long as the environment has none
    assert Run.open(run.path, quiet=True).config["steps"] == 40 and kinds.kind_of(run.path) == "toy fit"
    with pytest.raises(RunError, match="config.json has no 'size'"):
        again.config["size"]


# ---- odd folders


def put(path, content=None, link=None, kind="file"):
    """What stands at `path` gives way to a file, a folder, a pipe or a link."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if link is not None:
        os.symlink(link, path)
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif content is not None:
        with open(path, "wb") as file:
            file.write(content)


FILES = ("config.json", "environment.json", "metrics.jsonl", "sessions.jsonl", "checkpoints/latest.json",
         "checkpoints/step_000002.npz", ".lock", "report.html", "samples", "checkpoints")
CONTENTS = {"empty": b"", "text": b"hello", "bytes": bytes(range(256)) * 4, "list": b"[1, 2]\n", "number": b"7\n",
            "object": b"{}\n", "nested": b"[" * 100_000, "null": b"null"}
FOLDERS = {f"{name}: {what}": (name, dict(content=content)) for name in FILES for what, content in CONTENTS.items()
           if name in FILES[:6] or what == "text"}
FOLDERS |= {f"{name}: {kind}": (name, dict(kind=kind)) for name in FILES for kind in ("folder", "pipe")}
FOLDERS |= {f"{name}: absent": (name, {}) for name in FILES}
FOLDERS |= {f"{name}: a link to {where}": (name, dict(link=link)) for name in FILES
            for where, link in (("nothing", "absent"), ("itself", os.path.basename(name)), ("elsewhere", "/tmp"))}
CALLS = {"gan dcgan": ["--resume"], "nets classifier": ["--resume"], "attacks train": ["--resume"], "gan sample": [],
         "nets generate": [], "attacks pgd": ["--model"],
         "gan evaluate": ["--judge", "RUN"], "nets blur": ["--batch", "4", "--dry-run", "--gan"]}


def call(kind, *words):
    """(status, what was printed) of a command in this process."""
    package, name = kind.split()
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            typed = [name, *map(str, words)]
            status = attacks_main.main(typed) if package == "attacks" else command.main(
                package, {"gan": gan_main, "nets": nets_main}[package].COMMANDS, typed)
        except SystemExit as leaving:
            status = leaving.code
    return status, out.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of gan dcgan that is to go on to step 4 and has a checkpoint of step 2."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    np.savez(folder / "small.npz", x=rng.integers(0, 256, (24, 16, 16), np.uint8))
    status, text = call("gan dcgan", "--data", f"npz:{folder}/small.npz", "--size", 16, "--batch", 4, "--width", 2, "--latent", 3,
                        "--steps", 2, "--out", folder / "runs")
    assert status == 0, text
    run = Run.resume(folder / "runs" / "dcgan-0001", quiet=True)
    run.ask({**run.config, "steps": 4})
    run.close()
    return run.path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in files on this system")
@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_in_any_state_opens_or_is_the_one_error(trained, tmp_path, monkeypatch, case):
    """For Run.open and Run.resume, and for a command that takes a RUN: one line, no other type, and nothing waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIGRAD_DEBUG", raising=False)
    name, what = FOLDERS[case]
    number = sorted(FOLDERS).index(case)
    kinds_of_call = [list(CALLS)[number % len(CALLS)]]
    for come in (Run.open, Run.resume, *kinds_of_call):
        path = str(tmp_path / "dcgan-0001")
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(trained, path)
        put(os.path.join(path, name), **what)
        if not isinstance(come, str):
            try:
                come(path, quiet=True).close()
            except RunError as error:
                assert str(error).startswith(path) and "\n" not in str(error)
            assert not os.path.exists(os.path.join(path, os.path.dirname(name), "absent"))
            continue
        words = [path if word == "RUN" else word for word in CALLS[come]]
        words = [path, *words] if come == "gan evaluate" else [*words, path]
        status, text = call(come, *words, *(["--count", "4"] if come in ("gan sample", "nets generate") else []))
        # without environment.json nothing tells of which command a run is: another one finds out by its options
        assert "Traceback" not in text and ("MINIGRAD_DEBUG" not in text or name == "environment.json"), text
        last = [line for line in text.splitlines() if "MINIGRAD_DEBUG" not in line][-1:]
        assert status in (0, 1) and (status == 0 or ": error: " in last[0]), text


def test_there_are_enough_odd_folders():
    assert len(FOLDERS) >= 36 and len({name for name, _ in FOLDERS.values()}) == len(FILES)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["config.json", "checkpoints", "checkpoints/step_000030.npz", "metrics.jsonl", "."])
def test_what_may_not_be_read_is_the_one_error(tmp_path, name):
    run = made(tmp_path)
    os.chmod(run.file(name), 0)
    try:
        with pytest.raises(RunError):
            Run.resume(run.path, quiet=True)
    finally:
        os.chmod(run.file(name), 0o700)


def test_nothing_is_written_through_a_link_inside_a_run(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    for name in ("samples", "checkpoints", "metrics.jsonl", "sessions.jsonl", "checkpoints/step_000031.npz", ".lock",
                 "samples/fakes_000031.png", "config.json", "curves.png", "report.html", "metrics.aside.jsonl"):
        run = made(tmp_path)
        put(run.file(name), link=outside if name in ("samples", "checkpoints") else outside / "file")
        with contextlib.suppress(RunError):
            again = Run.resume(run.path, quiet=True)
            for step in again.loop(30, 31, save=lambda: {"w": np.ones(3)}, every=1):
                again.log(step, loss=1.0)
                again.image(step, np.zeros((1, 1, 8, 8), np.float32))
            again.finish()
        assert os.listdir(outside) == ["file"] and (outside / "file").read_text() == "mine", name


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "", "/tmp/x", "a\\b", "c:x", "\0", ".hidden", "../../config",
                                  "a" * 300])
def test_the_name_of_a_picture_stays_inside_the_run(tmp_path, name):
    run = Run.create("toy", {}, tmp_path, quiet=True)
    with pytest.raises(ValueError, match="Run.image: name must"):
        run.image(1, np.zeros((1, 1, 8, 8), np.float32), name)
    assert os.listdir(run.file("samples")) == []
    assert os.path.basename(run.image(1, np.zeros((1, 1, 8, 8), np.float32), "on_the-way 2.é")) == "on_the-way 2.é_000001.png"
    run.close()


def test_names_that_are_not_utf8_cost_neither_configuration_nor_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"pictures\xff")
    try:
        os.makedirs(os.path.join(odd, "one"))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    rng = np.random.default_rng(0)
    for i in range(8):
        save_png(os.path.join(odd, "one", f"{i}.png"), rng.integers(0, 256, (16, 16), np.uint8))
    status, text = call("gan dcgan", "--data", f"folder:{odd}", "--size", 16, "--batch", 4, "--width", 2, "--latent", 3,
                        "--steps", 2, "--out", os.fsdecode(b"r\xfe"))
    assert status == 0, text
    run = Run.open(os.path.join(os.fsdecode(b"r\xfe"), "dcgan-0001"), quiet=True)
    assert run.config["data"] == f"folder:{odd}" and "pictures\\udcff" in text_of(run.file("report.html"))
    found = subprocess.run([sys.executable, "-m", "gan", "dcgan", "--resume", run.path], capture_output=True, timeout=120,
                           env={**os.environ, "PYTHONPATH": ROOT, "PYTHONIOENCODING": "utf-8"})
    assert found.returncode == 0 and b"r\xfe/dcgan-0001 is finished" in found.stdout and not found.stderr


# ---- the rest


@pytest.mark.parametrize("asked, number", [("abc", None), ("0", None), ("-1", None), ("1e9", None), ("65", None), ("1.5", None),
                                           ("9" * 5000, None), ("", None), (" ", None), ("3", 3), (" 2 ", 2)])
def test_a_number_of_threads_that_is_none_is_one_line(asked, number, monkeypatch, capsys):
    monkeypatch.setenv("MINIGRAD_NUM_THREADS", asked)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert threads._asked() == (number or min(threads.cores(), 64))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (0 if number or not asked.strip() else 1)
    assert not lines or lines[0].startswith("minigrad: MINIGRAD_NUM_THREADS must be an integer from 1 to 64, got '")


@pytest.mark.parametrize("start", [["-c", "import minigrad"], ["-m", "gan", "dcgan", "--help"]])
def test_such_a_number_stops_neither_the_import_nor_a_command(start):
    found = subprocess.run([sys.executable, *start], capture_output=True, text=True, timeout=120, cwd=ROOT,
                           env={**os.environ, "MINIGRAD_NUM_THREADS": "abc", "PYTHONPATH": ROOT})
    assert found.returncode == 0 and len(found.stderr.splitlines()) == 1 and "MINIGRAD_NUM_THREADS" in found.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal on this system")
def test_hangup_saves_and_stays_ignored_where_it_was(tmp_path):
    run = Run.create("toy", {}, tmp_path, quiet=True)
    with pytest.raises(SystemExit):
        for step in run.loop(0, 9, save=dict):
            if step == 3:
                os.kill(os.getpid(), signal.SIGHUP)
                os.kill(os.getpid(), signal.SIGHUP)  # it may come twice
    assert [step for step, _ in run.checkpoints()] == [3]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        for _ in run.loop(3, 6, save=dict):
            os.kill(os.getpid(), signal.SIGHUP)
        assert run.step == 6 and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        run.close()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals on this system")
def test_a_terminal_that_is_closed_costs_nothing(tmp_path):
    """The bar and all that is printed go nowhere from then on; the step is finished and saved."""
    import pty

    code = ("import sys, time; from minigrad.run import Run\n"
            "run = Run.create('toy', {}, sys.argv[1])\n"
            "for step in run.loop(0, 100_000, save=dict, every=10**6):\n"
            "    time.sleep(0.01); run.log(step, loss=1.0)")
    number, terminal = pty.fork()
    if number == 0:
        os.environ["PYTHONPATH"] = ROOT
        os.execv(sys.executable, [sys.executable, "-c", code, str(tmp_path)])
    metrics = tmp_path / "toy-0001" / "metrics.jsonl"
    for _ in range(3000):
        if metrics.exists() and metrics.read_text().count("\n") > 3:
            break
        time.sleep(0.02)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 130
    run = Run.open(tmp_path / "toy-0001", quiet=True)
    assert run.step > 3 and kinds.last_session(run.path)["ended"] == "interrupted by SIGHUP"


def test_printed_commands_are_quoted_for_the_shell(tmp_path, monkeypatch, trained):
    odd = tmp_path / "a b; $c"
    shutil.copytree(trained, odd)
    assert call("gan dcgan", "--resume", odd)[0] == 0
    status, text = call("gan dcgan", "--resume", odd)
    assert status == 0 and f"--resume '{odd}' --steps N" in text
    run = Run.open(odd, quiet=True)
    assert f"--resume '{odd}'" in run.resume_command
    monkeypatch.setattr(sys, "argv", ["/x/my script.py"])
    monkeypatch.delattr(sys.modules["__main__"], "__spec__")
    assert kinds.program() == "python 'my script.py'"


def test_a_part_that_takes_no_such_state_is_the_one_error(tmp_path):
    run = made(tmp_path)
    found = Run.open(run.path, quiet=True)
    for error in (KeyError("w"), ValueError("shape"), TypeError("no"), AttributeError("keys"), IndexError("0")):
        class Part:
            def load_state_dict(self, state, error=error):
                raise error

        with pytest.raises(RunError, match="the w of the checkpoint of step 30 is that of something else"):
            found.restore(dict(w=Part()))


def test_a_missing_file_and_a_folder_are_still_no_good_checkpoints(tmp_path):
    for path in (tmp_path, tmp_path / "absent.npz"):
        with pytest.raises(CheckpointError):
            checkpoint.load(path)


@pytest.mark.parametrize("before", [b"", b'{"a": 1}\n', b'{"a": 1}\n{"b"', b'{"b'])
def test_a_line_that_is_added_stands_alone_whatever_a_killed_writer_left(before, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(before)
    records.add_line(path, {"c": float("nan")})
    whole = [{"a": 1}] if before.startswith(b'{"a": 1}') else []
    assert [value for _, value in records.json_lines(path)] == [*whole, {"c": None}]
