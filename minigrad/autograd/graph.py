"""The graph: what is recorded while operations run.

A `Variable` is a value and its place in the graph. A `primitive` is a function on arrays together with its derivative rule; called
on Variables, it computes the result and records the call as a `Node`. `sweep.py` walks the nodes backwards.

Imports: the standard library.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence


class State(threading.local):
    recording = True
    observer: Callable | None = None  # called after each operation; `minigrad.explain` uses it


state = State()
_PLAIN = frozenset({float, int, bool})


class Traced:
    """What every Variable is. `isinstance` asks a plain class twice as fast as one with a metaclass, and asks at every call."""

    __slots__ = ()


class Called(type):
    """Calling `Variable` itself makes what the library calls a tensor, as in PyTorch's old scripts: Variable(x)."""

    def __call__(cls, *args, **kw):
        return cls.from_data(*args, **kw) if cls is Variable else super().__call__(*args, **kw)


class Variable(Traced, metaclass=Called):
    """A value and its place in the graph. `minigrad.Tensor` adds the operations; the engine needs only what is here.

    `node` is the recorded call that made the value and `index` says which of its outputs it is; a leaf has no node.
    `tracked` says whether operations on it are recorded; `requires_grad` is the same with a check when it is set.
    `cell` is the counter behind `version_cell`, or None as long as nobody asked for it. `hooks` is set by `autograd.hooks` only.
    """

    __slots__ = ("array", "tracked", "grad", "node", "index", "cell", "hooks", "__weakref__")
    result_type: type[Variable]
    from_data: Callable[..., Variable]  # what Variable(...) makes; the library sets it

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient is wanted: of a leaf, or of a leaf that this was computed from."""
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value) -> None:
        if getattr(self, "node", None) is not None and not value:
            raise RuntimeError("requires_grad: only a leaf can be changed; use .detach() on a computed tensor")
        if value and not self.differentiable(self.array):
            raise TypeError("requires_grad: only floating-point tensors can require a gradient, got "
                            f"{getattr(self.array, 'dtype', self.describe(self.spec(self.array)))}")
        self.tracked = bool(value)

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
    def quietly(forward: Callable, arrays: list, kw: dict):
        """forward(*arrays, **kw) where no overflow, underflow or invalid operation raises."""
        return forward(*arrays, **kw)

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
    arrays[i]    the array that inputs[i] had; the Variable may have been given another one since
    outputs[i]   the array of output i if the rule reads it, else None
    specs[i]     shape and dtype of argument i where a gradient flows
    """

    __slots__ = ("op", "kw", "parents", "slots", "inputs", "arrays", "outputs", "specs", "versions", "out_version", "cls",
                 "cell", "hooks", "n_outputs", "__weakref__")

    def output(self, i: int = 0) -> Variable:
        """Output i, joined to the graph."""
        return make_variable(self.cls, self.outputs[i], self, i)

    def release(self) -> None:
        self.inputs = self.arrays = self.outputs = None


def make_variable(cls: type[Variable], array, node: Node | None, index: int) -> Variable:
    """A Variable of type `cls` around `array`: output `index` of `node`, or a constant where node is None."""
    v = cls.__new__(cls)
    v.array, v.tracked, v.node, v.index, v.cell = array, node is not None, node, index, None  # .grad stays unset
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
            if isinstance(a, Traced):
                arrays.append(a.array)
                cls = a.result_type
                live = live or a.tracked
            else:
                arrays.append(a)
                plain = plain and type(a) in _PLAIN
        if cls is None:
            raise TypeError(f"{self.name}: expected a Tensor, got {', '.join(type(a).__name__ for a in args)}")
        if not plain:
            try:
                arrays = [x if isinstance(a, Traced) else cls.constant(a) for x, a in zip(arrays, args, strict=True)]
                args = tuple([a if isinstance(a, Traced) else x for x, a in zip(arrays, args, strict=True)])
            except TypeError as error:
                raise TypeError(f"{self.name}: {error}") from None
        if state.observer is None:
            try:
                out = self.forward(*arrays, **kw)
            except FloatingPointError:  # the array library was told to raise where a number underflows; derivatives must not
                out = cls.quietly(self.forward, arrays, kw)
        else:
            start = time.perf_counter()
            out = cls.quietly(self.forward, arrays, kw)
            state.observer(self, args, kw, out, time.perf_counter() - start)
        if not (live and state.recording):
            if type(out) is not tuple:
                v = make_variable(cls, out, None, 0)
                if self.view:
                    v.cell = _first(args).version_cell
                return v
            return tuple(make_variable(cls, o, None, 0) for o in out)
        node = self.record(cls, args, arrays, kw, out)
        if type(out) is not tuple:
            return make_variable(cls, out, node, 0)
        return tuple(make_variable(cls, o, node if cls.differentiable(o) else None, i) for i, o in enumerate(out))

    def record(self, cls: type[Variable], args: tuple, arrays: list, kw: dict, out) -> Node:
        """The Node of one call: arguments, their arrays (the node keeps the list), constants and result."""
        node = Node()
        node.op, node.kw, node.cls, node.cell, node.hooks = self, kw, cls, None, None
        parents, slots, specs = [], [], []
        for a in args:
            if isinstance(a, Traced) and a.tracked:
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
            found = self._kept.get(pattern)
            if found is None:
                wanted = {j for i, p in enumerate(pattern) if p and i < len(self.saves) for j in self.saves[i]}
                kept = tuple(j in wanted for j in range(len(pattern)))
                found = self._kept[pattern] = kept, tuple(j for j, k in enumerate(kept) if not k)
            kept, dropped = found
            for j in dropped:
                arrays[j] = None
            node.arrays = arrays
            node.inputs = [a if k else None for a, k in zip(args, kept, strict=True)]
            node.versions = [a.version if k and isinstance(a, Traced) else 0 for a, k in zip(args, kept, strict=True)]
        else:
            node.inputs, node.arrays, node.versions = (), (), ()
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
    return next(a for a in args if isinstance(a, Traced))


class recording:
    """Recording on or off: `with recording(False): ...`, or as a decorator. Thread-local; restored on exceptions; reusable.

    A decorated generator runs each of its steps so, and its caller in between as before. Coroutines are refused: others run while
    they wait. In a generator of your own, do not `yield` inside the block: who asks for the next value then sees the flag.
    """

    def __init__(self, on: bool):
        self.on, self.before = bool(on), []

    def __enter__(self) -> None:
        self.before.append(state.recording)
        state.recording = self.on

    def __exit__(self, *exception) -> None:
        state.recording = self.before.pop()

    def __call__(self, function: Callable) -> Callable:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"no_grad: {function.__name__} is asynchronous, and others run on this thread while it waits; write "
                            "`with no_grad():` around what does not await")
        if inspect.isgeneratorfunction(function):
            return functools.wraps(function)(lambda *args, **kw: _steps(function(*args, **kw), self.on))

        @functools.wraps(function)
        def wrapped(*args, **kw):
            with recording(self.on):
                return function(*args, **kw)

        return wrapped


def _steps(generator, on: bool):
    """The generator, each of its steps with recording on or off; what is sent and thrown goes through."""
    step, value = generator.send, None
    try:
        while True:
            with recording(on):
                result = step(value)
            try:
                step, value = generator.send, (yield result)
            except Exception as error:
                step, value = generator.throw, error
    except StopIteration as stop:
        return stop.value
    finally:
        with recording(on):
            generator.close()


def no_grad(function: Callable | None = None):
    """Context manager and decorator (with or without parentheses): nothing is recorded inside; see `recording`."""
    return recording(False) if function is None else recording(False)(function)


def enable_grad(function: Callable | None = None):
    """Context manager and decorator: recording is on inside, also within `no_grad`."""
    return recording(True) if function is None else recording(True)(function)


class set_grad_enabled(recording):
    """Recording on or off from now on; as a context manager, until its end."""

    def __init__(self, mode: bool):
        super().__init__(mode)
        self.outside, state.recording = state.recording, self.on

    def __exit__(self, *exception) -> None:
        self.before.pop()
        state.recording = self.outside


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
