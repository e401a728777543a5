"""python -m gan progan: two networks that grow, from 4 x 4 pixels up (Karras et al. 2018).

Each level is first faded in, then steadied; the schedule counts images, not seconds. WGAN-GP with drift, Adam at beta1 = 0 whose
state starts anew at each change, minibatch stddev, equalized weights, pixel norm, real images faded as the generated ones are, and
an averaged generator that draws all pictures. --without leaves one ingredient out: the paper's ablation, which `gan ablation` runs
as a whole. The game itself is in gan/commands/helpers/growing.py.

Ends with growth.gif (the same latents from 4 x 4 up), walk.gif (a walk through latent space), and two distances to the data, each
beside what real pictures score: the sliced Wasserstein distance, and the Frechet distance on a small network that is trained here
for it (distances.json).

What to expect on two cores: after a minute blurred spots of 4 to 8 pixels, of the right colours; after ten minutes of
--data mnist --size 32 digits of 16 pixels; after 25 minutes, at its end, digits of 32. Faces of 64 pixels take 45.
"""

from __future__ import annotations

import glob
import os

import numpy as np

from gan.commands.helpers.distances import Distances
from gan.commands.helpers.growing import BATCH, DEFAULTS, LARGE_BATCH, WITHOUT, pictures, plan_of, play
from gan.generate import interpolate
from gan.growth import phase_of
from minigrad import command, inputs
from minigrad.pictures import make_grid, save_gif
from minigrad.random import Stream
from minigrad.words import write_json
from nets.generators.progan import levels

GLYPHS, SMALL, LARGE = (6, 9), (50, 100), (50, 90)  # thousands of images for a fade and to steady; large: from 64 pixels on


def options(argv=None):
    parser = command.Parser(
        "gan progan", command.doc(__doc__, __file__), steps=None,
        takes="4 minutes",
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
    add("--latent", type=command.COUNT, default=DEFAULTS["latent"], help="numbers in the latent vector")
    add("--base", type=command.COUNT, default=DEFAULTS["base"], help="feature maps where the side is s pixels: 2 * base / s, and "
        "at most ...")
    add("--most", type=command.COUNT, default=DEFAULTS["most"], help="... so many (the paper's: 8192 and 512)")
    add("--rate", type=command.POSITIVE, default=DEFAULTS["rate"], help="Adam's rate, for both players")
    add("--penalty", type=command.WEIGHT, default=DEFAULTS["penalty"], help="weight of the gradient penalty, over --target squared")
    add("--target", type=command.POSITIVE, default=DEFAULTS["target"], help="slope that the penalty asks for; the paper's CIFAR-10 "
        "run has 750")
    add("--drift", type=command.WEIGHT, default=DEFAULTS["drift"], help="weight of the drift penalty")
    add("--average", type=command.POSITIVE, default=DEFAULTS["average"], help="half-life in images of the averaged generator (the "
        "paper's 0.999 a step of 16 images), and at most a twentieth of the images seen")
    add("--mirror", action="store_true", help="mirror images at random: for faces and landscapes, not for digits")
    add("--without", choices=WITHOUT, action="append", default=[], help="leave an ingredient out; may be given several times")
    add("--measure", type=command.NATURAL, default=2000, help="pictures to compare with as many real ones at the end; 0: none")
    o = parser.parse(argv)
    levels(o.size)  # ValueError where it is no power of two
    o.fade, o.steady = (value or default for value, default in
                        zip((o.fade, o.steady), GLYPHS if o.data == "glyphs" else LARGE if o.size >= 64 else SMALL, strict=True))
    o.batch = o.batch or (LARGE_BATCH if "small-batch" in o.without else BATCH)
    o.steps = o.steps or plan_of(o)[-1].last
    return o


def main(argv=None):
    o = options(argv)
    images = inputs.images(o, size=o.size)
    o.channels = images.x.shape[1]
    run = command.start("progan", o)
    game = play(o, run, images)
    reached = phase_of(game.plan, o.steps)
    growth, walk = grown(run), walked(run, o, game.generator, reached.level)
    summary = {"real images seen": o.steps * o.batch, "pixels": 4 << reached.level, "growth": growth, "walk": walk,
               "diagnosis": game.health.words()}
    if o.measure and reached.level == levels(o.size):
        summary |= judged(run, o, game.generator, images)
    run.finish(title=f"ProGAN on {o.data}" + "".join(f", without {name}" for name in o.without), summary=summary)


def grown(run) -> str:
    """growth.gif: all sheets of samples, which are of the same latents; the last one stays for a while."""
    from PIL import Image

    files = sorted(glob.glob(run.file("samples", "fakes_*.png")), key=lambda file: int(os.path.basename(file)[6:-4]))
    frames = [Image.open(file).convert("RGB") for file in files]
    return save_gif(run.file("growth.gif"), frames + frames[-1:] * 6, milliseconds=250)


def walked(run, o, generator, level) -> str:
    """walk.gif: 16 pictures, each on great circles through five latents and back."""
    stops = Stream(o.seed, "walk").normal((5, 16, o.latent))
    frames = [make_grid(pictures(generator, interpolate(here, there, i / 12), level), 4)
              for here, there in zip(stops, np.roll(stops, -1, axis=0), strict=True) for i in range(12)]
    return save_gif(run.file("walk.gif"), frames)


def judged(run, o, generator, images) -> dict:
    """The distances to the data, kept in distances.json and said in words."""
    with Distances(images, o.measure) as distances:
        found = distances.of(pictures(generator, Stream(o.seed, "judged").normal((distances.count, o.latent))))
    write_json(run.file("distances.json"), found)
    said = distances.words(found)
    for name, text in said.items():
        run.say(f"{name}: {text}")
    return said
