"""CartoonGAN's game (Chen, Lai & Liu 2018, section 3.2): photographs p become cartoons G(p), by D and by a feature net f that
stands still.

    c   cartoons;  e   the same cartoons with smoothed edges (`edges`);  D   logits, P = sigmoid(D)

    adversarial   max over D:  E_c log P(c) + E_e log(1 - P(e)) + E_p log(1 - P(G(p)))       equation 2
                  G minimises  -E_p log P(G(p)), the non-saturating form of the last term (Goodfellow et al. 2014, section 3)
    content       E_p |f(G(p)) - f(p)|, mean of absolute differences                         equation 3, times omega = 10

First some steps with the content loss alone (section 3.3): G learns to give a picture back before it is asked for a style. f is of
root mean square 1 over photographs (`nets.features`), so omega means the same for each net.

Imports: gan.losses, minigrad.
"""

from __future__ import annotations

from typing import NamedTuple

import minigrad as mg
from gan.losses import non_saturating_generator, softplus
from minigrad import functional as F

CONTENT = {"l1": F.l1_loss, "l2": F.mse_loss}  # mean over all features


def content_loss(features, translated, photos, kind="l1"):
    """Mean of |f(translated) - f(photos)| (l1) or of its square (l2); photos are a constant."""
    with mg.no_grad():
        target = features(photos)
    return CONTENT[kind](features(translated), target)


def adversarial_loss(d, cartoons, smoothed, translated):
    """(-E log P(c) - E log(1 - P(e)) - E log(1 - P(G(p))), logits of c, logits of G(p)): the discriminator's.

    3 log 2 = 2.079 where P = 1/2 everywhere. smoothed: None leaves the middle term out. Pictures (N, C, H, W) are constants. d
    sees all in one pass, so it must judge each picture by itself: no batch norm."""
    kinds = [cartoons, *([] if smoothed is None else [smoothed]), translated.detach()]
    logits, ends = d(mg.cat(kinds)), [0]
    for kind in kinds:
        ends.append(ends[-1] + len(kind))
    real, *fakes = (logits[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True))
    return softplus(-real).mean() + sum(softplus(fake).mean() for fake in fakes), real, fakes[-1]


class Game(NamedTuple):
    """Both players, their optimisers, the feature net, and omega."""

    generator: object
    discriminator: object
    features: object
    adam_g: object
    adam_d: object
    omega: float = 10.0
    content: str = "l1"


class Played(NamedTuple):
    """What one step gives to be looked at: losses (omega is in `content`), logits of cartoons and of translations, translations.
    Of an initialising step only content and translated."""

    content: mg.Tensor
    translated: mg.Tensor
    adversarial: mg.Tensor | None = None
    discriminator: mg.Tensor | None = None
    real: mg.Tensor | None = None
    fake: mg.Tensor | None = None


def initialise(game: Game, photos) -> Played:
    """One step of the generator on the content loss alone."""
    translated = game.generator(photos)
    content = content_loss(game.features, translated, photos, game.content) * game.omega
    game.adam_g.zero_grad()
    content.backward()
    game.adam_g.step()
    return Played(content, translated)


def play(game: Game, photos, cartoons, smoothed) -> Played:
    """One step of the discriminator, then one of the generator against it. smoothed: see `adversarial_loss`."""
    translated = game.generator(photos)
    loss, real, fake = adversarial_loss(game.discriminator, cartoons, smoothed, translated)
    game.adam_d.zero_grad()
    loss.backward()
    game.adam_d.step()

    game.discriminator.requires_grad_(False)
    adversarial = non_saturating_generator(game.discriminator(translated))
    content = content_loss(game.features, translated, photos, game.content) * game.omega
    game.adam_g.zero_grad()
    (adversarial + content).backward()
    game.adam_g.step()
    game.discriminator.requires_grad_(True)
    return Played(content, translated, adversarial, loss, real, fake)
