"""A game of pictures that is played for an exhibit: many of them in one command, each in seconds, so without a run of its own."""

from __future__ import annotations

from typing import NamedTuple

import minigrad as mg
from gan import losses
from gan.commands.helpers import remedies
from gan.penalties import r1_penalty
from gan.regularise import add_noise, falling, one_sided, unrolled
from minigrad import optim


class Rules(NamedTuple):
    """What the players go by. The names are the options of `gan dcgan`; gamma weighs R1 at every step."""

    loss: str = "non_saturating"
    batch: int = 64
    latent: int = 32
    rate: float = 2e-4  # the discriminator's
    generator_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    norm: bool = False
    gamma: float = 0.0
    critic_steps: int = 1
    pack: int = 1
    gradient_penalty: float = 0.0
    noise: float = 0.0
    smooth: float = 0.0
    stddev: int = 0
    unroll: int = 0
    spectral_norm: bool = False


def play(generator, critic, batches, steps: int, rules: Rules, streams):
    """Yields (step, the discriminator's loss, the generator's loss) after each of the `steps` rounds.

    batches: iterator of (real, ...). streams: "latent", "noise" and "penalty" are drawn from."""
    o, loss = rules, one_sided(getattr(losses, rules.loss), rules.smooth)
    adam_g = optim.Adam(generator.parameters(), o.generator_rate, betas=(o.beta1, o.beta2))
    adam_d = optim.Adam(critic.parameters(), o.rate, betas=(o.beta1, o.beta2))
    noise, places = streams["noise"], streams["penalty"]
    for step in range(1, steps + 1):
        blur = falling(o.noise, step, steps // 2 or 1)
        for _ in range(o.critic_steps):
            real = add_noise(mg.tensor(next(batches)[0]), blur, noise)
            fake = add_noise(generator(mg.tensor(streams["latent"].normal((o.batch, o.latent)))), blur, noise)
            loss_d, _, _ = remedies.discriminator_loss(o, critic, loss, real, fake.detach(), places)
            total = loss_d + r1_penalty(critic, real) * o.gamma if o.gamma else loss_d
            adam_d.zero_grad()
            total.backward()
            adam_d.step()
        critic.requires_grad_(False)
        with unrolled(critic, adam_d,
                      lambda a=real, b=fake: remedies.discriminator_loss(o, critic, loss, a, b, places)[0], o.unroll):
            loss_g = loss.generator(critic(fake), critic(real) if loss.paired else None)
        adam_g.zero_grad()
        loss_g.backward()
        adam_g.step()
        critic.requires_grad_(True)
        yield step, loss_d, loss_g
