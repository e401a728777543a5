"""The graph: what is recorded, the reverse sweep, `grad`, `no_grad`.

This module knows no operation and no array library. A `Variable` is a value and its place in the graph; a `primitive`
is a function on arrays together with its derivative rule; `grad` walks the recorded calls backwards.

Invariants (each one is a test in tests/test_autograd.py):
  * A rule is written in operations on Variables, and recording is off during the sweep unless `create_graph`.
    So derivatives of every order come from the same rule.
  * A node keeps only its inputs, its own outputs (as arrays, joined to the graph again on demand), and constants.
    No node owns a Variable that owns the node: memory goes by reference counting alone.
  * The sweep visits only nodes on a path to a wanted input, and tells each rule which parents need a gradient.
  * The sweep is iterative and linear in nodes + edges.
  * Operations never mutate. `assign_` and optimisers do; they bump a version that the sweep checks.
  * Nothing is global but the recording flag, which is thread-local and restored on exceptions.

Imports: the standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from sys import getrefcount


class _State(threading.local):
    recording = True
    observer: Callable | None = None  # called after each operation; `minigrad.explain` uses it


_state = _State()
_PLAIN = frozenset({float, int, bool})


class Variable:
    """A value and its place in the graph. `minigrad.Tensor` adds the operations; the engine needs only what is here.

    `node` is the recorded call that made the value and `index` which of its outputs it is; a leaf has no node.
    """

    __slots__ = ("array", "requires_grad", "grad", "node", "index", "_cell", "__weakref__")
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
        """Called on arguments that are not Variables, where one of them is not a plain Python number either."""
        return value

    def ones_like(self) -> Variable:
        raise TypeError(f"{type(self).__name__} does not say what its default cotangent is")

    def _shared(self, alone: int) -> bool:
        """Whether others may see the memory of self's array, so that nothing may be added to it. True is always right.

        alone: the reference count of an object that one local name holds."""
        return True

    def accumulate_(self, other: Variable) -> Variable:
        """self + other in place, where the memory is not shared. Out of place is always right."""
        return self + other  # type: ignore[operator]

    def owned(self, handed_out: set) -> Variable:
        """self, or a copy when its memory is shared with something in `handed_out` (keys of buffers)."""
        return self

    # ---- versions ------------------------------------------------------------------------------------------------

    @property
    def version_cell(self) -> list[int]:
        """A counter of in-place changes, shared by every Variable on the same memory."""
        owner = self if self.node is None else self.node
        if owner._cell is None:
            owner._cell = [0]
        return owner._cell

    @property
    def version(self) -> int:
        cell = self._cell if self.node is None else self.node._cell
        return 0 if cell is None else cell[0]

    def backward(self, gradient: Variable | None = None, retain_graph: bool | None = None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires one.

        `gradient` is the cotangent of self (default: ones, for a value with one element). There is no
        `create_graph` here: leaf.grad -> graph -> leaf would be a cycle. Use `grad(..., create_graph=True)`.
        """
        leaves: dict[Variable, Variable] = {}
        _sweep([self], [gradient], None, leaves, False, bool(retain_graph))
        handed_out: set = set()
        if gradient is not None:
            gradient.owned(handed_out)
        for leaf, g in leaves.items():
            g = g.owned(handed_out)
            if leaf.grad is None:
                leaf.grad = g
            else:
                leaf.grad = leaf.grad.accumulate_(g)


class Node:
    """One recorded call. It holds its parents and what its rule reads, never a Variable that it produced.

    parents[i]   the Node that made argument i, or the leaf Variable itself, or None where no gradient flows
    slots[i]     which output of parents[i] argument i was
    inputs[i]    argument i (a Variable or a constant) if the rule reads it, else None
    outputs[i]   the array of output i if the rule reads it, else None
    specs[i]     shape and dtype of argument i where a gradient flows
    """

    __slots__ = ("op", "kw", "parents", "slots", "inputs", "outputs", "specs", "versions", "out_version", "cls",
                 "_cell", "n_outputs", "__weakref__")

    def output(self, i: int = 0) -> Variable:
        """Output i, joined to the graph."""
        return _join(self.cls, self.outputs[i], self, i)

    def release(self) -> None:
        self.inputs = self.outputs = None


def _join(cls: type[Variable], array, node: Node | None, index: int) -> Variable:
    v = cls.__new__(cls)
    v.array, v.requires_grad, v.grad, v.node, v.index, v._cell = array, node is not None, None, node, index, None
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
        if _state.observer is None:
            out = self.forward(*arrays, **kw)
        else:
            start = time.perf_counter()
            out = self.forward(*arrays, **kw)
            _state.observer(self, args, kw, out, time.perf_counter() - start)
        if not (live and _state.recording):
            if type(out) is not tuple:
                v = _join(cls, out, None, 0)
                if self.view:
                    v._cell = _first(args).version_cell
                return v
            return tuple(_join(cls, o, None, 0) for o in out)
        node = self._record(cls, args, kw, out)
        if type(out) is not tuple:
            return _join(cls, out, node, 0)
        return tuple(_join(cls, o, node if cls.differentiable(o) else None, i) for i, o in enumerate(out))

    def _record(self, cls: type[Variable], args: tuple, kw: dict, out) -> Node:
        node = Node()
        node.op, node.kw, node.cls, node._cell = self, kw, cls, None
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
            node._cell = _first(args).version_cell
        node.out_version = 0 if node._cell is None else node._cell[0]
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
def _recording(on: bool) -> Iterator[None]:
    before, _state.recording = _state.recording, on
    try:
        yield
    finally:
        _state.recording = before


def no_grad():
    """Context manager and decorator: nothing is recorded inside. Thread-local; restored on exceptions."""
    return _recording(False)


def enable_grad():
    """Context manager and decorator: recording is on inside, also within `no_grad`."""
    return _recording(True)


def is_grad_enabled() -> bool:
    return _state.recording


@contextlib.contextmanager
def observing(observer: Callable) -> Iterator[None]:
    """Call observer(primitive, arguments, constants, result arrays, seconds) after each operation of this thread."""
    before, _state.observer = _state.observer, observer
    try:
        yield
    finally:
        _state.observer = before


# ---- the reverse sweep -----------------------------------------------------------------------------------------------


def grad(outputs, inputs, grad_outputs=None, retain_graph: bool | None = None, create_graph: bool = False,
         allow_unused: bool = False) -> tuple:
    """Sum over outputs of grad_output^T d(output)/d(input), one Variable for each input.

    outputs, inputs   a Variable or a sequence of them; inputs may be intermediate results
    grad_outputs      cotangents; None stands for ones and needs an output with one element
    retain_graph      keep what the rules read for another sweep (default: create_graph)
    create_graph      record the sweep itself, so that the result can be differentiated again
    allow_unused      return None for an input that the outputs do not depend on, instead of raising
    Raises RuntimeError for an output or input without requires_grad, an unused input, a graph already released,
    or a value modified in place between the forward pass and the sweep.
    """
    outputs = [outputs] if isinstance(outputs, Variable) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Variable):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs; give one for each")
    for i, x in enumerate(inputs):
        if not isinstance(x, Variable):
            raise TypeError(f"grad: input {i} is a {type(x).__name__}, not a Tensor")
        if not x.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient; set requires_grad=True before using it")
    found: dict = {}
    retain = create_graph if retain_graph is None else retain_graph
    _sweep(outputs, grad_outputs, {_key(x) for x in inputs}, found, create_graph, retain)
    handed_out: set = set()
    for g in grad_outputs:
        if g is not None:
            g.owned(handed_out)
    results = []
    with _recording(create_graph):
        for i, x in enumerate(inputs):
            g = found.get(_key(x))
            if g is None and not allow_unused:
                raise RuntimeError(f"grad: input {i} is not used by the outputs; pass allow_unused=True to get None")
            results.append(None if g is None else g.owned(handed_out))
    return tuple(results)


def _key(v: Variable):
    """Where the cotangent of v is collected: the leaf itself, or its node (and the index of any later output)."""
    if v.node is None:
        return v
    return v.node if v.index == 0 else (v.node, v.index)


def _sweep(outputs, cotangents, wanted: set | None, found: dict, create_graph: bool, retain: bool) -> None:
    """Put the gradient of every key in `wanted` into `found`; None wants all leaves."""
    pending: dict = {}  # key -> the sum of the cotangents that have arrived
    for i, (y, g) in enumerate(zip(outputs, cotangents, strict=True)):
        if not isinstance(y, Variable):
            raise TypeError(f"grad: output {i} is a {type(y).__name__}, not a Tensor")
        if not y.requires_grad:
            raise RuntimeError(f"grad: output {i} does not require a gradient: nothing that it was computed from does")
        if g is None:
            g = y.ones_like()
        elif y.spec(g.array) != y.spec(y.array):
            raise ValueError(f"grad: the cotangent of output {i} is {y.describe(y.spec(g.array))}, but the output "
                             f"{y.describe(y.spec(y.array))}; they must agree")
        with _recording(create_graph):
            _add(pending, _key(y), g, create_graph)
    order, needs = _topological([y.node for y in outputs if y.node is not None], wanted)
    with _recording(create_graph):
        for node in reversed(order):
            gs = _collect(node, pending, wanted, found)
            need = needs[node]
            if need is None or gs is None:
                continue
            _check(node)
            results = node.op.rule(node, need, *gs, **node.kw)
            del gs  # `_add` may reuse their memory once nobody holds it
            for parent, slot, g, n, spec in zip(node.parents, node.slots, results, need, node.specs, strict=True):
                if not n or g is None:
                    continue
                if node.cls.spec(g.array) != spec:
                    raise RuntimeError(f"the rule of {node.op.name} returned a gradient "
                                       f"{node.cls.describe(node.cls.spec(g.array))} for an input "
                                       f"{node.cls.describe(spec)}: a gradient has its input's shape and dtype")
                _add(pending, parent if slot == 0 else (parent, slot), g, create_graph)
            if not retain:
                node.release()
    for key, g in pending.items():
        if isinstance(key, Variable) and (wanted is None or key in wanted):
            found[key] = g


def _topological(roots: list[Node], wanted: set | None) -> tuple[list[Node], dict]:
    """Nodes on a path from roots to wanted keys, inputs first; and for each node which parents need a gradient.

    needs[node] is None where the node's own output is wanted but nothing before it is. Iterative depth-first search;
    a node is finished when it comes to the top of the stack for the second time.
    """
    order: list[Node] = []
    needs: dict[Node, list | None] = {}
    alive: set[Node] = set()
    opened: set[Node] = set()
    targets = set() if wanted is None else {k[0] if isinstance(k, tuple) else k for k in wanted}
    stack = list(roots)
    while stack:
        node = stack[-1]
        if node in opened:
            stack.pop()
            if node in needs:
                continue
            if wanted is None:
                flags = [p is not None for p in node.parents]
            else:
                flags = [p in alive or p in targets and not isinstance(p, Node) for p in node.parents]
            leads = True in flags
            needs[node] = flags if leads else None
            if leads or node in targets:
                alive.add(node)
                order.append(node)
            continue
        opened.add(node)
        stack.extend([p for p in node.parents if isinstance(p, Node) and p not in opened])
    return order, needs


def _collect(node: Node, pending: dict, wanted: set | None, found: dict) -> list | None:
    """Take the cotangents of the node's outputs out of `pending`; None if none arrived."""
    g = pending.pop(node, None)
    if wanted is not None and g is not None and node in wanted:
        found[node] = g
    if node.n_outputs == 1:
        return None if g is None else [g]
    gs = [g]
    for i in range(1, node.n_outputs):
        g = pending.pop((node, i), None)
        gs.append(g)
        if wanted is not None and g is not None and (node, i) in wanted:
            found[node, i] = g
    return None if all(g is None for g in gs) else gs


def _add(pending: dict, key, g: Variable, create_graph: bool) -> None:
    """Add g to what has arrived: the first by reference; then in place if nobody else can see the sum's memory.

    A rule may hand on the cotangent that it got, hand out one twice, a view of it, or an array that something keeps. Rather
    than have rules say so, the sweep asks how many hold the sum: no more than hold a new object may.
    """
    total = pending.get(key)
    if total is None:
        pending[key] = g
        return
    pending[key], new = None, object()  # `pending` no longer holds the sum
    alone = getrefcount(new)
    if create_graph or getrefcount(total) > alone or total._shared(alone):
        pending[key] = total + g
    else:
        pending[key] = total.accumulate_(g)


def _check(node: Node) -> None:
    if node.inputs is None:
        raise RuntimeError(f"grad: the graph of {node.op.name} was already released by an earlier sweep; "
                           "pass retain_graph=True to the earlier call to go through it twice")
    if node.op.rule is None:
        raise RuntimeError(f"grad: {node.op.name} has no derivative rule")
    for x, version in zip(node.inputs, node.versions, strict=True):
        if isinstance(x, Variable) and x.version != version:
            raise RuntimeError(_stale(node, x, version))
    if node.outputs and node._cell is not None and node._cell[0] != node.out_version:
        raise RuntimeError(_stale(node, node.output(node.op.saves_out[0]), node.out_version))


def _stale(node: Node, x: Variable, version: int) -> str:
    base = x
    while base.node is not None and base.node.op.view and isinstance(base.node.parents[0], (Node, Variable)):
        parent = base.node.parents[0]
        if isinstance(parent, Variable):
            base = parent
            break
        base = _join(parent.cls, None, parent, 0)
    name = getattr(base, "name", None)
    what = f"'{name}'" if name else "a tensor"
    return (f"grad: {what} {x.describe(x.spec(x.array))}, read by the derivative of {node.op.name}, was modified in place "
            f"after the forward pass (version {x.version}, expected {version}). The usual cause is optimizer.step() between "
            "forward and backward: compute all gradients first, or run the forward pass again.")
