"""A run: one numbered folder that holds all of one training, can be killed at any moment, and resumes to the bit.

    runs/dcgan-0001/  config.json       what was asked for, every option resolved
                      environment.json  what it ran on: versions, processor, threads, command line, commit
                      metrics.jsonl     one line per `log`, no times in it: a resumed file equals an uninterrupted one
                      sessions.jsonl    when which steps ran, how long, how it ended
                      samples/          NAME_000500.png
                      checkpoints/      step_000500.npz, the last two, and latest.json, written after them
                      curves.png, report.html   by `finish`

A training script keeps its own loop over the parts that must be saved, anything with `state_dict` and `load_state_dict`:

    kept = dict(network=network, adam=adam, loader=loader, streams=streams)
    run.restore(kept)                                                # nothing to do for a new run
    for step in run.loop(run.step, steps, save=kept, every=500):

Ctrl-C and SIGTERM only set a flag; the step is finished, saved, and the command that resumes is printed. A non-finite number
raises `NonFiniteError` before it is logged or saved. Nothing here knows of tensors.

Imports: numpy, checkpoint, divergence, domains, kinds, next_steps, paths, progress, report, report_pictures, words.
"""

from __future__ import annotations

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

from minigrad import checkpoint, kinds, next_steps, report, report_pictures
from minigrad.divergence import DivergedError, NonFiniteError, diverged
from minigrad.domains import COUNT
from minigrad.kinds import RunError, program, read_json
from minigrad.paths import expand
from minigrad.progress import Progress, Units, signals
from minigrad.words import json_text

try:
    import fcntl
except ImportError:  # not on Windows: there, two processes in one run are not noticed
    fcntl = None

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
        text = json_text(config, "Run.create: config")
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
            for folder in ("samples", "checkpoints"):
                os.mkdir(os.path.join(path, folder))
        except OSError as error:
            raise RunError(root, f"cannot be written ({error.strerror}); choose another folder with --out") from None
        run = cls(path, json.loads(text), command or program(), quiet=quiet)
        run._acquire()
        run._write("config.json", text)
        about = {**report.environment(), "command": run.command, **({"kind": kind} if kind else {})}
        run._write("environment.json", json_text(about, "environment"))
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
        """Look into a run without changing anything: .config, .step, .restored. `path` may leave out "runs/"."""
        run = cls._find(path, quiet)
        run._read_newest()
        return run

    @classmethod
    def _find(cls, path, quiet) -> Run:
        path = expand(path)
        if not os.path.isdir(path) and os.path.isdir(os.path.join("runs", path)):
            path = os.path.join("runs", path)
        try:
            config = read_json(os.path.join(path, "config.json"))
        except FileNotFoundError:
            raise RunError(path, kinds.no_run(path)) from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(path, f"config.json is damaged: {error}") from None
        if not isinstance(config, dict):
            raise RunError(path, "config.json is damaged: not an object")
        try:
            command = read_json(os.path.join(path, "environment.json"))["command"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            command = program()
        return cls(path, config, command, quiet=quiet)

    @classmethod
    def resume(cls, path, *, quiet=False) -> Run:
        """Open a run to go on with it from its newest good checkpoint (the beginning if there is none).

        A damaged checkpoint is set aside (renamed to .damaged) with a message, and the one before it is taken. Lines of
        metrics.jsonl after the checkpoint are cut off. RunError when another process is at work in the run."""
        run = cls._find(path, quiet)
        run._acquire()
        run._read_newest()
        for step, file in run.checkpoints():
            if step > run.step:
                os.replace(file, file + ".damaged")
        for folder in (run.path, os.path.join(run.path, "checkpoints"), os.path.join(run.path, "samples")):
            for entry in os.listdir(folder):
                if entry.startswith(".") and entry.endswith(".tmp"):  # of a write that was killed
                    os.unlink(os.path.join(folder, entry))
        kept = [line for line, record in report.read_lines(run.file("metrics.jsonl")) if record["step"] <= run.step]
        run._write("metrics.jsonl", "".join(kept))
        run.say(f"resuming {run.path} after step {run.step}")
        return run

    def ask(self, config: dict) -> None:
        """Write what is asked of a resumed run into config.json. With more steps than before, the lines that were logged only
        because they came at the end (see `due`) are cut off: a run that was long from the start has none."""
        last = kinds.last_session(self.path)
        if (config.get("steps") or 0) > (self.config.get("steps") or 0) and last.get("to") == self.step and last.get("closing"):
            lines = report.read_lines(self.file("metrics.jsonl"))
            kept = [line for line, record in lines if record["step"] != self.step or sorted(record) not in last["closing"]]
            self._write("metrics.jsonl", "".join(kept))
        if config.get("steps") != self.config.get("steps"):
            self._begun = self.config.get("steps")
        if config != self.config:
            self._write("config.json", json_text(config, "Run.ask: config"))
            self.config = json.loads(json_text(config, "Run.ask: config"))

    def _acquire(self) -> None:
        try:
            self._lock = open(self.file(".lock"), "a")
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(self.path, "another process is at work in this run; wait for it or stop it") from None
        except OSError as error:
            raise RunError(self.path, f"cannot be written ({error.strerror})") from None
        self.writable = True

    def close(self) -> None:
        """Let go of the folder (a temporary one vanishes). Also done when the process ends."""
        for file in (self._metrics, self._lock):
            if file is not None:
                file.close()
        self._metrics = self._lock = None
        self.writable = False
        if self._temporary is not None:
            self._temporary()

    def _read_newest(self) -> None:
        self.step, self.restored = 0, None
        for step, file in self.checkpoints():
            try:
                saved = checkpoint.load(file)
                if not isinstance(saved, dict) or set(saved) != {"step", "tree"} or saved["step"] != step:
                    raise checkpoint.CheckpointError(file, "not a checkpoint of a run")
            except checkpoint.CheckpointError as error:
                self.say(f"warning: {error}; taking the checkpoint before it")
                continue
            self.step, self.restored = step, saved["tree"]
            return

    def checkpoints(self) -> list[tuple[int, str]]:
        """(step, file), newest first."""
        folder = self.file("checkpoints")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found = [(int(match[1]), os.path.join(folder, name)) for name in names
                 if (match := re.fullmatch(r"step_(\d{6,})\.npz", name))]
        return sorted(found, reverse=True)

    # ---- the loop

    def restore(self, kept: dict) -> None:
        """Put the restored checkpoint's states into the parts {name: part with load_state_dict}; nothing for a new run.

        A part that is None is one that this run does without. RunError that names the parts which the checkpoint lacks."""
        if self.restored is None:
            return
        held = self.restored if isinstance(self.restored, dict) else {}
        missing = [name for name, part in kept.items() if part is not None and name not in held]
        if missing:
            raise RunError(self.path, f"the checkpoint of step {self.step} has no {', '.join(missing)}; it holds "
                           f"{', '.join(map(str, held)) or 'nothing by name'}. Was it written by another command?")
        for name, part in kept.items():
            if part is not None:
                part.load_state_dict(held[name])

    def loop(self, start: int, steps: int, *, save=None, every: int = 500, partial: bool = False):
        """Yield start+1 .. steps, with a progress bar (on a terminal; else a line every few seconds).

        save: what to keep: a dict of parts, as in `restore`, or a function that returns a tree. It is saved after every
        `every`-th step, after the last one, and when SIGINT (Ctrl-C) or SIGTERM came: then the step is finished and saved,
        the resume command is printed and SystemExit(130) raised. A second signal leaves at once. Signal handlers are put
        back when the loop ends. partial: whoever runs the loop keeps what is finished, and that is what is said."""
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
                        kept = "what is finished is kept" if partial else "nothing was saved"
                        self.say(f"stopped after step {step}" + (
                            f"; {kept}" if save is None else f". To go on:\n    {self.resume_command}"))
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
            self._bar.show({name: value for name, value in record.items() if name != "step" and "/" not in name})

    def check_finite(self, step: int, named) -> None:
        """NonFiniteError that names every parameter whose value or gradient holds NaN or infinity.

        named: a dict or pairs (name, value); a value is an array, or has .array and .grad (a Parameter)."""
        broken = []
        for name, value in named.items() if isinstance(named, dict) else named:
            grad = getattr(value, "grad", None)
            for label, array in ((name, getattr(value, "array", value)),
                                 (f"gradient of {name}", getattr(grad, "array", grad))):
                if array is not None and not _finite(array):
                    broken.append(label)
        if broken:
            raise NonFiniteError(step, broken, self._last())

    def image(self, step: int | None, image, name: str = "fakes", **grid) -> str:
        """Write samples/<name>_<step>.png: a PIL image, one picture, or several (N, C, H, W) as a grid with the options
        of `make_grid` (columns, labels, ...); arrays, or what has .numpy(). Returns the path.

        step: None for a picture that is of no step, samples/<name>.png: the data, say. samples/latest.png is always a copy of the
        newest picture of the first name that has steps, and the first path of each name is printed."""
        with self._writing(self.file("samples")):
            path, words = report_pictures.keep(self.path, step, image, name, grid, self._shown)
        if words and self._temporary is None:
            self.say(words)
        return path

    def checkpoint(self, step: int, tree) -> str:
        """Write checkpoints/step_<step>.npz, then latest.json, then remove all but the last two. Returns the path.

        NonFiniteError when an array holds NaN: a spoilt checkpoint never takes the place of a good one."""
        path = self.file("checkpoints", f"step_{step:06d}.npz")
        broken = list(_nan_places(tree, ""))
        if broken:
            raise NonFiniteError(step, broken, self._last())
        with self._writing(path):
            checkpoint.save(path, {"step": int(step), "tree": tree})
        self._write("checkpoints/latest.json", json_text({"step": int(step), "file": os.path.basename(path)}, "pointer"))
        for _, old in self.checkpoints()[KEEP:]:
            os.unlink(old)
        return path

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
            print(text, flush=True)

    def _last(self) -> str | None:
        found = self.checkpoints()
        return found[0][1] if found else None

    def _append(self, name: str, record: dict) -> None:
        with self._writing(self.file(name)):
            line = json.dumps(record) + "\n"
            if name == "metrics.jsonl":
                if self._metrics is None:
                    self._metrics = open(self.file(name), "a", encoding="utf-8")
                self._metrics.write(line)
                self._metrics.flush()
            else:
                with open(self.file(name), "a", encoding="utf-8") as file:
                    file.write(line)

    def _write(self, name: str, text: str) -> None:
        with self._writing(self.file(name)), checkpoint.atomic_write(self.file(name)) as file:
            file.write(text.encode())

    @contextmanager
    def _writing(self, path):
        if not self.writable:
            raise RunError(self.path, "opened for reading only; use Run.resume to go on with it")
        try:
            yield
        except OSError as error:
            raise RunError(path, f"cannot be written ({error.strerror or error})") from error


def _states(kept: dict) -> dict:
    return {name: part.state_dict() for name, part in kept.items() if part is not None}


def _finite(array) -> bool:
    # one pass without a temporary; a sum that overflows is looked at again
    return array.dtype.kind not in "fc" or bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def _nan_places(node, place):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _nan_places(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _nan_places(value, f"{place}.{index}" if place else str(index))
    elif isinstance(node, np.ndarray) and not _finite(node) and np.isnan(node).any():
        yield place
