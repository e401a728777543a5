"""The update rules; each equation stands with its kernel in `minigrad.kernels.reference`.

Imports: numpy, minigrad.kernels, optimizer.
"""

from __future__ import annotations

import numpy as np

from minigrad import kernels
from minigrad.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum*v + (1 - dampening)*g (v = g at first), p -= lr*v.

    nesterov: p -= lr*(g + momentum*v); needs momentum > 0 and dampening 0. weight_decay adds weight_decay*p to g;
    maximize climbs instead (Sutskever et al. 2013, in PyTorch's form).
    """

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False):
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize))

    def _check(self, group):
        for key in ("lr", "momentum", "weight_decay"):
            self._number(key, group[key])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(f"SGD: nesterov needs momentum > 0 and dampening 0, got momentum={group['momentum']}, "
                             f"dampening={group['dampening']}")

    def _prepare(self, group, p, state):
        pass

    def _age(self, state):
        return "momentum_buffer" in state

    def _update(self, group, age, params, grads, states):
        buffers = None
        if group["momentum"]:
            for state, p in zip(states, params, strict=True):
                if not age:
                    state["momentum_buffer"] = np.zeros_like(p)
            buffers = [state["momentum_buffer"] for state in states]
        options = {k: group[k] for k in ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")}
        kernels.sgd_step(params, grads, buffers, first=not age, **options)


class Adam(Optimizer):
    """m = beta1 m + (1-beta1) g, v = beta2 v + (1-beta2) g^2, p -= lr * m^ / (sqrt(v^) + eps) (Kingma & Ba 2015).

    m^ and v^ are corrected for their start at 0. weight_decay joins the gradient; amsgrad divides by the largest v^ so
    far (Reddi et al. 2018).
    """

    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize))

    def _check(self, group):
        for key in ("lr", "eps", "weight_decay"):
            self._number(key, group[key])
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{self._name}: betas must be two numbers, got {betas!r}")
        for i, beta in enumerate(betas):
            self._number(f"betas[{i}]", beta, below=1)

    def _prepare(self, group, p, state):
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(p.array), exp_avg_sq=np.zeros_like(p.array))
        if group["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = np.zeros_like(p.array)

    def _update(self, group, age, params, grads, states):
        largest = [s["max_exp_avg_sq"] for s in states] if group["amsgrad"] else None
        beta1, beta2 = group["betas"]
        kernels.adam_step(params, grads, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states], largest,
                          step=age, lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"],
                          weight_decay=group["weight_decay"], decoupled=self.decoupled,
                          maximize=group["maximize"])


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p *= 1 - lr*weight_decay (Loshchilov & Hutter 2019)."""

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
                 maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class RMSprop(Optimizer):
    """v = alpha v + (1-alpha) g^2, p -= lr * g / (sqrt(v) + eps) (Tieleman & Hinton 2012).

    centered subtracts the squared mean gradient from v; momentum averages the steps.
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, *,
                 maximize=False):
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                                      centered=centered, maximize=maximize))

    def _prepare(self, group, p, state):
        if not state:
            state.update(step=0, square_avg=np.zeros_like(p.array))
        if group["centered"] and "grad_avg" not in state:
            state["grad_avg"] = np.zeros_like(p.array)
        if group["momentum"] > 0 and "momentum_buffer" not in state:
            state["momentum_buffer"] = np.zeros_like(p.array)

    def _update(self, group, age, params, grads, states):
        means = [s["grad_avg"] for s in states] if group["centered"] else None
        buffers = [s["momentum_buffer"] for s in states] if group["momentum"] > 0 else None
        options = {k: group[k] for k in ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize")}
        kernels.rmsprop_step(params, grads, [s["square_avg"] for s in states], means, buffers, **options)


class Adagrad(Optimizer):
    """sum += g^2, p -= lr / (1 + (t-1) lr_decay) * g / (sqrt(sum) + eps) (Duchi et al. 2011)."""

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, *,
                 maximize=False):
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                                      initial_accumulator_value=initial_accumulator_value, eps=eps,
                                      maximize=maximize))

    def _prepare(self, group, p, state):
        if not state:
            state.update(step=0, sum=np.full_like(p.array, group["initial_accumulator_value"]))

    def _update(self, group, age, params, grads, states):
        options = {k: group[k] for k in ("lr", "lr_decay", "eps", "weight_decay", "maximize")}
        kernels.adagrad_step(params, grads, [s["sum"] for s in states], step=age, **options)
