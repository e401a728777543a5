"""Optimisers: SGD, Adam, AdamW, RMSprop, Adagrad. PyTorch's names, arguments and defaults.

The update rules are PyTorch's, in the same order of operations. The numbers agree to rounding and not to the last bit: compiled
kernels fuse products with sums, so 1 to 77 % of a network's float32 parameters end a training in other last bits than PyTorch's,
with the same accuracy.

Each step is one kernel call for all parameters of a group (`minigrad.kernels`, where the equations stand). A parameter
without a gradient is skipped and its own step count stands still. A step overwrites parameters in place and bumps their
versions: a graph recorded before it cannot be swept after it.

`param_groups` is a list of dicts: "params" and the options, which may be changed between steps (schedules do).

Imports: numpy, minigrad.autograd, minigrad.nn.module, minigrad.notice, minigrad.tensor.
"""

from __future__ import annotations

import numpy as np

from minigrad.autograd import enable_grad
from minigrad.nn.module import Module, zero_grads
from minigrad.notice import warn
from minigrad.tensor import Tensor


class Optimizer:
    """Base class: groups, state, saving. params: an iterable of Parameters, or of dicts {"params": ..., option: value}.

    A subclass names its options in `defaults`, checks them in `_check`, and does one update of parameters that have
    seen equally many steps in `_update`.
    """

    def __init__(self, params, defaults: dict):
        self.defaults, self.state, self.param_groups = defaults, {}, []
        if isinstance(params, (Tensor, Module, dict)):
            hint = ".parameters()" if isinstance(params, Module) else "a list"
            raise TypeError(f"{self._name}: params must be an iterable of Parameters or of dicts, "
                            f"got {type(params).__name__}; pass {hint}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: params is empty; an iterator such as .parameters() can be used only once")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, group: dict) -> None:
        """Add parameters with options of their own; options not given are the defaults."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f'{self._name}: a group must be a dict with a "params" entry, got {type(group).__name__}')
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: params[{i}] must be a Tensor, got {type(p).__name__}")
            if p.node is not None:
                raise ValueError(f"{self._name}: params[{i}] {p.shape} was computed; only leaves can be trained")
            if p.dtype.kind != "f":
                raise TypeError(f"{self._name}: params[{i}] must hold floating-point numbers, got {p.dtype}")
            if id(p) in known:
                raise ValueError(f"{self._name}: params[{i}] {p.shape} appears twice; each belongs to one group")
            known.add(id(p))
        group = {"params": params, **self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: dict) -> None:
        """Raise ValueError for options out of range."""
        for key, value in group.items():
            if key in ("params", "betas") or isinstance(self.defaults.get(key, True), bool):
                continue
            if key in self.defaults:
                self._number(key, value)

    def _number(self, key, value, below=None):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise TypeError(f"{self._name}: {key} must be a number, got {value!r}")
        if not value >= 0 or (below is not None and not value < below):
            rule = "at least 0" if below is None else f"in [0, {below})"
            raise ValueError(f"{self._name}: {key} must be {rule}, got {value}")

    # ---- steps ---------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for group in self.param_groups:
            zero_grads(group["params"], set_to_none)

    def step(self, closure=None):
        """One update from the gradients in `.grad`. closure, if given, computes them and returns the loss."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        stepped = False
        for group in self.param_groups:
            together: dict = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                self._check_gradient(p)
                state = self.state.setdefault(p, {})
                self._prepare(group, p, state)
                together.setdefault((self._age(state), p.dtype.char, p.device), []).append((p, state))
            for (age, _, _), members in together.items():
                stepped = True
                params, states = zip(*members, strict=True)
                self._update(group, age, [p.array for p in params], [p.grad.array for p in params], states)
                for p in params:
                    p.version_cell[0] += 1
        if not stepped:
            warn(f"{self._name}.step: no parameter has a gradient, so nothing changes. Call loss.backward() first, and give the "
                 "optimizer the parameters of the network that made the loss")
        return loss

    def _check_gradient(self, p):
        g = p.grad.array if isinstance(p.grad, Tensor) else None
        if g is None or g.shape != p.array.shape or g.dtype != p.array.dtype:
            got = type(p.grad).__name__ if g is None else f"{g.shape} {g.dtype}"
            raise TypeError(f"{self._name}: the gradient of {getattr(p, 'name', None) or 'a parameter'} "
                            f"{p.shape} {p.dtype} is {got}; they must agree")

    def _prepare(self, group, p, state) -> None:
        """Make the entries of a parameter's state that do not exist yet."""
        raise NotImplementedError

    def _age(self, state):
        """What parameters must share to be updated by one call: the number of this step, from 1."""
        state["step"] += 1
        return state["step"]

    def _update(self, group, age, params, grads, states) -> None:
        """Update arrays in place. age is the number of the step."""
        raise NotImplementedError

    # ---- saving --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """{"state": {index: {name: array or number}}, "param_groups": [...]}, a tree that `checkpoint.save` takes.

        Parameters are counted through all groups. Arrays are copies.
        """
        order = [p for group in self.param_groups for p in group["params"]]
        position = {id(p): i for i, p in enumerate(order)}
        state = {i: {k: _copied(v) for k, v in self.state[p].items()} for i, p in enumerate(order) if p in self.state}
        groups = [{**group, "params": [position[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on exactly where `state_dict` was taken. Nothing changes unless groups, counts and shapes all fit."""
        try:
            groups, states = state_dict["param_groups"], {int(i): dict(s) for i, s in state_dict["state"].items()}
            sizes = [len(group["params"]) for group in groups]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"{self._name}.load_state_dict: needs a dict with 'state' and 'param_groups'") from None
        mine = [len(group["params"]) for group in self.param_groups]
        if sizes != mine:
            raise ValueError(f"{self._name}.load_state_dict: the state has groups of {sizes} parameters, "
                             f"the optimizer groups of {mine}")
        position = [i for group in groups for i in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        new_state = {}
        for i, p in zip(position, params, strict=True):
            for key, value in states.get(i, {}).items():
                if np.ndim(value) and np.shape(value) != p.shape:
                    raise ValueError(f"{self._name}.load_state_dict: {key} of parameter {i} has shape "
                                     f"{np.shape(value)}, the parameter {p.shape}")
            if i in states:
                new_state[p] = {key: _like(p.array, value) for key, value in states[i].items()}
        new_groups = []
        for old, given in zip(self.param_groups, groups, strict=True):
            given = {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in given.items()}
            missing = [k for k in self.defaults if k not in given]
            if missing:
                raise ValueError(f"{self._name}.load_state_dict: a group lacks {', '.join(missing)}; "
                                 "it was saved by another optimizer")
            new_groups.append({**given, "params": old["params"]})
            self._check(new_groups[-1])
        self.state = new_state
        for group, new in zip(self.param_groups, new_groups, strict=True):
            group.clear()
            group.update(new)

    def __repr__(self):
        text = f"{self._name} (\n"
        for i, group in enumerate(self.param_groups):
            text += f"Parameter Group {i}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"


def _copied(value):
    if not hasattr(value, "dtype"):
        return value
    return value.copy(order="K") if isinstance(value, np.ndarray) else value.get()


def _like(array, value):
    """A saved entry again: numbers as they are, arrays in the parameter's dtype, layout and device."""
    if not hasattr(value, "dtype"):
        return value
    new = np.zeros_like(array)
    new[...] = value if isinstance(array, np.ndarray) else type(array)(value)
    return new
