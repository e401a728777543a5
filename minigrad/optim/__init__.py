"""Optimisers, schedules of the learning rate, gradient clipping and weight averaging."""

from minigrad.absent import missing as _missing
from minigrad.nn.utils.clip import clip_grad_norm_, clip_grad_value_
from minigrad.optim import lr_scheduler
from minigrad.optim.ema import EMA
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.rules import SGD, Adagrad, Adam, AdamW, RMSprop


def __getattr__(name):
    raise _missing("minigrad.optim", name)
