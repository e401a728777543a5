"""What defenses are made of: modules around a network, in the units of the input.

A defense that changes the input (noise, rounding, an autoencoder) states its sizes in the input's units, where epsilon is
stated; networks are trained on normalised inputs. `Normalized(net, mean, std)` puts the two in order:

    Victim(Noisy(Normalized(net, 0.5, 0.5), 0.25), bounds=(0, 1))        noise first, then normalisation

`straight_through` is the attacker's tool against all that has no useful derivative: the value of one function with the
derivative of another (backward pass differentiable approximation, BPDA; Athalye, Carlini & Wagner 2018, section 4.1).

Imports: numpy, attacks.core.arrays, minigrad.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from attacks.core.arrays import raw, real, said
from minigrad import nn


@mg.primitive
def straight_through(proxy, value):
    """`value` forward, `proxy` backward: y = value, dy/dproxy = 1, dy/dvalue = 0. Shapes agree, else ValueError."""
    if proxy.shape != value.shape:
        raise ValueError(f"straight_through: proxy has shape {proxy.shape}, value {value.shape}; they must agree")
    return value.astype(proxy.dtype, order="K", copy=True)


@straight_through.vjp
def _(node, needs, g):
    return g if needs[0] else None, None


class Bpda(nn.Module):
    """forward(x) forward, the derivative of backward(x) backward; both are functions Tensor -> Tensor of equal shapes.

    backward: None is the identity, right for every forward(x) that is close to x (denoising, rounding, JPEG).
    """

    def __init__(self, forward, backward=None):
        super().__init__()
        self.function, self.approximation = forward, backward

    def forward(self, x):
        with mg.no_grad():
            value = self.function(x)
        return straight_through(x if self.approximation is None else self.approximation(x), value.detach())


class Normalized(nn.Module):
    """net((x - mean) / std). mean, std: numbers, or one for each channel (C,) of x (N, C, ...); std > 0."""

    def __init__(self, net, mean=0.5, std=0.5):
        super().__init__()
        mean, std = (np.asarray(v, np.float64) for v in (mean, std))
        if mean.ndim > 1 or std.ndim > 1 or not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError(f"Normalized: mean and std must be finite numbers or (C,) each, std > 0, got {mean}, {std}")
        self.net, self.mean, self.std = net, mean, std

    def forward(self, x):
        shape = (-1,) + (1,) * (x.ndim - 2)
        mean, std = (np.asarray(v.reshape(shape) if v.ndim else v, like=x.array).astype(x.dtype) for v in (self.mean, self.std))
        return self.net((x - mean) / std)


def log_mean_probability(logits):
    """log of the mean of softmax over a list of logits (N, classes): the logits of a vote in probabilities."""
    stacked = mg.stack([z.log_softmax(1) for z in logits])  # (K, N, classes)
    return stacked.logsumexp(0) - float(np.log(len(logits)))


def log_votes(logits, classes: int | None = None):
    """log of the share of votes for each class, (votes + 1/2) / (K + classes / 2), an array; ties go to the first class.

    A look without an answer (arrays.said) votes for none."""
    z = [raw(v) for v in logits]
    classes = z[0].shape[1] if classes is None else classes
    votes = sum((said(v)[:, None] == np.arange(classes, like=v)).astype(z[0].dtype) for v in z)
    return np.log((votes + 0.5) / (len(z) + 0.5 * classes)).astype(z[0].dtype)


def positive(name: str, value) -> float:
    """value as a float above 0, else ValueError. name: "Owner: argument"."""
    owner, _, argument = name.rpartition(": ")
    return real(owner, "(0, inf)", **{argument: value})
