"""Games in the plane, where the truth is known: ring and grid of Gaussians, and a swiss roll.

    p(x)    density of the data: exact for the mixtures, integrated along the curve at 2,000 points for the roll
    q(x)    density of what the generator draws: estimated from samples by a Gaussian kernel of width h
    D*(x)   the best discriminator against this generator, p/(p + q) (Goodfellow et al. 2014, proposition 1)

For D* both densities are blurred alike: p with the same kernel is known exactly (variances add), so where the generator is
perfect D* is 1/2 up to the noise of the estimate. The players work on data divided by `scale`, its standard deviation.

Imports: numpy, gan.metrics.modes, gan.regularise.minibatch, minigrad.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.metrics.modes import Modes, count_modes, count_pieces
from gan.regularise.minibatch import minibatch_stddev, pack
from minigrad import data, nn
from minigrad.nn import init

NAMES = ("ring", "grid", "swissroll")


class Truth:
    """A data set in the plane and its density. .samples (N, 2), .scale, .extent (the pictures reach from -extent to extent)."""

    def __init__(self, name: str, seed: int = 0):
        found = data.load(name, seed=seed)
        if isinstance(found, data.Pair) or found.is_images or found.x.ndim != 2 or found.x.shape[1] != 2:
            raise ValueError(f"--data {name}: a toy needs points in the plane; there are: {', '.join(NAMES)}")
        self.name, self.samples = found.name, found.x
        self.scale = float(found.x.std())
        self.extent = 1.25 * float(np.abs(found.x).max())
        self.mixture = found.centres is not None
        if self.mixture:
            self.nodes, self.std = np.asarray(found.centres, np.float64), float(found.std)
        else:  # the roll: the curve itself, and the noise around it
            t = np.pi * (1.5 + 3.0 * (np.arange(2000) + 0.5) / 2000)
            self.nodes = np.stack([t * np.cos(t), t * np.sin(t)], 1) / 7.5
            self.std = roll_noise(found)

    def density(self, x, blur: float = 0.0) -> np.ndarray:
        """p at points (N, 2), or p blurred by a Gaussian of standard deviation `blur`."""
        return kernel_density(x, self.nodes, np.hypot(self.std, blur))

    def count(self, samples) -> Modes:
        """Modes of the mixture; for the roll 25 pieces of equal share along the curve, and 3 std from it is near enough."""
        return count_modes(samples, self.nodes, self.std) if self.mixture else count_pieces(samples, self.nodes, self.std)


def roll_noise(roll) -> float:
    """The standard deviation around the curve, read off the description of the data (`minigrad.data.swissroll`)."""
    return float(roll.source.split("noise ")[1].split(",")[0])


def lattice(extent: float, count: int) -> np.ndarray:
    """(count * count, 2): the middles of the cells of a square from -extent to extent, row by row from the bottom."""
    axis = extent * ((np.arange(count) + 0.5) * 2 / count - 1)
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)


def kernel_density(x, samples, width: float) -> np.ndarray:
    """Density at x (N, 2) of equal Gaussians of standard deviation `width` around `samples` (M, 2):

    1/M sum_j exp(-||x - y_j||^2 / (2 h^2)) / (2 pi h^2)"""
    x, y = np.asarray(x, np.float64), np.asarray(samples, np.float64)
    total = np.empty(len(x))
    for i in range(0, len(x), 500):
        away = ((x[i : i + 500, None] - y) ** 2).sum(-1)
        total[i : i + 500] = np.exp(-away / (2 * width**2)).mean(1)
    return total / (2 * np.pi * width**2)


def lattice_density(extent: float, count: int, samples, width: float) -> np.ndarray:
    """`kernel_density` at the points of a `lattice`, (count, count): a Gaussian is a product, so two matrices are multiplied."""
    axis = extent * ((np.arange(count) + 0.5) * 2 / count - 1)
    across, up = (np.exp(-((axis[:, None] - np.asarray(samples, np.float64)[:, k]) ** 2) / (2 * width**2)) for k in (0, 1))
    return up @ across.T / (len(samples) * 2 * np.pi * width**2)


def optimal_discriminator(p, q, least: float = 1e-12) -> np.ndarray:
    """p/(p + q), and NaN where there is neither: less than `least` of the largest density."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    there = p + q > least * max(p.max(initial=0.0), q.max(initial=0.0), 1e-300)
    return np.where(there, p / np.where(there, p + q, 1.0), np.nan)


# ---- players


def perceptron(into: int, width: int, depth: int, out: int, *, norm=False, slope=0.2, rng=None) -> nn.Sequential:
    """`depth` hidden layers of `width`, leaky ReLU, He's initial weights (He et al. 2015), biases 0; norm: batch norm in each."""
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(into, width, rng=rng), *([nn.BatchNorm1d(width)] if norm else []), nn.LeakyReLU(slope)]
        into = width
    network = nn.Sequential(*layers, nn.Linear(into, out, rng=rng))
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            init.kaiming_normal_(layer.weight, a=slope, rng=rng)
            init.zeros_(layer.bias)
    return network


class Generator(nn.Module):
    """latent (N, z) -> points (N, 2), in units of the data's standard deviation. Its units are plain ReLU: between two modes it has
    to jump, and a leak smooths the jump."""

    def __init__(self, latent=2, width=64, depth=3, norm=False, rng=None):
        super().__init__()
        self.main = perceptron(latent, width, depth, 2, norm=norm, slope=0.0, rng=rng)

    def forward(self, latent):
        return self.main(latent)


class Critic(nn.Module):
    """points (N, 2) -> logits (N,), large for real ones; (N / packed,) with packing.

    packed: samples that are judged together. group: of minibatch stddev, 0 for none. spectral: a function that is applied to every
    linear layer and returns it, such as a spectral norm; None for none."""

    def __init__(self, width=64, depth=3, packed=1, group=0, spectral=None, rng=None):
        super().__init__()
        self.packed, self.group = packed, group
        self.main = perceptron(2 * packed + (group > 0), width, depth, 1, rng=rng)
        if spectral is not None:
            for layer in self.main.modules():
                if isinstance(layer, nn.Linear):
                    spectral(layer)

    def forward(self, x):
        x = pack(x, self.packed)
        if self.group:
            x = minibatch_stddev(x, self.group, neighbours=True)
        return self.main(x).reshape(-1)

    def alone(self, x, company=None):
        """Logits (N,) of single points: packed with themselves; with minibatch stddev in a group as varied as `company`."""
        x = mg.cat([x] * self.packed, 1)
        if self.group:
            seen = minibatch_stddev(pack(company, self.packed), self.group, neighbours=True)[:, -1].mean()
            x = mg.cat([x, seen.reshape(1, 1).expand(x.shape[0], 1)], 1)
        return self.main(x).reshape(-1)


def surface(critic: Critic, truth: Truth, count: int = 90) -> np.ndarray:
    """The learned logits (count, count) over the picture, row 0 at the bottom."""
    points = mg.tensor((lattice(truth.extent, count) / truth.scale).astype(np.float32))
    company = mg.tensor(truth.samples[: 64 * critic.packed] / np.float32(truth.scale)) if critic.group else None
    with mg.no_grad():
        return critic.alone(points, company).numpy().reshape(count, count)


def optimum(truth: Truth, samples, blur: float, count: int = 90) -> np.ndarray:
    """D* = p/(p + q) over the picture (count, count) for `samples` of the generator, both densities blurred by `blur`; NaN where
    both are below 1/1,000 of the largest: there is nothing to tell apart."""
    p = lattice_density(truth.extent, count, truth.nodes, np.hypot(truth.std, blur))
    return optimal_discriminator(p, lattice_density(truth.extent, count, samples, blur), 1e-3)


def force(critic: Critic, loss, samples, real) -> np.ndarray:
    """-dL_G/dx (N, 2) at each of the generator's samples (N, 2), in the networks' units: where it would move. The sum over the
    batch is differentiated, so the length does not depend on N."""
    x = mg.tensor(samples, requires_grad=True)
    mine = critic(x)
    other = critic(mg.tensor(real)).detach() if loss.paired else None
    (g,) = mg.grad(loss.generator(mine, other), [x])
    return -g.numpy() * len(samples)
