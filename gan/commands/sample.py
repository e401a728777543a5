"""python -m gan sample RUN: draw from a trained run: a grid of samples, and a GIF that walks through latent space.

The walk goes from one latent to the next along great circles and comes back to its start, so the GIF loops.
"""

from __future__ import annotations

import numpy as np

from gan.generate import generate, interpolate, trained_generator
from minigrad import command
from minigrad.data import make_grid, save_gif, save_png
from minigrad.random import Stream
from minigrad.reading import samples
from minigrad.run import Run


def main(argv=None):
    parser = command.Parser("gan sample", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="2 seconds",
                            examples=["runs/dcgan-0001", "runs/dcgan-0001 --count 400 --seed 7 --out pictures"])
    parser.add_argument("run", type=command.path, metavar="RUN", help="the folder of a finished or unfinished run of gan dcgan")
    parser.add_argument("--count", type=command.COUNT, default=100, help="samples in the grid")
    parser.add_argument("--rows", type=command.COUNT, default=4, help="the GIF shows rows x rows walks side by side")
    parser.add_argument("--stops", type=command.COUNT, default=5, help="latents that a walk visits")
    parser.add_argument("--frames", type=command.COUNT, default=12, help="frames from one stop to the next")
    parser.add_argument("--label", metavar="TEXT", help="of a run with --conditional: draw this class only (default: each "
                        "in turn)")
    parser.add_argument("--out", type=command.path, metavar="FOLDER", help="where to write (default: RUN/samples)")
    o = parser.parse(argv)
    run = Run.open(o.run)
    generator, size = trained_generator(run), run.config["latent"]
    folder, label = o.out or samples(run.path), label_of(run, o.label)

    latents = Stream(o.seed, "sample").normal((o.count, size))
    columns = min(o.count, max(10, round(o.count**0.5)))
    pictures = generate(generator, latents, labels=repeated(label, o.count))
    print("grid:", save_png(f"{folder}/grid.png", make_grid(pictures, columns)))

    stops = Stream(o.seed, "walk").normal((o.stops, o.rows * o.rows, size))
    frames = []
    for here, there in zip(stops, np.roll(stops, -1, axis=0), strict=True):
        for i in range(o.frames):
            labels = repeated(label, o.rows * o.rows)
            pictures = generate(generator, interpolate(here, there, i / o.frames), labels=labels)
            frames.append(make_grid(pictures, o.rows))
    print("walk:", save_gif(f"{folder}/walk.gif", frames))


def label_of(run, name):
    """The number of the class called `name`, or None for all of them. ValueError for a name or a run that knows none."""
    classes = run.config.get("classes")
    if name is None:
        return None
    if not classes:
        raise ValueError(f"--label {name}: {run.path} was trained without classes; train one with --conditional")
    if name not in classes:
        raise ValueError(f"--label {name}: the run knows {', '.join(classes)}")
    return classes.index(name)


def repeated(label, count):
    """The labels of `count` pictures, or None for each class in turn."""
    return None if label is None else np.full(count, label)
