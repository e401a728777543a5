"""The small text files of a run: JSON that tells when it was changed, and lines of JSON of which one may be damaged.

config.json and environment.json end with the SHA-256 of what stands above it, so a flipped bit is seen, and so is a hand that
edited the file. It is taken of the values, in the order of the names and without spaces: how a file is laid out does not matter.
A file without it, as older versions wrote, is taken as it is.

Imports: files, words.
"""

from __future__ import annotations

import hashlib
import json
import math

from minigrad.files import open_regular
from minigrad.words import json_text, plain

__all__ = ["SEAL", "Changed", "ended", "has_digest", "json_lines", "metrics_record", "sealed", "unsealed"]

SEAL = "sha256 of the above"


class Changed(ValueError):
    """A file that is not as it was written. `.tree`: what it says now."""

    def __init__(self, tree: dict):
        super().__init__("it was changed after it had been written")
        self.tree = tree


def sealed(tree: dict, what: str) -> str:
    """The text of a JSON file that ends with the digest of `tree`. TypeError that begins with `what`, as of `json_text`."""
    read = json.loads(json_text(tree, what))
    return json_text({**read, SEAL: _digest(read)}, what)


def unsealed(path) -> tuple[dict, bool]:
    """(what a file of `sealed` holds, whether it has a digest). OSError; ValueError for damage, `Changed` where
    it is still JSON."""
    with open_regular(path) as file:
        content = file.read()
    try:
        tree = json.loads(content.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(tree, dict):
        raise ValueError("not an object")
    digest = tree.pop(SEAL, None)
    if digest is not None and digest != _digest(tree):
        raise Changed(tree)
    return tree, digest is not None


def has_digest(path) -> bool:
    """Whether a file is of `sealed`; False where it cannot be read."""
    try:
        return unsealed(path)[1]
    except Changed:
        return True
    except (OSError, ValueError):
        return False


def _digest(tree: dict) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def json_lines(path):
    """(line, value) of every line of a file, as bytes and as what its JSON says; value is None for a line that is damaged or not
    ended. Nothing for a file that is not there; OSError."""
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                value = json.loads(line.decode()) if line.endswith(b"\n") else None
            except (ValueError, RecursionError):
                value = None
            yield line, value


def ended(path) -> bool:
    """Whether a file is empty or ends with a whole line."""
    with open_regular(path) as file:
        if file.seek(0, 2) == 0:
            return True
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def add_line(path, value) -> None:
    """Append `value` to a file of JSON lines, which is made if it is not there. The start of a line whose writer was killed is cut
    off first. OSError."""
    text = json.dumps(plain(value)) + "\n"
    with open(path, "ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(text.encode())


def metrics_record(value) -> dict | None:
    """The value of a line of metrics.jsonl, if it is one that `Run.log` writes: a step and finite numbers."""
    if not isinstance(value, dict) or type(value.get("step")) is not int:
        return None
    return value if all(type(x) is int or type(x) is float and math.isfinite(x) for x in value.values()) else None
