"""Schedules that multiply the rate: by a function, in steps, along a line, a power or a cosine.

Imports: schedule_base.
"""

from __future__ import annotations

import math

from minigrad.optim.schedule_base import LRScheduler, count, number


class LambdaLR(LRScheduler):
    """initial_lr * lr_lambda(epoch); one function, or one for each group. Functions are not part of the state."""

    _unsaved = ("optimizer", "initial", "lr_lambdas")

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        self.lr_lambdas = _functions(type(self).__name__, optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def _joined(self, group):
        if any(f is not self.lr_lambdas[0] for f in self.lr_lambdas):
            raise ValueError(f"{type(self).__name__}: a group was added later, and the groups have different functions; append its "
                             "function to .lr_lambdas")
        if len(self.lr_lambdas) < len(self.base_lrs):
            self.lr_lambdas.append(self.lr_lambdas[0])

    def get_lr(self):
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(LambdaLR):
    """Times lr_lambda(epoch) at every step; one function, or one for each group. Functions are not part of the state."""

    def get_lr(self):
        if self.initial:
            return self._present()
        return [lr * f(self.last_epoch) for lr, f in zip(self._present(), self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """Times gamma every step_size steps."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size, self.gamma = count(self, "step_size", step_size, 1), number(self, "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._present()]


class MultiStepLR(LRScheduler):
    """Times gamma at each of the milestones; one that is named twice counts twice."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones = sorted(count(self, "milestones", m, 0) for m in milestones)
        self.gamma = number(self, "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        times = self.milestones.count(self.last_epoch)
        return [lr * self.gamma**times if times else lr for lr in self._present()]


class ConstantLR(LRScheduler):
    """Times factor for the first total_iters steps. A factor of 0 ends at the initial rate."""

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        self.factor, self.total_iters = number(self, "factor", factor, 0, 1), count(self, "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        if self.last_epoch == 0:
            return [lr * self.factor for lr in self._present()]
        if self.last_epoch != self.total_iters:
            return self._present()
        return [lr * (1.0 / self.factor) for lr in self._present()] if self.factor else list(self.base_lrs)


class LinearLR(LRScheduler):
    """Times a factor that goes from start_factor to end_factor in total_iters equal steps."""

    def __init__(self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        self.start_factor = number(self, "start_factor", start_factor, 0, 1, open_low=True)
        self.end_factor = number(self, "end_factor", end_factor, 0, 1)
        self.total_iters = count(self, "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, start, rise = self.last_epoch, self.start_factor, self.end_factor - self.start_factor
        if t == 0:
            return [lr * start for lr in self._present()]
        if self.initial or t > self.total_iters:
            return self._present()
        return [lr * (1.0 + rise / (self.total_iters * start + (t - 1) * rise)) for lr in self._present()]


class ExponentialLR(LRScheduler):
    """Times gamma at every step."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = number(self, "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return self._present() if self.initial else [lr * self.gamma for lr in self._present()]


class PolynomialLR(LRScheduler):
    """initial_lr * (1 - t / total_iters)^power, and 0 after it."""

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        self.total_iters, self.power = count(self, "total_iters", total_iters, 0), number(self, "power", power)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, total = self.last_epoch, self.total_iters
        if self.initial or t > total:
            return self._present()
        factor = ((1.0 - t / total) / (1.0 - (t - 1) / total)) ** self.power
        return [lr * factor for lr in self._present()]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_max steps, and on (Loshchilov & Hutter 2017, no restarts):

    eta_min + (initial - eta_min) * (1 + cos(pi t / T_max)) / 2.
    """

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        self.T_max, self.eta_min = count(self, "T_max", T_max, 1), number(self, "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, low = self.last_epoch, self.eta_min
        if self.initial:
            return self._present()
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom: the ratio below would be 0 / 0
            return [lr + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2
                    for lr, base in zip(self._present(), self.base_lrs, strict=True)]
        ratio = (1 + math.cos(math.pi * t / self.T_max)) / (1 + math.cos(math.pi * (t - 1) / self.T_max))
        return [ratio * (lr - low) + low for lr in self._present()]


def _functions(name, optimizer, given) -> list:
    groups = len(optimizer.param_groups)
    functions = list(given) if isinstance(given, (list, tuple)) else [given] * groups
    if len(functions) != groups:
        raise ValueError(f"{name}: {len(functions)} functions for {groups} groups; give one for each")
    return functions
