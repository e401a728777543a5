"""Words for people: numbers in per cent, tables and bars for the terminal, JSON files, a module's own description.

Every command prints and writes through these, so that equal things look equal.

Imports: numpy, checkpoint.
"""

from __future__ import annotations

import ast
import json
import math

import numpy as np

from minigrad.checkpoint import atomic_write

__all__ = ["doc", "histogram", "json_text", "percent", "plain", "show", "table", "write_json"]


def percent(share, digits: int = 1) -> str:
    """A share in per cent: percent(0.256) is "25.6 %". "-" where there is no number: None, NaN, infinity."""
    return "-" if share is None or not np.isfinite(share) else f"{100 * share:.{digits}f} %"


def show(summary: dict) -> None:
    """Print names and values, aligned."""
    wide = max(map(len, summary), default=0)
    for name, value in summary.items():
        print(f"  {name:<{wide}}  {value}")


def table(head, rows, *, left=(0,), gap: int = 2, indent: int = 2) -> str:
    """A table in letters: each column as wide as its widest cell, a line for the head and one for each row.

    head, rows: texts (or what str() takes), as many in each row as in the head. left: numbers of the columns that are
    aligned at the left; the others, numbers as a rule, are aligned at the right. gap, indent: spaces between and before."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    for row in cells:
        if len(row) != len(cells[0]):
            raise ValueError(f"table: a row of {len(row)} cells below a head of {len(cells[0])}: {row}")
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        aligned = (cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True)))
        lines.append((" " * indent + (" " * gap).join(aligned)).rstrip())
    return "\n".join(lines)


def histogram(shares: dict, width: int = 200) -> str:
    """Shares by name, a line for each: its name, per cent, and a bar of `width` letters for a share of 1."""
    wide = max([12, *map(len, shares)])
    return "\n".join(f"  {name:>{wide}} {100 * share:5.1f} %  {'#' * round(width * share)}" for name, share in shares.items())


def doc(text: str | None, file: str) -> str:
    """A module's docstring, stripped: `doc(__doc__, __file__)`. python -OO drops it, and it is read from the source; "" without."""
    if text is None:
        try:
            with open(file, encoding="utf-8") as source:
                text = ast.get_docstring(ast.parse(source.read()), clean=False)
        except (OSError, SyntaxError, ValueError):
            text = None
    return (text or "").strip()


# ---- JSON


def write_json(path, tree) -> None:
    """Write a tree of dicts, lists and numbers (NumPy's, too), atomically. NaN and infinity become null."""
    with atomic_write(path) as file:
        file.write(json_text(plain(tree), "write_json: tree").encode())


def json_text(tree, what: str) -> str:
    """The text of a JSON file. TypeError that begins with `what` for anything that JSON does not have, such as NaN."""
    try:
        return json.dumps(tree, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must hold only dict, list, str, finite numbers, bool and None: {error}") from None


def plain(tree):
    """The same tree in Python's own types: arrays as lists, and None for NaN and infinity, which JSON does not have."""
    if isinstance(tree, dict):
        return {name: plain(value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    if isinstance(tree, (np.ndarray, np.generic)):
        return plain(tree.tolist())
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
