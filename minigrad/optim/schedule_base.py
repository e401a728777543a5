"""What all schedules of the learning rate share.

Rates are computed from the present one where PyTorch does, so schedules can be chained by stepping several. State is plain
numbers and lists. It holds the rates too: after `load_state_dict` of the schedule the optimizer has them, whether its own state
is loaded before, after, or not at all.

Imports: optimizer.
"""

from __future__ import annotations

import math

from minigrad.optim.optimizer import Optimizer


class LRScheduler:
    """Base class. last_epoch counts calls of `step`; -1 starts afresh, another value goes on from there and needs
    "initial_lr" in the optimizer's groups. A subclass defines get_lr().

    A group that is added to the optimizer later joins at the next step, with its rate as the initial one.
    """

    _unsaved: tuple = ("optimizer", "initial")  # not part of the state
    _newer: tuple = ("rates",)  # not in states saved by earlier versions
    initial = False  # whether get_lr is called for the first step, from the constructor or after a restart

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
        last_epoch = count(self, "last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: param_groups[{i}] has no 'initial_lr', which last_epoch="
                               f"{last_epoch} needs; load the optimizer's state first")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.initial = True
        self.step()
        self.initial = False

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
        self._join()
        self.last_epoch += 1
        self._set(self.get_lr())

    def restart(self) -> None:
        """Go back to step 0 with the initial rates."""
        self._join()
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base
        self.last_epoch, self.initial = 0, True
        self._set(self.get_lr())
        self.initial = False

    def _join(self) -> None:
        for i in range(len(self.base_lrs), len(self.optimizer.param_groups)):
            group = self.optimizer.param_groups[i]
            self.base_lrs.append(group.setdefault("initial_lr", group["lr"]))
            self._joined(group)

    def _joined(self, group: dict) -> None:
        """Take in a group that was added later."""

    def _set(self, rates) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = self._present()

    def state_dict(self) -> dict:
        """Everything but the optimizer and functions; plain numbers, strings and lists."""
        own = {k: plain(v) for k, v in self.__dict__.items() if k not in self._unsaved}
        return {**own, "rates": self._present()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on where `state_dict` was taken, and give the optimizer the rates of that moment."""
        self._check_state(state_dict)
        groups, bases = self.optimizer.param_groups, state_dict.get("base_lrs", [])
        if len(state_dict["_last_lr"]) > len(groups):
            raise ValueError(f"{type(self).__name__}.load_state_dict: the state has {len(state_dict['_last_lr'])} groups, the "
                             f"optimizer {len(groups)}; add the missing ones first")
        self.__dict__.update({k: plain(v) for k, v in state_dict.items() if k != "rates"})
        for group, base in zip(groups, bases, strict=False):
            group["initial_lr"] = base
        self._restore_rates(state_dict)

    def _check_state(self, state_dict) -> None:
        mine, newer = set(self.state_dict()), set(self._newer)
        if not isinstance(state_dict, dict) or not mine - newer <= set(state_dict) <= mine:
            raise ValueError(f"{type(self).__name__}.load_state_dict: needs exactly {', '.join(sorted(mine - newer))}")

    def _restore_rates(self, state_dict) -> None:
        for group, lr in zip(self.optimizer.param_groups, state_dict.get("rates", state_dict["_last_lr"]), strict=False):
            group["lr"] = lr


def plain(value):
    """A list as a copy, also where it was saved as a tuple."""
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else dict(value) if isinstance(value, dict) else value


def per_group(name, key, value, groups: int) -> list:
    """One value for each group, from a list of them or from one for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name}: {key} has {len(value)} values for {groups} groups; give one, or one for each group")
    return list(value)


def count(schedule, key, value, least: int) -> int:
    """A whole number of steps, at least `least`; a float that is one counts."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value in (math.inf, -math.inf):
        raise TypeError(f"{type(schedule).__name__}: {key} must be a whole number, got {value!r}")
    if value != int(value):
        raise ValueError(f"{type(schedule).__name__}: {key} must be a whole number, got {value}")
    if value < least:
        raise ValueError(f"{type(schedule).__name__}: {key} must be at least {least}, got {value}")
    return int(value)


def number(schedule, key, value, low=0.0, high=math.inf, open_low=False) -> float:
    """A finite number in [low, high], or (low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(schedule).__name__}: {key} must be a number, got {value!r}")
    if not (low <= value <= high and math.isfinite(value)) or (open_low and value == low):
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}{']' if high < math.inf else ')'}"
        raise ValueError(f"{type(schedule).__name__}: {key} must lie in {interval}, got {value}")
    return value
