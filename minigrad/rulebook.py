"""The rulebook: every differentiable operation with its equation, its derivative rule, and where both stand.

`python -m minigrad.explain rules` prints it. Nothing is kept by hand, so nothing can be out of date:
  * An operation is a `Primitive` that a module of the package holds. It is listed under the module that defines it.
  * The equation is the first line of its docstring.
  * The rule is the source of the function that was handed to its `vjp`: what is printed is what runs, with long lines folded.

A function such as `relu` is no operation: it calls operations, and their rules give its derivative. The rulebook says so.

Imports: autograd.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import os
import pkgutil
import sys
import textwrap
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import NamedTuple

from minigrad.autograd import Primitive

WIDTH = 98
LEGEND = """\
A rule is the derivative of one operation. It gets the node (the recorded call), needs (which
arguments want a gradient) and, for each result of the operation, its cotangent: the derivative of
what is differentiated in the end with respect to that result. It returns one gradient for each
argument, None where none is wanted. It is written in operations that have rules themselves.
  node.inputs, node.output(i)   the arguments, and result i, as the call left them
  node.specs[i]                 (shape, dtype) of argument i
  unbroadcast(g, node, i)       g summed over the axes along which argument i was repeated"""


class Place(NamedTuple):
    """Where a function is defined, and the lines of its body without its docstring.

    file: relative to the folder that holds the package, with /. line: that of its `def`, or of the statement of a lambda."""

    file: str
    line: int
    body: list[str]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Book(NamedTuple):
    """operations: (module, primitive), in the order of the source. functions: the public functions of those modules that are
    no operations themselves. failed: modules that could not be imported, with the reason."""

    operations: list[tuple[ModuleType, Primitive]]
    functions: dict[str, FunctionType]
    failed: list[str]


def read(package: str = "minigrad") -> Book:
    """Import every module of `package` (or the one module of that name) and collect its operations.

    Raises LookupError if there is no such package. A module below it that needs what is not installed is skipped and named
    in `failed`."""
    try:
        modules = {package: importlib.import_module(package)}
    except ImportError as error:
        raise LookupError(f"cannot import {package!r}: {error}") from None
    failed = []
    for info in pkgutil.walk_packages(getattr(modules[package], "__path__", ()), f"{package}."):
        if info.name.endswith(".__main__"):  # a command: importing it would run it
            continue
        try:
            modules[info.name] = importlib.import_module(info.name)
        except ImportError as error:
            failed.append(f"{info.name} ({error})")
    homes = {}
    for module in modules.values():
        for value in vars(module).values():
            if isinstance(value, Primitive):
                home = modules.get(getattr(value.forward, "__module__", None))
                if home or not isinstance(value.forward, FunctionType):  # else it is imported from outside the package
                    homes.setdefault(value, home or module)
    operations = sorted(((m, op) for op, m in homes.items()), key=lambda pair: (pair[0].__name__, _line(pair[1].forward)))
    taken = {op.name for _, op in operations}
    functions = {name: f for module in dict.fromkeys(homes.values()) for name, f in vars(module).items()
                 if isinstance(f, FunctionType) and f.__module__ == module.__name__ and name.lstrip("_") == name not in taken}
    return Book(operations, functions, failed)


def rules(names: Sequence[str] = (), package: str = "minigrad") -> str:
    """The rulebook of `package` as text: the operations and functions in `names`, or every operation if there are none.

    Raises LookupError, with the nearest names, for a name that is neither."""
    book = read(package)
    if not names:
        entries = [(module.__name__, _entry(op)) for module, op in book.operations]
        return "\n".join([LEGEND, *_chapters(entries), "", *_summary(book, package)])
    names = {name.removeprefix("_") for name in names}
    known = {op.name for _, op in book.operations} | set(book.functions)
    for name in sorted(names - known):
        near = difflib.get_close_matches(name, sorted(known), 3, cutoff=0.5)
        guess = f"; did you mean {' or '.join(near)}?" if near else ""
        raise LookupError(f"{package} has no operation {name!r}{guess}")
    entries = [(module.__name__, _entry(op)) for module, op in book.operations if op.name in names]
    entries += [(f.__module__, _function(name, f)) for name, f in book.functions.items() if name in names]
    return "\n".join([LEGEND, *_chapters(sorted(entries, key=lambda entry: entry[0]))])


# ---- text ------------------------------------------------------------------------------------------------------------


def _chapters(entries: list[tuple[str, list[str]]]) -> list[str]:
    """(module's name, lines) of each entry, below a heading for each module."""
    lines, before = [], None
    for module, entry in entries:
        if module != before:
            lines += ["", "", module, "=" * len(module)]
            before = module
        lines += ["", *entry]
    return lines


def _entry(op: Primitive) -> list[str]:
    """Name, equation, place and rule of one operation."""
    lines = _opening(op.name, op.forward)
    if op.rule is None:
        return [*lines, "    no rule: it cannot be differentiated"]
    rule = place(op.rule)
    body = [part for line in rule.body for part in _folded(line)] if rule else ["(its source cannot be read)"]
    return [*lines, f"    rule{_signature(op.rule)}:", *(f"      {line}".rstrip() for line in body)]


def _function(name: str, function: FunctionType) -> list[str]:
    return [*_opening(name, function), "    no operation, but a function of operations, whose rules give its derivative:",
            f"    explain({name}, ..., backward=True) lists them"]


def _opening(name: str, function) -> list[str]:
    return [*textwrap.wrap(name + _signature(function), WIDTH, subsequent_indent="    "),
            *textwrap.wrap(equation(function), WIDTH, initial_indent="    ", subsequent_indent="    "),
            f"    {place(function) or '(its source cannot be read)'}"]


def _folded(line: str) -> list[str]:
    """A line of source in lines that fit: its comment goes before it, what still is too long goes on below."""
    if len(line) <= WIDTH - 6:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    code, _, comment = line.strip().partition("  # ")
    return [*textwrap.wrap(comment, WIDTH - 6, initial_indent=indent + "# ", subsequent_indent=indent + "# "),
            *textwrap.wrap(code, WIDTH - 6, initial_indent=indent, subsequent_indent=indent + 8 * " ",
                           break_long_words=False, break_on_hyphens=False)]


def _summary(book: Book, package: str) -> list[str]:
    count, without = len(book.operations), sum(op.rule is None for _, op in book.operations)
    modules = len({module for module, _ in book.operations})
    lines = [f"{count} operation{'' if count == 1 else 's'} in {modules} module{'' if modules == 1 else 's'} of {package}, "
             f"{without or 'none'} without a rule"]
    if sys.flags.optimize > 1:
        lines.append("no equations: python -OO drops the docstrings in which they stand")
    return lines + [f"not read: {failed}" for failed in book.failed]


def _signature(function) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):  # a ufunc has none
        return "(...)"


def equation(function) -> str:
    """The first line of its docstring; empty without one, and under python -OO."""
    return (function.__doc__ or "").strip().partition("\n")[0]


# ---- the source ------------------------------------------------------------------------------------------------------


def place(function) -> Place | None:
    """Where `function` is defined; None where the source cannot be read, as that of a function written in C."""
    try:
        file, (lines, first) = inspect.getsourcefile(function), inspect.getsourcelines(function)
    except (OSError, TypeError):
        return None
    top = importlib.import_module(function.__module__.partition(".")[0])
    folder = os.path.dirname(os.path.dirname(getattr(top, "__file__", None) or file))
    file = os.path.relpath(file, folder).replace(os.sep, "/")
    lines = textwrap.dedent("".join(lines)).splitlines()
    try:
        definition = ast.parse("\n".join(lines)).body[0]
    except SyntaxError:  # a lambda within a longer statement
        return Place(file, first, lines)
    if not isinstance(definition, ast.FunctionDef):
        return Place(file, first, lines)
    start, statements = definition.body[0].lineno - 1, definition.body
    if ast.get_docstring(definition) is not None and len(statements) > 1:
        start = statements[0].end_lineno
    while lines[start - 1].lstrip().startswith("#"):  # the comment above the first statement belongs to the body
        start -= 1
    body = textwrap.dedent("\n".join(lines[start:])).strip("\n").splitlines()
    return Place(file, first + definition.lineno - 1, body)


def _line(function) -> int:
    code = getattr(function, "__code__", None)
    return code.co_firstlineno if code else 0
