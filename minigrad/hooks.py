"""Hooks: a function that sees the gradient of one value while the sweep passes, and may put another in its place.

The engine keeps a list of hook(index, gradient, retained) on the node of a computed value, or on a leaf; these are made here.
`retain_grad` holds its Variable weakly, so that no node owns a Variable that owns the node.

Imports: autograd, notice.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from minigrad.autograd import Variable
from minigrad.notice import warn


class Handle:
    """What `register_hook` returns; `remove()` takes the hook away. As a context manager it does so at the end."""

    def __init__(self, hooks: list, hook: Callable):
        self.hooks, self.hook = hooks, hook

    def remove(self) -> None:
        if self.hook in self.hooks:
            self.hooks.remove(self.hook)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception) -> None:
        self.remove()


def register_hook(v: Variable, hook: Callable) -> Handle:
    """Call hook(gradient) whenever a sweep has the whole gradient of v; what it returns, unless None, goes on in its place.

    Raises RuntimeError where v requires no gradient, and in the sweep for a result of another shape or dtype.
    """
    if not v.requires_grad:
        raise RuntimeError("register_hook: this tensor requires no gradient, so no sweep will call the hook")
    place = v.index

    def called(index, g, retained):
        new = hook(g) if index == place else None
        if new is None:
            return g
        if not isinstance(new, Variable) or new.spec(new.array) != g.spec(g.array):
            what = new.describe(new.spec(new.array)) if isinstance(new, Variable) else f"a {type(new).__name__}"
            raise RuntimeError(f"register_hook: the hook returned {what} for a gradient {g.describe(g.spec(g.array))}; "
                               "return one of the same shape and dtype, or None")
        return new

    return _add(v, called)


def retain_grad(v: Variable) -> None:
    """Let `backward` fill v.grad also where v was computed; nothing to do for a leaf."""
    if not v.requires_grad:
        raise RuntimeError("retain_grad: this tensor requires no gradient")
    if v.node is None or retained(v):
        return
    place, weak = v.index, weakref.ref(v)

    def kept(index, g, retained):
        if index == place and retained is not None and weak() is not None:
            retained[weak()] = g
        return g

    kept.weak = weak
    _add(v, kept)


def retained(v: Variable) -> bool:
    """Whether `retain_grad` was asked for the computed v."""
    return any(getattr(h, "weak", type(None))() is v for h in v.node.hooks or ())


def never_filled(v: Variable) -> None:
    """Warn that `.grad` of the computed v stays None, unless `retain_grad` was asked for."""
    if not retained(v):
        warn("the .grad of a computed tensor stays None, because backward fills the .grad of leaves. Call .retain_grad() on it "
             "before .backward(), or take minigrad.grad(loss, [x])")


def _add(v: Variable, hook: Callable) -> Handle:
    owner = v if v.node is None else v.node
    hooks = getattr(owner, "hooks", None)
    if hooks is None:
        owner.hooks = hooks = []
    hooks.append(hook)
    return Handle(hooks, hook)
