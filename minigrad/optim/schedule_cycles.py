"""Schedules with a shape of their own, given by the step alone: OneCycleLR, CyclicLR, CosineAnnealingWarmRestarts.

A part of a cycle that has no length is passed at once: at its only step the rate is that of its end.

Imports: schedule_base.
"""

from __future__ import annotations

import math

from minigrad.optim.schedule_base import LRScheduler, count, number, per_group


class _Cycle(LRScheduler):
    """A schedule with numbers for each group, which may move the momentum (or Adam's beta1) the other way."""

    _newer = ("rates", "bounds")
    _names: tuple = ()

    def _bind(self, optimizer, cycle_momentum, **values) -> None:
        """Check the momentum, and keep one dict of values for each group."""
        self.cycle_momentum, self.use_beta1 = bool(cycle_momentum), "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ValueError(f"{type(self).__name__}: {type(optimizer).__name__} has no momentum; pass cycle_momentum=False")
        groups, name = len(optimizer.param_groups), type(self).__name__
        columns = {key: per_group(name, key, value, groups) for key, value in values.items()}
        for key, column in columns.items():
            for value in column:
                number(self, key, value)
        self.bounds = [self._of_group(**{key: column[i] for key, column in columns.items()}) for i in range(groups)]

    def _of_group(self, **values) -> dict:
        return values

    def _joined(self, group):
        if any(bounds != self.bounds[0] for bounds in self.bounds):
            raise ValueError(f"{type(self).__name__}: a group was added later, and the groups have different bounds; append its "
                             "own to .bounds")
        if len(self.bounds) < len(self.base_lrs):
            self.bounds.append(dict(self.bounds[0]))
            self._write(group, self.bounds[-1])
            self.base_lrs[-1] = group["initial_lr"]

    def _write(self, group, bounds) -> None:
        """Put a group's numbers into the group, where PyTorch has them."""

    def _move(self, group, momentum) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        for group, bounds in zip(self.optimizer.param_groups, self.bounds, strict=False):
            self._write(group, bounds)
        self.get_lr()  # sets the momentum
        self._restore_rates(state_dict)


class OneCycleLR(_Cycle):
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
        self.total_steps = count(self, "total_steps", epochs * steps_per_epoch if total_steps is None else total_steps, 1)
        number(self, "pct_start", pct_start, 0, 1)
        self._divisors = (number(self, "div_factor", div_factor, open_low=True),
                          number(self, "final_div_factor", final_div_factor, open_low=True))
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.anneal_strategy = anneal_strategy
        top, end = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        self.phases = [[top, "initial_lr", "max_lr", "max_momentum", "base_momentum"]]
        if three_phase:
            self.phases.append([2 * (top + 1) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"])
            self.phases.append([end, "initial_lr", "min_lr", "max_momentum", "max_momentum"])
        else:
            self.phases.append([end, "max_lr", "min_lr", "base_momentum", "max_momentum"])
        self._bind(optimizer, cycle_momentum, max_lr=max_lr, base_momentum=base_momentum, max_momentum=max_momentum)
        if last_epoch == -1:
            for group, bounds in zip(optimizer.param_groups, self.bounds, strict=True):
                self._write(group, bounds)
        super().__init__(optimizer, last_epoch)

    _unsaved = ("optimizer", "initial", "_divisors")

    def _of_group(self, max_lr, base_momentum, max_momentum):
        low = max_lr / self._divisors[0]
        return {"initial_lr": low, "max_lr": max_lr, "min_lr": low / self._divisors[1], "base_momentum": base_momentum,
                "max_momentum": max_momentum}

    def _write(self, group, bounds):
        group.update({k: v for k, v in bounds.items() if self.cycle_momentum or "momentum" not in k})

    def get_lr(self):
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} lies behind total_steps {self.total_steps}")
        ends = [phase[0] for phase in self.phases]
        i = next((i for i, end in enumerate(ends) if t <= end), len(ends) - 1)
        start, (end, *names) = ends[i - 1] if i else 0.0, self.phases[i]
        along = min((t - start) / (end - start), 1.0) if end != start else 1.0  # behind the last step: the end stays
        rates = []
        for group, bounds in zip(self.optimizer.param_groups, self.bounds, strict=False):
            bounds = {**bounds, **{k: group[k] for k in bounds if k in group}}
            rates.append(self._between(bounds[names[0]], bounds[names[1]], along))
            if self.cycle_momentum:
                self._move(group, self._between(bounds[names[2]], bounds[names[3]], along))
        return rates

    def _between(self, start, end, along):
        if self.anneal_strategy == "linear":
            return (end - start) * along + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * along) + 1)


class CyclicLR(_Cycle):
    """Up from base_lr to max_lr in step_size_up steps and down again in step_size_down (None: as many), without end, while momentum
    (or Adam's beta1) goes the other way (Smith 2017).

    mode 'triangular'; 'triangular2' halves the height in every cycle; 'exp_range' multiplies it by gamma at every step. Or
    scale_fn, a function from the cycle (from 1) or, with scale_mode 'iterations', the step, to the height's factor; it is not
    part of the state.
    """

    _unsaved = ("optimizer", "initial", "scale_fn")

    def __init__(self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None, mode="triangular", gamma=1.0,
                 scale_fn=None, scale_mode="cycle", cycle_momentum=True, base_momentum=0.8, max_momentum=0.9, last_epoch=-1):
        self.up = float(count(self, "step_size_up", step_size_up, 0))
        self.down = self.up if step_size_down is None else float(count(self, "step_size_down", step_size_down, 0))
        if self.up + self.down < 1:
            raise ValueError("CyclicLR: a cycle needs at least one step, got step_size_up=0 and step_size_down=0")
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        self.mode, self.gamma, self.scale_fn = mode, number(self, "gamma", gamma), scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self._bind(optimizer, cycle_momentum, base_lr=base_lr, max_lr=max_lr, base_momentum=base_momentum,
                   max_momentum=max_momentum)
        if last_epoch == -1:
            for group, bounds in zip(optimizer.param_groups, self.bounds, strict=True):
                group["lr"] = bounds["base_lr"]
        super().__init__(optimizer, last_epoch)
        self.base_lrs = [bounds["base_lr"] for bounds in self.bounds]

    def _joined(self, group):
        group.setdefault("initial_lr", group["lr"])
        super()._joined(group)
        self.base_lrs[-1] = self.bounds[-1]["base_lr"]

    def get_lr(self):
        total = self.up + self.down
        cycle = math.floor(1 + self.last_epoch / total)
        x, ratio = 1.0 + self.last_epoch / total - cycle, self.up / total
        along = (x / ratio if ratio else 1.0) if x <= ratio else (x - 1) / (ratio - 1)
        along *= self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        rates = []
        for group, bounds in zip(self.optimizer.param_groups, self.bounds, strict=False):
            rates.append(bounds["base_lr"] + (bounds["max_lr"] - bounds["base_lr"]) * along)
            if self.cycle_momentum:
                self._move(group, bounds["max_momentum"] - (bounds["max_momentum"] - bounds["base_momentum"]) * along)
        return rates

    def _scale(self, x):
        if self.scale_fn is not None:
            return self.scale_fn(x)
        return {"triangular": 1.0, "triangular2": 1 / 2.0 ** (x - 1), "exp_range": self.gamma**x}[self.mode]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_0 steps, then again from the initial rate in T_0 * T_mult, and so on
    (Loshchilov & Hutter 2017). step(epoch) goes to any point, also a fraction of an epoch.
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        self.T_0, self.T_mult = count(self, "T_0", T_0, 1), count(self, "T_mult", T_mult, 1)
        self.eta_min = number(self, "eta_min", eta_min)
        self.T_i, self.T_cur = self.T_0, last_epoch
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        self._join()
        self._go(self.last_epoch + 1 if epoch is None else number(self, "epoch", epoch))
        self._set(self.get_lr())

    def _go(self, epoch) -> None:
        self.T_i, self.T_cur, self.last_epoch = self.T_0, epoch, math.floor(epoch)
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur, self.T_i = self.T_cur - self.T_i, self.T_i * self.T_mult

    def restart(self):
        self._go(0)
        super().restart()

    def get_lr(self):
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]
