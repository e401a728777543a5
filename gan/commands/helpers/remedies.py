"""The remedies that a game in the plane and a game of pictures share: their options, and the discriminator's side of a round.

`Seen` is the discriminator of pictures as a round sees it: augmented, and told the class."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan import penalties
from gan.regularise.augment import BLIT, COLOUR, Adaptive, augment
from minigrad import command

KINDS = {"none": (), "blit": BLIT, "colour": COLOUR, "all": BLIT + COLOUR}

NONE = dict(critic_steps=1, pack=1, gradient_penalty=0.0, noise=0.0, smooth=0.0, stddev=0, unroll=0, spectral_norm=False)


def add_options(parser) -> None:
    """--critic-steps --pack --gradient-penalty --noise --smooth --stddev --unroll --spectral-norm, all of them off."""
    for name, kind, text in (
            ("critic-steps", command.COUNT, "the discriminator's steps for each of the generator's"),
            ("pack", command.COUNT, "samples that the discriminator judges together (PacGAN)"),
            ("gradient-penalty", command.WEIGHT, "weight of WGAN-GP's penalty, at every step"),
            ("noise", command.WEIGHT, "instance noise at the start, in the units of the networks; falls to 0 half-way"),
            ("smooth", command.SHARE, "one-sided label smoothing: real samples are told 1 minus this"),
            ("stddev", command.NATURAL, "group of minibatch stddev; 0: none"),
            ("unroll", command.NATURAL, "steps of the discriminator that the generator looks ahead")):
        parser.add_argument(f"--{name}", type=kind, default=NONE[name.replace("-", "_")], help=text)
    parser.add_argument("--spectral-norm", action="store_true", help="spectral norm in the discriminator")


def check(o) -> None:
    """ValueError for remedies that do not go together."""
    if o.gradient_penalty and (o.pack > 1 or o.stddev):
        raise ValueError("--gradient-penalty needs the slope at single samples: it goes with neither --pack nor --stddev")
    if o.unroll and o.spectral_norm:
        raise ValueError("--unroll goes not with --spectral-norm: looking ahead would move its power iteration")
    if o.batch % (o.pack * max(o.stddev, 1)):
        raise ValueError(f"--batch {o.batch} must be a multiple of --pack times --stddev")
    if getattr(o, "norm", False) and (o.gradient_penalty or o.unroll):
        raise ValueError(f"--{'gradient-penalty' if o.gradient_penalty else 'unroll'} needs --no-norm: with batch norm a sample's "
                         "gradient is not its own, and looking ahead would move the running statistics")


def judged_apart(critic, real, fake, apart: bool):
    """(logits of real, logits of fake), in one pass; in two where each batch must be of one kind, as for batch norm."""
    if apart:
        return critic(real), critic(fake)
    logits = critic(mg.cat([real, fake]))
    return logits.split(len(logits) // 2)


def discriminator_loss(o, critic, loss, real, fake, places):
    """(the loss with the gradient penalty, logits of real, logits of fake). What `fake` came from may be differentiated.

    o: stddev, norm, gradient_penalty. places: the stream that draws where the penalty is taken."""
    real_logits, fake_logits = judged_apart(critic, real, fake, o.norm)
    total = loss.discriminator(real_logits, fake_logits)
    if o.gradient_penalty:
        total = total + penalties.gradient_penalty(critic, real, fake, places) * o.gradient_penalty
    return total, real_logits, fake_logits


class Seen:
    """logits(pictures) of a discriminator that sees each picture changed at random (--augment), and knows its class
    (--conditional).

    `labels` (N,) are set once for a round; pictures joined from several batches of N have them again and again. .adaptive: moves
    the probability of a change (Karras et al. 2020), or None."""

    def __init__(self, discriminator, o, rng):
        self.discriminator, self.kinds, self.rng, self.labels = discriminator, KINDS[o.augment], rng, None
        self.adaptive = Adaptive(images=o.augment_images) if self.kinds else None

    def __call__(self, pictures):
        if self.adaptive:
            pictures = augment(pictures, self.adaptive.p, self.rng, self.kinds)
        if self.labels is None:
            return self.discriminator(pictures)
        labels = np.tile(self.labels, len(pictures) // len(self.labels))
        return self.discriminator(pictures, mg.tensor(labels, device=pictures.device))

    def numbers(self) -> dict:
        """What to log: how often a change is made, where there are changes."""
        return {"augmented": self.adaptive.p} if self.adaptive else {}
