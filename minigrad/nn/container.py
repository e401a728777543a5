"""Modules that hold modules or Parameters: Sequential, Residual, lists, dicts; and Identity, which holds nothing.

A child's name in the state is its index or key. Sequential and Residual let neighbours share a pass over memory
(`minigrad.nn.fusion`).

Imports: minigrad.functional.common, fusion, module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minigrad.functional.common import integer, real
from minigrad.nn import fusion
from minigrad.nn.module import Module, Parameter


class Identity(Module):
    """Hands its input on; takes and ignores any arguments."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class _Indexed(Module):
    """A module whose children are numbered 0, 1, 2, ..."""

    def _list(self) -> list[Module]:
        return [child for _, child in self._own("module")]

    def __len__(self):
        return len(self._list())

    def __iter__(self):
        return iter(self._list())

    def _position(self, index) -> int:
        index, n = integer(f"{type(self).__name__} index", index), len(self)
        if not -n <= index < n:
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {n} modules")
        return index % n

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._made(list(self._own("module"))[index])
        return self._list()[self._position(index)]

    def __setitem__(self, index, module):
        name = list(dict(self._own("module")))[self._position(index)]
        setattr(self, name, module)

    def __delitem__(self, index):
        kept = self._list()
        del kept[index if isinstance(index, slice) else self._position(index)]
        for name, _ in list(self._own("module")):
            delattr(self, name)
        self.extend(kept)

    def __repr__(self):
        """Equal neighbours are counted: (0-2): 3 x Linear(...)."""
        runs = []
        for i, child in enumerate(self._list()):
            text = repr(child)
            if runs and runs[-1][2] == text:
                runs[-1][1] = i
            else:
                runs.append([i, i, text])
        return self._frame([self._line(*run) for run in runs])

    @staticmethod
    def _line(first, last, text):
        head = f"({first}): " if first == last else f"({first}-{last}): {last - first + 1} x "
        return head + text.replace("\n", "\n  ")

    def append(self, module):
        """Put a module at the end; returns self."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules):
        """Append every module of an iterable; returns self."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module):
        """Put a module before position `index`; returns self."""
        rest = self._list()
        rest.insert(index, module)
        for name, _ in list(self._own("module")):
            delattr(self, name)
        return self.extend(rest)

    def pop(self, index=-1) -> Module:
        """Remove and return the module at `index`."""
        module = self[index]
        del self[index]
        return module


class Sequential(_Indexed):
    """Modules applied one after the other: Sequential(a, b, c), or Sequential(dict(name=module, ...)) with names."""

    def __init__(self, *args):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.register_module(name, module)
        else:
            self.extend(args)

    def _made(self, pairs):
        return Sequential(dict(pairs))

    def append(self, module):
        """Put a module at the end; returns self."""
        if not isinstance(module, Module):
            raise TypeError(f"Sequential: takes modules, got {type(module).__name__}; give a layer such as nn.ReLU() "
                            "(an instance, not the class or a function)")
        return super().append(module)

    def forward(self, input):
        modules, i = self._list(), 0
        while i < len(modules):
            input, i = fusion.run(modules, i, input)
        return input

    def __repr__(self):
        return Module.__repr__(self)


class Residual(Module):
    """leaky_relu(main(x) + skip(x)): a residual block (He et al. 2016, equation 2). PyTorch has no such module.

    main: a Module; skip: a Module for the way round it, or None for x itself; both results have one shape, or ValueError.
    negative_slope: of the activation after the sum, 0 (the default) for ReLU, 1 for none; at least 0, or ValueError.
    In the state the two are `main` and `skip`. The sum and the activation are one pass over memory, and in training a batch
    norm at the end of `main` is part of it.
    """

    def __init__(self, main: Module, skip: Module | None = None, negative_slope: float = 0.0):
        super().__init__()
        self.main, self.skip = main, skip
        self.negative_slope = real("Residual: negative_slope", negative_slope)
        if self.negative_slope < 0:
            raise ValueError(f"Residual: negative_slope must be at least 0, got {negative_slope}")

    def forward(self, input):
        other = input if self.skip is None else self.skip(input)
        plain = type(self.main) is Sequential and not self.main.hooked
        return fusion.summed(list(self.main) if plain else [self.main], input, other, self.negative_slope)

    def extra_repr(self):
        return f"negative_slope={self.negative_slope}"


class ModuleList(_Indexed):
    """A list whose modules are registered. It has no forward: the owner uses its elements."""

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _made(self, pairs):
        return ModuleList(module for _, module in pairs)


class ModuleDict(Module):
    """A dict of name -> module whose modules are registered. It has no forward: the owner uses its elements."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def update(self, modules) -> None:
        """Set several entries, from a mapping or from pairs."""
        for name, module in dict(modules).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        children = dict(self._own("module"))
        if name not in children:
            raise KeyError(f"ModuleDict has no module {name!r}; it has {', '.join(children) or 'none'}")
        return children[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.register_module(name, module)

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def __len__(self):
        return len(dict(self._own("module")))

    def __iter__(self):
        return iter(dict(self._own("module")))

    def __contains__(self, name):
        return name in dict(self._own("module"))

    def keys(self):
        return dict(self._own("module")).keys()

    def values(self):
        return dict(self._own("module")).values()

    def items(self):
        return dict(self._own("module")).items()

    def clear(self) -> None:
        """Remove every module."""
        for name in list(self):
            delattr(self, name)

    def pop(self, name: str) -> Module:
        """Remove and return a module."""
        module = self[name]
        delattr(self, name)
        return module


class ParameterList(Module):
    """A list whose Parameters are registered as "0", "1", ...; Tensors and arrays become Parameters."""

    def __init__(self, values: Iterable | None = None):
        super().__init__()
        if values is not None:
            self.extend(values)

    def append(self, value):
        """Put a Parameter at the end; returns self."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values):
        """Append every value of an iterable; returns self."""
        for value in values:
            self.append(value)
        return self

    def __len__(self):
        return len(list(self._own("parameter")))

    def __iter__(self):
        return iter([value for _, value in self._own("parameter")])

    def __getitem__(self, index):
        values = list(self)[index]
        return ParameterList(values) if isinstance(index, slice) else values

    def __setitem__(self, index, value):
        setattr(self, str(range(len(self))[index]), _parameter(value))


class ParameterDict(Module):
    """A dict of name -> Parameter whose Parameters are registered; Tensors and arrays become Parameters."""

    def __init__(self, parameters: Mapping | Iterable[tuple] | None = None):
        super().__init__()
        if parameters is not None:
            self.update(parameters)

    def update(self, parameters) -> None:
        """Set several entries, from a mapping or from pairs."""
        for name, value in dict(parameters).items():
            self[name] = value

    def __getitem__(self, name: str) -> Parameter:
        return dict(self._own("parameter"))[name]

    def __setitem__(self, name: str, value) -> None:
        self.register_parameter(name, _parameter(value))

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def __len__(self):
        return len(dict(self._own("parameter")))

    def __iter__(self):
        return iter(dict(self._own("parameter")))

    def __contains__(self, name):
        return name in dict(self._own("parameter"))

    def keys(self):
        return dict(self._own("parameter")).keys()

    def values(self):
        return dict(self._own("parameter")).values()

    def items(self):
        return dict(self._own("parameter")).items()


def _parameter(value) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)
