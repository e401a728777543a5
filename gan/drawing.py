"""What a trained run draws, whichever command trained it: one interface over the generators of `gan` and of `nets`.

    dcgan, mlp     latents N(0, I) through the generator, averaged where the run averages
    progan         the same through the averaged generator, once it has its full size; pixels beyond [-1, 1] are cut off
    vae            codes from the prior N(0, I) through the decoder, the mean picture of each
    autoencoder    it has no prior; codes are drawn from a normal distribution that has the mean and the spread of each coordinate
                   of the codes of training pictures

A generator that was trained with classes draws each equally often.

Imports: numpy, minigrad, nets.generators, generate, growth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import minigrad as mg
from gan.generate import trained_generator
from gan.growth import phase_of, phases
from minigrad import data, optim
from minigrad.domains import COUNT
from minigrad.kinds import RunError, kind_of, require
from nets.generators.autoencoder import Autoencoder
from nets.generators.draw import in_batches
from nets.generators.mlp import MLPGenerator
from nets.generators.progan import ProGenerator
from nets.generators.vae import VAE

BATCH = 250  # latents that are drawn at once; a generator with classes begins with class 0 in each batch


class Drawer(NamedTuple):
    """What draws: a network in evaluation mode; how many numbers a latent has; latents (n, latent) -> pictures (n, C, H, W) in
    [-1, 1], both Tensors; and in words what the latents are."""

    network: object
    latent: int
    draw: Callable
    prior: str

    def pictures(self, latents, batch: int = BATCH) -> np.ndarray:
        """Pictures (N, C, H, W) of latents (N, latent), in the latents' dtype (which must be the network's)."""
        return in_batches(self.network, self.draw, latents, COUNT.check("Drawer.pictures: batch", batch))


def drawer(run) -> Drawer:
    """What the run of one of `KINDS` draws. RunError for a run of another command, or one without a checkpoint."""
    require(run.path, *KINDS)
    kind = kind_of(run.path) or "gan dcgan"
    if run.restored is None:
        raise RunError(run.path, f"holds no checkpoint; train it further with: python -m {kind} --resume {run.path}")
    return KINDS[kind](run)


def _dcgan(run) -> Drawer:
    network = trained_generator(run)
    return Drawer(network, run.config["latent"], _with_classes(network), "latents N(0, I)")


def _mlp(run) -> Drawer:
    c = run.config
    pixels = c["channels"] * c["size"] ** 2
    network = MLPGenerator(c["size"], c["channels"], c["latent"], c["hidden"], np.zeros(pixels, np.float32))
    network.load_state_dict(run.restored["generator"])
    return Drawer(network.eval(), c["latent"], network, "latents N(0, I)")


def _progan(run) -> Drawer:
    c = run.config
    phase = phase_of(phases(c["size"], c["fade"], c["steady"], c["batch"], c["without"]), run.step)
    network = ProGenerator(c["size"], c["channels"], c["latent"], c["base"], c["most"], c["without"])
    if phase.level < network.top:
        raise RunError(run.path, f"draws {4 << phase.level} pixels so far, and is to have {c['size']}; grow it further with: "
                       f"python -m gan progan --resume {run.path}")
    average, alpha = optim.EMA(network, half_life=c["average"]), phase.alpha(run.step)
    average.load_state_dict(run.restored["average"])
    draw = lambda z: average.module(z, None, alpha).clamp(-1, 1)  # noqa: E731
    return Drawer(average.module, c["latent"], draw, "latents N(0, I)")


def _vae(run) -> Drawer:
    c = run.config
    network = VAE(c["size"], c["channels"], c["latent"], c["network"], c["likelihood"], c["width"], c["refine"], c["hidden"])
    network.load_state_dict(run.restored["vae"])
    return Drawer(network.eval(), c["latent"], network.decode, "codes from the prior N(0, I), the mean picture of each")


def _autoencoder(run, most: int = 2000) -> Drawer:
    c = run.config
    network = Autoencoder(c["size"], c["channels"], c["latent"], c["width"], c["refine"])
    network.load_state_dict(run.restored["autoencoder"])
    network.eval()
    pictures = data.load_images(c["data"], size=c["size"], limit=most).normalised()
    codes = in_batches(network, network.encoder, pictures)
    mean, std = codes.mean(0), codes.std(0)
    draw = lambda z: network.decoder(z * mg.tensor(std, dtype=z.dtype) + mg.tensor(mean, dtype=z.dtype))  # noqa: E731
    return Drawer(network, c["latent"], draw, "codes from a normal distribution fitted to each coordinate (it has no prior)")


def _with_classes(network):
    """The network itself, or one that gives the rows of a batch the classes 0, 1, ..., 0, 1, ... in turn."""
    classes = getattr(network, "classes", 0)
    return (lambda z: network(z, mg.tensor(np.arange(len(z)) % classes))) if classes else network


def asked_for(network, count: int, batch: int = BATCH) -> np.ndarray | None:
    """The classes that `Drawer.pictures` asks a network with classes for, (count,); None for one without."""
    classes = getattr(network, "classes", 0)
    return np.arange(count) % batch % classes if classes else None


KINDS = {"gan dcgan": _dcgan, "gan mlp": _mlp, "gan progan": _progan, "nets vae": _vae, "nets autoencoder": _autoencoder}
