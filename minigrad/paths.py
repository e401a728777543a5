"""`~` in what people type: every path of an option, of a variable such as MINIGRAD_DATA, or in folder:PATH goes through here.

Imports: the standard library.
"""

from __future__ import annotations

import argparse
import os

__all__ = ["expand", "path", "variable"]


def expand(given) -> str:
    """The path as the shell would have expanded it: ~ and ~name at its beginning are home folders."""
    return os.path.expanduser(os.fspath(given))


def path(text: str) -> str:
    """A path that was typed, for add_argument(type=...); an empty one, as of a variable that is not set, is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must be a path, got {text!r}")
    return expand(text)


def variable(name: str, environ=os.environ) -> str | None:
    """The path in a variable of the environment; None where it is not set or empty."""
    return expand(environ[name]) if environ.get(name, "").strip() else None
