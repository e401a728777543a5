"""python -m gan structure: a picture may be right everywhere and wrong as a whole.

The data is `shapes`: every picture shows exactly so many discs (or bars), and whether a picture keeps the rule can be read off
it. One generator learns it twice from the same seed: against a critic that sees patches of 10 x 10 pixels, and against one that
sees the whole picture. The first can ask for round discs on black, but not for three of them. Prints the share of samples that
break the rule, by kind (gan/metrics/rules.py), beside the data's own 0.
"""

from __future__ import annotations

import numpy as np

from gan.commands.helpers.short_game import Rules, play
from gan.critics import Critic, PatchCritic
from gan.generate import generate, reestimate_batch_norm
from gan.metrics.rules import LEAST, Broken, check
from minigrad import command, data, optim
from minigrad.data.synthetic import count_parts
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.progress import Progress
from minigrad.random import Stream, Streams
from minigrad.words import percent, table, write_json
from nets.generators.dcgan import Generator

RULES = Rules(batch=32, latent=32, rate=1e-3, generator_rate=1e-3, beta2=0.99, gamma=0.1)
JUDGED, SHOWN = 2000, 40


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan structure", text, data=None, steps=1500, run=False,
                            takes="80 seconds", examples=["", "--part bars --count 4 --seed 3"])
    add = parser.add_argument
    add("--part", choices=["discs", "bars"], default="discs", help="what the pictures show")
    add("--count", type=command.COUNT, default=3, help="how many of them")
    add("--size", type=command.COUNT, default=32, help="pixels of the pictures")
    add("--width", type=command.COUNT, default=24, help="maps next to the image, in all players")
    add("--out", type=command.path, default="structure.png", metavar="FILE",
        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    if o.size < LEAST:
        raise ValueError(f"--size {o.size}: a part has a form to judge from {LEAST} pixels on")
    train, test = (data.load("shapes", train=t, size=o.size, part=o.part, count=o.count) for t in (True, False))
    bar = Progress(0, 2 * o.steps)
    samples = {"the data itself": test.normalised()[:JUDGED]}
    for name, kind in (("a critic of patches", PatchCritic), ("a critic of the whole picture", Critic)):
        samples[name] = trained(kind, train, o, bar)
    bar.close()

    found = {name: {**check(x, part=o.part, count=o.count).shares(), "parts": np.bincount(count_parts(x), minlength=10).tolist()}
             for name, x in samples.items()}
    print(table(["pictures", "break the rule", *(f"wrong {kind}" for kind in Broken._fields)],
                [[name, percent(r["any"], 1), *(percent(r[kind], 1) for kind in Broken._fields)] for name, r in found.items()]))
    patch, whole = (found[name]["number"] for name in list(found)[1:])
    print(f"a wrong number of {o.part}: {percent(patch, 1)} of the samples with a critic of patches, {percent(whole, 1)} with one "
          "of the whole picture, 0 in the data")
    print("picture:", save_png(o.out, drawn(samples, found, o)))
    write_json(o.out.rpartition(".")[0] + ".json", found)


def trained(kind, train, o, bar) -> np.ndarray:
    """JUDGED samples of the averaged generator after a game against a critic of this kind."""
    streams = Streams(o.seed)
    generator = Generator(o.size, 1, RULES.latent, o.width, 1, rng=streams["generator"])
    critic = (PatchCritic(1, o.width, rng=streams["critic"]) if kind is PatchCritic
              else Critic(o.size, 1, o.width, refine=1, rng=streams["critic"]))
    average = optim.EMA(generator, half_life=5000, ramp_up=0.05)
    batches = data.DataLoader(train, RULES.batch, shuffle=True, drop_last=True, rng=streams["data"]).forever()
    for _ in play(generator, critic, batches, o.steps, RULES, streams):
        average.update(RULES.batch)
        bar.update(bar.step + 1)
    reestimate_batch_norm(average.module, Stream(o.seed, "batch norm").normal((2000, RULES.latent)))
    return generate(average.module, Stream(o.seed, "judged").normal((JUDGED, RULES.latent)))


def drawn(samples, found, o) -> np.ndarray:
    """A sheet for each kind of pictures, those that break the rule framed in red, and below it how many parts they show."""
    figure, draw = new_figure(14.4, 5.8)
    figure.suptitle(f"exactly {o.count} {o.part} in each picture: the rule, and who learns it ({o.steps:,} steps, seed {o.seed})",
                    fontsize=13)
    sheets, counts = figure.subplots(2, len(samples), height_ratios=(3.4, 1))
    for top, below, (name, x) in zip(sheets, counts, samples.items(), strict=True):
        shown, r = x[:SHOWN], found[name]
        wrong = check(shown, part=o.part, count=o.count).any
        top.imshow(make_grid(shown, columns=8, padding=4, scale=2))
        side = 2 * o.size
        for i in np.flatnonzero(wrong):
            row, column = divmod(int(i), 8)
            top.add_patch(_frame(4 + column * (side + 4) - 1.5, 4 + row * (side + 4) - 1.5, side + 2))
        top.set_axis_off()
        top.set_title(f"{name}\n{percent(r['any'], 1)} break the rule (red)", fontsize=12)
        shares = 100 * np.array(r["parts"]) / len(x)
        below.bar(range(len(shares)), shares, color=["C0" if k == o.count else "C3" for k in range(len(shares))])
        below.set(ylim=(0, 105), xticks=range(len(shares)), xlabel=f"{o.part} in a picture")
        below.set_ylabel("pictures, %" if below is counts[0] else "")
        below.spines[["top", "right"]].set_visible(False)
    return draw()


def _frame(left, top, side):
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), side, side, fill=False, edgecolor="tab:red", linewidth=1.6)
