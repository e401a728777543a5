"""python -m gan cartoon-ablation: what each part of CartoonGAN does, in one figure.

The same game four times from the same seed, with the same pictures in the same order: whole; without the steps on the content loss
before it; without smoothed cartoons among the fakes; with squares in place of absolute differences in the content loss (figure 7 of
Chen, Lai & Liu 2018). A row for each, on photographs that were never trained on, with two numbers: how clear its edges are, and how
far its content is off.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.commands.helpers import cartoons
from gan.commands.helpers.two_kinds import classifier_of_two
from gan.translate import Game, initialise, play
from minigrad import command, inputs, optim
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.progress import Progress
from minigrad.random import Streams
from minigrad.words import percent, table, write_json
from nets.generators.cartoon import CartoonDiscriminator, CartoonGenerator
from nets.generators.draw import in_batches
from nets.training import constant_then_falling, scheduled

ROWS = {  # what is changed
    "CartoonGAN": {},
    "without initialization": dict(initial=0),
    "without smoothed edges": dict(edges=False),
    "squares in the content loss": dict(content="l2"),
}
SHOWN = 10


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan cartoon-ablation", text, data="scenes", steps=2_000, run=False, takes="7 minutes",
                            examples=["", "--data photos2ghibli --steps 1000"])
    cartoons.add_options(parser)
    parser.add_argument("--out", type=command.path, default="cartoon-ablation.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    cartoons.settle(o)
    train, test = cartoons.both_sets(o)
    o.channels = train.a.x.shape[1]
    net = cartoons.feature_net(o, train.a)
    answers = classifier_of_two(print, train, test, o)
    real = cartoons.real_numbers(test, answers)
    shown, found = test.a.subset(slice(SHOWN)).normalised(), {}
    rows, bar = {"photographs": shown}, Progress(0, len(ROWS) * o.steps)
    for name, changed in ROWS.items():
        generator = trained(train, net, o, bar, **changed)
        found[name] = cartoons.measured(generator, net, test, answers)
        rows[name] = in_batches(generator, generator, shown)
    bar.close()
    rows["cartoons"] = test.b.subset(slice(SHOWN)).normalised()

    print(table(["from the same seed", "clear edges", "content off by", "taken for cartoons"],
                [[name, percent(r["clear_edges"]), f"{r['content_distance']:.3f}", percent(r["fooled"])]
                 for name, r in found.items()]
                + [[name, percent(real[f"clear_edges, {name}"]), "", percent(real[f"fooled, {name}"])]
                   for name in ("photographs", "cartoons")]))
    print("picture:", save_png(o.out, drawn(rows, found, real, test, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {"games": found, "real": real, "features": str(net), "steps": o.steps,
                                                    "held-out photographs": len(test.a)})


def trained(train, net, o, bar, *, initial=None, edges=True, content="l1"):
    """The generator of one game."""
    streams, initial = Streams(o.seed), o.initial if initial is None else initial
    learnt = train if o.no_mirror else type(train)(*map(cartoons.mirrored, train))
    photographs = inputs.batches(learnt.a, o.batch, streams["data photos"]).forever()
    drawings = inputs.batches(cartoons.with_smoothed(learnt.b), o.batch, streams["data cartoons"]).forever()
    generator = CartoonGenerator(o.channels, o.width, o.blocks, o.resize, rng=streams["init"])
    discriminator = CartoonDiscriminator(o.channels, o.judge_width, o.stages, rng=streams["init"])
    adams = [optim.Adam(network.parameters(), o.rate, betas=(0.5, 0.999)) for network in (generator, discriminator)]
    schedules = [scheduled(adam, constant_then_falling(o.steps, o.fall)) for adam in adams]
    game = Game(generator, discriminator, net, *adams, o.omega, content)
    for step in range(1, o.steps + 1):
        photos = mg.tensor(next(photographs)[0])
        if step <= initial:
            initialise(game, photos)
        else:
            both = mg.tensor(next(drawings)[0])
            play(game, photos, both[:, : o.channels], both[:, o.channels :] if edges else None)
        for schedule in schedules:
            schedule.step()
        bar.update(bar.step + 1)
    return generator


def drawn(rows, found, real, test, o) -> np.ndarray:
    """A row of pictures for each game, between photographs and cartoons, and its two numbers at the right."""
    side, scale = rows["photographs"].shape[2], max(1, 96 // o.size)
    figure, draw = new_figure(18, 0.7 + 1.07 * len(rows))
    figure.suptitle(f"CartoonGAN and what its parts do: {test.a.name} to {test.b.name}, {o.size} pixels, {o.steps:,} steps of "
                    f"{o.batch}, seed {o.seed}; held-out photographs", fontsize=12)
    axes = figure.subplots()
    axes.imshow(make_grid(np.concatenate(list(rows.values())), columns=len(rows["photographs"]), scale=scale, padding=4))
    cell, right = side * scale + 4, len(rows["photographs"]) * (side * scale + 4) + 10
    middles = [4 + cell * i + side * scale / 2 for i in range(len(rows))]
    axes.set_yticks(middles, list(rows), fontsize=11)
    for (name, _), middle in zip(rows.items(), middles, strict=True):
        numbers = found.get(name)
        text = f"edges clear: {percent(numbers['clear_edges'] if numbers else real[f'clear_edges, {name}'])}"
        text += f"\ncontent off by {numbers['content_distance']:.3f}" if numbers else ""
        axes.text(right, middle, text, va="center", fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return draw()
