"""A run: one numbered folder that holds all of one training, can be killed at any moment, and resumes to the bit.

    runs/dcgan-0001/  config.json       what was asked for, every option resolved
                      environment.json  what it ran on: versions, processor, threads, command line, commit
                      metrics.jsonl     one line per `log`, no times in it: a resumed file equals an uninterrupted one
                      sessions.jsonl    when which steps ran, how long, how it ended
                      samples/          NAME_000500.png
                      checkpoints/      step_000500.npz, the last two, and latest.json, written after them
                      curves.png, report.html   by `finish`
                      metrics.aside.jsonl       only where lines were taken out of metrics.jsonl that will not come again

The two .json files end with a digest (`minigrad.records`). A checkpoint holds the configuration and the metrics up to its step
as well, so that what is damaged beside it is seen and put back. `minigrad.reading` reads all of a folder before `resume` changes
anything in it; nothing is written through a link inside the folder.

A training script keeps its own loop over the parts that must be saved, anything with `state_dict` and `load_state_dict`:

    kept = dict(network=network, adam=adam, loader=loader, streams=streams)
    run.restore(kept)                                                # nothing to do for a new run
    for step in run.loop(run.step, steps, save=kept, every=500):

Ctrl-C, SIGTERM and SIGHUP only set a flag; the step is finished, saved, and the command that resumes is printed. A non-finite
number raises `NonFiniteError` before it is logged or saved. Nothing here knows of tensors.

Imports: numpy, checkpoint, divergence, domains, files, finite, kinds, next_steps, paths, progress, reading, records, report,
report_pictures, words.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import tempfile
import time
import weakref
from contextlib import contextmanager

import numpy as np

from minigrad import checkpoint, kinds, next_steps, reading, report, report_pictures
from minigrad.divergence import DivergedError, diverged
from minigrad.domains import COUNT
from minigrad.files import open_append, open_locked
from minigrad.finite import NonFiniteError, nan_places, not_finite
from minigrad.kinds import RunError, program
from minigrad.paths import expand
from minigrad.progress import Progress, Units, remains, signals
from minigrad.records import ended, sealed
from minigrad.words import json_text

__all__ = ["NonFiniteError", "Run", "RunError"]

KEEP = 2  # checkpoints


class Run:
    """Made by `Run.create`, `Run.resume`, `Run.open` or `Run.temporary`.

    .path (the folder), .name, .config, .step (of the restored checkpoint, else 0; then the last finished one),
    .restored (its tree, or None), .command (how it was started, without options), .again (what the resume command repeats)."""

    def __init__(self, path, config, command, *, quiet=False):
        self.path, self.config, self.command, self.quiet = os.fspath(path), config, command, quiet
        self.name = os.path.basename(os.path.abspath(path))
        self.step, self.restored = 0, None
        self.again, self._begun, self._shown = [], None, []
        self.writable, self._end, self._closing, self._closed = False, None, False, []
        self._bar = self._metrics = self._lock = self._temporary = None
        self._logged, self._sealed = bytearray(), True  # what metrics.jsonl holds; older versions' files have no digests

    def __repr__(self):
        return f"Run({self.path!r}, step={self.step})"

    # ---- making, finding

    @classmethod
    def create(cls, name: str, config: dict, root="runs", *, command: str | None = None, kind: str | None = None,
               quiet=False) -> Run:
        """Make <root>/<name>-0001, or the next free number, and write config.json and environment.json.

        command: as in `program`. kind: the command that can go on with it, "gan dcgan" (see `kinds`).
        Safe against others doing the same at once; nothing is ever overwritten. RunError when it cannot be written."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(f"Run.create: name must be letters, digits, '_', '-', '.', got {name!r}")
        config = json.loads(json_text(config, "Run.create: config"))
        root = expand(root)
        try:
            os.makedirs(root, exist_ok=True)
            taken = [int(found[1]) for entry in os.listdir(root)
                     if (found := re.fullmatch(re.escape(name) + r"-(\d{4,})", entry))]
            number = max(taken, default=0) + 1
            while True:
                path = os.path.join(root, f"{name}-{number:04d}")
                try:
                    os.mkdir(path)  # exclusive: of two that try, one gets it
                    break
                except FileExistsError:
                    number += 1
            for folder in reading.FOLDERS:
                os.mkdir(os.path.join(path, folder))
        except OSError as error:
            raise RunError(root, f"cannot be written ({error.strerror}); choose another folder with --out") from None
        run = cls(path, config, command or program(), quiet=quiet)
        run._lock, run.writable = _locked(path), True
        about = {**report.environment(), "command": run.command, **({"kind": kind} if kind else {})}
        run._write("environment.json", sealed(about, "environment"))
        run._configure(config)  # last: it makes the folder a run
        return run

    @classmethod
    def temporary(cls, name: str, config: dict, **options) -> Run:
        """A run in a folder that vanishes with it: for --dry-run and tests."""
        folder = tempfile.mkdtemp(prefix="minigrad-")
        run = cls.create(name, config, folder, **options)
        run._temporary = weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
        return run

    @classmethod
    def open(cls, path, *, quiet=False) -> Run:
        """Look into a run without changing anything: .config, .step, .restored. `path` may leave out "runs/".

        RunError for a folder that is no run, whose config.json was changed, or whose checkpoints cannot be read or are all
        damaged."""
        return cls._of(reading.look(reading.locate(expand(path))), quiet)

    @classmethod
    def _of(cls, found: reading.Found, quiet) -> Run:
        run = cls(found.path, found.config, found.command, quiet=quiet)
        run.step, run.restored, run._sealed = found.step, found.tree, found.sealed
        for text in found.said:
            run.say(text)
        return run

    @classmethod
    def resume(cls, path, *, quiet=False) -> Run:
        """Open a run to go on with it from its newest good checkpoint; from the beginning if it has none yet.

        A damaged checkpoint is set aside (renamed to .damaged) with a message, and the one before it is taken. metrics.jsonl
        becomes what it was at the checkpoint; lines that will not come again are kept in metrics.aside.jsonl. RunError as of
        `open`, and when another process is at work in the run; then nothing in it is changed."""
        path = reading.locate(expand(path))
        if not os.path.lexists(os.path.join(path, ".lock")):
            reading.look(path)  # a run that is refused gets no lock either
        lock = _locked(path)
        try:
            run = cls._of(found := reading.look(path), quiet)
        except BaseException:
            lock.close()
            raise
        run._lock, run.writable = lock, True
        run._tidy(found)
        run.say(f"resuming {run.path} after step {run.step}")
        return run

    def _tidy(self, found: reading.Found) -> None:
        """Make the folder what it was at the checkpoint. What is moved aside is moved before anything is written."""
        with self._writing(self.path):
            for folder in reading.FOLDERS:
                os.makedirs(self.file(folder), exist_ok=True)  # a copy may lack them: git keeps no empty folders
            for file in found.damaged:
                names = (file + ".damaged" + (f"-{n}" if n > 1 else "") for n in itertools.count(1))
                os.replace(file, next(name for name in names if not os.path.lexists(name)))
            for folder in (self.path, *map(self.file, reading.FOLDERS)):
                for entry in os.listdir(folder):
                    if entry.startswith(".") and entry.endswith(".tmp"):  # of a write that was killed
                        os.unlink(os.path.join(folder, entry))
        self._keep(found.lines, found.aside)
        if found.step:
            self._newest_is(found.step)  # a kill may have come between the checkpoint and this
        if found.rewrite:
            self._configure(self.config)

    def _keep(self, lines: list[bytes], aside: list[bytes] = ()) -> None:
        """Make `lines` all that metrics.jsonl has; `aside` is added to metrics.aside.jsonl first."""
        if aside:
            with self._writing(self.file("metrics.aside.jsonl")), open_append(self.file("metrics.aside.jsonl")) as file:
                file.write(b"".join(line.removesuffix(b"\n") + b"\n" for line in aside))
                file.flush()
                os.fsync(file.fileno())
        self._logged = bytearray(b"".join(lines))
        self._write("metrics.jsonl", bytes(self._logged))

    def ask(self, config: dict) -> None:
        """Write what is asked of a resumed run into config.json: other steps, another device, an option that is new. With more
        steps than before, the lines that were logged only because they came at the end (see `due`) are taken out: a run that was
        long from the start has none. RunError for a change of anything else, because the result would be of no one run."""
        config = json.loads(json_text(config, "Run.ask: config"))
        changed = [name for name in reading.differences(self.config, config) if name not in reading.FREE]
        if changed:
            raise RunError(self.path, f"resuming cannot change {', '.join(changed)}; start a new run for it")
        if (config.get("steps") or 0) > (self.config.get("steps") or 0):
            lines, closing = reading.without_closing(self.path, self.step, bytes(self._logged).splitlines(keepends=True))
            if closing:
                self._keep(lines, closing)
        if config.get("steps") != self.config.get("steps"):
            self._begun = self.config.get("steps")
        if config != self.config:
            self._configure(config)

    def _configure(self, config: dict) -> None:
        self._write("config.json", (sealed if self._sealed else json_text)(config, "config"))
        self.config = reading.Config(config, self.path)

    def close(self) -> None:
        """Let go of the folder (a temporary one vanishes). Also done when the process ends."""
        for file in (self._metrics, self._lock):
            if file is not None:
                file.close()
        self._metrics = self._lock = None
        self.writable = False
        if self._temporary is not None:
            self._temporary()

    def checkpoints(self) -> list[tuple[int, str]]:
        """(step, file), newest first."""
        return reading.checkpoints(self.path)

    # ---- the loop

    def restore(self, kept: dict, new=()) -> None:
        """Put the restored checkpoint's states into the parts {name: part with load_state_dict}; nothing for a new run.

        A part that is None is one that this run does without; one of `new` begins anew where an older version saved none. RunError
        that names the parts which the checkpoint lacks, or which take no such state."""
        if self.restored is None:
            return
        held = self.restored if isinstance(self.restored, dict) else {}
        missing = [name for name, part in kept.items() if part is not None and name not in {*held, *new}]
        if missing:
            raise RunError(self.path, f"the checkpoint of step {self.step} has no {', '.join(missing)}; it holds "
                           f"{', '.join(map(str, held)) or 'nothing by name'}. Was it written by another command?")
        for name, part in kept.items():
            if part is not None and name in held:
                try:
                    part.load_state_dict(held[name])
                except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                    raise RunError(self.path, f"the {name} of the checkpoint of step {self.step} is that of something else: "
                                   f"{error}") from error

    def loop(self, start: int, steps: int, *, save=None, every: int = 500, partial=False):
        """Yield start+1 .. steps, with a progress bar (on a terminal; else a line every few seconds).

        save: what to keep: a dict of parts, as in `restore`, or a function that returns a tree. It is saved after every
        `every`-th step, after the last one, and when SIGINT (Ctrl-C) or SIGTERM came: then the step is finished and saved,
        the resume command is printed and SystemExit(130) raised. A second signal leaves at once. Signal handlers are put
        back when the loop ends. partial: true or not empty at the signal, what is finished is kept by whoever runs the loop."""
        COUNT.check("Run.loop: every", every)
        if start >= steps:
            self.say(f"already at step {start} of {steps}")
        began, status = time.monotonic(), "stopped"
        self.step, self._end, self._closing, self._closed = start, steps, False, []
        self._bar = Progress(start, steps, quiet=self.quiet)
        try:
            with signals() as pressed:
                for step in range(start + 1, steps + 1):
                    yield step
                    self.step = step
                    self._bar.update(step)
                    if save is not None and (step % every == 0 or step == steps or pressed):
                        self.checkpoint(step, _states(save) if isinstance(save, dict) else save())
                    if pressed:
                        status = f"interrupted by {signal.Signals(pressed[0]).name}"
                        self._bar.close()
                        self.say(f"stopped after step {step}" + (
                            f"; {remains(partial)}" if save is None else f". To go on:\n    {self.resume_command}"))
                        if save is not None:
                            note = f"Stopped after step {step:,} of {steps:,}. To go on: {self.resume_command}"
                            self.say(f"report so far: {self._report(self.name, {}, None, note)}")
                        raise SystemExit(130)
            status = "finished"
        finally:
            self._bar.close()
            self._bar = None
            self._append("sessions.jsonl", {"from": start, "to": self.step, "of": steps, "ended": status,
                                            "seconds": round(time.monotonic() - began, 3),
                                            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                                            **({"closing": self._closed} if self._closed else {})})

    def units(self, total: float, **options) -> Units:
        """A bar for work that is no run of equal steps: `with run.units(total) as bar: ... bar.spend(3)`. options: see `Units`."""
        return Units(self, total, **options)

    @property
    def resume_command(self) -> str:
        """What to type to go on."""
        return " ".join([self.command, *map(shlex.quote, ["--resume", self.path, *self.again])])

    def follows(self, schedule, steps: int):
        """schedule(steps), a function of t = 0, 1, ...: a rate, or whatever else follows from the number of steps. A run that had
        another number of steps before says whether it has been trained so far as one of this number would have been."""
        asked = kinds.asked_steps(self.path, self.step, self._begun or steps)
        others = sorted({n for n in asked if n != steps})
        if others:
            functions = {n: schedule(n) for n in {*others, steps}}
            differ = next((t for t, n in enumerate(asked) if functions[n](t) != functions[steps](t)), None)
            self.say(f"--steps {steps}: the run was to have {' and then '.join(map(str, others))}. " + (
                f"The result is that of a run of {steps} from the start" if differ is None else
                f"The schedule differs: from step {differ + 1} on it was trained on that of {asked[differ]} steps, and after step "
                f"{self.step} it is that of {steps}, so the result is not that of a run of {steps} from the start"))
        return schedule(steps)

    def due(self, step: int, every: int, first: int | None = None) -> bool:
        """Whether to log or draw at this step of `loop`: at each `every`-th, and at the last. What `log` then writes only because
        the step is the last is noted in sessions.jsonl. first: a step before `every` that is due, too, so that there is soon
        something to look at; its time is not held against those to come."""
        early = step == first and step % every != 0
        if early and self._bar is not None:
            self._bar.leave_out()
        self._closing = step == self._end and step % every != 0 and not early
        return self._closing or early or step % every == 0

    def log(self, step: int, **scalars) -> None:
        """Append one line to metrics.jsonl and show it on the bar. Values: anything that float() takes.

        NonFiniteError, naming the scalars, when one is NaN or infinite, DivergedError when a loss is beyond all sense; nothing is
        written then."""
        record = {"step": int(step)}
        for name, value in scalars.items():
            number = value.item() if hasattr(value, "item") else value
            record[name] = number if isinstance(number, int) else float(number)
        broken = [f"{name} = {value}" for name, value in record.items() if not np.isfinite(value)]
        if broken:
            raise NonFiniteError(step, broken, self._last())
        if beyond := diverged(record):
            raise DivergedError(step, beyond, self._last())
        self._append("metrics.jsonl", record)
        if self._closing:
            self._closed.append(sorted(record))
        self._closing = False
        if self._bar is not None:
            self._bar.show({name: value for name, value in record.items() if name != "step" and "/" not in name}, record["step"])

    def check_finite(self, step: int, named) -> None:
        """NonFiniteError that names every parameter whose value or gradient holds NaN or infinity.

        named: a dict or pairs (name, value); a value is an array, or has .array and .grad (a Parameter)."""
        broken = not_finite(named)
        if broken:
            raise NonFiniteError(step, broken, self._last())

    def image(self, step: int | None, image, name: str = "fakes", **grid) -> str:
        """Write samples/<name>_<step>.png: a PIL image, one picture, or several (N, C, H, W) as a grid with the options
        of `make_grid` (columns, labels, ...); arrays, or what has .numpy(). Returns the path.

        step: None for a picture that is of no step, samples/<name>.png: the data, say. samples/latest.png is always a copy of the
        newest picture of the first name that has steps, and the first path of each name is printed."""
        if not re.fullmatch(r"[^\W_][^/\\:\0]{0,99}", name):
            raise ValueError(f"Run.image: name must begin with a letter or digit and have no '/', '\\\\' or ':', got {name!r}")
        with self._writing(self.file("samples")):
            path, words = report_pictures.keep(self.path, step, image, name, grid, self._shown)
        if words and self._temporary is None:
            self.say(words)
        return path

    def checkpoint(self, step: int, tree) -> str:
        """Write checkpoints/step_<step>.npz, then latest.json, then remove all but the last two. Returns the path.

        NonFiniteError when an array holds NaN: a spoilt checkpoint never takes the place of a good one."""
        path = self.file("checkpoints", f"step_{step:06d}.npz")
        broken = list(nan_places(tree))
        if broken:
            raise NonFiniteError(step, broken, self._last())
        metrics = np.frombuffer(bytes(self._logged), np.uint8)
        with self._writing(path):
            checkpoint.save(path, {"step": int(step), "tree": tree, "config": dict(self.config), "metrics": metrics})
        self._newest_is(int(step))
        return path

    def _newest_is(self, step: int) -> None:
        self._write("checkpoints/latest.json", json_text({"step": step, "file": f"step_{step:06d}.npz"}, "pointer"))
        for _, old in self.checkpoints()[KEEP:]:
            os.unlink(old)

    def finish(self, *, title: str | None = None, summary: dict | None = None) -> str:
        """Write curves.png and report.html (one file that opens offline) and say where. Returns the report's path."""
        path = self._report(title or self.name, summary or {}, self.step)
        self.say(f"report: {path if self._temporary is None else '(dry run, nothing is kept)'}")
        return path

    def _report(self, title: str, summary: dict, step: int | None, note: str = "") -> str:
        with self._writing(self.path):
            return report.write(self.path, title=title, config=self.config, summary=summary, command=self.command, step=step,
                                note=note, after=next_steps.after(self.path) if self._temporary is None else ())

    # ---- small things

    def file(self, *parts) -> str:
        """A path inside the run."""
        return os.path.join(self.path, *parts)

    def say(self, text: str) -> None:
        """Print a line without breaking the progress bar."""
        if self._bar is not None:
            self._bar.clear()
        if not self.quiet:
            try:
                print(text, flush=True)
            except UnicodeEncodeError:  # a path that is not UTF-8, or a terminal that is not
                print(text.encode("ascii", "backslashreplace").decode(), flush=True)

    def _last(self) -> str | None:
        found = self.checkpoints()
        return found[0][1] if found else None

    def _append(self, name: str, record: dict) -> None:
        line = (json.dumps(record) + "\n").encode()
        with self._writing(self.file(name)):
            if name == "metrics.jsonl":
                if self._metrics is None:
                    self._metrics = open_append(self.file(name))
                self._metrics.write(line)
                self._metrics.flush()
                self._logged += line
            else:
                with open_append(self.file(name)) as file:
                    file.write(line if ended(self.file(name)) else b"\n" + line)  # a kill may have left half a line

    def _write(self, name: str, text: str | bytes) -> None:
        with self._writing(self.file(name)), checkpoint.atomic_write(self.file(name)) as file:
            file.write(text.encode() if isinstance(text, str) else text)

    @contextmanager
    def _writing(self, path):
        if not self.writable:
            raise RunError(self.path, "opened for reading only; use Run.resume to go on with it")
        reading.refuse_links(self.path)
        try:
            yield
        except OSError as error:
            raise RunError(path, f"cannot be written ({error.strerror or error})") from error


def _locked(path):
    """The open file whose lock keeps other processes out of a run. RunError when one is in it."""
    try:
        return open_locked(os.path.join(path, ".lock"))
    except BlockingIOError:
        raise RunError(path, "another process is at work in this run; wait for it or stop it") from None
    except OSError as error:
        raise RunError(path, f".lock cannot be written ({error.strerror})") from None


def _states(kept: dict) -> dict:
    return {name: part.state_dict() for name, part in kept.items() if part is not None}
