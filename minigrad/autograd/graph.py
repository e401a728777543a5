"""The graph: what is recorded while operations run.

A `Variable` is a value and its place in the graph. A `primitive` is a function on arrays together with its derivative rule; called
on Variables, it computes the result and records the call as a `Node`. `sweep.py` walks the nodes backwards.

Imports: the standard library.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence


class State(threading.local):
    recording = True
    observer: Callable | None = None  # called after each operation; `minigrad.explain` uses it


state = State()
_PLAIN = frozenset({float, int, bool})


class Variable:
    """A value and its place in the graph. `minigrad.Tensor` adds the operations; the engine needs only what is here.

    `node` is the recorded call that made the value and `index` says which of its outputs it is; a leaf has no node.
    `cell` is the counter behind `version_cell`, or None as long as nobody asked for it.
    """

    __slots__ = ("array", "requires_grad", "grad", "node", "index", "cell", "__weakref__")
    result_type: type[Variable]

    # ---- what a subclass says about its arrays -------------------------------------------------------------------

    @staticmethod
    def spec(array):
        """What a gradient must agree with: (shape, dtype) for arrays."""
        return type(array)

    @staticmethod
    def describe(spec) -> str:
        """`spec` in words, for error messages."""
        return str(spec)

    @staticmethod
    def differentiable(array) -> bool:
        """False for outputs such as indices, through which no derivative passes."""
        return True

    @staticmethod
    def constant(value):
        """An argument that is no Variable, as the forward function gets it. Not called where all such are Python numbers."""
        return value

    def ones_like(self) -> Variable:
        raise TypeError(f"{type(self).__name__} does not say what its default cotangent is")

    def memory_is_shared(self, alone: int) -> bool:
        """Whether anybody else may read the memory of self's array. If so, the sweep does not add to it. True is always safe.

        alone: the reference count of an object that one local name holds, and nobody else.
        """
        return True

    def accumulate_(self, other: Variable) -> Variable:
        """self + other; in place if the subclass can. The sweep calls it only where the memory is not shared."""
        return self + other  # type: ignore[operator]

    def owned(self, handed_out: set) -> Variable:
        """self, or a copy when its memory is shared with something in `handed_out` (keys of buffers)."""
        return self

    # ---- versions ------------------------------------------------------------------------------------------------

    @property
    def version_cell(self) -> list[int]:
        """A counter of in-place changes, shared by every Variable on the same memory."""
        owner = self if self.node is None else self.node
        if owner.cell is None:
            owner.cell = [0]
        return owner.cell

    @property
    def version(self) -> int:
        cell = self.cell if self.node is None else self.node.cell
        return 0 if cell is None else cell[0]


class Node:
    """One recorded call. It holds its parents and what its rule reads, but never a Variable that it produced.

    op, kw       the primitive and its keyword arguments
    parents[i]   the Node that made argument i, or the leaf Variable itself, or None where no gradient flows
    slots[i]     which output of parents[i] argument i was
    inputs[i]    argument i (a Variable or a constant) if the rule reads it, else None
    outputs[i]   the array of output i if the rule reads it, else None
    specs[i]     shape and dtype of argument i where a gradient flows
    """

    __slots__ = ("op", "kw", "parents", "slots", "inputs", "outputs", "specs", "versions", "out_version", "cls",
                 "cell", "n_outputs", "__weakref__")

    def output(self, i: int = 0) -> Variable:
        """Output i, joined to the graph."""
        return make_variable(self.cls, self.outputs[i], self, i)

    def release(self) -> None:
        self.inputs = self.outputs = None


def make_variable(cls: type[Variable], array, node: Node | None, index: int) -> Variable:
    """A Variable of type `cls` around `array`: output `index` of `node`, or a constant where node is None."""
    v = cls.__new__(cls)
    v.array, v.requires_grad, v.grad, v.node, v.index, v.cell = array, node is not None, None, node, index, None
    return v


class Primitive:
    """A function on arrays and its derivative rule; calling it on Variables records a Node.

    Positional arguments may be Variables; keyword arguments are constants. See `primitive`.
    """

    def __init__(self, forward: Callable, saves: Sequence[Sequence[int]], saves_out: Sequence[int], view: bool):
        functools.update_wrapper(self, forward)
        self.forward, self.rule, self.name = forward, None, forward.__name__.lstrip("_")
        self.saves, self.saves_out, self.view = tuple(map(tuple, saves)), tuple(saves_out), view
        self._kept: dict[tuple, tuple] = {}

    def vjp(self, rule: Callable) -> Callable:
        """Register rule(node, needs, *cotangents, **constants) -> one gradient (or None) per positional argument."""
        self.rule = rule
        return rule

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __get__(self, instance, owner=None):
        """As a class attribute a primitive is a method."""
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args, **kw):
        arrays, cls, live, plain = [], None, False, True
        for a in args:
            if isinstance(a, Variable):
                arrays.append(a.array)
                cls = a.result_type
                live = live or a.requires_grad
            else:
                arrays.append(a)
                plain = plain and type(a) in _PLAIN
        if cls is None:
            raise TypeError(f"{self.name}: expected a Tensor, got {', '.join(type(a).__name__ for a in args)}")
        if not plain:
            try:
                arrays = [x if isinstance(a, Variable) else cls.constant(a) for x, a in zip(arrays, args, strict=True)]
            except TypeError as error:
                raise TypeError(f"{self.name}: {error}") from None
        if state.observer is None:
            out = self.forward(*arrays, **kw)
        else:
            start = time.perf_counter()
            out = self.forward(*arrays, **kw)
            state.observer(self, args, kw, out, time.perf_counter() - start)
        if not (live and state.recording):
            if type(out) is not tuple:
                v = make_variable(cls, out, None, 0)
                if self.view:
                    v.cell = _first(args).version_cell
                return v
            return tuple(make_variable(cls, o, None, 0) for o in out)
        node = self._record(cls, args, kw, out)
        if type(out) is not tuple:
            return make_variable(cls, out, node, 0)
        return tuple(make_variable(cls, o, node if cls.differentiable(o) else None, i) for i, o in enumerate(out))

    def _record(self, cls: type[Variable], args: tuple, kw: dict, out) -> Node:
        node = Node()
        node.op, node.kw, node.cls, node.cell = self, kw, cls, None
        parents, slots, specs = [], [], []
        for a in args:
            if isinstance(a, Variable) and a.requires_grad:
                parents.append(a if a.node is None else a.node)
                slots.append(a.index)
                specs.append(cls.spec(a.array))
            else:
                parents.append(None)
                slots.append(0)
                specs.append(None)
        node.parents, node.slots, node.specs = parents, slots, specs
        if self.saves:
            pattern = tuple([p is not None for p in parents])
            kept = self._kept.get(pattern)
            if kept is None:
                wanted = {j for i, p in enumerate(pattern) if p and i < len(self.saves) for j in self.saves[i]}
                kept = self._kept[pattern] = tuple(j in wanted for j in range(len(pattern)))
            node.inputs = [a if k else None for a, k in zip(args, kept, strict=True)]
            node.versions = [a.version if k and isinstance(a, Variable) else 0 for a, k in zip(args, kept, strict=True)]
        else:
            node.inputs, node.versions = (), ()
        outs = out if type(out) is tuple else (out,)
        node.n_outputs = len(outs)
        node.outputs = [o if i in self.saves_out else None for i, o in enumerate(outs)] if self.saves_out else ()
        if self.view:
            node.cell = _first(args).version_cell
        node.out_version = 0 if node.cell is None else node.cell[0]
        return node


def primitive(forward: Callable | None = None, *, saves=(), saves_out=(), view: bool = False):
    """Make `forward(arrays..., **constants)` a differentiable operation.

    saves      for each argument, the positions of the arguments that its derivative reads: matmul(a, b) has
               saves=((1,), (0,)), so that `a` is not kept alive when only a's own gradient is wanted.
    saves_out  the positions of the outputs that the rule reads, through node.output(i).
    view       the result may share memory with the first argument.
    """
    if forward is None:
        return lambda f: Primitive(f, saves, saves_out, view)
    return Primitive(forward, saves, saves_out, view)


def _first(args: tuple) -> Variable:
    return next(a for a in args if isinstance(a, Variable))


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    before, state.recording = state.recording, on
    try:
        yield
    finally:
        state.recording = before


def no_grad():
    """Context manager and decorator: nothing is recorded inside. Thread-local; restored on exceptions."""
    return recording(False)


def enable_grad():
    """Context manager and decorator: recording is on inside, also within `no_grad`."""
    return recording(True)


def is_grad_enabled() -> bool:
    return state.recording


@contextlib.contextmanager
def observing(observer: Callable) -> Iterator[None]:
    """Call observer(primitive, arguments, constants, result arrays, seconds) after each operation of this thread."""
    before, state.observer = state.observer, observer
    try:
        yield
    finally:
        state.observer = before
