"""Schedules of the learning rate: PyTorch's names, arguments and values.

A scheduler is made after its optimizer and sets the rate of step 0; call `scheduler.step()` after `optimizer.step()`,
once per epoch or per iteration, whichever its numbers count. Rates are computed from the present one where PyTorch
does, so schedules can be chained by stepping several. State is plain numbers and lists.

Imports: minigrad.absent, optimizer.
"""

from __future__ import annotations

import bisect
import math

from minigrad.absent import missing as _missing
from minigrad.optim.optimizer import Optimizer


class LRScheduler:
    """Base class. last_epoch counts calls of `step`; -1 starts afresh, another value goes on from there and needs
    "initial_lr" in the optimizer's groups. A subclass defines get_lr()."""

    _unsaved = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: param_groups[{i}] has no 'initial_lr', which last_epoch="
                               f"{last_epoch} needs; load the optimizer's state first")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def get_lr(self) -> list[float]:
        """The rates at `last_epoch`, one for each group, given the present ones."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates set last, one for each group."""
        return self._last_lr

    def _present(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on to the next step or epoch and set its rates."""
        self.last_epoch += 1
        self._set(self.get_lr())

    def restart(self) -> None:
        """Go back to step 0 with the initial rates."""
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base
        self.last_epoch = 0
        self._set(self.get_lr())

    def _set(self, rates) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = self._present()

    def state_dict(self) -> dict:
        """Everything but the optimizer and functions; plain numbers, strings and lists."""
        return {k: list(v) if isinstance(v, list) else v for k, v in self.__dict__.items() if k not in self._unsaved}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on where `state_dict` was taken. The optimizer's own state holds the rates."""
        mine = self.state_dict()
        if not isinstance(state_dict, dict) or set(state_dict) != set(mine):
            raise ValueError(f"{type(self).__name__}.load_state_dict: needs exactly {', '.join(sorted(mine))}")
        self.__dict__.update({k: list(v) if isinstance(v, (list, tuple)) else v for k, v in state_dict.items()})


class LambdaLR(LRScheduler):
    """initial_lr * lr_lambda(epoch); one function, or one for each group. Functions are not part of the state."""

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        count = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        if len(self.lr_lambdas) != count:
            raise ValueError(f"LambdaLR: {len(self.lr_lambdas)} functions for {count} groups; give one for each")
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """Times gamma every step_size steps."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._present()]


class MultiStepLR(LRScheduler):
    """Times gamma at each of the milestones; one that is named twice counts twice."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(int(m) for m in milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        times = self.milestones.count(self.last_epoch)
        return [lr * self.gamma**times if times else lr for lr in self._present()]


class ConstantLR(LRScheduler):
    """Times factor for the first total_iters steps."""

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor must lie in [0, 1], got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        if self.last_epoch == 0:
            return [lr * self.factor for lr in self._present()]
        return [lr * (1.0 / self.factor) if self.last_epoch == self.total_iters else lr for lr in self._present()]


class LinearLR(LRScheduler):
    """Times a factor that goes from start_factor to end_factor in total_iters equal steps."""

    def __init__(self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must lie in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must lie in [0, 1], got {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, start, rise = self.last_epoch, self.start_factor, self.end_factor - self.start_factor
        if t == 0:
            return [lr * start for lr in self._present()]
        if t > self.total_iters:
            return self._present()
        return [lr * (1.0 + rise / (self.total_iters * start + (t - 1) * rise)) for lr in self._present()]


class ExponentialLR(LRScheduler):
    """Times gamma at every step."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [lr * self.gamma if self.last_epoch > 0 else lr for lr in self._present()]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_max steps, and on (Loshchilov & Hutter 2017, no restarts):

    eta_min + (initial - eta_min) * (1 + cos(pi t / T_max)) / 2.
    """

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t, low = self.last_epoch, self.eta_min
        if t == 0:
            return self._present()
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom: the ratio below would be 0 / 0
            return [lr + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2
                    for lr, base in zip(self._present(), self.base_lrs, strict=True)]
        ratio = (1 + math.cos(math.pi * t / self.T_max)) / (1 + math.cos(math.pi * (t - 1) / self.T_max))
        return [ratio * (lr - low) + low for lr in self._present()]


class OneCycleLR(LRScheduler):
    """Up from max_lr/div_factor to max_lr in pct_start of total_steps, then down to 1/final_div_factor of the start,
    while momentum (or Adam's beta1) goes the other way (Smith & Topin 2018).

    Give total_steps, or epochs and steps_per_epoch. three_phase comes back to the start first and then goes to the
    minimum. anneal_strategy 'cos' or 'linear'. max_lr, base_momentum, max_momentum: one number, or one for each group.
    """

    def __init__(self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None, pct_start=0.3,
                 anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85, max_momentum=0.95, div_factor=25.0,
                 final_div_factor=1e4, three_phase=False, last_epoch=-1):
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
        self.total_steps = epochs * steps_per_epoch if total_steps is None else total_steps
        if self.total_steps < 1:
            raise ValueError(f"OneCycleLR: the number of steps must be at least 1, got {self.total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        top, end = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        self.phases = [[top, "initial_lr", "max_lr", "max_momentum", "base_momentum"]]
        if three_phase:
            self.phases.append([2 * (top + 1) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"])
            self.phases.append([end, "initial_lr", "min_lr", "max_momentum", "max_momentum"])
        else:
            self.phases.append([end, "max_lr", "min_lr", "base_momentum", "max_momentum"])
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum; pass cycle_momentum=False")
        if last_epoch == -1:
            groups = optimizer.param_groups
            values = [_per_group("OneCycleLR", key, value, len(groups)) for key, value in
                      (("max_lr", max_lr), ("base_momentum", base_momentum), ("max_momentum", max_momentum))]
            for group, high, base, most in zip(groups, *values, strict=True):
                group["initial_lr"], group["max_lr"] = high / div_factor, high
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = base, most
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} lies behind total_steps {self.total_steps}")
        ends = [phase[0] for phase in self.phases]
        i = min(bisect.bisect_left(ends, t), len(ends) - 1)
        start, (end, *names) = ends[i - 1] if i else 0.0, self.phases[i]
        along = (t - start) / (end - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[names[0]], group[names[1]], along))
            if self.cycle_momentum:
                momentum = self._between(group[names[2]], group[names[3]], along)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates

    def _between(self, start, end, along):
        if self.anneal_strategy == "linear":
            return (end - start) * along + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * along) + 1)


class SequentialLR(LRScheduler):
    """One scheduler after the other: schedulers[i] takes over, from its own step 0, at milestones[i - 1]."""

    _unsaved = ("optimizer", "schedulers")

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        schedulers, milestones = list(schedulers), [int(m) for m in milestones]
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: needs at least one scheduler and one milestone less than schedulers, got "
                             f"{len(schedulers)} schedulers and {len(milestones)} milestones")
        for i, s in enumerate(schedulers):
            if isinstance(s, ReduceLROnPlateau) or not isinstance(s, LRScheduler):
                raise TypeError(f"SequentialLR: schedulers[{i}] is a {type(s).__name__}, which cannot take its turn")
            if s.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: schedulers[{i}] belongs to another optimizer")
        self.optimizer, self.schedulers, self.milestones = optimizer, schedulers, milestones
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.restart()
        self.last_epoch = last_epoch + 1

    def restart(self):
        self.last_epoch = 0
        self._turn().restart()
        self._last_lr = self._present()

    def _turn(self) -> LRScheduler:
        return self.schedulers[bisect.bisect_right(self.milestones, self.last_epoch)]

    def step(self):
        self.last_epoch += 1
        scheduler = self._turn()
        if self.last_epoch in self.milestones:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = self._present()

    def state_dict(self):
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict):
        state_dict = dict(state_dict)
        inner = state_dict.get("schedulers")
        if not isinstance(inner, (list, tuple)) or len(inner) != len(self.schedulers):
            raise ValueError(f"SequentialLR.load_state_dict: needs the state of {len(self.schedulers)} schedulers")
        mine = super().state_dict()
        self.__dict__.update({k: v for k, v in state_dict.items() if k in mine})
        for s, state in zip(self.schedulers, inner, strict=True):
            s.load_state_dict(state)


class ReduceLROnPlateau(LRScheduler):
    """Times factor when the metric given to step(metric) has not improved for more than `patience` steps.

    mode 'min' or 'max'; better by `threshold`, relative ('rel') or absolute ('abs'). `cooldown` steps after a cut do
    not count. Rates stay above min_lr (one number, or one for each group); cuts smaller than eps are not made.
    """

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", cooldown=0,
                 min_lr=0, eps=1e-8):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"ReduceLROnPlateau: expected an Optimizer, got {type(optimizer).__name__}")
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must lie in [0, 1), got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max' and threshold_mode 'rel' or 'abs', got "
                             f"{mode!r} and {threshold_mode!r}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = list(_per_group("ReduceLROnPlateau", "min_lr", min_lr, len(optimizer.param_groups)))
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = self._present()

    def step(self, metrics):
        """Take note of the metric (a number or a 0-d Tensor), and cut the rates if it has stopped improving."""
        self.last_epoch += 1
        metric = float(metrics)
        if self._better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                new = max(group["lr"] * self.factor, least)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._present()

    def _better(self, metric) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            return sign * metric > sign * (self.best + sign * self.threshold)
        return sign * metric > sign * (self.best * (1.0 + sign * self.threshold))


def _per_group(name, key, value, count) -> list:
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name}: {key} has {len(value)} values for {count} groups; give one, or one for each group")
    return list(value)


def __getattr__(name):
    raise _missing("minigrad.optim.lr_scheduler", name)
