"""CycleGAN's game (Zhu, Park, Isola & Efros 2017, section 3): two translators, two judges, and the way there and back.

    G: A -> B, F: B -> A      generators;      D_A, D_B      discriminators of patches, trained by least squares

    adversarial   E (D_B(G(a)) - 1)^2 + E (D_A(F(b)) - 1)^2              equation 1, least squares as section 4 has it
    cycle         lambda (E |F(G(a)) - a| + E |G(F(b)) - b|)             equation 2, lambda = 10; means of absolute differences
    identity      identity * lambda (E |G(b) - b| + E |F(a) - a|)        section 5.2; identity = 0.5 in the authors' code

The generators' step comes first, with the discriminators frozen; then each discriminator's, half of E (D(real) - 1)^2 + E
D(fake)^2, where the fakes come out of a pool (Shrivastava et al. 2017): a discriminator that sees old translations as well does not
follow the generator in circles.

Imports: numpy, minigrad.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.domains import NATURAL


class Translations(NamedTuple):
    """What one batch became: fakes and the way back, (N, C, H, W) each."""

    fake_a: mg.Tensor
    fake_b: mg.Tensor
    back_a: mg.Tensor
    back_b: mg.Tensor


def cycle_losses(g, f, d_a, d_b, a, b, *, cycle=10.0, identity=0.5):
    """({"adversarial": ..., "cycle": ..., "identity": ...}, Translations) of pictures a and b, for the generators' step.

    Each loss is a scalar with its weight already in it; their sum is what the generators minimise. identity=0 leaves that out."""
    if identity:  # each picture is translated for itself, so both kinds go through a translator at once
        to_b, to_a = (translator(mg.cat([a, b])) for translator in (g, f))
        (fake_b, same_b), (same_a, fake_a) = ((both[: len(a)], both[len(a) :]) for both in (to_b, to_a))
    else:
        fake_b, fake_a = g(a), f(b)
    back_a, back_b = f(fake_b), g(fake_a)
    losses = {"adversarial": ((d_b(fake_b) - 1) ** 2).mean() + ((d_a(fake_a) - 1) ** 2).mean(),
              "cycle": (F.l1_loss(back_a, a) + F.l1_loss(back_b, b)) * cycle}
    if identity:
        losses["identity"] = (F.l1_loss(same_b, b) + F.l1_loss(same_a, a)) * (identity * cycle)
    return losses, Translations(fake_a, fake_b, back_a, back_b)


def discriminator_loss(d, real, fake):
    """1/2 (E (D(real) - 1)^2 + E D(fake)^2); fake is a constant. D judges each picture for itself: both go through it at once."""
    logits = d(mg.cat([real, fake.detach()]))
    return (((logits[: len(real)] - 1) ** 2).mean() + (logits[len(real) :] ** 2).mean()) * 0.5


class Pool:
    """Up to `size` former translations. `draw` hands on a batch in which about half of the pictures are old ones.

    Until it is full, every picture is kept and handed on. From then on each picture is, with probability 1/2, put in the place of
    one that is drawn at random, and that one is handed on; else it is handed on itself and not kept. size 0: no pool.
    A part of a run's checkpoint; the stream is the run's."""

    def __init__(self, size: int, rng):
        self.size, self.rng, self.kept = NATURAL.check("Pool: size", size), rng, []

    def draw(self, images):
        """images (N, C, H, W), a Tensor -> as many, detached, on the same device."""
        if not self.size:
            return images.detach()
        out = []
        for image in images.detach().cpu().numpy():
            if len(self.kept) < self.size:
                self.kept.append(image.copy())
            elif self.rng.uniform() > 0.5:
                place = int(self.rng.integers(0, self.size))
                image, self.kept[place] = self.kept[place], image.copy()
            out.append(image)
        return mg.tensor(np.stack(out), device=images.device)

    def state_dict(self) -> dict:
        """The pictures; none as an array of no rows."""
        return {"kept": np.stack(self.kept) if self.kept else np.zeros((0, 1, 1, 1), np.float32)}

    def load_state_dict(self, state: dict) -> None:
        """What `state_dict` gave."""
        self.kept = [image.copy() for image in state["kept"]]
