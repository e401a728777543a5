"""Update rules that this field uses seldom, in plain array code: Adadelta, Adamax, NAdam, RAdam, Rprop.

Imports: numpy, optimizer.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.optim.optimizer import Optimizer


class _Plain(Optimizer):
    """One parameter after the other: a subclass defines `_change(group, t, p, g, state)`, which changes p in place."""

    _zeros: tuple = ()  # entries of the state that start as zeros

    def _prepare(self, group, p, state):
        if not state:
            state.update(step=0, **{name: np.zeros_like(p.array) for name in self._zeros})

    def _update(self, group, age, params, grads, states):
        for p, g, state in zip(params, grads, states, strict=True):
            g = -g if group["maximize"] else g
            if group.get("weight_decay") and not group.get("decoupled_weight_decay"):
                g = g + p * p.dtype.type(group["weight_decay"])
            elif group.get("weight_decay"):
                p *= p.dtype.type(1 - group["lr"] * group["weight_decay"])
            self._change(group, age, p, g, state)

    def _betas(self, group):
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{self._name}: betas must be two numbers, got {betas!r}")
        for i, beta in enumerate(betas):
            self._number(f"betas[{i}]", beta, below=1)


class Adadelta(_Plain):
    """v = rho v + (1-rho) g^2, d = g sqrt(u + eps) / sqrt(v + eps), u = rho u + (1-rho) d^2, p -= lr d (Zeiler 2012)."""

    _zeros = ("square_avg", "acc_delta")

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, *, maximize=False):
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize))

    def _check(self, group):
        super()._check(group)
        self._number("rho", group["rho"])
        if group["rho"] > 1:
            raise ValueError(f"{self._name}: rho must lie in [0, 1], got {group['rho']}")

    def _change(self, group, t, p, g, state):
        v, u, rho, eps = state["square_avg"], state["acc_delta"], group["rho"], group["eps"]
        v *= rho
        v += (1 - rho) * g * g
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u *= rho
        u += (1 - rho) * d * d
        p -= group["lr"] * d


class Adamax(_Plain):
    """m = beta1 m + (1-beta1) g, u = max(beta2 u, |g| + eps), p -= lr / (1 - beta1^t) * m / u (Kingma & Ba 2015, section 7.1)."""

    _zeros = ("exp_avg", "exp_inf")

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, *, maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize))

    def _check(self, group):
        super()._check(group)
        self._betas(group)

    def _change(self, group, t, p, g, state):
        m, u, (beta1, beta2) = state["exp_avg"], state["exp_inf"], group["betas"]
        m += (g - m) * (1 - beta1)
        np.maximum(u * beta2, np.abs(g) + group["eps"], out=u)
        p -= group["lr"] / (1 - beta1**t) * (m / u)


class NAdam(_Plain):
    """Adam with Nesterov's momentum, whose beta1 grows by mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) (Dozat 2016)."""

    _zeros = ("exp_avg", "exp_avg_sq")

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
                 decoupled_weight_decay=False, *, maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
                                      decoupled_weight_decay=decoupled_weight_decay, maximize=maximize))

    def _check(self, group):
        super()._check(group)
        self._betas(group)

    def _change(self, group, t, p, g, state):
        m, v, (beta1, beta2), decay = state["exp_avg"], state["exp_avg_sq"], group["betas"], group["momentum_decay"]
        mu, following = (beta1 * (1 - 0.5 * 0.96 ** (s * decay)) for s in (t, t + 1))
        state["mu_product"] = product = state.get("mu_product", 1.0) * mu
        m += (g - m) * (1 - beta1)
        v *= beta2
        v += (1 - beta2) * g * g
        denominator = np.sqrt(v / (1 - beta2**t)) + group["eps"]
        p -= group["lr"] * (1 - mu) / (1 - product) * (g / denominator)
        p -= group["lr"] * following / (1 - product * following) * (m / denominator)


class RAdam(_Plain):
    """Adam without the second moment until its variance is known, and rectified then (Liu et al. 2020)."""

    _zeros = ("exp_avg", "exp_avg_sq")

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, *,
                 maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      decoupled_weight_decay=decoupled_weight_decay, maximize=maximize))

    def _check(self, group):
        super()._check(group)
        self._betas(group)

    def _change(self, group, t, p, g, state):
        m, v, (beta1, beta2) = state["exp_avg"], state["exp_avg_sq"], group["betas"]
        m += (g - m) * (1 - beta1)
        v *= beta2
        v += (1 - beta2) * g * g
        mean = m / (1 - beta1**t)
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            rectified = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
            mean = mean * (rectified * math.sqrt(1 - beta2**t) / (np.sqrt(v) + group["eps"]))
        p -= group["lr"] * mean


class Rprop(_Plain):
    """p -= sign(g) * step; the step of an entry grows by etas[1] while its sign stays, and shrinks by etas[0] where it turns,
    which is then waited out once (Riedmiller & Braun 1993). For full batches.
    """

    _zeros = ("prev",)

    def __init__(self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, maximize=False):
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize))

    def _check(self, group):
        self._number("lr", group["lr"])
        if not 0 < group["etas"][0] < 1 < group["etas"][1]:
            raise ValueError(f"Rprop: etas must lie on both sides of 1, got {group['etas']}")

    def _prepare(self, group, p, state):
        if not state:
            super()._prepare(group, p, state)
            state["step_size"] = np.full_like(p.array, group["lr"])

    def _change(self, group, t, p, g, state):
        size, turn = state["step_size"], np.sign(g * state["prev"])
        (down, up), (least, most) = group["etas"], group["step_sizes"]
        size *= np.where(turn > 0, up, np.where(turn < 0, down, 1)).astype(p.dtype)
        np.clip(size, least, most, out=size)
        g = np.where(turn < 0, np.zeros_like(g), g)
        p -= np.sign(g) * size
        state["prev"][...] = g
