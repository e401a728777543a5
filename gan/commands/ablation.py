"""python -m gan ablation: what does each ingredient of ProGAN bring? The same game with each left out in turn (Karras et al. 2018).

Every row is a run of `gan progan` at 16 pixels from the same seed, full or --without one ingredient, and sees equally many images:
table 1 of the paper read the other way round, because there the ingredients are added one after the other. At the end of each row
its pictures are compared with real ones by two distances (gan/commands/helpers/distances.py), the same for all rows: the sliced
Wasserstein distance, the paper's own, and the Frechet distance on a small network. Both stand beside their floor, what other real
pictures score. Where rows differ by less than a fifth, take several --seeds: then each row has its mean, least and largest.

Each row is a run in FOLDER, and each result a line of FOLDER/results.jsonl, written when its row is done. Stop it at any time:
typed again, the command goes on where it was. The table is printed at the end, and the figure is FOLDER/ablation.png.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time

import numpy as np

from gan.commands.helpers.distances import Distances
from gan.commands.helpers.growing import BATCH, DEFAULTS, LARGE_BATCH, WITHOUT, pictures, plan_of, play
from minigrad import command, inputs
from minigrad.kinds import kind_of
from minigrad.paths import expand
from minigrad.pictures import make_grid, new_figure, save_png
from minigrad.random import Stream
from minigrad.records import add_line, json_lines
from minigrad.run import Run
from minigrad.words import json_text, table

FULL = "all of it"
ROWS = {FULL: [], **{f"without {name}": [name] for name in WITHOUT}}
SHOWN = 12  # pictures of each row in the figure
KIND = "gan progan"


def options(argv=None):
    parser = command.Parser("gan ablation", command.doc(__doc__, __file__), steps=None, run=False, takes="8 minutes",
                            examples=["", "--data mnist", "--data cifar10 --seeds 3", "--only growing --only fading"])
    add = parser.add_argument
    add("--size", type=command.COUNT, default=16, help="pixels at the last level: a power of two from 16 on")
    add("--fade", type=command.POSITIVE, default=6, help="thousands of images in which a level is faded in")
    add("--steady", type=command.POSITIVE, default=9, help="thousands of images at each level then")
    add("--base", type=command.COUNT, default=256, help="feature maps where the side is s pixels: 2 * base / s, and at most ...")
    add("--most", type=command.COUNT, default=DEFAULTS["most"], help="... so many")
    add("--seeds", type=command.COUNT, default=1, help="runs of each row, from --seed on; one of each row first")
    add("--only", choices=WITHOUT, action="append", default=[], help="rows to run beside the full one; may be given several times "
        "(default: all)")
    add("--count", type=command.TWO, default=2000, help="pictures to compare with as many real ones")
    add("--out", type=command.path, default="ablation", metavar="FOLDER", help="where runs, results and the figure lie")
    o = parser.parse(argv)
    if o.size < 16:
        raise ValueError(f"--size {o.size}: the network that judges reads pictures from 16 pixels on")
    return o


def main(argv=None):
    o = options(argv)
    images = inputs.images(o, size=o.size)
    wanted = [(name, row_of(o, name, images, o.seed + i)) for i in range(o.seeds) for name in ROWS
              if not o.only or name == FULL or ROWS[name][0] in o.only]
    os.makedirs(expand(o.out), exist_ok=True)
    results = os.path.join(expand(o.out), "results.jsonl")
    done = read(results)
    with Distances(images, o.count) as distances:
        pass  # its network is trained, and is the judge of all rows
    try:
        for number, (name, row) in enumerate(wanted, 1):
            if key(row, distances) in done:
                continue
            print(f"row {number} of {len(wanted)}: {name}, seed {row.seed}", flush=True)
            line = {"key": key(row, distances), "row": name, "seed": row.seed, **one(o, name, row, images, distances)}
            add_line(results, line)
            done[line["key"]] = line
    except SystemExit:
        print("what is finished is kept; the same command goes on with the row that was under way", flush=True)
        raise
    finally:
        lines = [done[k] for k in (key(row, distances) for _, row in wanted) if k in done]
        if lines:
            print("\n" + words(lines))
            print("picture:", save_png(os.path.join(expand(o.out), "ablation.png"), drawn(o, lines, images)))


# ---- rows


def row_of(o, name: str, images, seed: int) -> argparse.Namespace:
    """The options of `gan progan` for a row: those of its run."""
    batch = LARGE_BATCH if "small-batch" in ROWS[name] else BATCH
    row = argparse.Namespace(**{**DEFAULTS, "data": o.data, "size": o.size, "fade": o.fade, "steady": o.steady, "batch": batch,
                                "base": o.base, "most": o.most, "seed": seed, "device": "cpu", "without": list(ROWS[name]),
                                "measure": o.count, "skip_broken": o.skip_broken, "channels": images.x.shape[1]})
    row.steps = plan_of(row)[-1].last
    return row


def key(row, distances) -> str:
    """What makes two results the same one: the options of the row, and the judge."""
    config = {name: value for name, value in vars(row).items() if name not in ("device", "skip_broken")}
    return hashlib.sha256(json_text([config, distances.metric], "ablation: row").encode()).hexdigest()[:16]


def read(path) -> dict:
    """{key: result} of the lines so far; one that is not whole was being written when the command was stopped."""
    return {line["key"]: line for _, line in json_lines(path) if isinstance(line, dict) and "key" in line}


def one(o, name: str, row, images, distances) -> dict:
    """Train a row, or go on with its training, and judge it."""
    began, run = time.perf_counter(), run_of(o, name, row)
    try:
        game = play(row, run, images)
        drawn = pictures(game.generator, Stream(row.seed, "judged").normal((distances.count, row.latent)))
        found = distances.of(drawn)
        run.finish(title=f"ProGAN on {row.data}, {name}", summary={**distances.words(found), "diagnosis": game.health.words()})
        save_png(run.file("first.png"), make_grid(drawn[:SHOWN], SHOWN, padding=1))
    finally:
        run.close()
    return {"run": run.path, "diagnosis": game.health.names, "minutes": (time.perf_counter() - began) / 60, **found}


def run_of(o, name: str, row) -> Run:
    """The run of this row in FOLDER that is there already, or a new one."""
    folder, called = expand(o.out), f"{name.replace(' ', '-')}-seed-{row.seed}"
    config = vars(row)
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if entry.startswith(called + "-0") and kind_of(path) == KIND and Run.open(path, quiet=True).config == config:
            return Run.resume(path)
    return Run.create(called, config, folder, command=f"python -m {KIND}", kind=KIND)


# ---- what was found


def words(lines) -> str:
    """The table, in the order of `ROWS`, with its floors in the last row."""
    body = []
    for name in ROWS:
        group = [line for line in lines if line["row"] == name]
        if group:
            sliced = [float(np.mean(line["sliced"])) for line in group]
            body.append([name, several(sliced), several([line["frechet_distance"] for line in group]), str(len(group)),
                         ", ".join(sorted({n for line in group for n in line["diagnosis"]})) or "-",
                         f"{np.mean([line['minutes'] for line in group]):.1f}"])
    first = lines[0]
    body.append(["real pictures (the floor)", f"{np.mean(first['sliced_floor']):.1f}", f"{first['frechet_floor']:.1f}", "", "", ""])
    return table(["", "sliced Wasserstein x 1000", "Frechet distance", "seeds", "diagnosis", "minutes"], body, left=(0, 4)) \
        + f"\n  {first['metric']}"


def several(values) -> str:
    """The mean, and the least and the largest where there are several."""
    mean = f"{np.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f}-{max(values):.1f})"


def drawn(o, lines, images) -> np.ndarray:
    """A row for each ingredient: its first pictures, and both distances as bars, the floor dashed."""
    from PIL import Image

    names = [name for name in ROWS if any(line["row"] == name for line in lines)]
    figure, draw = new_figure(14.5, 1.3 + 0.72 * (len(names) + 1))
    seeds = len({line["seed"] for line in lines})
    figure.suptitle(f"ProGAN on {o.data}, {o.size} pixels: each ingredient left out in turn\n({o.fade:g} thousand images for a "
                    f"fade, {o.steady:g} for a steady phase; {seeds} seed{'s' * (seeds > 1)})", fontsize=12)
    grid = figure.subplots(len(names) + 1, 3, width_ratios=(4.2, 1.3, 1.3), squeeze=False)
    floors = float(np.mean(lines[0]["sliced_floor"])), lines[0]["frechet_floor"]
    groups = {name: [line for line in lines if line["row"] == name] for name in names}
    tops = [max(measures(line)[i] for line in lines) for i in (0, 1)]
    real = make_grid(images.x[:SHOWN], SHOWN, padding=1)
    for axes, name in zip(grid, ["real pictures", *names], strict=True):
        group = groups.get(name)
        strip = real if group is None else np.asarray(Image.open(os.path.join(group[0]["run"], "first.png")).convert("RGB"))
        axes[0].imshow(strip, interpolation="nearest", cmap="gray")
        axes[0].set_ylabel(name.replace("without ", "without\n", 1), rotation=0, ha="right", va="center", fontsize=10)
        axes[0].set_xticks([])
        axes[0].set_yticks([])
        axes[0].spines[:].set_visible(False)
        for i, bar in enumerate(axes[1:]):
            values = [floors[i]] if group is None else [measures(line)[i] for line in group]
            bar.barh([0], [np.mean(values)], color="0.72" if group is None else "C0" if name == FULL else "C3", height=0.6)
            bar.plot(values, np.zeros(len(values)), ".", color="0.15", markersize=4)
            bar.axvline(floors[i], color="0.4", linewidth=1, linestyle="--")
            bar.text(max(values) + 0.02 * tops[i], 0, several(values), va="center", fontsize=8.5)
            bar.set_xlim(0, 1.45 * tops[i])
            bar.set_ylim(-0.5, 0.5)
            bar.axis("off")
    for bar, title in zip(grid[0, 1:], ("sliced Wasserstein x 1000", "Frechet distance"), strict=True):
        bar.set_title(f"{title}\n(less is better; dashed: real pictures)", fontsize=9.5)
    return draw()


def measures(line) -> tuple[float, float]:
    """(the sliced distance, mean over levels, the Frechet distance)"""
    return float(np.mean(line["sliced"])), line["frechet_distance"]
