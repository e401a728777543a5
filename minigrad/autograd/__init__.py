"""Automatic differentiation: `graph` records calls, `sweep` walks them backwards. It knows no operation and no array library.
docs/engine.md is the preface: a toy engine of 60 lines, and the map from there to here.

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

from minigrad.autograd.graph import (
    Node,
    Primitive,
    Variable,
    enable_grad,
    is_grad_enabled,
    make_variable,
    no_grad,
    observing,
    primitive,
    recording,
    set_grad_enabled,
    state,
)
from minigrad.autograd.sweep import backward, grad
