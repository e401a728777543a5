"""Schedules made of others, SequentialLR and ChainedScheduler; and ReduceLROnPlateau, which looks at a metric.

Imports: optimizer, schedule_base.
"""

from __future__ import annotations

import bisect
import math

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule_base import LRScheduler, count, number, per_group


class _Group(LRScheduler):
    """A schedule that owns others of the same optimizer."""

    _unsaved = ("optimizer", "initial", "schedulers")

    def _own(self, optimizer, schedulers) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name}: needs at least one scheduler")
        for i, s in enumerate(schedulers):
            if isinstance(s, ReduceLROnPlateau) or not isinstance(s, LRScheduler):
                raise TypeError(f"{name}: schedulers[{i}] is a {type(s).__name__}, which cannot take its turn")
            if s.optimizer is not optimizer:
                raise ValueError(f"{name}: schedulers[{i}] belongs to another optimizer")
        self.optimizer, self.schedulers = optimizer, schedulers
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]

    def state_dict(self):
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def _check_state(self, state_dict):
        mine, newer = set(super().state_dict()), set(self._newer)
        if not mine - newer <= set(state_dict) <= mine:
            raise ValueError(f"{type(self).__name__}.load_state_dict: needs exactly {', '.join(sorted(mine - newer))}, schedulers")

    def load_state_dict(self, state_dict):
        inner = state_dict.get("schedulers") if isinstance(state_dict, dict) else None
        if not isinstance(inner, (list, tuple)) or len(inner) != len(self.schedulers):
            raise ValueError(f"{type(self).__name__}.load_state_dict: needs the state of {len(self.schedulers)} schedulers")
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "schedulers"})
        for s, state in zip(self.schedulers, inner, strict=True):
            s.load_state_dict(state)
        self._restore_rates(state_dict)


class SequentialLR(_Group):
    """One scheduler after the other: schedulers[i] takes over, from its own step 0, at milestones[i - 1]."""

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        schedulers, milestones = list(schedulers), [count(self, "milestones", m, 0) for m in milestones]
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: needs at least one scheduler and one milestone less than schedulers, got "
                             f"{len(schedulers)} schedulers and {len(milestones)} milestones")
        if milestones != sorted(milestones):
            raise ValueError(f"SequentialLR: milestones must grow, got {milestones}")
        self._own(optimizer, schedulers)
        self.milestones = milestones
        self.restart()
        self.last_epoch = count(self, "last_epoch", last_epoch, -1) + 1

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


class ChainedScheduler(_Group):
    """Several schedulers at once: `step` steps all, so their factors multiply."""

    def __init__(self, schedulers, optimizer=None):
        schedulers = list(schedulers)
        self._own(optimizer or getattr(schedulers[0] if schedulers else None, "optimizer", None), schedulers)
        self.last_epoch = 0
        self._last_lr = self._present()

    def step(self):
        self.last_epoch += 1
        for s in self.schedulers:
            s.step()
        self._last_lr = self._present()

    def restart(self):
        """Go back to step 0: every scheduler in turn, each from what the one before it made."""
        self.last_epoch = 0
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=False):
            group["lr"] = base
        for s in self.schedulers:
            s.last_epoch, s.initial = 0, True
            s._set(s.get_lr())
            s.initial = False
        self._last_lr = self._present()


class ReduceLROnPlateau(LRScheduler):
    """Times factor when the metric given to step(metric) has not improved for more than `patience` steps.

    mode 'min' or 'max'; better by `threshold`, relative ('rel') or absolute ('abs'). `cooldown` steps after a cut do
    not count. Rates stay above min_lr (one number, or one for each group); cuts smaller than eps are not made.
    """

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", cooldown=0,
                 min_lr=0, eps=1e-8):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"ReduceLROnPlateau: expected an Optimizer, got {type(optimizer).__name__}")
        if number(self, "factor", factor, 0, 1) == 1:
            raise ValueError(f"ReduceLROnPlateau: factor must lie in [0, 1), got {factor}")
        patience, cooldown = count(self, "patience", patience, 0), count(self, "cooldown", cooldown, 0)
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max' and threshold_mode 'rel' or 'abs', got "
                             f"{mode!r} and {threshold_mode!r}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = list(per_group("ReduceLROnPlateau", "min_lr", min_lr, len(optimizer.param_groups)))
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = self._present()

    def step(self, metrics):
        """Take note of the metric (a number or a 0-d Tensor), and cut the rates if it has stopped improving."""
        self._join()
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

    def _join(self):
        for _ in range(len(self.min_lrs), len(self.optimizer.param_groups)):  # groups that were added later
            self.min_lrs.append(self.min_lrs[0])

    def _better(self, metric) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            return sign * metric > sign * (self.best + sign * self.threshold)
        return sign * metric > sign * (self.best * (1.0 + sign * self.threshold))
