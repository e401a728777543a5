"""Whole training steps beside PyTorch's: forward, backward, both optimisers.

    python -m benchmarks.training [--threads N] [--quick] [--cpu-time] [--only TEXT]

Each step is written once, in the names that both libraries share, and runs on twin networks with equal weights; the
losses of the first step must agree before anything is timed. GFLOP are those that PyTorch's own counter finds in the
step's convolutions and products. Rows of the default recipe are an average over 16 steps, one of them with the R1 penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks import networks
from benchmarks.common import OURS, THEIRS, FlopCounter, check_equal, interleaved, row, start, table
from gan.commands.dcgan import PRESETS
from gan.generate import networks as gan_networks
from minigrad import optim
from minigrad.random import Stream
from minigrad.words import doc


class Duel(NamedTuple):
    """Two functions that do the same work and return their losses; steps in one call; FLOPs that no counter sees."""

    name: str
    ours: Callable
    theirs: Callable
    steps: int = 1
    uncounted: float = 0.0


def draw(*shape):
    return Stream(0, f"benchmark {shape}").normal(shape)


def labels(classes, *shape):
    return Stream(0, "labels").integers(0, classes, shape)


# ---- two players -----------------------------------------------------------------------------------------------------


def published_step(lib, generator, discriminator, batch, latent, images):
    """Radford et al. 2016 as `python -m gan dcgan --preset published`: separate batches, batch norm in both players."""
    softplus, real, z = lib.F.softplus, lib.images(images), lib.tensor(draw(batch, latent))
    adam_g, adam_d = (lib.Adam(p.parameters(), lr=2e-4, betas=(0.5, 0.999)) for p in (generator, discriminator))

    def step():
        fake = generator(z)
        loss_d = softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()
        adam_d.zero_grad(set_to_none=True)
        loss_d.backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        loss_g = softplus(-discriminator(fake)).mean()
        adam_g.zero_grad(set_to_none=True)
        loss_g.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        return loss_d, loss_g

    return step


def default_steps(lib, generator, discriminator, batch, latent, images, average, lazy=16):
    """`python -m gan dcgan`: both batches in one pass, R1 in one step of `lazy`, the same fakes, averaged generator."""
    softplus, real, z = lib.F.softplus, lib.images(images), lib.tensor(draw(batch, latent))
    adam_g, adam_d = (lib.Adam(p.parameters(), lr=2e-3, betas=(0.5, 0.99)) for p in (generator, discriminator))

    def step(penalised):
        fake = generator(z)
        logits = discriminator(lib.cat([real, fake.detach()]))
        loss_d = softplus(-logits[:batch]).mean() + softplus(logits[batch:]).mean()
        if penalised:
            loss_d = loss_d + squared_gradient(lib, discriminator, real).mean() * (0.5 * lazy)
        adam_d.zero_grad(set_to_none=True)
        loss_d.backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        loss_g = softplus(-discriminator(fake)).mean()
        adam_g.zero_grad(set_to_none=True)
        loss_g.backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        average()
        return loss_d, loss_g

    def steps():
        losses = step(True)
        for _ in range(lazy - 1):
            step(False)
        return losses

    return steps


def squared_gradient(lib, discriminator, images):
    x = images.detach().requires_grad_()
    (g,) = lib.grad(discriminator(x).sum(), [x], create_graph=True)
    return (g * g).reshape(g.shape[0], -1).sum(1)


def penalty_step(lib, generator, critic, batch, latent, images):
    """A critic's step of WGAN-GP (Gulrajani et al. 2017, algorithm 1), differentiating through a gradient."""
    real, z, u = lib.images(images), lib.tensor(draw(batch, latent)), lib.tensor(np.abs(draw(batch, 1, 1, 1)) % 1)
    adam = lib.Adam(critic.parameters(), lr=1e-4, betas=(0.5, 0.9))

    def step():
        with lib.no_grad():
            fake = generator(z)
        x = (real * (1 - u) + fake * u).detach().requires_grad_()
        (g,) = lib.grad(critic(x).sum(), [x], create_graph=True)
        penalty = ((g.reshape(batch, -1).norm(dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + penalty * 10
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return (loss,)

    return step


def twin_players(size, width, batch, channels=1, latent=100, norm=True):
    """(our generator and discriminator, PyTorch's, images)"""
    ours = networks.players(size, channels, latent, width, norm)
    return ours, networks.peers(*ours), draw(batch, channels, size, size)


def dcgan(size, width, batch, channels=1):
    ours, theirs, images = twin_players(size, width, batch, channels)
    return Duel(f"DCGAN {size} px, n={width}, B={batch}", published_step(OURS, *ours, batch, 100, images),
                published_step(THEIRS, *theirs, batch, 100, images))


def default_recipe(**changes):
    best = {**PRESETS["best"], **changes}
    batch, latent = best["batch"], best["latent"]
    ours = gan_networks({**best, "size": 28, "channels": 1})
    theirs, images = networks.peers(*ours), draw(batch, 1, 28, 28)
    mine = optim.EMA(ours[0], 0.999)
    other = AveragedModel(theirs[0], multi_avg_fn=get_ema_multi_avg_fn(0.999))
    return Duel(f"DCGAN default recipe, 28 px, n={best['width']}, B={batch}",
                default_steps(OURS, *ours, batch, latent, images, mine.update),
                default_steps(THEIRS, *theirs, batch, latent, images, lambda: other.update_parameters(theirs[0])), 16)


def wgan_gp(size, channels, batch=64, width=64):
    ours, theirs, images = twin_players(size, width, batch, channels, norm=False)
    return Duel(f"WGAN-GP critic, {size} px, n={width}, B={batch}", penalty_step(OURS, *ours, batch, 100, images),
                penalty_step(THEIRS, *theirs, batch, 100, images))


def progan(size, base=512, most=64, batch=16, latent=128):
    """The critic's step of `python -m gan progan` at its last level: fakes, both losses, drift, gradient penalty."""
    ours, theirs = networks.growing(size, base, most, latent)
    images = draw(batch, 3, size, size)
    return Duel(f"ProGAN critic, {size} px, {base}/{most}, B={batch}", critic_step(OURS, *ours, batch, latent, images),
                critic_step(THEIRS, *theirs, batch, latent, images))


def critic_step(lib, generator, critic, batch, latent, images):
    """Karras et al. 2018, section 4 and appendix A.1: real images and fakes are judged apart, because minibatch stddev compares."""
    real, z, u = lib.images(images), lib.tensor(draw(batch, latent)), lib.tensor(np.abs(draw(batch, 1, 1, 1)) % 1)
    adam = lib.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))

    def step():
        with lib.no_grad():
            fake = generator(z)
        logits = critic(real)
        loss = critic(fake).mean() - logits.mean() + (logits * logits).mean() * 1e-3
        x = (real * (1 - u) + fake * u).detach().requires_grad_()
        (g,) = lib.grad(critic(x).sum(), [x], create_graph=True)
        loss = loss + ((g.reshape(batch, -1).norm(dim=1) - 1) ** 2).mean() * 10
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return (loss,)

    return step


def cyclegan(width, batch, size=64, blocks=6, layers=3):
    """The whole step of `python -m gan cyclegan`, without its pool: both translators, then both judges on the same fakes."""
    ours, theirs = networks.translators(width, blocks, layers)
    pictures = [draw(batch, 3, size, size).clip(-1, 1), -draw(batch + 1, 3, size, size)[:batch].clip(-1, 1)]
    return Duel(f"CycleGAN step, {size} px, ngf {width}, B={batch}", translate_step(OURS, *ours, *map(OURS.images, pictures)),
                translate_step(THEIRS, *theirs, *map(THEIRS.tensor, pictures)))  # its instance norm is slower channels-last


def translate_step(lib, g, f, d_a, d_b, a, b, cycle=10.0, identity=0.5):
    n, l1, pictures = len(a), lib.F.l1_loss, lib.cat([a, b])
    adam_g, adam_d = (lib.Adam([*one.parameters(), *two.parameters()], lr=2e-4, betas=(0.5, 0.999))
                      for one, two in ((g, f), (d_a, d_b)))

    def step():
        for d in (d_a, d_b):
            d.requires_grad_(False)
        (fake_b, same_b), (same_a, fake_a) = ((both[:n], both[n:]) for both in (g(pictures), f(pictures)))
        loss = ((d_b(fake_b) - 1) ** 2).mean() + ((d_a(fake_a) - 1) ** 2).mean()
        loss = loss + (l1(f(fake_b), a) + l1(g(fake_a), b)) * cycle + (l1(same_b, b) + l1(same_a, a)) * (identity * cycle)
        adam_g.zero_grad(set_to_none=True)
        loss.backward()
        adam_g.step()
        for d in (d_a, d_b):
            d.requires_grad_(True)
        loss_d = 0.0
        for d, real, fake in ((d_a, a, fake_a), (d_b, b, fake_b)):
            logits = d(lib.cat([real, fake.detach()]))
            loss_d = loss_d + (((logits[:n] - 1) ** 2).mean() + (logits[n:] ** 2).mean()) * 0.5
        adam_d.zero_grad(set_to_none=True)
        loss_d.backward()
        adam_d.step()
        return loss, loss_d

    return step


# ---- one network -----------------------------------------------------------------------------------------------------


def classifier_step(lib, network, optimizer, x, y):
    def step():
        loss = lib.F.cross_entropy(network(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return (loss,)

    return step


def lenet(batch=128):
    x, y, nets = draw(batch, 1, 28, 28), labels(10, batch), networks.lenets()
    return Duel(f"LeNet, B={batch}", *(
        classifier_step(lib, net, lib.Adam(net.parameters(), lr=1e-3), lib.images(x), lib.tensor(y))
        for lib, net in zip((OURS, THEIRS), nets, strict=True)))


def residual(widths, blocks, batch=64):
    x, y, nets = draw(batch, 3, 32, 32), labels(10, batch), networks.residuals(widths, blocks)
    return Duel(f"{networks.residual_name(widths, blocks)}, B={batch}", *(
        classifier_step(lib, net, lib.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4), lib.images(x),
                        lib.tensor(y))
        for lib, net in zip((OURS, THEIRS), nets, strict=True)))


def char_rnn(batch=50, steps=50, hidden=128, vocabulary=65):
    text, nets = labels(vocabulary, steps + 1, batch), networks.char_rnns(vocabulary, hidden)
    x, y = text[:-1].copy(), text[1:].reshape(-1).copy()
    products = batch * steps * 2 * 2 * 4 * hidden * hidden  # two layers, each with W_ih and W_hh
    return Duel(f"char-RNN 2x{hidden}, B={batch}, T={steps}", *(
        classifier_step(lib, net, lib.Adam(net.parameters(), lr=2e-3), lib.tensor(x), lib.tensor(y))
        for lib, net in zip((OURS, THEIRS), nets, strict=True)), uncounted=3 * 2 * products)


# ---- the table -------------------------------------------------------------------------------------------------------

CASES = {
    "dcgan-28-32": lambda: dcgan(28, 32, 64),
    "dcgan-28-64": lambda: dcgan(28, 64, 128),
    "dcgan-64-64": lambda: dcgan(64, 64, 64, channels=3),
    "default": default_recipe,
    "wgan-gp-28": lambda: wgan_gp(28, 1),
    "wgan-gp-32": lambda: wgan_gp(32, 3),
    "progan-32": lambda: progan(32),
    "cyclegan-64-16": lambda: cyclegan(16, 1),
    "cyclegan-64-16-batch": lambda: cyclegan(16, 4),
    "cyclegan-64-32": lambda: cyclegan(32, 1),
    "lenet": lenet,
    "residual-16": lambda: residual((16, 32, 64), 3),
    "residual-64": lambda: residual((64, 128, 256), 1),
    "char-rnn": char_rnn,
}
SLOW = ("dcgan-64-64", "residual-64")


def measure(duel: Duel, options) -> tuple:
    """Check that both sides compute the same, count, time: one row."""
    with FlopCounter() as counter:
        theirs = duel.theirs()
    check_equal(duel.name, [t.item() for t in duel.ours()], [t.item() for t in theirs])
    timing = interleaved(duel.ours, duel.theirs, options).per(duel.steps)
    return row(duel.name, timing, counter.flops / duel.steps + duel.uncounted, options.threads)


def main(argv=None):
    options = start(doc(__doc__, __file__), argv, CASES)
    names = [name for name in options.cases if not (options.quick and name in SLOW)]
    table("Training steps", [measure(CASES[name](), options) for name in names])


if __name__ == "__main__":
    main()
