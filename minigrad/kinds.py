"""What the folder of a run says of itself: which command made it, whether it is finished, which others lie beside it.

A kind is a command as it is typed, "gan dcgan". It stands in environment.json; of older runs it is read off the command line there.

Imports: report.
"""

from __future__ import annotations

import json
import os
import re
import sys

from minigrad import report

__all__ = ["RunError", "asked_steps", "finished", "kind_of", "last_session", "neighbours", "no_run", "program", "read_json",
           "require", "sessions"]

SHOWN = 8  # runs in a message


class RunError(Exception):
    """A run folder that cannot be made, read or used. `.path`, `.reason`."""

    def __init__(self, path, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path, self.reason = os.fspath(path), reason


def kind_of(folder) -> str | None:
    """"gan dcgan" for a run of that command; None where nothing tells."""
    try:
        found = read_json(os.path.join(folder, "environment.json"))
        kind, match = found.get("kind"), re.fullmatch(r"python -m (\w+ [a-z][a-z0-9_-]*)", found.get("command", ""))
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        return None
    return kind if isinstance(kind, str) else match[1] if match else None


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
        for entry in sorted(os.listdir(place or ".")) if os.path.isdir(place or ".") else []:
            path = os.path.join(place, entry)
            if os.path.isfile(os.path.join(path, "config.json")):
                found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def no_run(path) -> str:
    """Why a folder is no run, and which ones are."""
    folder = os.path.dirname(os.path.abspath(path))
    there = sorted(e for e in os.listdir(folder) if os.path.isfile(os.path.join(folder, e, "config.json"))) \
        if os.path.isdir(folder) else []
    return "not a run (no config.json)" + (f"; there are: {', '.join(there[-SHOWN:])}" if there else "")


def finished(folder, step: int) -> bool:
    """Whether the run was finished at `step`: the report of this step is there."""
    made = report.made_at(folder)
    if made is not None:
        return made == step
    last = last_session(folder)  # an older report does not say of which step it is
    return os.path.isfile(os.path.join(folder, "report.html")) and last.get("ended") == "finished" and last.get("to") == step


def last_session(folder) -> dict:
    """The last line of sessions.jsonl, or {}."""
    found = sessions(folder)
    return found[-1] if found else {}


def sessions(folder) -> list[dict]:
    """The lines of sessions.jsonl; none where it cannot be read."""
    try:
        with open(os.path.join(folder, "sessions.jsonl"), encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
    except (OSError, ValueError, RecursionError):
        return []
    return [record for record in found if isinstance(record, dict)]


def asked_steps(folder, step: int, otherwise: int) -> list[int]:
    """How many steps the run was to have when it did step 1 .. `step`; `otherwise` where no session tells."""
    asked = [otherwise] * step
    for record in sessions(folder):
        a, b, n = (record.get(name) for name in ("from", "to", "of"))
        if all(isinstance(x, int) for x in (a, b, n)) and 0 <= a < b and n > 0:
            b = min(b, step)
            asked[a:b] = [n] * max(0, b - a)
    return asked


def program() -> str:
    """How this process was started, without its options: "python -m gan dcgan" or "python train.py"."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None:
        return f"python {os.path.basename(sys.argv[0]) or '-'}"
    words = ["python", "-m", spec.name.removesuffix(".__main__")]
    return " ".join(words + [word for word in sys.argv[1:2] if re.fullmatch(r"[a-z][a-z0-9_-]*", word)])


def read_json(path):
    """What a JSON file holds; OSError, ValueError or RecursionError."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)
