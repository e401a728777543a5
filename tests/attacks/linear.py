"""Linear classifiers, where the worst case is known exactly, and small networks with nothing trained."""

import numpy as np

from attacks import Victim
from minigrad import nn
from minigrad.random import Stream


def linear(weight, bias):
    """The network x -> x W^T + b."""
    net = nn.Linear(weight.shape[1], weight.shape[0], rng=Stream(0, "linear"))
    net.weight.assign_(weight.astype(np.float32))
    net.bias.assign_(bias.astype(np.float32))
    return net


def binary(seed, n=8, d=10):
    """(victim, x (n, d), y (n,), w, b): logits (0, w x + b); x keeps far from the box."""
    s = Stream(seed, "binary")
    w, b = s.normal((d,), np.float64), float(s.normal((), np.float64))
    x = s.normal((n, d)).astype(np.float32)
    victim = Victim(linear(np.stack([np.zeros(d), w]), np.array([0, b])), bounds=(-20, 20))
    return victim, x, (x @ w + b > 0).astype(int), w, b


def classes(seed, n=8, d=10, k=5):
    """(victim, x (n, d), y = its own predictions, W, b): k classes."""
    s = Stream(seed, "classes")
    weight, bias = s.normal((k, d), np.float64), s.normal((k,), np.float64)
    x = s.normal((n, d)).astype(np.float32)
    victim = Victim(linear(weight, bias), bounds=(-20, 20))
    return victim, x, victim.predict(x).argmax(1), weight, bias


def small_network(seed=0, side=6, k=4, dropout=0.5):
    """Convolution, batch norm and dropout: what evaluation mode changes. For images (N, 1, side, side)."""
    s = Stream(seed, "small")
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=s), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout, rng=s),
        nn.Linear(4 * side * side, k, rng=s),
    )
    net[1].running_mean.assign_(s.normal((4,)) * 0.1)
    return net


def images(seed=0, n=12, side=6):
    """(n, 1, side, side) in [0, 1], black and white pixels among them."""
    return np.clip(Stream(seed, "images").uniform(-0.2, 1.2, (n, 1, side, side)), 0, 1)


DUAL = {"linf": 1, "l2": 2, "l1": np.inf}  # order of the dual norm
