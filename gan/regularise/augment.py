"""Adaptive discriminator augmentation: the discriminator never sees an image as it is, and so cannot learn them by heart.

Karras et al. 2020 (StyleGAN2-ADA, sections 2 and 3, appendix B): each image that the discriminator sees, real or generated, is
changed at random by a chain of transformations T, each with probability p; the generator's gradient goes through them. p follows
how much the discriminator overfits.

Why the generator does not learn to draw changed images: with probability p the data's density q becomes

    A q = (1 - p) q + p E_i[T_i q],        i drawn evenly over a group, or T's strength from a distribution

and where A can be inverted, A q_g = A q_data means q_g = q_data. What A is here, and its inverse:

    flip, turn      T_i runs evenly through a group (2 mirror images; 4 right angles), so E_i T_i = P is the projection onto
                    what the group leaves alone, P P = P, and    A^-1 = (I - p P) / (1 - p)        for p < 1
    shift           a cyclic shift by up to `REACH` of the size on each axis: a convolution on the circle. Its Fourier
                    coefficients are (1 - p) + p D(w), D the mean of exp(-i w.t) over all shifts t, above -0.23: none is 0
                    for p < 0.81
    brightness      x + b, b ~ N(0, 0.2^2): a convolution along grey, with coefficients (1 - p) + p exp(-0.02 w^2) > 0
    contrast        x * c, log2 c ~ N(0, 0.5^2): the same along log|x|
    luma flip       grey mirrored about 0: a group of 2, as above
    hue             a turn about the grey axis by an angle drawn evenly: a group, as above
    saturation      distance from the grey axis * s, log2 s ~ N(0, 1): as contrast

(Only the last two need colours. The paper's integer translation mirrors at the border; the shift here goes round the edge, because
then it is a group element and its inverse can be written down.) p = 1 would leak: it must stay below 1, and `Adaptive` keeps it
at `MOST`.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import math

import numpy as np

import minigrad as mg
from minigrad.domains import COUNT, POSITIVE, UNIT

REACH, MOST = 0.125, 0.8
BLIT, COLOUR = ("flip", "turn", "shift"), ("brightness", "contrast", "luma", "hue", "saturation")


def augment(images, p: float, rng, kinds=(*BLIT, *COLOUR)):
    """images (N, C, H, W) in [-1, 1], each changed by every one of `kinds` with probability p, independently.

    Differentiable of every order by the images. An image's change depends on its place in the batch and on the stream, not on p's
    neighbours: the stream moves on by the same amount for every p. Hue and saturation leave images of one channel alone;
    turns need square ones."""
    UNIT.check("augment: p", p)
    unknown = [kind for kind in kinds if kind not in BLIT + COLOUR]
    if unknown or images.ndim != 4:
        raise ValueError(f"augment: images must be (N, C, H, W) and kinds among {', '.join(BLIT + COLOUR)}, got {images.shape} "
                         f"and {', '.join(map(str, kinds))}")
    n, channels, height, width = images.shape
    if "turn" in kinds and height != width:
        raise ValueError(f"augment: a right angle turns {height} x {width} into another shape; leave out 'turn'")
    if channels not in (1, 3) and set(kinds) & set(COLOUR):
        raise ValueError(f"augment: colours are of 1 or 3 channels, got {channels}; give kinds={BLIT}")
    places = blit(n, height, width, p, rng, kinds)
    matrix, offset = colour(n, channels, p, rng, kinds)
    if p == 0:
        return images
    flat = images.reshape(n, channels, height * width)
    if set(kinds) & set(BLIT):
        flat = flat.gather(2, mg.tensor(np.broadcast_to(places[:, None], flat.shape).copy(), device=images.device))
    if set(kinds) & set(COLOUR):
        m, b = (mg.tensor(a, dtype=images.dtype, device=images.device) for a in (matrix, offset))
        flat = m * flat + b if channels == 1 else m @ flat + b
    return flat.reshape(images.shape)


def blit(n, height, width, p, rng, kinds) -> np.ndarray:
    """Which pixel stands at each place after flip, turn and shift: (n, height * width) places of the original."""
    chosen = rng.uniform(size=(3, n)) < p
    flips, turns = rng.integers(0, 2, n), rng.integers(0, 4, n)
    shifts = np.rint(rng.uniform(-REACH, REACH, (2, n)) * np.array([[height], [width]])).astype(np.int64)
    grid = np.arange(height * width).reshape(height, width)
    out = np.empty((n, height, width), np.int64)
    for i in range(n):
        here = grid
        if "flip" in kinds and chosen[0, i] and flips[i]:
            here = here[:, ::-1]
        if "turn" in kinds and chosen[1, i]:
            here = np.rot90(here, turns[i])
        if "shift" in kinds and chosen[2, i]:
            here = np.roll(here, shifts[:, i], (0, 1))
        out[i] = here
    return out.reshape(n, -1)


def colour(n, channels, p, rng, kinds) -> tuple[np.ndarray, np.ndarray]:
    """(matrices (n, C, C), offsets (n, C, 1)) of what happens to the colour of every pixel: x -> matrix x + offset.

    In the order of appendix B: brightness, contrast, luma flip, hue, saturation."""
    chosen = rng.uniform(size=(5, n)) < p
    bright, contrast = rng.normal(n) * 0.2, 2.0 ** (rng.normal(n) * 0.5)
    mirrored, angle = rng.integers(0, 2, n), rng.uniform(-math.pi, math.pi, n)
    saturation = 2.0 ** rng.normal(n)

    def given(kind, row, values, neutral):
        return np.where(chosen[row] & (kind in kinds), values, neutral).astype(np.float64)

    axis = np.ones(channels) / math.sqrt(channels)  # grey
    grey, eye = np.outer(axis, axis), np.eye(channels)
    offset = given("brightness", 0, bright, 0.0)[:, None] * np.ones(channels)
    scale = given("contrast", 1, contrast, 1.0)
    matrix, offset = scale[:, None, None] * eye, offset * scale[:, None]
    flip = eye - 2 * given("luma", 2, mirrored, 0.0)[:, None, None] * grey  # reflects along the grey axis
    matrix, offset = flip @ matrix, (flip @ offset[:, :, None])[:, :, 0]
    if channels == 3:
        t = given("hue", 3, angle, 0.0)[:, None, None]
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turn = np.cos(t) * eye + np.sin(t) * cross + (1 - np.cos(t)) * grey  # Rodrigues' formula
        s = given("saturation", 4, saturation, 1.0)[:, None, None]
        after = (grey + s * (eye - grey)) @ turn
        matrix, offset = after @ matrix, (after @ offset[:, :, None])[:, :, 0]
    return matrix, offset[:, :, None]


class Adaptive:
    """p, moved by how the discriminator answers real images: up while r > target, down while r < target (section 3, equation 1).

        r = E[sign D(real)]       over the last `every` batches: 1 where it has learned the images by heart, 0 where it cannot tell

    images: so many must be seen for p to go from 0 to 1 (500,000 in the paper; runs here see that many in all, so the default is
    a tenth). A part of a run's checkpoint. .p, .r (None before the first `every` batches)."""

    def __init__(self, target: float = 0.6, images: float = 50_000, every: int = 4, most: float = MOST):
        UNIT.check("Adaptive: target", target)
        POSITIVE.check("Adaptive: images", images)
        COUNT.check("Adaptive: every", every)
        UNIT.check("Adaptive: most", most)
        self.target, self.images, self.every, self.most = target, images, every, most
        self.p, self.r, self._signs, self._count, self._batches = 0.0, None, 0.0, 0, 0

    def update(self, real_logits) -> float:
        """Once for each batch, with the discriminator's logits of real images. Returns p."""
        logits = real_logits.detach().numpy()
        self._signs, self._count = self._signs + float(np.sign(logits).sum()), self._count + logits.size
        self._batches += 1
        if self._batches == self.every:
            self.r = self._signs / self._count
            step = self._count / self.images
            self.p = min(self.most, max(0.0, self.p + math.copysign(step, self.r - self.target) * (self.r != self.target)))
            self._signs, self._count, self._batches = 0.0, 0, 0
        return self.p

    def state_dict(self) -> dict:
        """All of it that changes."""
        return {"p": self.p, "r": self.r, "signs": self._signs, "count": self._count, "batches": self._batches}

    def load_state_dict(self, state: dict) -> None:
        """What `state_dict` gave."""
        self.p, self.r = float(state["p"]), None if state["r"] is None else float(state["r"])
        self._signs, self._count, self._batches = float(state["signs"]), int(state["count"]), int(state["batches"])
