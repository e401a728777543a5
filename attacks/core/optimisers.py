"""Optimisers that train the input: those of minigrad.optim, and steepest ascent in the norm of a threat.

A recipe is an optimiser without its parameters, because these are made only once the attack has begun: `SignSGD(lr)`,
`Steepest(lr)`, `SGD(lr)`, `Adam(lr)`. Any callable params -> optimiser serves as well: lambda params: optim.RMSprop(params, 0.01).

Optimisers descend, an attack climbs: the attack hands them minus the gradient of what it climbs.

Imports: numpy, minigrad.optim, arrays, threat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attacks.core.arrays import real, rows_of
from attacks.core.threat import Linf, Threat
from minigrad import optim


class SteepestDescent(optim.Optimizer):
    """p -= lr * argmax <m, u> over ||u|| <= 1, in the norm of a threat, for each row of p: sign(m) in Linf, m / ||m|| in L2.

    m = momentum * m + g / ||g||_1 (Dong et al. 2018, equation 6), and m = g where momentum is 0. A gradient of 0 moves
    nothing. lr is a number, or one for each row.
    """

    def __init__(self, params, lr, momentum=0.0, norm: Threat | None = None):
        self.norm = Linf(0) if norm is None else norm
        super().__init__(params, dict(lr=lr, momentum=momentum))

    def _check(self, group):
        self._number("momentum", group["momentum"])
        real(self._name, "[0, inf)", each=True, lr=group["lr"])
        real(self._name, "[0, inf)", momentum=group["momentum"])

    def _prepare(self, group, p, state):
        if group["momentum"] and not state:
            state["momentum_buffer"] = np.zeros_like(p.array)

    def _age(self, state):
        return 0

    def _update(self, group, age, params, grads, states):
        for p, g, state in zip(params, grads, states, strict=True):
            if group["momentum"]:
                size = np.sum(np.abs(g), axis=tuple(range(1, g.ndim)), keepdims=True)
                m = state["momentum_buffer"]
                m *= group["momentum"]
                m += g / np.where(size > 0, size, 1)
                g = m
            p -= rows_of(group["lr"], p) * self.norm.steepest(g)


class CoordinateAdam:
    """Adam on chosen coordinates, with a count of steps for each (Chen et al. 2017, algorithm 2).

    optim.Adam moves all coordinates of a parameter and has one count for them. Here a coordinate that is not chosen keeps
    its averages and its count. shape: of the array whose coordinates these are.
    """

    def __init__(self, shape):
        self.mean, self.square, self.count = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def direction(self, at, g):
        """m^ / (sqrt(v^) + 1e-8) at the coordinates `at` (an index of the array), where the gradient is g: step by -lr times it."""
        m, v, t = 0.9 * self.mean[at] + 0.1 * g, 0.999 * self.square[at] + 0.001 * g**2, self.count[at] + 1
        self.mean[at], self.square[at], self.count[at] = m, v, t
        return m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


class Recipe:
    """An optimiser without its parameters: recipe(params, threat) makes it."""

    def __init__(self, text: str, make: Callable):
        self.text, self.make = text, make

    def __repr__(self):
        return self.text

    def __call__(self, params, threat):
        return self.make(params, threat)


def Steepest(lr, momentum: float = 0.0, norm: Threat | None = None) -> Recipe:
    """Steps of length lr in the direction in which the loss rises fastest for the threat's norm, or for `norm`."""
    text = f"Steepest({lr if np.ndim(lr) == 0 else 'per sample'}, momentum={momentum})"
    return Recipe(text, lambda params, threat: SteepestDescent(params, lr, momentum, threat if norm is None else norm))


def SignSGD(lr, momentum: float = 0.0) -> Recipe:
    """Steps of lr * sign(gradient)."""
    return Recipe(f"SignSGD({lr}, momentum={momentum})", Steepest(lr, momentum, Linf(0)).make)


def SGD(lr, **options) -> Recipe:
    """minigrad.optim.SGD."""
    return Recipe(f"SGD({lr}, {options})", lambda params, threat: optim.SGD(params, lr, **options))


def Adam(lr, **options) -> Recipe:
    """minigrad.optim.Adam. Its first steps have length lr whatever the scale of the gradient."""
    return Recipe(f"Adam({lr}, {options})", lambda params, threat: optim.Adam(params, lr, **options))


def trainer_of(optimiser, params, threat, name: str) -> optim.Optimizer:
    """The optimiser of these parameters: a recipe or a callable makes it, a finished one must hold just these."""
    if isinstance(optimiser, optim.Optimizer):
        if {id(q) for group in optimiser.param_groups for q in group["params"]} != {id(q) for q in params}:
            raise ValueError(f"{name}: the optimiser holds other parameters than p.params; give a recipe such as Adam(0.01)")
        return optimiser
    if isinstance(optimiser, Recipe):
        return optimiser(params, threat)
    if callable(optimiser):
        return optimiser(params)
    raise TypeError(f"{name}: optimiser must be a recipe such as SignSGD(0.01), a callable params -> optimiser, or an optimiser "
                    f"of p.params, got {type(optimiser).__name__}")


def shrink(optimiser, rows, n: int) -> None:
    """Keep rows of everything that the optimiser holds for each of n samples."""
    for state in optimiser.state.values():
        for key, value in state.items():
            if np.ndim(value) and len(value) == n:
                state[key] = value[rows]
    for group in optimiser.param_groups:
        for key, value in group.items():
            if key != "params" and isinstance(value, np.ndarray) and value.shape == (n,):
                group[key] = value[rows]
    if isinstance(optimiser, SteepestDescent) and np.shape(optimiser.norm.epsilon) == (n,):
        optimiser.norm = optimiser.norm[rows]
