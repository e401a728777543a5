"""Fully connected layers with ReLU between them: the network of the years before convolutions, and of many early attacks.

500-150-10 is the smaller of the two MNIST networks of DeepFool (Moosavi-Dezfooli et al. 2016, table 1).

Imports: minigrad.domains, minigrad.nn.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.domains import COUNT


class Perceptron(nn.Module):
    """Inputs (N, ...) of `inputs` numbers each -> logits (N, sizes[-1]). sizes: outputs of each layer."""

    def __init__(self, inputs=784, sizes=(500, 150, 10), rng=None):
        super().__init__()
        if not sizes:
            raise ValueError("Perceptron: sizes must name at least one layer, such as (500, 150, 10)")
        for size in (inputs, *sizes):
            COUNT.check("Perceptron: each of inputs and sizes", size)
        layers, before = [nn.Flatten()], inputs
        for i, size in enumerate(sizes):
            layers += [nn.ReLU()] if i else []
            layers.append(nn.Linear(before, size, rng=rng))
            before = size
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)
