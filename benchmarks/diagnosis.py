"""Is the diagnosis right? Games that are known to fail or to go well, and what `gan dcgan` says of each.

    python -m benchmarks.diagnosis --out FOLDER [--seeds 4] [--first 200]

Five recipes that fail, each for one reason, and five that go well, by as many seeds. A failing game counts as named when its
reason is among the findings (others may be: a generator that learns nothing has also collapsed); a healthy one counts as a
false alarm when there is any finding at all. The thresholds (`LIMITS` in gan/diagnosis.py) were chosen on seed 100; so the
first seed here is 200. Each game is small, 1,500 steps in about 15 seconds; each is trained in its turn, and what lies in
FOLDER is not trained again. Checkerboards and exploding gradients have no recipe here: DCGAN's kernels of 4 with stride 2 draw
no checkerboard, and a rate that makes gradients explode ends in numbers that are not finite, which needs no diagnosis. Both
are provoked in tests/gan/test_diagnosis.py.

PyTorch takes no part in this.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys

import numpy as np

from gan import __main__ as gan_main
from minigrad import command, data
from minigrad.words import doc, table

FEW = 100  # training pictures of the game whose discriminator learns them by heart
SMALL = ["--width", "8", "--steps", "1500", "--no-conditional"]
PLAIN = ["--gamma", "0", "--average", "0", "--refine", "0", "--refine-generator", "0", "--beta1", "0.9"]
FAILING = {  # reason: options of gan dcgan
    "too good": ["--data", "mnist", "--gamma", "0", "--generator-rate", "1e-5"],
    "vanishing": ["--data", "mnist", "--gamma", "0", "--generator-rate", "1e-5", "--loss", "minimax"],
    "memorising": ["--data", "npz:few.npz", "--gamma", "0"],
    "oscillation": ["--data", "mnist", *PLAIN, "--rate", "2e-4", "--generator-rate", "5e-3"],
    "collapse": ["--data", "mnist", *PLAIN, "--rate", "1e-2"],
}
HEALTHY = {
    "the default": ["--data", "mnist", "--conditional"],
    "least squares": ["--data", "glyphs", "--loss", "least_squares"],
    "hinge, spectral norm": ["--data", "fashion-mnist", "--loss", "hinge", "--gamma", "0", "--spectral-norm", "--rate", "1e-3"],
    "relativistic with R1": ["--data", "glyphs", "--loss", "relativistic"],
    "WGAN-GP": ["--data", "mnist", "--loss", "wasserstein", "--gamma", "0", "--gradient-penalty", "10", "--critic-steps", "2",
                "--rate", "5e-4"],
}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diagnosis", description=doc(__doc__, __file__),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=command.path, required=True, metavar="FOLDER", help="where the runs lie")
    parser.add_argument("--seeds", type=command.COUNT, default=4, help="games of each recipe (default: 4)")
    parser.add_argument("--first", type=command.NATURAL, default=200, help="the first seed (default: 200)")
    o = parser.parse_args(argv)
    os.makedirs(o.out, exist_ok=True)
    few = os.path.abspath(os.path.join(o.out, "few.npz"))
    if not os.path.isfile(few):
        train, test = (data.load("mnist", train=t).x for t in (True, False))
        np.savez(few, **{name: np.ascontiguousarray(x.transpose(0, 2, 3, 1)) for name, x in
                         (("x_train", train[:FEW]), ("x_test", test[:1000]))})
    rows, named, alarms = [], 0, 0
    for fails, games in ((True, FAILING), (False, HEALTHY)):
        for name, options in games.items():
            words = [few.join(word.split("few.npz")) for word in options]
            found = [one(name, words, seed, o) for seed in range(o.first, o.first + o.seeds)]
            right = sum(name in names if fails else not names for names in found)
            named, alarms = named + right * fails, alarms + (o.seeds - right) * (not fails)
            rows.append([f"fails: {name}" if fails else f"goes well: {name}", f"{right} of {o.seeds}",
                         "; ".join(", ".join(names) or "-" for names in found)])
            print(*rows[-1], sep=" | ", flush=True)
    print(table(["game", "right", "what was found, seed by seed"], rows))
    total = o.seeds * len(FAILING)
    print(f"named rightly: {named} of {total} failing games; false alarms: {alarms} of {o.seeds * len(HEALTHY)} healthy ones")


def one(name, options, seed, o) -> list[str]:
    """The names of what was found in the game of one recipe and seed; trained unless its report lies there."""
    folder = os.path.join(o.out, f"{name}, {seed}")
    run = os.path.join(folder, "dcgan-0001")
    if not os.path.isfile(os.path.join(run, "report.html")):
        shutil.rmtree(folder, ignore_errors=True)
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            status = command.main("gan", gan_main.COMMANDS, ["dcgan", *SMALL, *options, "--seed", str(seed), "--out", folder])
        if status not in (0, 3):
            sys.exit(f"diagnosis: {name}, seed {seed}: {said.getvalue()[-500:]}")
    path = os.path.join(run, "diagnosis.jsonl")
    with open(path, encoding="utf-8") as file:
        return list(dict.fromkeys(json.loads(line)["name"] for line in file))


if __name__ == "__main__":
    main()
