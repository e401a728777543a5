"""Layers and parameters that a module holds in a plain list or dict: nothing trains, moves or saves them, so it is said.

Imports: minigrad.notice.
"""

from __future__ import annotations

from minigrad.notice import warn

__all__ = ["warn_of_plain_containers"]

DEPTH = 3  # lists in lists


def warn_of_plain_containers(root) -> None:
    """Warn of each list or dict, in a module of the tree, that holds a Module or Parameter which the tree has not registered.

    A tuple is left alone: it is the way to keep another network at hand without owning it."""
    suspects = [(module, name, held) for module in root.modules() if not type(module).__module__.startswith("minigrad.")
                for name, value in vars(module).items() if name[0] != "_" and isinstance(value, (list, dict))
                for held in [list(_things(value, DEPTH))] if held]
    if not suspects:
        return
    known = {id(thing) for module in root.modules() for thing in (module, *module._parameters.values())}
    for module, name, held in suspects:
        if any(id(thing) not in known for thing in held):
            layers, plain = hasattr(held[0], "named_modules"), "list" if isinstance(getattr(module, name), list) else "dict"
            kind = ("Module" if layers else "Parameter") + plain.title()
            warn(f"{type(module).__name__}.{name} is a plain {plain} of {'layers' if layers else 'parameters'}, which "
                 f"parameters(), state_dict() and to() do not see: write self.{name} = nn.{kind}(...), or keep what is not to be "
                 "trained in a tuple")


def _things(value, depth: int):
    """The Modules and Parameters in lists and dicts."""
    for item in value.values() if isinstance(value, dict) else value:
        if hasattr(item, "named_modules") or type(item).__name__ == "Parameter":
            yield item
        elif depth > 1 and isinstance(item, (list, dict)):
            yield from _things(item, depth - 1)
