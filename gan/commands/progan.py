"""python -m gan progan: two networks that grow, from 4 x 4 pixels up (Karras et al. 2018).

Each level is first faded in, then steadied; the schedule counts images, not seconds. WGAN-GP with drift, Adam at beta1 = 0 whose
state starts anew at each change, minibatch stddev, equalized weights, pixel norm, real images faded as the generated ones are, and
an averaged generator that draws all pictures. --without leaves one ingredient out: the paper's ablation. Ends with growth.gif (the
same latents from 4 x 4 up) and walk.gif (a walk through latent space).
"""

from __future__ import annotations

import glob
import math
from typing import NamedTuple

import numpy as np

import minigrad as mg
from gan import losses
from gan.generate import interpolate
from gan.penalties import drift_penalty, gradient_penalty
from gan.regularise import MinibatchStddev
from minigrad import command, inputs, optim
from minigrad.pictures import make_grid, save_gif
from minigrad.random import Stream, Streams
from nets.generators.draw import in_batches
from nets.generators.progan import ProDiscriminator, ProGenerator, down, faded, levels, up

WITHOUT = ("growing", "minibatch-stddev", "equalized", "pixelnorm", "fading", "small-batch")
GLYPHS, SMALL, LARGE = (6, 9), (50, 100), (50, 90)  # thousands of images for a fade and to steady; large: from 64 pixels on
BATCH, LARGE_BATCH = 16, 64  # the paper's, and what --without small-batch has in its place


class Phase(NamedTuple):
    """A stretch of the schedule: steps first..last (counted from 1) at one level; fading in it, or steady."""

    first: int
    last: int
    level: int
    fading: bool

    def alpha(self, step: int) -> float:
        """The new level's share of the picture: a line from 0 to 1 while it is faded in, else 1."""
        return (step - self.first) / (self.last - self.first + 1) if self.fading else 1.0


def phases(o) -> list[Phase]:
    """Steady at the first level, then for each next one: fade, steady; so many thousand images each as --fade and --steady say.

    Without growing: the last level from the start, for as many images in all."""
    top, found, done = levels(o.size), [], 0
    fade = 0 if "fading" in o.without else o.fade
    plan = [(0, False, o.steady)] + [(level, fading, count) for level in range(1, top + 1)
                                     for fading, count in ((True, fade), (False, o.steady))]
    if "growing" in o.without:
        plan = [(top, False, sum(count for _, _, count in plan))]
    for level, fading, thousands in plan:
        steps = round(thousands * 1000 / o.batch)
        if steps:
            found.append(Phase(done + 1, done + steps, level, fading))
            done += steps
    return found


def options(argv=None):
    parser = command.Parser(
        "gan progan", command.doc(__doc__, __file__), steps=None,
        takes="2 minutes",
        examples=["", "--data mnist --size 32", "--data cifar10 --target 750", "--data npz:faces.npz --size 64 --mirror",
                  "--without fading --without minibatch-stddev", "--resume runs/progan-0001"],
    )
    add = parser.add_argument
    add("--steps", type=command.COUNT, help="stop after so many steps of the schedule (default: all of it)")
    add("--size", type=command.COUNT, default=32, help="pixels at the last level: 16, 32 or 64")
    add("--fade", type=command.POSITIVE, help="thousands of images in which a level is faded in "
        f"(default: {GLYPHS[0]} for glyphs, else {SMALL[0]}, and {LARGE[0]} from 64 pixels on; the paper's 600)")
    add("--steady", type=command.POSITIVE, help=f"thousands of images at each level then (default: {GLYPHS[1]}, "
        f"{SMALL[1]}, {LARGE[1]}; the paper's 600)")
    add("--batch", type=command.COUNT, help=f"images in a batch (default: {BATCH}; --without small-batch: {LARGE_BATCH})")
    add("--latent", type=command.COUNT, default=128, help="numbers in the latent vector")
    add("--base", type=command.COUNT, default=512, help="feature maps where the side is s pixels: 2 * base / s, and at most ...")
    add("--most", type=command.COUNT, default=64, help="... so many (the paper's: 8192 and 512)")
    add("--rate", type=command.POSITIVE, default=1e-3, help="Adam's rate, for both players")
    add("--penalty", type=command.WEIGHT, default=10.0, help="weight of the gradient penalty, over --target squared")
    add("--target", type=command.POSITIVE, default=1.0, help="slope that the penalty asks for; the paper's CIFAR-10 run has 750")
    add("--drift", type=command.WEIGHT, default=1e-3, help="weight of the drift penalty")
    add("--average", type=command.POSITIVE, default=11_000, help="half-life in images of the averaged generator (the paper's 0.999 "
        "a step of 16 images), and at most a twentieth of the images seen")
    add("--mirror", action="store_true", help="mirror images at random: for faces and landscapes, not for digits")
    add("--without", choices=WITHOUT, action="append", default=[], help="leave an ingredient out; may be given several times")
    o = parser.parse(argv)
    o.fade, o.steady = (value or default for value, default in
                        zip((o.fade, o.steady), GLYPHS if o.data == "glyphs" else LARGE if o.size >= 64 else SMALL, strict=True))
    o.batch = o.batch or (LARGE_BATCH if "small-batch" in o.without else BATCH)
    o.steps = o.steps or phases(o)[-1].last
    return o


def main(argv=None):
    o = options(argv)
    images = inputs.images(o, size=o.size)
    o.channels, streams, plan = images.x.shape[1], Streams(o.seed), phases(o)
    loader = inputs.batches(images, o.batch, streams["data"])
    stddev = None if "minibatch-stddev" in o.without else MinibatchStddev(math.gcd(4, o.batch))
    generator = ProGenerator(o.size, o.channels, o.latent, o.base, o.most, o.without, rng=streams["init"]).to(o.device)
    critic = ProDiscriminator(o.size, o.channels, o.base, o.most, stddev, o.without, rng=streams["init"]).to(o.device)
    run = command.start("progan", o)
    adam_g, adam_d = (optim.Adam(network.parameters(), o.rate, betas=(0.0, 0.99)) for network in (generator, critic))
    average = optim.EMA(generator, half_life=o.average, ramp_up=0.05)
    kept = dict(generator=generator, critic=critic, adam_g=adam_g, adam_d=adam_d, average=average, loader=loader, streams=streams)
    run.restore(kept)

    batches, latents, places = loader.forever(), streams["latent"], streams["penalty"]
    fixed = Stream(o.seed, "fixed").normal((100, o.latent))
    steps = iter(run.loop(run.step, o.steps, save=kept))
    for step, phase in ((step, phase_of(plan, step)) for step in steps):
        alpha = phase.alpha(step)
        if step == phase.first:  # what Adam remembers is of another network
            adam_g.state.clear()
            adam_d.state.clear()
        real = prepared(mg.tensor(next(batches)[0], device=o.device), o, phase.level, alpha, streams["mirror"])
        latent = mg.tensor(latents.normal((o.batch, o.latent)), device=o.device)

        # the critic's step
        def judge(x, level=phase.level, alpha=alpha):
            return critic(x, level, alpha)

        with mg.no_grad():
            fake = generator(latent, phase.level, alpha)
        real_logits = judge(real)
        loss_d = losses.wasserstein.discriminator(real_logits, judge(fake))
        total = loss_d + drift_penalty(real_logits) * o.drift
        if o.penalty:
            total = total + gradient_penalty(judge, real, fake, places, o.target) * (o.penalty / o.target**2)
        adam_d.zero_grad()
        total.backward()
        adam_d.step()
        average.update(o.batch)  # as the authors' code has it: after the critic's step, before the generator's

        # the generator's step, with latents of its own
        critic.requires_grad_(False)
        latent = mg.tensor(latents.normal((o.batch, o.latent)), device=o.device)
        loss_g = losses.wasserstein.generator(judge(generator(latent, phase.level, alpha)))
        adam_g.zero_grad()
        loss_g.backward()
        adam_g.step()
        critic.requires_grad_(True)

        if run.due(step, 20):
            run.log(step, loss_d=loss_d, loss_g=loss_g, pixels=4 << phase.level, alpha=alpha)
        if run.due(step, 500) or step in (20, phase.last):
            run.check_finite(step, [*generator.named_parameters(), *critic.named_parameters()])
            run.image(step, pictures(average.module, fixed, o.size, phase.level, alpha), columns=10)
    finish(run, o, average.module, images, plan)


def phase_of(plan, step) -> Phase:
    """The phase that a step lies in; steps beyond the schedule steady the last level further."""
    return next((phase for phase in plan if step <= phase.last), plan[-1])


def prepared(real, o, level, alpha, rng):
    """Images of the full size as this phase's generator could draw them: small by means, faded, mirrored at random if asked."""
    if o.mirror:
        flip = np.where(rng.bernoulli(0.5, len(real))[:, None], np.arange(o.size)[::-1], np.arange(o.size))
        real = real.gather(3, mg.tensor(np.broadcast_to(flip[:, None, None], real.shape).copy(), device=real.device))
    for _ in range(levels(o.size) - level):
        real = down(real)
    return faded(real, alpha) if level else real


def pictures(generator, latents, size, level, alpha=1.0) -> np.ndarray:
    """What the generator draws at a level, in [-1, 1], each pixel repeated so that all levels have one size."""
    def drawn(z):
        x = generator(z, level, alpha)
        for _ in range(levels(size) - level):
            x = up(x)
        return x

    return np.clip(in_batches(generator, drawn, latents), -1, 1)


def finish(run, o, generator, images, plan):
    """The two GIFs, the sliced Wasserstein distance to the data, the report."""
    from PIL import Image

    reached = phase_of(plan, o.steps)
    files = sorted(glob.glob(run.file("samples", "fakes_*.png")))
    growth = save_gif(run.file("growth.gif"), [Image.open(file).convert("RGB") for file in files], milliseconds=300)
    stops = Stream(o.seed, "walk").normal((5, 16, o.latent))
    frames = [make_grid(pictures(generator, interpolate(here, there, i / 12), o.size, reached.level), 4)
              for here, there in zip(stops, np.roll(stops, -1, axis=0), strict=True) for i in range(12)]
    walk = save_gif(run.file("walk.gif"), frames)
    run.image(None, images.x[:100], "real", columns=10)
    run.finish(title=f"ProGAN on {o.data}" + "".join(f", without {name}" for name in o.without), summary={
        "real images seen": o.steps * o.batch, "pixels": 4 << reached.level, "growth": growth, "walk": walk})
