"""`Module`: a tree of layers with named parameters and buffers; `Parameter`: a leaf Tensor that an optimiser changes.

Names, order and meaning are PyTorch's: a module's own parameters come first, then its buffers, then its children, each
in the order of assignment, so `state_dict()` keys agree with those of the same tree in PyTorch.

Invariants:
  * One table per module (`_registry`: name -> kind) says what is registered; the values are ordinary attributes.
  * A parameter shared by two layers appears once in `parameters()`, and under both names in `state_dict()`.
  * `training` belongs to each module; there is no global flag.
  * Buffers are constants: they never require a gradient and never hold a graph.
  * `Parameter.name` is the path from the module registered last ("features.0.weight"); error messages use it.

Imports: numpy, minigrad.absent, minigrad.functional.door, minigrad.tensor, containment.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from minigrad.absent import ABSENT, missing
from minigrad.functional.door import overflows
from minigrad.nn.containment import warn_of_plain_containers
from minigrad.tensor import Tensor
from minigrad.tensor import tensor as as_leaf

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "module"


class Parameter(Tensor):
    """Parameter(data, requires_grad=True): a leaf that `Module` registers and optimisers update.

    data: a Tensor, array or nested list; its values are copied. Results of operations on it are plain Tensors.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad=True):
        self.start(as_leaf(data).array, requires_grad)
        self.name = None

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` could not match."""

    missing_keys: list
    unexpected_keys: list


class Module:
    """Base class of layers and networks. Subclasses assign Parameters and Modules in `__init__` and define `forward`.

    Calling the module calls `forward`. Assignments come after `super().__init__()`.
    """

    _optional_keys: tuple = ()  # buffers whose absence from a state_dict is no error (PyTorch's old files)

    def __init__(self):
        put = super().__setattr__
        put("_registry", {})
        put("_hooks", {})
        put("training", True)

    def forward(self, *args, **kwargs):
        """The computation; every subclass defines its own."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, ...)")

    def __call__(self, *args, **kwargs):
        try:
            hooks = self._hooks
        except AttributeError:
            raise AttributeError(_before_init(self)) from None
        if not hooks:
            return self.forward(*args, **kwargs)
        for before, hook in list(hooks.values()):
            if before:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs)
        for before, hook in list(hooks.values()):
            if not before:
                changed = hook(self, args, out)
                out = out if changed is None else changed
        return out

    # ---- registration --------------------------------------------------------------------------------------------

    def __setattr__(self, name, value):
        registry = self.__dict__.get("_registry")
        if registry is None:
            raise AttributeError(_before_init(self, name))
        kind = PARAMETER if isinstance(value, Parameter) else MODULE if isinstance(value, Module) else None
        known = registry.get(name)
        if kind is not None:
            if known != kind:  # a name that changes its kind moves to the end
                registry.pop(name, None)
                registry[name] = kind
        elif known is not None and not (value is None or (known in (BUFFER, TRANSIENT) and isinstance(value, Tensor))):
            wanted = {PARAMETER: "a Parameter", MODULE: "a Module"}.get(known, "a Tensor")
            raise TypeError(f"{type(self).__name__}.{name} is registered as a {known}; it can be {wanted} or None, not "
                            f"{type(value).__name__}. `del` it first, or overwrite the values with .assign_()")
        super().__setattr__(name, value)
        if kind == PARAMETER:
            value.name = name
        elif kind == MODULE:
            for path, parameter in value.named_parameters():
                parameter.name = f"{name}.{path}"

    def __delattr__(self, name):
        super().__delattr__(name)
        self._registry.pop(name, None)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if "_registry" not in self.__dict__:
            raise AttributeError(_before_init(self, name))
        if name in ABSENT["Module"]:
            raise missing("Module", name)
        known = ", ".join(self._registry) or "nothing"
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}' (registered: {known}); "
                             f"assign it in __init__ before it is read")

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Give the name a Parameter, or None to say that it could have one (bias=False)."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: '{name}' must be a Parameter or None, got {type(parameter).__name__}")
        self._register(name, parameter, PARAMETER)

    def register_buffer(self, name: str, tensor, persistent: bool = True) -> None:
        """Give the name a constant that belongs to the state: saved unless persistent=False, moved by `to`, untrained.

        tensor: a Tensor without gradient, an array, or None.
        """
        if isinstance(tensor, Tensor):
            tensor = tensor.detach()
        elif tensor is not None:
            tensor = as_leaf(tensor)
        self._register(name, tensor, BUFFER if persistent else TRANSIENT)

    def register_module(self, name: str, module: Module | None) -> None:
        """Give the name a sub-module; the same as assigning the attribute, for names made at run time."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"register_module: '{name}' must be a Module or None, got {type(module).__name__}")
        self._register(name, module, MODULE)

    add_module = register_module

    def _register(self, name, value, kind):
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{kind} name {name!r} must be a non-empty string without '.'")
        if "_registry" not in self.__dict__:
            raise AttributeError(_before_init(self, name))
        if name not in self._registry and (name in self.__dict__ or hasattr(type(self), name)):
            raise KeyError(f"{kind} name '{name}' is already an attribute of {type(self).__name__}; choose another")
        if self._registry.get(name) != kind:
            self._registry.pop(name, None)
            self._registry[name] = kind
        setattr(self, name, value)

    def register_forward_hook(self, hook: Callable) -> Handle:
        """Call hook(module, args, output) after each forward; a result other than None replaces the output."""
        return Handle(self._hooks, (False, hook))

    def register_forward_pre_hook(self, hook: Callable) -> Handle:
        """Call hook(module, args) before each forward; a result other than None replaces the arguments."""
        return Handle(self._hooks, (True, hook))

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        cls._as_written = cls.forward, cls.__call__

    @property
    def hooked(self) -> bool:
        """Whether a call does more than the forward of the class as it was written: a hook watches, or forward was replaced."""
        cls = type(self)
        return bool(self._hooks) or "forward" in self.__dict__ or cls._as_written != (cls.forward, cls.__call__)

    # ---- walking the tree ----------------------------------------------------------------------------------------

    def _own(self, *kinds) -> Iterator[tuple]:
        for name, kind in list(self._registry.items()):
            if kind in kinds:
                value = self.__dict__.get(name)
                if value is not None:
                    yield name, value

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct sub-modules, each once."""
        seen = set()
        for name, module in self._own(MODULE):
            if module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct sub-modules."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True, _seen=None) -> Iterator[tuple]:
        """(path, module) of this module ("" or the prefix) and everything below it, parents first."""
        seen = set() if _seen is None else _seen
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, module in self._own(MODULE):
            yield from module.named_modules(f"{prefix}.{name}" if prefix else name, remove_duplicate, seen)

    def modules(self) -> Iterator[Module]:
        """This module and everything below it, each once."""
        return (module for _, module in self.named_modules())

    def _named(self, kinds, prefix, recurse, remove_duplicate) -> Iterator[tuple]:
        seen = set()
        if recurse and PARAMETER in kinds:
            warn_of_plain_containers(self)
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for name, value in module._own(*kinds):
                if value not in seen:
                    if remove_duplicate:
                        seen.add(value)
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter), each parameter once unless remove_duplicate=False."""
        return self._named((PARAMETER,), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every Parameter of the tree, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True) -> Iterator[tuple[str, Tensor]]:
        """(path, Tensor) of the buffers, those that are not saved included."""
        return self._named((BUFFER, TRANSIENT), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer of the tree, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "features.0"; "" is this one. Raises AttributeError when there is none."""
        module = self
        for name in target.split(".") if target else ():
            module = dict(module._own(MODULE)).get(name)
            if module is None:
                raise AttributeError(f"{type(self).__name__} has no module '{target}'; it has "
                                     f"{', '.join(path for path, _ in self.named_modules() if path)}")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The Parameter at a path such as "features.0.weight". Raises AttributeError when there is none."""
        return self._get(target, PARAMETER)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as "features.1.running_mean". Raises AttributeError when there is none."""
        return self._get(target, BUFFER, TRANSIENT)

    def _get(self, target, *kinds):
        path, _, name = target.rpartition(".")
        found = dict(self.get_submodule(path)._own(*kinds))
        if name not in found:
            raise AttributeError(f"{type(self).__name__} has no {kinds[0]} '{target}'")
        return found[name]

    _parameters = property(lambda self: MappingProxyType(dict(self._own(PARAMETER))), doc="name -> own Parameter, to read.")
    _buffers = property(lambda self: MappingProxyType(dict(self._own(BUFFER, TRANSIENT))), doc="name -> own buffer, to read.")
    _modules = property(lambda self: MappingProxyType(dict(self._own(MODULE))), doc="name -> child, to read.")

    # ---- acting on the tree --------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], object]) -> Module:
        """Call fn on every module of the tree, children before parents; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Training behaviour (dropout draws, batch norm uses the batch) for the whole tree; returns self."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """The same as train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or thaw every parameter; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        zero_grads(self.parameters(), set_to_none)

    def to(self, *args, dtype=None, device=None, non_blocking=False) -> Module:
        """Change dtype (of what holds floating-point numbers) or device in place; arguments as Tensor.to.

        non_blocking is accepted and changes nothing.
        """
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            for t in (tensor, tensor.grad) if tensor.grad is not None else (tensor,):
                new = t.detach().to(*args, dtype=dtype, device=device)
                if t.dtype.kind != "f":
                    new = t.detach().to(new.device)
                elif new.dtype.kind != "f":
                    raise TypeError(f"{type(self).__name__}.to: parameters hold floating-point numbers, not "
                                    f"{new.dtype}; use float32 or float64")
                if new.array is not t.array:
                    t.array = new.array
                    t.version_cell[0] += 1
        return self

    def float(self) -> Module:
        """to(float32)."""
        return self.to(np.float32)

    def double(self) -> Module:
        """to(float64), for checking derivatives."""
        return self.to(np.float64)

    def cpu(self) -> Module:
        """to("cpu")."""
        return self.to("cpu")

    def cuda(self, device=None) -> Module:
        """to("cuda"). There is one GPU; its number is ignored."""
        return self.to("cuda")

    def type(self, dst_type) -> Module:
        """to(dst_type), a dtype."""
        return self.to(dtype=dst_type)

    # ---- state ---------------------------------------------------------------------------------------------------

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(remove_duplicate=False):
            for name, value in itertools.chain(module._own(PARAMETER), module._own(BUFFER)):
                yield f"{path}.{name}" if path else name, value

    def state_dict(self, destination=None, prefix: str = "", keep_vars: bool = False) -> dict[str, np.ndarray]:
        """Path -> a copy of the values, for parameters and persistent buffers: PyTorch's keys, shapes and order.

        destination: a dict to write to. prefix: put before every path. keep_vars=True gives the Tensors themselves.
        """
        state = {} if destination is None else destination
        for path, value in self._state():
            state[prefix + path] = value if keep_vars else np.array(value.detach().numpy(), copy=True, order="K")
        return state

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False) -> LoadResult:
        """Overwrite parameters and buffers, in place, with arrays (or CPU tensors of any library) of the same names.

        Values are converted to the dtype that is there. strict=False skips names that only one side has. Nothing is
        written unless everything fits. Raises ValueError listing missing, unexpected and wrongly shaped names, and for a
        finite number that the dtype that is there cannot hold (float64's 1e300 would be infinite in float32). assign is
        accepted and changes nothing: parameters stay the objects that an optimiser knows.
        """
        if not hasattr(state_dict, "items"):
            raise TypeError(f"load_state_dict: expected a dict of name -> array, as minigrad.load(path) gives, got "
                            f"{type(state_dict).__name__}")
        mine = dict(self._state())
        given = {name: value.array if isinstance(value, Tensor) else np.asarray(value)
                 for name, value in state_dict.items()}
        optional = {f"{path}.{name}" if path else name for path, module in self.named_modules(remove_duplicate=False)
                    for name in module._optional_keys}
        missing = [name for name in mine if name not in given and name not in optional]
        unexpected = [name for name in given if name not in mine]
        wrong = [f"{name}: {given[name].shape} given, {mine[name].shape} needed" for name in mine
                 if name in given and given[name].shape != mine[name].shape]
        problems = {**({"missing": missing, "unexpected": unexpected} if strict else {}), "wrong shape": wrong}
        text = "; ".join(f"{label}: {', '.join(names)}" for label, names in problems.items() if names)
        if text:
            hint = " (strict=False skips names that only one side has)" if strict and (missing or unexpected) else ""
            raise ValueError(f"{type(self).__name__}.load_state_dict: {text}{hint}")
        for name in mine:
            if name in given and given[name].dtype.kind not in "fiub":
                raise TypeError(f"load_state_dict: {name} holds {given[name].dtype}, which is no real number")
            if name in given and overflows(given[name], mine[name].dtype):
                raise ValueError(f"load_state_dict: {name} holds numbers that are infinite as {mine[name].dtype}: make the "
                                 f"module {given[name].dtype}, or scale them")
        for name, tensor in mine.items():
            if name in given:
                tensor.assign_(given[name] if tensor.device == "cpu" else as_leaf(given[name], device=tensor.device))
        return LoadResult(missing, unexpected)

    # ---- text ----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The arguments to show in repr."""
        return ""

    def __repr__(self):
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._own(MODULE)]
        return self._frame(lines)

    def _frame(self, lines):
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join(([extra] if extra else []) + lines)
        return f"{type(self).__name__}(\n  {body}\n)"


class Handle:
    """Takes a hook away again: `.remove()`, or leave the `with` block."""

    _ids = itertools.count()

    def __init__(self, hooks: dict, entry):
        self._hooks, self._id = hooks, next(self._ids)
        hooks[self._id] = entry

    def remove(self) -> None:
        self._hooks.pop(self._id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


def zero_grads(parameters, set_to_none: bool = True) -> None:
    """Forget the gradients of the parameters, or set them to zero."""
    for parameter in parameters:
        if set_to_none:
            parameter.grad = None
        elif parameter.grad is not None:
            parameter.grad.assign_(0)


def _before_init(module, name=None) -> str:
    kind = type(module).__name__
    what = f"{kind}.{name} is used" if name else f"{kind} is called"
    return f"{what} before Module.__init__ has run: call super().__init__() first in {kind}.__init__"
