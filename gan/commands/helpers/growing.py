"""ProGAN's game, for `gan progan` and the rows of `gan ablation`: what becomes of real images, and the loop of two steps.

What `play` reads of its options: size, fade, steady, batch, steps, without, seed, device, data, channels, and those of `DEFAULTS`.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

import minigrad as mg
from gan import losses
from gan.commands.helpers.gradients import gradient_norms
from gan.commands.helpers.health import Health
from gan.growth import phase_of, phases
from gan.penalties import drift_penalty, gradient_penalty
from gan.regularise import MinibatchStddev
from minigrad import inputs, optim
from minigrad.random import Stream, Streams
from nets.generators.draw import in_batches
from nets.generators.progan import ProDiscriminator, ProGenerator, down, faded, levels

WITHOUT = ("growing", "minibatch-stddev", "equalized", "pixelnorm", "fading", "small-batch")
BATCH, LARGE_BATCH = 16, 64  # the paper's, and what --without small-batch has in its place
DEFAULTS = dict(latent=128, base=512, most=64, rate=1e-3, penalty=10.0, target=1.0, drift=1e-3, average=11_000.0, mirror=False)
GROUP = 4  # pictures that minibatch stddev compares
REMEDIES = {  # the options of gan progan
    "exploding": "a lower --rate, --penalty 10 or more",
    "vanishing": "--penalty 10, which keeps the critic's slope near 1, a lower --rate",
    "collapse": "a lower --rate, longer phases (--fade, --steady); nothing left out (--without)",
    "memorising": "more pictures, --mirror where left and right are alike, a smaller --base",
    "oscillation": "a lower --rate, a larger --average",
    "checkerboard": "a longer --steady; fading (see --without)",
    "not finite": "a lower --rate; --resume goes on from the last good checkpoint",
}


def plan_of(o) -> list:
    """The schedule of `gan.growth.phases` by the options."""
    return phases(o.size, o.fade, o.steady, o.batch, o.without)


# ---- pictures


def prepared(real, o, level, alpha, mirror=None):
    """Images of the full size as this phase's generator could draw them: small by means, faded, mirrored at random if asked.

    mirror: the stream that says which; None for none."""
    if o.mirror and mirror is not None:
        flip = np.where(mirror.bernoulli(0.5, len(real))[:, None], np.arange(o.size)[::-1], np.arange(o.size))
        real = real.gather(3, mg.tensor(np.broadcast_to(flip[:, None, None], real.shape).copy(), device=real.device))
    for _ in range(levels(o.size) - level):
        real = down(real)
    return faded(real, alpha) if level else real


def pictures(generator, latents, level=None, alpha=1.0) -> np.ndarray:
    """What the generator draws at a level (None: the last), in [-1, 1], at the level's own size."""
    return np.clip(in_batches(generator, lambda z: generator(z, level, alpha), latents), -1, 1)


def enlarged(images, size: int) -> np.ndarray:
    """Each pixel repeated, so that pictures of all levels have one size."""
    times = size // images.shape[2]
    return images.repeat(times, 2).repeat(times, 3)


# ---- the game


class Game(NamedTuple):
    """What a finished game leaves: the averaged generator, the schedule, the last sheet's path, and the diagnosis."""

    generator: object
    plan: list
    sheet: str
    health: Health


def play(o, run, images) -> Game:
    """Train by the options `o` in the run, which may be resumed, on a Dataset of images; to the end of o.steps."""
    streams, plan = Streams(o.seed), plan_of(o)
    loader = inputs.batches(images, o.batch, streams["data"])
    group = math.gcd(GROUP, o.batch)
    stddev = None if "minibatch-stddev" in o.without else MinibatchStddev(group)
    generator = ProGenerator(o.size, o.channels, o.latent, o.base, o.most, o.without, rng=streams["init"]).to(o.device)
    critic = ProDiscriminator(o.size, o.channels, o.base, o.most, stddev, o.without, rng=streams["init"]).to(o.device)
    adam_g, adam_d = (optim.Adam(network.parameters(), o.rate, betas=(0.0, 0.99)) for network in (generator, critic))
    average = optim.EMA(generator, half_life=o.average, ramp_up=0.05)
    health = Health(run, o, images, losses.wasserstein, remedies=REMEDIES, game="wasserstein", together=group)
    kept = dict(generator=generator, critic=critic, adam_g=adam_g, adam_d=adam_d, average=average, loader=loader, streams=streams,
                watch=health.watch)
    run.restore(kept, new=["watch"])
    batches, latents, places = loader.forever(), streams["latent"], streams["penalty"]
    fixed, sheet = Stream(o.seed, "fixed").normal((100, o.latent)), ""
    run.image(None, images.x[:100], "real", columns=10)

    def latent():
        return mg.tensor(latents.normal((o.batch, o.latent)), device=o.device)

    with health.told():
        for step in run.loop(run.step, o.steps, save=kept):
            phase = phase_of(plan, step)
            level, alpha = phase.level, phase.alpha(step)
            if step == phase.first:  # what Adam remembers is of another network
                adam_g.state.clear()
                adam_d.state.clear()
            judge = functools.partial(critic, level=level, alpha=alpha)
            real = prepared(mg.tensor(next(batches)[0], device=o.device), o, level, alpha, streams["mirror"])

            # the critic's step
            with mg.no_grad():
                fake = generator(latent(), level, alpha)
            loss_d, real_logits, fake_logits, total = critic_loss(o, judge, real, fake, places)
            adam_d.zero_grad()
            total.backward()
            adam_d.step()
            average.update(o.batch)  # as the authors' code has it: after the critic's step, before the generator's

            # the generator's step, with latents of its own
            critic.requires_grad_(False)
            fake = generator(latent(), level, alpha)
            loss_g = losses.wasserstein.generator(judge(fake))
            adam_g.zero_grad()
            loss_g.backward()
            adam_g.step()
            critic.requires_grad_(True)

            if step % 20 == 0:
                health.pulse(real_logits, fake_logits, fake, gradient_norms("gradient_g", generator))
            if run.due(step, 20):
                run.log(step, loss_d=loss_d, loss_g=loss_g, pixels=4 << level, alpha=alpha)
            if step == phase.last or run.due(step, 500, first=20):
                run.check_finite(step, [*generator.named_parameters(), *critic.named_parameters()])
                samples = pictures(average.module, fixed, level, alpha)
                sheet = run.image(step, enlarged(samples, o.size), columns=10)
                health.look(step, samples, critic, judge, lambda x, level=level, alpha=alpha: prepared(x, o, level, alpha),
                            judged=not phase.fading, last=step % 500 != 0 and step != 20 and step != phase.last)
    return Game(average.module, plan, sheet, health)


def critic_loss(o, judge, real, fake, places):
    """(the game's loss, logits of real images and of fakes, the loss with its penalties): what the critic goes down."""
    real_logits, fake_logits = judge(real), judge(fake)
    loss = losses.wasserstein.discriminator(real_logits, fake_logits)
    total = loss + drift_penalty(real_logits) * o.drift
    if o.penalty:
        total = total + gradient_penalty(judge, real, fake, places, o.target) * (o.penalty / o.target**2)
    return loss, real_logits, fake_logits, total
