"""Images out of a trained generator, and the generator out of its run.

An averaged generator has the weights of many steps, but no step's running statistics of batch norm fit them. So the
statistics are estimated anew, from a few thousand latents, before it draws (`reestimate_batch_norm`). Nothing here changes a
network that is being trained: modes are restored, and the averaged copy gets its buffers from the next update.

Imports: numpy, minigrad, nets.generators.dcgan, critics.
"""

from __future__ import annotations

import contextlib

import numpy as np

import minigrad as mg
from gan.critics import Critic
from minigrad import nn, optim
from minigrad.domains import COUNT, FRACTION
from minigrad.kinds import RunError, require
from minigrad.random import Stream
from nets.generators.dcgan import Generator


@contextlib.contextmanager
def mode(network, training: bool):
    """The network in training or evaluation mode inside, every module's own mode restored after."""
    before = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield network
    finally:
        for module, was in before:
            module.training = was


def generate(generator, latents, batch: int = 250, labels=None) -> np.ndarray:
    """Images (N, C, H, W), float32 in [-1, 1], for latents (N, z); batch norm uses its running statistics.

    labels (N,): of a generator with classes; None gives it each class in turn."""
    COUNT.check("generate: batch", batch)
    with mode(generator, False), mg.no_grad():
        parts = [drawn(generator, latents[i : i + batch], None if labels is None else labels[i : i + batch], i).cpu().array
                 for i in range(0, len(latents), batch)]
    return np.concatenate(parts)


def drawn(generator, latents, labels=None, first: int = 0):
    """What the generator makes of latents (N, z), a Tensor. Without labels, row i has class (first + i) mod classes."""
    z, classes = _on(generator, latents), getattr(generator, "classes", 0)
    if not classes:
        return generator(z)
    return generator(z, _on(generator, np.arange(first, first + len(latents)) % classes if labels is None else labels))


def reestimate_batch_norm(generator, latents, batch: int = 250) -> None:
    """Set batch norm's running statistics to the averages over `latents`, in batches of training mode; classes in turn."""
    COUNT.check("reestimate_batch_norm: batch", batch)
    norms = [m for m in generator.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts the same
    try:
        with mode(generator, True), mg.no_grad():
            for i in range(0, len(latents) - batch + 1, batch):
                drawn(generator, latents[i : i + batch], None, i)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def interpolate(a: np.ndarray, b: np.ndarray, t) -> np.ndarray:
    """The point at t in [0, 1] on the great circle from a to b (rows of normal latents keep their usual length).

    t: a number, or an array that broadcasts against a (..., z), such as (N, 1) for a place of its own on each row's circle."""
    for one in (t,) if np.ndim(t) == 0 else (float(np.min(t)), float(np.max(t))):
        FRACTION.check("interpolate: t", one)
    unit_a, unit_b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    angle = np.arccos(np.clip((unit_a * unit_b).sum(-1, keepdims=True), -1, 1))
    small = np.sin(angle) < 1e-6
    safe = np.where(small, 1.0, np.sin(angle))
    first = np.where(small, 1 - t, np.sin((1 - t) * angle) / safe)
    second = np.where(small, t, np.sin(t * angle) / safe)
    return (first * a + second * b).astype(a.dtype)


# ---- the generator of a run


def networks(c, rng=None):
    """The generator and the discriminator of a run with the configuration c. (Older runs do not name the remedies.)"""
    classes = len(c.get("classes") or ())
    return (Generator(c["size"], c["channels"], c["latent"], c["width"], c["refine_generator"], classes, rng=rng),
            Critic(c["size"], c["channels"], c["width"], c["norm"], refine=c["refine"], classes=classes, packed=c.get("pack", 1),
                   group=c.get("stddev", 0), spectral=c.get("spectral_norm", False), rng=rng))


def trained_generator(run):
    """The generator of a finished or unfinished run, averaged if the run averages, ready to `generate`."""
    c = run.config
    require(run.path, "gan dcgan")
    if run.restored is None or "generator" not in run.restored:
        raise RunError(run.path, "holds no checkpoint of a DCGAN; give a run of `python -m gan dcgan`")
    generator, _ = networks(c)
    if not c["average"]:
        run.restore(dict(generator=generator))
        return generator.eval()
    average = optim.EMA(generator, half_life=c["average"], ramp_up=0.05)
    run.restore(dict(average=average))
    refresh(average.module, c)
    return average.module


def refresh(generator, config):
    """Batch statistics for averaged weights. Their latents come from a stream of their own, so the picture is always the same."""
    latents = Stream(config["seed"], "batch norm").normal((2000, config["latent"]))
    reestimate_batch_norm(generator, latents)


def _on(network, array):
    return mg.tensor(array, device=next(iter(network.parameters())).device)
