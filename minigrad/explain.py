"""`explain`: what a computation consists of, as a table. Operations with shapes, milliseconds, bytes kept and kernels.

    explain(lambda x: net(x).sum(), x)       runs the function once and times each of its operations
    explain(net, x)                          runs a Module once: its layers, their outputs, parameters and times
    explain(loss)                            the recorded graph of a Tensor (nothing runs, so there are no times)

"kept" is the memory that an operation holds for its derivative and that no earlier row held; leaves that require a
gradient, such as parameters, are not counted: they live anyway. "kernels" are those launched since the row above; a
fused derivative calls them outside of any operation. A kernel compiles at its first call: explain twice, believe the
second.

`python -m minigrad.explain rules` prints the equation and the derivative rule of every operation: `minigrad.rulebook`.

Imports: numpy, minigrad.nn.module, autograd, kernels, rulebook, tensor.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

import numpy as np

from minigrad import kernels, rulebook
from minigrad.autograd import Node, Variable, grad, is_grad_enabled, observing
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

HEAD = ("", "operation", "shapes", "ms", "kept", "kernels")


def explain(what, *args, backward: bool = False, rows: int = 100, file=None, **kwargs) -> None:
    """Print the table of a call what(*args, **kwargs), of a Module's layers, or of the graph behind a Tensor.

    backward: also sweep back from the sum of the results to every leaf, and list those operations (`.grad` is left
    alone). rows: at most so many lines of a table are printed; totals always cover everything. file: as in `print`.
    Raises TypeError for anything that is neither a Tensor nor callable.
    """
    if isinstance(what, Tensor):
        if args or kwargs:
            raise TypeError("explain: a Tensor takes no arguments; to time a call give the function: explain(f, x)")
        lines = _graph(what, rows)
    elif isinstance(what, Module):
        lines = _layers(what, args, kwargs, rows)
        if backward:
            lines += ["", *_calls(what, args, kwargs, True, rows)]
    elif callable(what):
        lines = _calls(what, args, kwargs, backward, rows)
    else:
        raise TypeError(f"explain: expected a Tensor, a Module or a function, got {type(what).__name__}")
    print("\n".join(lines), file=file)


# ---- a call ----------------------------------------------------------------------------------------------------------


class _Recorder:
    """An observer of operations. It holds the arrays that it has counted, so that no address is used twice."""

    def __init__(self, counter: Counter):
        self.rows, self.kept, self.seconds, self.by_operation = [], 0, 0.0, {}
        self._counter, self._before, self._memory = counter, Counter(counter), {}

    def __call__(self, op, args, constants, out, seconds):
        launched = self._counter - self._before
        self._before = Counter(self._counter)
        outs = out if type(out) is tuple else (out,)
        self.ignore(a for a in args if isinstance(a, Variable) and a.requires_grad and a.node is None)
        kept = self._count(_reads(op, args, outs)) if is_grad_enabled() else 0
        self.kept, self.seconds = self.kept + kept, self.seconds + seconds
        total = self.by_operation.setdefault(op.name, [0, 0.0, 0])
        total[0], total[1], total[2] = total[0] + 1, total[1] + seconds, total[2] + kept
        given = " ".join(_shape(a.array if isinstance(a, Variable) else a) for a in args if not _is_number(a))
        shapes = f"{given} -> {' '.join(map(_shape, outs))}"
        names = " ".join(name if n == 1 else f"{n} {name}" for name, n in launched.items())
        self.rows.append((str(len(self.rows)), op.name, shapes, f"{1e3 * seconds:.3f}", _bytes(kept), names))

    def ignore(self, leaves) -> None:
        """Do not count the leaves' memory, nor what only views it."""
        for leaf in leaves:
            root = _root(leaf.array)
            self._memory[id(root)] = root

    def _count(self, arrays) -> int:
        new = 0
        for array in map(_root, arrays):
            if id(array) not in self._memory:
                self._memory[id(array)] = array
                new += array.nbytes
        return new

    def lines(self, title, rows) -> list[str]:
        slowest = sorted(self.by_operation.items(), key=lambda item: -item[1][1])
        body = [("", name, str(n), f"{1e3 * s:.3f}", _bytes(kept)) for name, (n, s, kept) in slowest]
        text = [f"{title}: {len(self.rows)} operations, {1e3 * self.seconds:.3f} ms in them, {_bytes(self.kept)} kept"]
        totals = [("", "operation", "calls", "ms", "kept"), *body]
        return text + _table([HEAD, *self.rows], rows) + ["by operation"] + _table(totals, rows)


def _calls(what, args, kwargs, backward, rows) -> list[str]:
    with kernels.counting() as counter:
        forward, start = _Recorder(counter), time.perf_counter()
        with observing(forward):
            results = what(*args, **kwargs)
        seconds = time.perf_counter() - start
        lines = forward.lines("forward", rows)
        outside = seconds - forward.seconds
        lines.append(f"the call took {1e3 * seconds:.3f} ms, {1e3 * outside:.3f} of them outside operations")
        if not backward:
            return lines
        outputs = [y for y in _flat(results) if y.requires_grad]
        if not outputs:
            return lines + ["backward: no result requires a gradient"]
        leaves = [p for node in _nodes(outputs) for p in node.parents if isinstance(p, Variable)]
        leaves += [y for y in outputs if y.node is None]
        sweep, start = _Recorder(counter), time.perf_counter()
        with observing(sweep):
            grad(outputs, list(dict.fromkeys(leaves)), [Tensor.wrap(np.ones_like(y.array)) for y in outputs])
        seconds = time.perf_counter() - start
        return [*lines, "", *sweep.lines("backward", rows), f"the sweep took {1e3 * seconds:.3f} ms"]


def _reads(op, args, outs):
    """The arrays that the operation's derivative will read."""
    live = [isinstance(a, Variable) and a.requires_grad for a in args]
    if not any(live):
        return
    for j in {j for saved, alive in zip(op.saves, live, strict=False) if alive for j in saved if j < len(args)}:
        a = args[j]
        if isinstance(a, Variable):
            yield a.array
        elif hasattr(a, "nbytes"):
            yield a
    yield from (outs[i] for i in op.saves_out)


def _flat(results):
    if isinstance(results, Tensor):
        return [results]
    if isinstance(results, dict):
        results = results.values()
    return [y for r in results for y in _flat(r)] if isinstance(results, (tuple, list, type({}.values()))) else []


# ---- a graph ---------------------------------------------------------------------------------------------------------


def _nodes(outputs) -> list[Node]:
    """Every node that the outputs were made by, inputs first."""
    order, opened, stack = [], set(), [y.node for y in outputs if y.node is not None]
    done = set()
    while stack:
        node = stack[-1]
        if node in opened:
            stack.pop()
            if node not in done:
                done.add(node)
                order.append(node)
            continue
        opened.add(node)
        stack.extend(p for p in node.parents if isinstance(p, Node) and p not in opened)
    return order


def _graph(tensor: Tensor, rows: int) -> list[str]:
    if tensor.node is None:
        return [f"a leaf {_shape(tensor.array)} {tensor.dtype}, requires_grad={tensor.requires_grad}: "
                "no recorded operation made it"]
    nodes = _nodes([tensor])
    number = {node: i for i, node in enumerate(nodes)}
    shapes, leaves = {(tensor.node, tensor.index): tensor.shape}, {}
    for node in nodes:
        for parent, slot, spec in zip(node.parents, node.slots, node.specs, strict=True):
            if isinstance(parent, Node):
                shapes[parent, slot] = spec[0]
            elif parent is not None:
                leaves[parent] = None
    recorder, body, total = _Recorder(Counter()), [], 0
    recorder.ignore(leaves)
    for node in nodes:
        released = node.inputs is None
        arrays = () if released else [x.array if isinstance(x, Variable) else x for x in (*node.inputs, *node.outputs)]
        kept = recorder._count(a for a in arrays if hasattr(a, "nbytes"))
        total += kept
        made = " ".join(_size(shapes[node, i]) for i in range(node.n_outputs) if (node, i) in shapes)
        from_ = " ".join(f"#{number[p]}" if isinstance(p, Node) else getattr(p, "name", None) or "leaf"
                         for p in node.parents if p is not None)
        body.append((str(number[node]), node.op.name, made, from_, "released" if released else _bytes(kept)))
    size = sum(leaf.array.nbytes for leaf in leaves)
    text = [f"graph of a {_shape(tensor.array)} tensor: {len(nodes)} operations, {len(leaves)} leaves ({_bytes(size)}), "
            f"{_bytes(total)} kept"]
    return text + _table([("", "operation", "shape", "from", "kept"), *body], rows)


# ---- a module --------------------------------------------------------------------------------------------------------


def _layers(module: Module, args, kwargs, rows: int) -> list[str]:
    """Hooks keep neighbours from sharing a pass over memory, so that each layer's own time is seen."""
    body, started, handles, seen = [], {}, [], set()

    def enter(layer, args):
        started[layer] = time.perf_counter()

    def leave(layer, args, out):
        seconds = time.perf_counter() - started[layer]
        own = [p for p in layer.parameters() if p not in seen]
        seen.update(own)
        shapes, count = " ".join(_shape(y.array) for y in _flat(out)), sum(p.numel() for p in own)
        body.append((names[layer], type(layer).__name__, shapes, str(count), f"{1e3 * seconds:.3f}"))

    names = {layer: path or type(module).__name__ for path, layer in module.named_modules()}
    try:
        for layer in names:
            if not list(layer.children()):
                handles += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
        start = time.perf_counter()
        module(*args, **kwargs)
        seconds = time.perf_counter() - start
    finally:
        for handle in handles:
            handle.remove()
    parameters = list(module.parameters())
    count, size = sum(p.numel() for p in parameters), sum(p.array.nbytes for p in parameters)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    note = f", {frozen} frozen" if frozen else ""
    text = [f"{type(module).__name__}: {count} parameters ({_bytes(size)}{note}), "
            f"{1e3 * seconds:.3f} ms forward, {'training' if module.training else 'evaluation'} mode"]
    return text + _table([("layer", "kind", "output", "parameters", "ms"), *body], rows)


# ---- text ------------------------------------------------------------------------------------------------------------


def _table(lines: list[tuple], rows: int) -> list[str]:
    """Columns as wide as they must be; numbers to the right."""
    head, *body = lines
    shown = body[:rows]
    right = {"ms", "kept", "parameters", "calls", ""}
    widths = [max(len(line[i]) for line in [head, *shown]) for i in range(len(head))]
    text = []
    for line in [head, *shown]:
        cells = zip(line, widths, head, strict=True)
        text.append("  ".join(c.rjust(w) if name in right else c.ljust(w) for c, w, name in cells).rstrip())
    return text + ([f"... and {len(body) - rows} more"] if len(body) > rows else [])


def _root(array):
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


def _is_number(a) -> bool:
    return a is None or isinstance(a, (int, float))


def _shape(array) -> str:
    return _size(array.shape) if hasattr(array, "shape") else type(array).__name__


def _size(shape) -> str:
    return "x".join(map(str, shape)) if shape else "()"


def _bytes(n: int) -> str:
    for unit in ("B", "KB", "MB"):
        if n < 1000:
            return f"{n:.0f} B" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.2f} GB"


# ---- the command -----------------------------------------------------------------------------------------------------

USE = """\
examples:
  python -m minigrad.explain rules                every operation: equation, derivative rule, file and line
  python -m minigrad.explain rules pow conv2d     these two
  python -m minigrad.explain rules --package attacks.defend

The tables of a computation are printed from Python:
  from minigrad.explain import explain
  explain(f, x)                    run f(x) once: its operations with shapes, milliseconds, bytes kept, kernels
  explain(f, x, backward=True)     the same, and the operations of the sweep back to every leaf
  explain(net, x)                  run a Module once: its layers with outputs, parameters, milliseconds
  explain(loss)                    the graph recorded behind a Tensor; nothing runs"""


def main(argv=None) -> int:
    """The command line. Returns 0; wrong usage and unknown names leave with status 2."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.explain", description="What an operation or a computation is.",
                                     epilog=USE, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    rules = commands.add_parser("rules", help="print operations with equation, derivative rule and place", allow_abbrev=False)
    rules.add_argument("names", nargs="*", metavar="NAME", help="an operation such as conv2d (default: every one)")
    rules.add_argument("--package", default="minigrad", metavar="PACKAGE",
                       help="whose operations; it is imported, with all that is below it (default: minigrad)")
    try:
        options = parser.parse_args(argv)
        if options.command is None:
            parser.print_help()
        else:
            try:
                text = rulebook.rules(options.names, options.package)
            except LookupError as error:
                rules.error(str(error))
            print(text)
        sys.stdout.flush()
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
