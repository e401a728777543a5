"""Which loss, which remedy? The same DCGAN by many recipes, at one number of images, judged by one classifier.

    python -m benchmarks.bakeoff --out FOLDER [--data mnist fashion-mnist] [--images 48000] [--width 16] [--seeds 3]

Trains `python -m gan dcgan` once for each data set, recipe and seed, and prints a table: the Frechet distance on the judge's
features between N samples and N training images (mean, least and largest of the seeds), beside its floor, the distance of N other
training images to the same N. Every recipe sees equally many images, whatever its batch. A recipe is the default one,
without classes, with what its line in `RECIPES` changes; to try another, write it there.

Each result is one line of FOLDER/results.jsonl, written when its run is judged. So the command may be stopped at any time: typed
again, it goes on with the first result that is missing. A run that was under way is begun anew; a recipe whose options have
changed, too. A run whose numbers became infinite is a result: it counts as lost. Seeds come one after the other, so that a table of
all recipes is there after the first. The judge of each data set is trained before (`python -m nets classifier`), unless --judge
names it.

PyTorch takes no part in this.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import time
from typing import NamedTuple

import numpy as np

from gan import __main__ as gan_main
from gan.commands.dcgan import PRESETS
from gan.generate import generate, trained_generator
from gan.metrics import class_report, disjoint, distance_name, frechet_distance, judge
from minigrad import command, data
from minigrad.random import Stream
from minigrad.records import add_line, json_lines
from minigrad.run import Run
from minigrad.words import doc, json_text
from nets import __main__ as nets_main
from nets.classifiers import trained

RECIPES = {  # options of gan dcgan, beside --data --seed --width --steps
    "default: non-saturating, R1, average": [],
    "minimax": ["--loss", "minimax"],
    "least squares": ["--loss", "least_squares"],
    "Wasserstein with R1": ["--loss", "wasserstein"],
    "hinge": ["--loss", "hinge"],
    "relativistic": ["--loss", "relativistic"],
    "R1 five times": ["--gamma", "5"],
    "R1 a fifth": ["--gamma", "0.2"],
    "without R1": ["--gamma", "0"],
    "batch norm in D in place of R1": ["--gamma", "0", "--norm"],
    "without average": ["--average", "0"],
    "rate a tenth": ["--rate", "2e-4"],
    "without 3x3 convolutions": ["--refine", "0", "--refine-generator", "0"],
    "published: tutorial's DCGAN": ["--preset", "published"],
    "minibatch stddev": ["--stddev", "4"],
    "pairs packed": ["--pack", "2"],
    "spectral norm in place of R1": ["--gamma", "0", "--spectral-norm"],
    "WGAN-GP, five critic steps": ["--loss", "wasserstein", "--gamma", "0", "--gradient-penalty", "10", "--critic-steps", "5",
                                   "--beta1", "0"],
    "instance noise": ["--noise", "0.5"],
    "label smoothing": ["--smooth", "0.1"],
    "augmented": ["--augment", "blit"],
    "told the class": ["--conditional"],
}
BATCHES = {name: preset["batch"] for name, preset in PRESETS.items()}


class Judge(NamedTuple):
    """What judges the samples of one data set: a classifier, the features of N real images, and how far N others are from them."""

    name: str
    classifier: object
    reference: np.ndarray  # (N, features)
    floor: float


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bakeoff", description=doc(__doc__, __file__),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=command.path, required=True, metavar="FOLDER", help="where runs and results lie")
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"], metavar="NAME", help="as of gan dcgan")
    parser.add_argument("--judge", nargs="*", type=command.path, default=[], metavar="RUN", help="runs of nets classifier, one for "
                        "each of --data (default: trained first)")
    parser.add_argument("--images", type=command.COUNT, default=48_000, help="real images that each run sees (default: 48000)")
    parser.add_argument("--width", type=command.COUNT, default=16, help="maps next to the image, in both players (default: 16)")
    parser.add_argument("--seeds", type=command.COUNT, default=3, help="runs of each recipe (default: 3)")
    parser.add_argument("--count", type=command.TWO, default=10_000, help="samples to judge (default: 10000)")
    parser.add_argument("--only", metavar="TEXT", default="", help="recipes whose name holds this text")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table of what is there")
    o = parser.parse_args(argv)
    os.makedirs(o.out, exist_ok=True)
    results = os.path.join(o.out, "results.jsonl")
    recipes = {name: options for name, options in RECIPES.items() if o.only in name}
    wanted = [(name, recipe, seed) for seed in range(o.seeds) for name in o.data for recipe in recipes]
    done = {key(line): line for line in read(results)}
    if not o.table:
        judges, seconds = {name: the_judge(name, o) for name in o.data}, []
        for left, (name, recipe, seed) in zip(range(len(wanted), 0, -1), wanted, strict=True):
            asked = dict(data=name, recipe=recipe, options=recipes[recipe], seed=seed, images=o.images, width=o.width,
                         metric=judges[name].name, floor=judges[name].floor)
            if key(asked) in done:
                continue
            line = {**asked, **one(asked, judges[name], o)}
            add_line(results, line)
            done[key(line)] = line
            seconds.append(line["seconds"])
            told = f"lost: {line['lost']}" if line["distance"] is None else f"distance {line['distance']:.1f}"
            print(f"{name}, {recipe}, seed {seed}: {told}; {line['seconds']:.0f} s, about "
                  f"{np.mean(seconds) * (left - 1) / 60:.0f} min left", flush=True)
    print(tables(list(done.values()), o))


def key(line) -> str:
    """What makes two results the same one."""
    return json_text([line[name] for name in ("data", "recipe", "options", "seed", "images", "width", "metric")], "bakeoff: result")


def read(path) -> list[dict]:
    """The results so far. A line that is not whole was being written when the command was stopped, and is left out."""
    return [line for _, line in json_lines(path) if isinstance(line, dict)]


def the_judge(name, o) -> Judge:
    """The classifier on this data, given or trained in FOLDER, with the real images that samples are compared with."""
    runs = [run for run in map(Run.open, o.judge) if run.config["data"] == name]
    folder = os.path.join(o.out, f"judge-{name.replace('/', '_')}")
    if not runs:
        if not os.path.isfile(os.path.join(folder, "classifier-0001", "report.html")):
            shutil.rmtree(folder, ignore_errors=True)
            if command.main("nets", nets_main.COMMANDS, ["classifier", "--data", name, "--out", folder]):
                sys.exit(f"bakeoff: no judge for {name}: the line above says why")
        runs = [Run.open(os.path.join(folder, "classifier-0001"))]
    classifier, config = trained(runs[0]), runs[0].config
    train = data.load(name, train=True, size=config["size"])
    halves = disjoint(Stream(0, "reference").permutation(len(train)), o.count)
    reference, floor = (judge(classifier, train.subset(half).normalised())[0] for half in halves)
    count = len(reference)
    return Judge(distance_name(config.get("network", "lenet"), name, classifier, count), classifier, reference,
                 frechet_distance(floor, reference))


def one(asked, judge_, o) -> dict:
    """Train by one recipe and judge: the part of a result that is found."""
    options = asked["options"]
    batch = BATCHES["published" if "published" in options else "best"]
    if "--critic-steps" in options:  # each of them takes a batch
        batch *= int(options[options.index("--critic-steps") + 1])
    folder = os.path.join(o.out, asked["data"].replace("/", "_"), f"{asked['recipe'].replace('/', '_')}, seed {asked['seed']}")
    shutil.rmtree(folder, ignore_errors=True)
    argv = ["dcgan", "--data", asked["data"], "--seed", str(asked["seed"]), "--width", str(o.width), "--steps",
            str(max(1, o.images // batch)), "--out", folder, "--no-conditional", *options]
    began, said = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = command.main("gan", gan_main.COMMANDS, argv)
    seconds = time.perf_counter() - began
    if status == 3:  # NaN or infinity: the recipe lost
        return {"distance": None, "lost": said.getvalue().partition("error: ")[2].partition("\n")[0], "seconds": seconds}
    if status:
        sys.exit(f"bakeoff: python -m gan {' '.join(argv)}\n{said.getvalue()}")
    run = Run.open(os.path.join(folder, "dcgan-0001"), quiet=True)
    latents = Stream(asked["seed"], "evaluate").normal((len(judge_.reference), run.config["latent"]))
    features, probabilities = judge(judge_.classifier, generate(trained_generator(run), latents))
    found = class_report(probabilities)
    return {"distance": frechet_distance(features, judge_.reference), "confidence": found["confidence"],
            "confident": float((probabilities.max(1) > 0.9).mean()), "least": min(found["histogram"]),
            "most": max(found["histogram"]), "entropy": found["entropy"], "steps": run.step, "seconds": seconds}


def tables(lines, o) -> str:
    """One table for each data set and metric, the best recipe first, in Markdown."""
    lines = [line for line in lines if line["images"] == o.images and line["width"] == o.width and line["data"] in o.data
             and RECIPES.get(line["recipe"]) == line["options"] and o.only in line["recipe"]]
    texts = []
    for name, metric, floor in sorted({(line["data"], line["metric"], line["floor"]) for line in lines}):
        groups = {}
        for line in lines:
            if line["metric"] == metric:
                groups.setdefault(line["recipe"], []).append(line)
        rows = sorted((recipe_row(recipe, group) for recipe, group in groups.items()), key=lambda row: row[0])
        head = ("recipe", "distance", "seeds' range", "/ floor", "> 0.9", "least and largest class", "seconds")
        body = [head, ["---"] + ["---:"] * 6, *([text, *(f(floor) for f in cells)] for _, text, *cells in rows)]
        texts.append(f"\n{name}, {o.images:,} images, width {o.width}; {metric}, floor {floor:.2f}\n\n"
                     + "\n".join("| " + " | ".join(row) + " |" for row in body))
    return "\n".join(texts) or "no results yet"


def recipe_row(recipe, group):
    """(what to sort by, recipe, then a function of the floor for each other cell)."""
    good = [line for line in group if line["distance"] is not None]
    lost = f", {len(group) - len(good)} of {len(group)} lost" if len(good) < len(group) else ""
    if not good:
        return (np.inf, recipe, lambda _: "lost", *[lambda _: "-"] * 5)
    distances, mean = [line["distance"] for line in good], np.mean([line["distance"] for line in good])
    return (mean, recipe, lambda _: f"{mean:.1f}{lost}", lambda _: f"{min(distances):.1f}-{max(distances):.1f}",
            lambda floor: f"{mean / floor:.0f}", lambda _: f"{100 * np.mean([line['confident'] for line in good]):.0f} %",
            lambda _: f"{100 * min(line['least'] for line in good):.1f}-{100 * max(line['most'] for line in good):.1f} %",
            lambda _: f"{np.mean([line['seconds'] for line in good]):.0f}")


if __name__ == "__main__":
    main()
