"""The reverse sweep: from outputs back to the inputs or leaves, one derivative rule after the other.

    topological order of the nodes that lead to something wanted;
    for each node, last first: take the cotangents of its outputs, call its rule, add what comes back to its parents' cotangents

The cotangent of a value is the gradient of the final result with respect to it.

Imports: graph.
"""

from __future__ import annotations

from sys import getrefcount

from minigrad.autograd.graph import Node, Traced, Variable, make_variable, primitive, recording


def grad(outputs, inputs, grad_outputs=None, retain_graph: bool | None = None, create_graph: bool = False,
         only_inputs: bool = True, allow_unused: bool = False) -> tuple:
    """Sum over outputs of grad_output^T d(output)/d(input), one Variable for each input.

    outputs, inputs   a Variable or a sequence of them; inputs may be intermediate results
    grad_outputs      cotangents; None stands for ones and needs an output with one element
    retain_graph      keep what the rules read for another sweep (default: create_graph)
    create_graph      record the sweep itself, so that the result can be differentiated again
    only_inputs       PyTorch's; True is the only value: leaves that are no inputs keep their .grad
    allow_unused      return None for an input that the outputs do not depend on, instead of raising
    Raises RuntimeError for an output or input without requires_grad, an unused input, a graph already released,
    or a value modified in place between the forward pass and the sweep.
    """
    if not only_inputs:
        raise ValueError("grad: only_inputs=False is not supported (nor by PyTorch); use backward() to fill .grad of all leaves")
    outputs = [outputs] if isinstance(outputs, Traced) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Traced) else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Traced):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs; give one for each")
    for i, x in enumerate(inputs):
        if not isinstance(x, Traced):
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
    with recording(create_graph):
        for i, x in enumerate(inputs):
            g = found.get(_key(x))
            if g is None and not allow_unused:
                raise RuntimeError(f"grad: input {i} is not used by the outputs; pass allow_unused=True to get None")
            results.append(None if g is None else g.owned(handed_out))
    return tuple(results)


def backward(tensors, grad_tensors=None, retain_graph: bool | None = None, *, inputs=None) -> None:
    """Add the gradients of the leaves that require one to their `.grad`.

    tensors        a Variable or a sequence of them
    grad_tensors   their cotangents; None stands for ones and needs a value with one element
    retain_graph   keep what the rules read for another sweep (default: no)
    inputs         leaves; the others keep their .grad (default: all)
    There is no `create_graph` here, because leaf.grad -> graph -> leaf would be a cycle. Use `grad(..., create_graph=True)`.
    """
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, Traced) else list(inputs)
        for leaf, g in zip(inputs, grad(tensors, inputs, grad_tensors, retain_graph, allow_unused=True), strict=True):
            if g is not None:
                leaf.grad = g if getattr(leaf, "grad", None) is None else leaf.grad.accumulate_(g)
        return
    tensors = [tensors] if isinstance(tensors, Traced) else list(tensors)
    if grad_tensors is None:
        grad_tensors = [None] * len(tensors)
    elif isinstance(grad_tensors, Traced):
        grad_tensors = [grad_tensors]
    if len(grad_tensors) != len(tensors):
        raise ValueError(f"backward: {len(tensors)} tensors but {len(grad_tensors)} grad_tensors; give one for each")
    leaves: dict[Variable, Variable] = {}
    _sweep(tensors, grad_tensors, None, leaves, False, bool(retain_graph))
    handed_out: set = set()
    for g in grad_tensors:
        if g is not None:
            g.owned(handed_out)
    for leaf, g in leaves.items():
        g = g.owned(handed_out)
        leaf.grad = g if getattr(leaf, "grad", None) is None else leaf.grad.accumulate_(g)


def _key(v: Variable):
    """Where the cotangent of v is collected: the leaf itself, or its node (and the index of any later output)."""
    if v.node is None:
        return v
    return v.node if v.index == 0 else (v.node, v.index)


def _sweep(outputs, cotangents, wanted: set | None, found: dict, create_graph: bool, retain: bool) -> None:
    """Put the gradient of every key in `wanted` into `found`; None wants all leaves."""
    pending: dict = {}  # key -> the sum of the cotangents that have arrived
    for i, (y, g) in enumerate(zip(outputs, cotangents, strict=True)):
        if not isinstance(y, Traced):
            raise TypeError(f"grad: output {i} is a {type(y).__name__}, not a Tensor")
        if not y.tracked:
            raise RuntimeError(f"{'backward' if wanted is None else 'grad'}: output {i} does not require a gradient: nothing that "
                               "it was computed from does. Set requires_grad=True on a leaf first, or network.requires_grad_() "
                               "where parameters are frozen; in no_grad(), and through .detach() or .numpy(), nothing is recorded")
        if g is None:
            g = y.ones_like()
        elif y.spec(g.array) != y.spec(y.array):
            raise ValueError(f"grad: the cotangent of output {i} is {y.describe(y.spec(g.array))}, but the output "
                             f"{y.describe(y.spec(y.array))}; they must agree")
        with recording(create_graph):
            _add(pending, _key(y), g, create_graph)
    order, needs = _topological([y.node for y in outputs if y.node is not None], wanted)
    with recording(create_graph):
        for node in reversed(order):
            gs = _collect(node, pending, wanted, found)
            need = needs[node]
            if need is None or gs is None:
                continue
            _check(node)
            try:
                results = node.op.rule(node, need, *gs, **node.kw)
            except FloatingPointError:  # as in Primitive.__call__
                results = node.cls.quietly(node.op.rule, [node, need, *gs], node.kw)
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
            if isinstance(key, Traced) and (wanted is None or key in wanted):
                hooks = getattr(key, "hooks", None)
                found[key] = g if hooks is None else _hooked(hooks, 0, g, None)


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
    if node.hooks is not None and g is not None:
        g = _hooked(node.hooks, 0, g, found if wanted is None else None)
    if wanted is not None and g is not None and node in wanted:
        found[node] = g
    if node.n_outputs == 1:
        return None if g is None else [g]
    gs = [g]
    for i in range(1, node.n_outputs):
        g = pending.pop((node, i), None)
        if node.hooks is not None and g is not None:
            g = _hooked(node.hooks, i, g, found if wanted is None else None)
        gs.append(g)
        if wanted is not None and g is not None and (node, i) in wanted:
            found[node, i] = g
    return None if all(g is None for g in gs) else gs


def _hooked(hooks: list, i: int, g: Variable, retained: dict | None) -> Variable:
    """g, the gradient of output i, after its hooks; in `retained` they leave what `.grad` is to hold (None: leave nothing)."""
    for hook in tuple(hooks):
        g = hook(i, g, retained)
    return g


def _add(pending: dict, key, g: Variable, create_graph: bool) -> None:
    """Add g to what has arrived. The first is kept by reference; later ones are added in place where nobody else sees the sum.

    A rule may return the cotangent that it was given, one array twice, a view, or an array that something else keeps. To add in
    place would then change what others read. Rules need not declare any of this, because the sweep compares reference counts: it
    adds in place only if the sum is held as often as a new object that nobody else knows.
    """
    total = pending.get(key)
    if total is None:
        pending[key] = g
        return
    pending[key], new = None, object()  # `pending` no longer holds the sum
    alone = getrefcount(new)
    if create_graph or getrefcount(total) > alone or total.memory_is_shared(alone):
        pending[key] = total + g
    else:
        pending[key] = total.accumulate_(g)


def _check(node: Node) -> None:
    """Raise RuntimeError if the node's rule cannot be called, or would read values that have changed since."""
    if node.inputs is None:
        raise RuntimeError(f"grad: the graph of {node.op.name} was already released by an earlier sweep; "
                           "pass retain_graph=True to the earlier call to go through it twice")
    if node.op.rule is None:
        raise RuntimeError(f"grad: {node.op.name} has no derivative rule")
    for x, array, version in zip(node.inputs, node.arrays, node.versions):
        if isinstance(x, Traced):
            if x.array is not array:
                past = _as_recorded(x, array)
                node.inputs = [past if v is x else v for v in node.inputs]
            elif x.version != version:
                raise RuntimeError(_stale(node, x, version))
    if node.outputs and node.cell is not None and node.cell[0] != node.out_version:
        raise RuntimeError(_stale(node, node.output(node.op.saves_out[0]), node.out_version))


@primitive
def same(array):
    """The value as it is."""
    return array


@same.vjp
def _(node, needs, g):
    return (g,)


def _as_recorded(x: Variable, array) -> Variable:
    """x with the array that it had when the call was recorded: it has been given another since (`x.data = ...`)."""
    if not x.tracked:
        return make_variable(x.result_type, array, None, 0)
    if x.node is not None:
        return make_variable(x.result_type, array, x.node, x.index)
    node = same.record(x.result_type, (x,), [array], {}, array)
    node.specs = [x.spec(array)]
    return make_variable(x.result_type, array, node, 0)


def _stale(node: Node, x: Variable, version: int) -> str:
    """The message for a changed value. It names the leaf that x is a view of, because that is what the caller changed."""
    base = x
    while base.node is not None and base.node.op.view and isinstance(base.node.parents[0], (Node, Variable)):
        parent = base.node.parents[0]
        if isinstance(parent, Traced):
            base = parent
            break
        base = make_variable(parent.cls, None, parent, 0)
    name = getattr(base, "name", None)
    what = f"'{name}'" if name else "a tensor"
    return (f"grad: {what} {x.describe(x.spec(x.array))}, read by the derivative of {node.op.name}, was modified in place "
            f"after the forward pass (version {x.version}, expected {version}). The usual cause is optimizer.step() between "
            "forward and backward: compute all gradients first, or run the forward pass again.")
