"""The command line of `python -m nets|gan|attacks NAME`: the list of commands, common options, one-line errors.

A package's __main__ is `main(package, {name: (module, one line of help)})`; each module has `main(argv)`, which makes
its options with `Parser(...)`, adds its own by `add_argument`, calls `parse(argv)`, gets its run from `start`. Rules:
- unknown options and commands are errors with a guess at what was meant; defaults are shown in --help;
- --resume RUN takes every option from the run; typed ones must agree, but for --steps, --device, --download, and what is typed is
  written into the run. A run of another command is refused; a finished one says so, unless --steps names a later end;
- what an option may be is its type: a Domain (COUNT, POSITIVE, ...), or `path`, in which ~ is a home folder;
- --preset NAME replaces defaults; what is typed wins;
- --dry-run goes the whole way for two steps in a folder that vanishes.
Exit status: 0 done, 1 an error told in one line, 2 wrong usage, 3 training diverged, 130 interrupted.
MINIGRAD_DEBUG=1 shows the whole traceback instead of one line.

Imports: checkpoint, data, devices, domains, kinds, leftovers, next_steps, paths, run, warmup, words.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import re
import shlex
import sys
import weakref

from minigrad import next_steps
from minigrad.checkpoint import CheckpointError
from minigrad.data import SOURCES, DataError, is_here
from minigrad.devices import DeviceError, cupy_or_error
from minigrad.domains import (
    COUNT,
    FRACTION,
    INTEGER,
    LEVEL,
    NATURAL,
    NUMBER,
    PART,
    POSITIVE,
    SHARE,
    TWO,
    UNIT,
    WEIGHT,
    Domain,
)
from minigrad.kinds import RunError, environment, finished, require
from minigrad.leftovers import made, no_leftovers
from minigrad.paths import expand, path
from minigrad.run import NonFiniteError, Run
from minigrad.warmup import compiling
from minigrad.words import doc

__all__ = ["COUNT", "FRACTION", "INTEGER", "LEVEL", "NATURAL", "NUMBER", "PART", "POSITIVE", "SHARE", "TWO", "UNIT", "WEIGHT",
           "Parser", "add_device", "doc", "main", "path", "start"]

DRY_STEPS = 2
BUILT_IN = "glyphs"  # stands in for a default that is not on this machine
SKIP_BROKEN = "folder: and pair: leave out pictures that cannot be read, and say how many"
_FREE = {"steps", "device", "download", "resume", "dry_run", "out"}  # may differ from the run that is resumed
_NOT_CONFIG = {"resume", "dry_run", "out", "download"}


class Options(argparse.Namespace):
    """What `Parser.parse` returns. Beside the options, and not among vars(): .kind "gan dcgan", .typed {option: value as typed}."""

    __slots__ = ("kind", "typed")


class _Now:
    """The command that runs in this process, for what is said at its end: its options, the folder of the run that it made or goes
    on with. `held` refers to the run weakly: it is closed at the end, because a traceback may keep it, and with it its lock."""

    options: Options | None = None
    run: str | None = None
    held: weakref.ref | None = None


class Done(SystemExit):
    """There is nothing to do; the exit status is 0."""


class Parser(argparse.ArgumentParser):
    """Options of one command: --data --download --seed --device --steps --out --resume --dry-run, and its own.

    command: as typed after "python -m", "gan dcgan". description: the first lines of --help. examples: command lines
    (without "python -m gan dcgan"), shown at the end. presets: {name: {option: value}}, choice of --preset.
    data, steps, seed: the defaults; None leaves --data with --download, or --steps, out.
    cuda: False for work that the CPU alone does.
    takes: how long the defaults take, "2 minutes", measured on one core; --help tells it.
    run: False for a command that makes no run: without --device --out --resume --dry-run."""

    def __init__(self, command: str, description: str, *, data: str | None = "glyphs", steps: int | None = 2000,
                 seed: int = 0, run: bool = True, cuda: bool = True, takes: str = "", examples=(), presets: dict | None = None):
        lines = [f"  python -m {command} {example}".rstrip() for example in examples]
        if takes:
            description += f"\n\nThe defaults take {takes} on one core of an AMD EPYC, less on several."
        super().__init__(prog=f"python -m {command}", description=description, allow_abbrev=False,
                         epilog="examples:\n" + "\n".join(lines) if lines else None, formatter_class=_Formatter)
        # what argparse takes for a number and not for an option: also -1e-3, -8/255, -inf, so that the type can answer
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)
        self.kind, self.presets = command, presets or {}
        self.meanings = {}  # option: f(its value, all options) -> what it means beside the others; ArgumentTypeError for nonsense
        self.echoes = {}  # option: f(its meaning, all options) -> that in words, printed where it was typed, or None
        if self.presets:
            self.add_argument("--preset", choices=sorted(self.presets), help="a published or measured recipe: sets the "
                              "options that it names; options typed as well win")
        if data is not None:
            otherwise = "" if data == BUILT_IN else f" (default: %(default)s, or {BUILT_IN} where that is not here)"
            self.add_argument("--data", default=data, metavar="NAME", help=f"one of {' '.join(SOURCES)}, the last four "
                              f"followed by a path{otherwise}")
            self.add_argument("--download", action="store_true", help="fetch the data if it is not there")
            self.add_argument("--skip-broken", action="store_true", help=SKIP_BROKEN)
        if steps is not None:
            self.add_argument("--steps", type=COUNT, default=steps, metavar="N", help="training steps in all")
        self.add_argument("--seed", type=INTEGER, default=seed, metavar="N", help="equal seeds give equal results")
        if not run:
            return
        add_device(self, cuda)
        self.add_argument("--out", type=path, default="runs", metavar="FOLDER", help="where the run's own folder is made")
        self.add_argument("--resume", type=path, metavar="RUN", help="go on with this run, with its options")
        self.add_argument("--dry-run", action="store_true", help=f"go all the way for {DRY_STEPS} steps, keep nothing")

    def parse(self, argv=None) -> argparse.Namespace:
        """The options; usage errors leave with status 2. With --resume, the run's own; RunError if there is none."""
        argv = list(sys.argv[1:] if argv is None else argv)
        if {"-h", "--help"} & set(argv):
            return self.parse_args(["--help"])
        typed = self._typed(argv)
        if getattr(typed, "resume", None) is not None:
            if getattr(typed, "dry_run", False):
                self.error("--dry-run keeps nothing, so it cannot go with --resume")
            if getattr(typed, "out", None) is not None:
                self.error("--out is where a new run is made; one that is resumed stays where it is")
            return _usable(self._resumed(typed))
        preset = self.presets.get(getattr(typed, "preset", None), {})
        unknown = set(preset) - {action.dest for action in self._actions}
        if unknown:
            raise ValueError(f"preset {typed.preset!r} sets options that do not exist: {', '.join(sorted(unknown))}")
        self.set_defaults(**preset)
        options = _usable(self._options(self.parse_args(argv), {}))
        chosen = hasattr(typed, "data") or "data" in preset or getattr(options, "download", True)
        if not chosen and not is_here(options.data):
            print(f"{options.data} is not here: taking {BUILT_IN}, which is made on the spot. "
                  f"--data {options.data} --download fetches it", flush=True)
            options.data = BUILT_IN
        for name in self.meanings:
            setattr(options, name, self._meaning(name, getattr(options, name), options))
        for name in set(self.echoes) & set(vars(typed)):
            if said := self.echoes[name](getattr(options, name), options):
                print(f"{name} {said}", flush=True)
        return options

    def _meaning(self, name: str, value, options):
        try:
            return None if value is None else self.meanings[name](value, options)
        except argparse.ArgumentTypeError as error:
            self.error(f"argument --{name.replace('_', '-')}: {error}")

    def _typed(self, argv) -> argparse.Namespace:
        """Only what was typed: no defaults."""
        kept = {action: action.default for action in self._actions}
        try:
            for action in self._actions:
                action.default = argparse.SUPPRESS
            return self.parse_args(argv)
        finally:
            for action, default in kept.items():
                action.default = default

    def _options(self, found, typed: dict) -> Options:
        options = Options(**vars(found))
        options.kind, options.typed = self.kind, typed
        return options

    def _resumed(self, typed) -> Options:
        run = Run.open(typed.resume)
        require(run.path, self.kind)
        config, options = run.config, self._options(self.parse_args([]), vars(typed))
        for action in self._actions:
            if action.dest in _NOT_CONFIG or not hasattr(options, action.dest):
                continue
            if action.dest in config:
                setattr(options, action.dest, _known(run, action, config[action.dest]))
            elif action.dest not in vars(typed):
                environment(run.path)  # RunError where it is damaged: then nothing tells that the run is of this command
                run.say(f"{run.path}: config.json says nothing of {action.dest}, as where an older version wrote it; taken as "
                        f"{getattr(options, action.dest)}")
        for name, value in vars(typed).items():
            value = self._meaning(name, value, options) if name in self.meanings else value
            if name not in _FREE and name in config and value != config[name]:
                raise ValueError(f"--{name.replace('_', '-')} {value}: the run {typed.resume} was made with "
                                 f"{config[name]}, and resuming cannot change that; start a new run for it")
            setattr(options, name, value)
        options.resume = run.path
        steps = getattr(options, "steps", None) if "steps" in config else None
        if steps is not None and steps < run.step:
            raise ValueError(f"--steps {steps}: the run {run.path} has {run.step} behind it already; give at least as many, or "
                             "start a new run")
        if steps is not None and steps == run.step and finished(run.path, steps):
            print(f"{run.path} is finished: already at step {run.step} of {steps}, and its report is {run.file('report.html')}. "
                  f"To go on: --resume {shlex.quote(typed.resume)} --steps N with a larger N")
            raise Done(0)
        return options

    def parse_args(self, args=None, namespace=None):
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            flags = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unknown option {rest[0]!r}" + _guess(rest[0].split("=")[0], flags))
        return options

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n(--help lists the options)\n")


def add_device(parser: argparse.ArgumentParser, cuda: bool = True) -> None:
    """--device. cuda: False for work that the CPU alone does."""
    parser.add_argument("--device", choices=["cpu", "cuda"] if cuda else ["cpu"], default="cpu",
                        help="where to compute" + ("" if cuda else ": this work is too small for a GPU"))


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def _usable(options: Options) -> Options:
    """The same options, once it is known that their device is here: before data are read and a run's folder is made."""
    if getattr(options, "device", "cpu") == "cuda":
        cupy_or_error()
    _Now.options, _Now.run = options, None
    return options


def _and_then() -> None:
    """Say which commands come next, each as it can be typed."""
    o, run = _Now.options, _Now.run
    if o is None or getattr(o, "dry_run", False):
        return
    found = next_steps.after(run) if run else next_steps.following(o.kind, getattr(o, "run", None))
    if found:
        print("\nwhat comes next:\n" + "\n".join(f"    {line}    # {why}" for line, why in found))


def _known(run: Run, action, value):
    """An option's value in config.json, which a person may have changed: as good as typed. ValueError names the option."""
    what = f"{run.file('config.json')}: {action.option_strings[0] if action.option_strings else action.dest}"
    for one in value if isinstance(value, list) else [value]:
        if one is None or one == action.default:
            continue
        if isinstance(action.type, Domain):
            action.type.check(what, one)
        if action.choices is not None and one not in action.choices:
            raise ValueError(f"{what} must be one of {', '.join(map(str, action.choices))}, got {one!r}")
    return value


def start(name: str, options: argparse.Namespace) -> Run:
    """The run of a command: a new one, the one to resume, or with --dry-run one that vanishes (options.steps: 2).

    config.json is every option but those that say where and how to run. Prints the configuration of a new run. What
    --resume asks for is written into the run, and the command that would go on repeats it."""
    run = _started(name, options)
    _Now.run, _Now.held = run.path, weakref.ref(run)
    return run


def _started(name: str, options: argparse.Namespace) -> Run:
    config = {key: value for key, value in vars(options).items() if key not in _NOT_CONFIG}
    if options.resume:
        run, typed = Run.resume(options.resume), getattr(options, "typed", {})
        run.again = [word for name in ("steps", "device") if name in typed for word in (f"--{name}", str(typed[name]))]
        run.ask({**run.config, **config})
        return run
    if options.dry_run:
        if hasattr(options, "steps"):
            options.steps = min(options.steps, DRY_STEPS)
        run = Run.temporary(name, config)
        print(f"dry run of {name}, nothing is kept: {json.dumps(config)}", flush=True)
        return run
    there = os.path.isdir(expand(options.out))
    run = made(Run.create(name, config, options.out, kind=getattr(options, "kind", None)), not there)
    print(f"{run.path}: {json.dumps(config)}", flush=True)
    return run


def main(package: str, commands: dict, argv=None) -> int:
    """Run `commands[argv[0]]`: {name: (module, help)}; the module's main(argv[1:]) does the work. Returns the exit
    status (see the top of this file); call it as `sys.exit(main(...))`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview(package, commands))
        return 0 if argv else 2
    if argv[0] not in commands:
        print(f"python -m {package}: error: unknown command {argv[0]!r}{_guess(argv[0], commands)}\n\n"
              + _overview(package, commands), file=sys.stderr)
        return 2
    if hasattr(sys.stdout, "reconfigure"):  # a path may be no UTF-8, and a terminal no UTF-8 either
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    try:
        with compiling(), no_leftovers():
            status = importlib.import_module(commands[argv[0]][0]).main(argv[1:]) or 0
        _and_then()
        return status
    except Done:
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, TypeError, OSError, MemoryError, OverflowError, DataError, CheckpointError, RunError,
            DeviceError, NonFiniteError) as error:
        if os.environ.get("MINIGRAD_DEBUG"):
            raise
        if isinstance(error, MemoryError):
            error = f"not enough memory: {error or 'try smaller numbers'}"
        note = "" if isinstance(error, (DataError, CheckpointError, RunError, DeviceError)) else "\n(MINIGRAD_DEBUG=1 shows where)"
        print(f"python -m {package} {argv[0]}: error: {error}{note}", file=sys.stderr)
        return 3 if isinstance(error, NonFiniteError) else 1
    finally:
        held = _Now.held and _Now.held()
        if held is not None:
            held.close()
        _Now.options = _Now.run = _Now.held = None


def _overview(package: str, commands: dict) -> str:
    width = max(map(len, commands), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in commands.items()]
    return f"usage: python -m {package} COMMAND [options]\n\n" + "\n".join(lines) \
        + f"\n\npython -m {package} COMMAND --help tells the options of one."


def _guess(word: str, known) -> str:
    near = difflib.get_close_matches(word, list(known), 1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
