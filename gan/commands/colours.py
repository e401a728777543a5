"""python -m gan colours: what the identity loss is for. Without it a translator may turn all colours round.

A translator that makes negatives and another that makes them back are as consistent as two that keep the colours. Where
negatives are as likely as positives in both kinds of pictures, no judge objects either: the other losses of CycleGAN are the same
for both, and the first weights decide. So the pictures here are turned into negatives by the toss of a coin (beasts as they are
have a bright sky, and a judge sees one that is dark). From several starts CycleGAN is trained without the identity loss and, from
the same weights on the same pictures, with it. Prints for each the correlation of held-out pictures with their translations, 1 for
colours that are kept and -1 for a negative (gan/translate/contrast.py), and how many starts end below 0.
"""

from __future__ import annotations

import numpy as np

from gan.commands.helpers.translating import BRIEF, Players, brief_options, brief_sets
from gan.translate import contrast_kept
from minigrad import command, data
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.progress import Progress
from minigrad.random import Stream, Streams
from minigrad.words import table, write_json

SHOWN = 12


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan colours", text, data="beasts", steps=250, run=False, takes="2 minutes",
                            examples=["", "--seed 10 --starts 4", "--data summer2winter --steps 600"])
    add = parser.add_argument
    add("--starts", type=command.COUNT, default=6, help="first weights to try: those of --seed and of the seeds after it")
    add("--identity", type=command.POSITIVE, default=0.5, help="weight of the identity loss, where there is one (gan cyclegan's)")
    brief_options(parser, "colours.png")
    o = parser.parse(argv)
    train, test = (coins(pair, o.seed) for pair in brief_sets(o))
    o.channels = train.a.x.shape[1]
    found, bar = [], Progress(0, 2 * o.starts * o.steps)
    for start in range(o.seed, o.seed + o.starts):
        found.append([played(train, test, start, identity, o, bar) for identity in (0.0, o.identity)])
    bar.close()

    print(table(["start", "kept, without", "with", "way back off by, without", "with"],
                [[f"seed {o.seed + i}", *(f"{r['kept']:+.2f}" for r in both), *(f"{r['back']:.3f}" for r in both)]
                 for i, both in enumerate(found)]))
    without, with_ = (sum(both[k]["kept"] < 0 for both in found) for k in (0, 1))
    print(f"colours are turned round from {without} of {o.starts} starts without the identity loss, from {with_} with it")
    print("picture:", save_png(o.out, drawn(found, test, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {
        "turned round": {"without": without, "with": with_, "of": o.starts},
        "starts": [{"seed": o.seed + i, **{name: {what: r[what] for what in ("kept", "ab", "ba", "back")}
                                           for name, r in zip(("without", "with"), both, strict=True)}}
                   for i, both in enumerate(found)]})


def coins(pair, seed) -> data.Pair:
    """The same pictures, each turned into its negative, 255 - x, with probability 1/2; each side has coins of its own."""
    sides = []
    for name, side in zip("ab", pair, strict=True):
        tails = Stream(seed, f"coins {name}").bernoulli(0.5, len(side))
        x = np.where(tails[:, None, None, None], 255 - side.x, side.x)
        sides.append(data.Dataset(x, name=side.name, source=f"{side.source}, half of them as negatives"))
    return data.Pair(*sides)


def played(train, test, start, identity, o, bar) -> dict:
    """{"kept": mean of both ways, "ab", "ba": each, "back": error of the way back, "after": translations} after a game from these
    first weights."""
    streams = Streams(start)
    players = Players(o.channels, streams, width=o.width, **BRIEF)
    players.play(train, o.steps, streams, bar, identity=identity)
    after = players.translated(test)
    back = players.returned(after)
    ways = list(zip(("ab", "ba"), test, strict=True))
    kept = {way: float(contrast_kept(side.normalised(), after[way]).mean()) for way, side in ways}
    return {**kept, "kept": (kept["ab"] + kept["ba"]) / 2, "after": {way: x[:SHOWN] for way, x in after.items()},
            "back": float(np.mean([np.abs(back[way] - side.normalised()).mean() for way, side in ways]))}


def drawn(found, test, o) -> np.ndarray:
    """Two sheets, before and after without and with the identity loss, of the start that turned the colours round most; beside them
    every start's two numbers."""
    worst = min(range(len(found)), key=lambda i: found[i][0]["kept"])
    figure, draw = new_figure(15, 5.6)
    figure.suptitle("CycleGAN where negatives are as likely as positives: what the identity loss decides "
                    f"({o.data}, {o.size} pixels, {o.steps:,} steps; weight {o.identity:g})", fontsize=13)
    left, right = figure.subfigures(1, 2, width_ratios=(3.1, 1))
    for axes, way, side, other in zip(left.subplots(2, 1), ("ab", "ba"), test, (test.b, test.a), strict=True):
        rows = {"before": side.subset(slice(SHOWN)).normalised(), "without": found[worst][0]["after"][way],
                "with": found[worst][1]["after"][way]}
        scale = max(1, 96 // o.size)
        axes.imshow(make_grid(np.concatenate(list(rows.values())), columns=len(rows["before"]), scale=scale, padding=4))
        cell = o.size * scale + 4
        axes.set_yticks([4 + cell * (i + 0.45) for i in range(len(rows))], list(rows), fontsize=11)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{side.name} to {other.name}, held out, seed {o.seed + worst}", fontsize=11)
    axes = right.subplots()
    for i, both in enumerate(found):
        values, aside = [r["kept"] for r in both], 0.3 * ((i + 0.5) / len(found) - 0.5)
        axes.plot((aside, 1 + aside), values, color="C3" if values[0] < 0 else "C0", marker="o", markersize=5, linewidth=1.2)
        axes.annotate(f"{o.seed + i}", (aside, values[0]), (0, -13), textcoords="offset points", ha="center", fontsize=9)
    axes.axhline(0, color="0.3", linewidth=0.8, linestyle=":")
    axes.set(xlim=(-0.3, 1.3), ylim=(-1.05, 1.05), xticks=(0, 1), ylabel="correlation of picture and translation",
             title="each start (its seed):\n1 colours kept, -1 turned round")
    axes.set_xticklabels(["without", "with"], fontsize=11)
    axes.title.set_fontsize(11)
    axes.spines[["top", "right"]].set_visible(False)
    return draw()
