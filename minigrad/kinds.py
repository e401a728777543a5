"""What the folder of a run says of itself: which command made it, whether it is finished, which others lie beside it.

A kind is a command as it is typed, "gan dcgan". It stands in environment.json; of older runs it is read off the command line there.

Imports: domains, records, report.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

from minigrad import report
from minigrad.domains import COUNT, NATURAL
from minigrad.records import has_digest, json_lines, unsealed

__all__ = ["RunError", "asked_steps", "closing", "environment", "finished", "kind_of", "last_session", "neighbours", "no_run",
           "program", "require", "sessions"]

SHOWN = 8  # runs in a message


class RunError(Exception):
    """A run folder that cannot be made, read or used. `.path`, `.reason`."""

    def __init__(self, path, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path, self.reason = os.fspath(path), reason


def kind_of(folder) -> str | None:
    """"gan dcgan" for a run of that command; None where nothing tells."""
    try:
        found, _ = environment(folder)
    except RunError:
        return None
    kind, match = found.get("kind"), re.fullmatch(r"python -m (\w+ [a-z][a-z0-9_-]*)", str(found.get("command")))
    return kind if isinstance(kind, str) else match[1] if match else None


def environment(folder) -> tuple[dict, bool]:
    """(what environment.json says, whether it has a digest). RunError where it is damaged, or missing though config.json has a
    digest; ({}, False) where an older run has none."""
    try:
        found, whole = unsealed(os.path.join(folder, "environment.json"))
        if not whole and has_digest(os.path.join(folder, "config.json")):
            raise ValueError("it lacks its digest")
        return found, whole
    except (OSError, ValueError) as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not has_digest(os.path.join(folder, "config.json")):
            return {}, False
        reason = getattr(error, "strerror", None) or error
        raise RunError(folder, f"environment.json is damaged or cannot be read: {reason}") from None


def require(folder, *kinds: str) -> None:
    """RunError unless the run is of one of these kinds, or of none that can be told; it names the runs nearby that are."""
    kind = kind_of(folder)
    if kind is None or kind in kinds:
        return
    there = [run for run in neighbours(folder) if kind_of(run) in kinds]
    would = f"runs here that would do: {', '.join(there[-SHOWN:])}" if there else "no run here would do"
    wanted = " or ".join(f"`python -m {name}`" for name in kinds)
    raise RunError(folder, f"is a run of `python -m {kind}`, and one of {wanted} is needed; {would}")


def neighbours(folder) -> list[str]:
    """Runs in the same folder, and in runs/."""
    found = {}
    for place in (os.path.dirname(os.path.normpath(folder)), "runs"):
        for entry in _entries(place or "."):
            path = os.path.join(place, entry)
            if os.path.isfile(os.path.join(path, "config.json")):
                found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def no_run(path) -> str:
    """Why a folder is no run, and which ones are."""
    folder = os.path.dirname(os.path.abspath(path))
    there = [entry for entry in _entries(folder) if os.path.isfile(os.path.join(folder, entry, "config.json"))]
    return "not a run (no config.json)" + (f"; there are: {', '.join(there[-SHOWN:])}" if there else "")


def _entries(folder) -> list[str]:
    """What lies in a folder, in order; nothing for one that is not there or may not be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def finished(folder, step: int) -> bool:
    """Whether the run was finished at `step`: the report of this step is there."""
    made = report.made_at(folder)
    if made is not None:
        return made == step
    if os.path.exists(os.path.join(folder, report.KNOWN)):
        return False  # of a run that was stopped
    last = last_session(folder)  # an older version's report does not say of which step it is
    return os.path.isfile(os.path.join(folder, "report.html")) and last.get("ended") == "finished" and last.get("to") == step


def last_session(folder) -> dict:
    """The last line of sessions.jsonl, or {}."""
    found = sessions(folder)
    return found[-1] if found else {}


def sessions(folder) -> list[dict]:
    """The good lines of sessions.jsonl; none where it cannot be read."""
    try:
        return [value for _, value in json_lines(os.path.join(folder, "sessions.jsonl")) if _is_session(value)]
    except OSError:
        return []


def _is_session(value) -> bool:
    """Whether a line says what `Run.loop` writes: which steps, of how many, and names of scalars."""
    if not isinstance(value, dict) or any(type(value.get(name)) is not int for name in ("from", "to", "of")):
        return False
    closing = value.get("closing", [])
    return value["from"] in NATURAL and value["to"] in NATURAL and value["of"] in COUNT and isinstance(closing, list) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in closing)


def closing(folder, step: int) -> list[list[str]]:
    """The names in each line of metrics.jsonl that was logged at `step` only because the run was to end there."""
    return [names for record in sessions(folder) if record["to"] == step for names in record.get("closing", [])]


def asked_steps(folder, step: int, otherwise: int) -> list[int]:
    """How many steps the run was to have when it did step 1 .. `step`; `otherwise` where no session tells."""
    asked = [otherwise] * step
    for record in sessions(folder):
        a, b = record["from"], min(record["to"], step)
        asked[a:b] = [record["of"]] * max(0, b - a)
    return asked


def program() -> str:
    """How this process was started, without its options: "python -m gan dcgan" or "python train.py"."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None:
        return f"python {shlex.quote(os.path.basename(sys.argv[0]) or '-')}"
    words = ["python", "-m", spec.name.removesuffix(".__main__")]
    return " ".join(words + [word for word in sys.argv[1:2] if re.fullmatch(r"[a-z][a-z0-9_-]*", word)])
