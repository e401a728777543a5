"""python -m gan checkerboard: transposed convolutions draw a grid, and enlarging before a convolution does not.

A kernel of 3 that moves by 2 covers every other pixel twice, so a transposed convolution gives neighbours unlike sums (Odena,
Dumoulin & Olah 2016, Deconvolution and checkerboard artifacts). CycleGAN's translators have two of them in a row: the last leaves
a grid of 2 pixels, the one before it a grid of 4. Two games are played from one seed, with transposed convolutions and with
repetition followed by a convolution. Their translations are measured before the first step and after the last: the power at these
two frequencies over that just below (`grid` in gan/diagnosis.py), divided by the same for real pictures of the kind that is to be
drawn. 1 is no grid.
"""

from __future__ import annotations

import numpy as np

from gan.commands.helpers.translating import BRIEF, Players, brief_options, brief_sets
from gan.diagnosis import grid, spectra
from minigrad import command
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.progress import Progress
from minigrad.random import Streams
from minigrad.words import table, write_json

KINDS = {"transposed convolution": False, "enlarge, then convolve": True}
PERIODS, SHOWN = (2, 4), 8


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan checkerboard", text, data="beasts", steps=400, run=False, takes="1 minute",
                            examples=["", "--seed 3", "--data horse2zebra --size 64 --steps 1000"])
    brief_options(parser, "checkerboard.png")
    o = parser.parse(argv)
    train, test = brief_sets(o)
    bar = Progress(0, len(KINDS) * o.steps)
    drawings = {name: played(train, test, resize, o, bar) for name, resize in KINDS.items()}
    bar.close()

    real = test.a.normalised()
    usual = {period: grid(real, period) for period in PERIODS}
    if not all(usual.values()):
        raise ValueError(f"--data {o.data}: pictures of {test.a.name} have no fine stripes at all to compare a grid with")
    found = {name: {when: {period: grid(x, period) / usual[period] for period in PERIODS} for when, x in both.items()}
             for name, both in drawings.items()}
    cells = [(when, period) for when in ("start", "end") for period in PERIODS]
    print(table([f"{test.b.name} to {test.a.name}", *(f"grid of {period}, {when}" for when, period in cells)],
                [[name, *(f"{both[when][period]:.2f}" for when, period in cells)] for name, both in found.items()]))
    first, second = (both["end"][2] for both in found.values())
    print(f"the finest grid, beside the next finest stripes and over the same in real pictures: {first:.2f} with transposed "
          f"convolutions, {second:.2f} with enlarging and convolving, after {o.steps:,} steps")
    print("picture:", save_png(o.out, drawn(drawings, found, test, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {
        name: {when: {f"grid of {period}": value for period, value in r.items()} for when, r in both.items()}
        for name, both in found.items()})


def played(train, test, resize, o, bar) -> dict:
    """{"start", "end": what held-out pictures of the second kind become, (N, C, H, W)}, before and after a game from --seed."""
    streams = Streams(o.seed)
    players = Players(train.a.x.shape[1], streams, width=o.width, resize=resize, **BRIEF)
    start = players.translated(test)["ba"]
    players.play(train, o.steps, streams, bar)
    return {"start": start, "end": players.translated(test)["ba"]}


def stretched(pictures) -> np.ndarray:
    """Pictures of weak contrast made to see: each channel of each to mean 0 and standard deviation 0.4."""
    centred = pictures - pictures.mean((2, 3), keepdims=True)
    return np.clip(0.4 * centred / (centred.std((2, 3), keepdims=True) + 1e-12), -1, 1)


def drawn(drawings, found, test, o) -> np.ndarray:
    """Pictures before and after; below them the spectra of the translations beside real pictures'."""
    figure, draw = new_figure(15, 6.9)
    figure.suptitle(f"the grid of a transposed convolution: {test.b.name} to {test.a.name} ({o.data}, {o.size} pixels, "
                    f"seed {o.seed})", fontsize=13)
    top, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    words = {"start": "before the first step, contrast stretched", "end": f"after {o.steps:,} steps"}
    names, colours = list(KINDS), ("C3", "C0")
    for axes, when in zip(top.subplots(1, 2), words, strict=True):
        shown = [x[when][:SHOWN] for x in drawings.values()]
        rows = np.concatenate([test.b.subset(slice(SHOWN)).normalised(), *(map(stretched, shown) if when == "start" else shown)])
        scale = max(1, 96 // o.size)
        axes.imshow(make_grid(rows, columns=len(shown[0]), scale=scale, padding=4), interpolation="nearest")
        cell = o.size * scale + 4
        axes.set_yticks([4 + cell * (i + 0.45) for i in range(3)],
                        ["picture", "transposed", "enlarged"] if when == "start" else [""] * 3, fontsize=11)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(words[when], fontsize=11)
    for axes, when in zip(below.subplots(1, 2), words, strict=True):
        real = sum(spectra(test.a.normalised()))
        axes.plot(np.arange(1, len(real)), (real / real[1:].sum())[1:], color="0.3", linestyle="--", label=f"real {test.a.name}")
        for name, colour in zip(names, colours, strict=True):
            line, r = sum(spectra(drawings[name][when])), found[name][when]
            axes.plot(np.arange(1, len(line)), (line / line[1:].sum())[1:], color=colour, marker="o", markersize=3,
                      label=f"{name}: {r[2]:.2f} at 2 pixels, {r[4]:.2f} at 4")
        for period in PERIODS:
            axes.axvline(o.size // period, color="0.6", linewidth=0.8, linestyle=":")
        axes.set(yscale="log", xlabel="periods across the picture (dotted: a grid of 4 and of 2 pixels)",
                 ylabel="share of the power" if when == "start" else "")
        axes.legend(frameon=False, fontsize=9)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return draw()
