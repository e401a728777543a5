"""Schedules of the learning rate: PyTorch's names, arguments and values.

A scheduler is made after its optimizer and sets the rate of step 0; call `scheduler.step()` after `optimizer.step()`,
once per epoch or per iteration, whichever its numbers count.

Imports: minigrad.absent, schedule_base, schedule_cycles, schedule_factors, schedule_groups.
"""

from minigrad.absent import missing as _missing
from minigrad.optim.schedule_base import LRScheduler
from minigrad.optim.schedule_cycles import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from minigrad.optim.schedule_factors import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from minigrad.optim.schedule_groups import ChainedScheduler, ReduceLROnPlateau, SequentialLR

_LRScheduler = LRScheduler  # the old name

__all__ = ["ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
           "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
           "ReduceLROnPlateau", "SequentialLR", "StepLR"]


def __getattr__(name):
    raise _missing("minigrad.optim.lr_scheduler", name)
