"""What the folder of a run holds, read in full before anything in it is changed.

- Damaged is not the same as unreadable. A checkpoint whose content is wrong is damaged; the one before it is taken. One that the
  system does not hand out at this moment (a disk error, no permission, too little memory) may be good, so the run is refused.
- Where there are checkpoints and none loads, the run is refused as well. To begin again is for the user to decide.
- A checkpoint holds the configuration and the lines of metrics.jsonl up to its step. So a line that was damaged is put back, and
  a configuration that was changed is told option by option.

Imports: numpy, checkpoint, kinds, records.
"""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

import numpy as np

from minigrad import checkpoint
from minigrad.kinds import RunError, closing, environment, no_run, program
from minigrad.records import json_lines, metrics_record, unsealed

__all__ = ["FOLDERS", "FREE", "Config", "Found", "checkpoints", "differences", "locate", "look", "refuse_links", "samples",
           "without_closing"]

FOLDERS = ("samples", "checkpoints")  # inside a run
FREE = ("steps", "device")  # what may change when a run is resumed
PARTS = {"step", "tree", "config", "metrics"}  # of a checkpoint
OLD = {"step", "tree"}  # of an older version


class Config(dict):
    """The configuration of a run; RunError for an option that it lacks."""

    def __init__(self, values, path):
        super().__init__(values)
        self.path = path

    def __missing__(self, name):
        raise RunError(self.path, f"config.json has no {name!r}. Was the run made by another command, or an older version?")


class Found(NamedTuple):
    """path: the folder. config, command. step, tree: of the newest good checkpoint; 0 and None where there is none.

    damaged: the checkpoints after it. lines: those that metrics.jsonl is to have; aside: those that it has beside them, and that
    will not come again. rewrite: whether config.json has to be written; sealed: whether with its digest. said: what there is to
    say."""

    path: str
    config: Config
    command: str
    step: int
    tree: object
    damaged: list
    lines: list
    aside: list
    rewrite: bool
    sealed: bool
    said: list


def locate(path) -> str:
    """The folder of a run; `path` may leave out "runs/"."""
    inside = os.path.join("runs", path)
    return inside if not os.path.isdir(path) and os.path.isdir(inside) else path


def look(path) -> Found:
    """Read a run. RunError where it cannot be used; nothing is changed."""
    said: list[str] = []
    try:
        about, new = environment(path)
    except RunError as error:
        about, new = {}, False
        said.append(f"warning: {error}; going on without it")
    config, whole, damage = _config(path)
    if new and not whole and damage is None and config is not None:
        damage = ValueError("it lacks its digest")
    if config is None and damage is None and not (os.path.isdir(path) and checkpoints(path)):
        raise RunError(path, no_run(path))
    step, saved, damaged = _newest(path, said)
    kept = saved.get("config")
    _compare(path, config, damage, kept, step)
    if config is None:
        said.append(f"config.json is missing: it is taken from the checkpoint of step {step}")
    logged = saved["metrics"].tobytes().splitlines(keepends=True) if "metrics" in saved else None
    if logged is not None and config is not None and (config.get("steps") or 0) > (kept.get("steps") or 0):
        logged, _ = without_closing(path, step, logged)  # `Run.ask` took them out, and no checkpoint was written since
    lines, aside = _metrics(path, step, logged, damaged, said)
    command = about.get("command")
    return Found(path, Config(kept if config is None else config, path), command if isinstance(command, str) else program(),
                 step, saved.get("tree"), damaged, lines, aside, config is None, whole or new, said)


def refuse_links(path) -> None:
    """RunError where a folder of the run is a link: what is written there would lie elsewhere."""
    for folder in (os.path.join(path, name) for name in FOLDERS):
        if os.path.islink(folder):
            raise RunError(folder, f"is a link to {os.readlink(folder)}; a run writes into its own folder only. Put a folder in "
                           "its place")


def samples(path) -> str:
    """The folder of a run's pictures, made where it is not there, for what is drawn from the run later. RunError."""
    refuse_links(path)
    folder = os.path.join(path, "samples")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise RunError(folder, f"cannot be written ({error.strerror})") from None
    return folder


# ---- the configuration


def _config(path) -> tuple[dict | None, bool, ValueError | None]:
    """(config.json, whether it has a digest, what is wrong with it); None for a file that is not there."""
    try:
        return *unsealed(os.path.join(path, "config.json")), None
    except (FileNotFoundError, NotADirectoryError):
        return None, False, None
    except OSError as error:
        raise RunError(path, f"config.json cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        return getattr(error, "tree", None), True, error


def _compare(path, config, damage, kept, step: int) -> None:
    """RunError unless config.json is whole, and that of the checkpoint but for what may change."""
    differ = differences(kept, config) if kept is not None and config is not None else {}
    if damage is None and config is None and kept is None:
        raise RunError(path, no_run(path))
    if damage is None and not set(differ) - set(FREE):
        return
    what = f"is damaged: {damage}" if damage is not None else "is not that of the checkpoint"
    told = [f"{name} is {str(now)[:40]} and was {str(was)[:40]}" for name, (was, now) in differ.items()]
    against = f". Against the checkpoint of step {step}: {'; '.join(told[:5])}{' ...' if len(told) > 5 else ''}" if told else ""
    remedy = ("Put back what was there, or rename the file and resume: then it is written anew from the checkpoint"
              if kept is not None else "Put back what was there, or start a new run")
    free = " (--resume RUN --steps N and --device change the run themselves)" if set(differ) & set(FREE) else ""
    raise RunError(path, f"config.json {what}{against}. {remedy}{free}")


def differences(kept: dict, config: dict) -> dict:
    """{name: (value in `kept`, value in `config`)} of what `config` lacks ("nothing") or has otherwise."""
    return {name: (value, config.get(name, "nothing")) for name, value in kept.items()
            if name not in config or type(config[name]) is not type(value) or config[name] != value}


# ---- checkpoints


def checkpoints(path) -> list[tuple[int, str]]:
    """(step, file), newest first; none where there is no folder for them. RunError where it cannot be read."""
    folder = os.path.join(path, "checkpoints")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(path, f"the folder checkpoints cannot be read ({error.strerror})") from None
    found = [(int(match[1]), os.path.join(folder, name)) for name in names
             if (match := re.fullmatch(r"step_(\d{6,})\.npz", name))]
    return sorted(found, reverse=True)


def _newest(path, said: list) -> tuple[int, dict, list]:
    """(step, what it holds, the newer ones, which are damaged) of the newest good checkpoint; (0, {}, []) for a run without any."""
    damaged: list[str] = []
    for step, file in checkpoints(path):
        try:
            saved = checkpoint.load(file)
            if not _is_of_run(saved, step):
                raise checkpoint.CheckpointError(file, "not a checkpoint of a run")
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RunError(path, f"{file} cannot be read now ({reason}), though it may be good. Nothing was changed: try again "
                           "when it can be read. To do without it, move it out of the run") from error
        except checkpoint.CheckpointError as error:
            if not os.path.exists(file):
                raise RunError(path, f"{file} leads to nothing now. Nothing was changed: try again when it can be read") from error
            damaged.append(file)
            said.append(f"warning: {error}")
            continue
        if damaged:
            said.append(f"taking the checkpoint before it, of step {step}")
        return step, saved, damaged
    if damaged:
        reason = said[-len(damaged)].removeprefix("warning: ")  # of the newest
        raise RunError(path, f"all of its checkpoints, {len(damaged)}, are damaged ({reason}). Nothing was changed. Put a good "
                       "copy of one in place; or, to begin again, move the folder checkpoints away")
    return 0, {}, []


def _is_of_run(saved, step: int) -> bool:
    if not isinstance(saved, dict) or set(saved) not in (OLD, PARTS) or type(saved["step"]) is not int or saved["step"] != step:
        return False
    metrics = saved.get("metrics")
    return set(saved) == OLD or isinstance(saved["config"], dict) and isinstance(metrics, np.ndarray) and metrics.dtype == np.uint8


# ---- metrics


def without_closing(path, step: int, lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(the other lines, those that were logged only because the run was to end at `step`)."""
    names = closing(path, step)
    end = {line for line in lines if names and (record := json.loads(line))["step"] == step and sorted(record) in names}
    return [line for line in lines if line not in end], [line for line in lines if line in end]


def _metrics(path, step: int, saved: list[bytes] | None, damaged: list, said: list) -> tuple[list[bytes], list[bytes]]:
    """(lines to keep, lines to set aside). saved: the file as it was at the checkpoint.

    Lines of steps after the checkpoint come again, and are dropped; where a later checkpoint was lost, they are set aside."""
    try:
        found = list(json_lines(os.path.join(path, "metrics.jsonl")))
    except OSError as error:
        raise RunError(path, f"metrics.jsonl cannot be read: {error.strerror or error}") from None
    lines, aside, bad, known = [], [], 0, set()
    if saved is not None:
        lines = list(saved)
        known.update(lines)
        if [line for line, _ in found[:len(lines)]] == lines:
            found = found[len(lines):]
        else:
            aside = [line for line, _ in found if line not in known]
            said.append(f"warning: metrics.jsonl is not as it was at the checkpoint of step {step}, and is written anew from it"
                        + (f"; {len(aside)} other lines are kept in metrics.aside.jsonl" if aside else ""))
            return lines, aside
    lost = bool(damaged) or _pointed(path) > step
    for line, value in found:
        record = metrics_record(value)
        damage = record is None and line.endswith(b"\n") or line in known
        if record is not None and record["step"] <= step and not damage:  # logged behind the checkpoint of its step
            lines.append(line)
        elif lost or damage:
            aside.append(line)
            bad += damage
    if bad:
        said.append(f"warning: {bad} damaged lines of metrics.jsonl are taken out and kept in metrics.aside.jsonl")
    if len(aside) > bad:
        said.append(f"warning: a later checkpoint is lost; the {len(aside) - bad} lines of metrics.jsonl after step {step} are "
                    "kept in metrics.aside.jsonl")
    return lines, aside


def _pointed(path) -> int:
    """The step of the newest checkpoint that was ever written, as far as checkpoints/latest.json tells."""
    try:
        step = unsealed(os.path.join(path, "checkpoints", "latest.json"))[0].get("step")
    except (OSError, ValueError):
        return 0
    return step if type(step) is int else 0
