"""python -m attacks table --model RUN: which digit can be turned into which? Targeted success, source against target.

Some images of each class that the network gets right are attacked towards every other class, within one radius. A cell is the share
that was turned into the target. By default the radius is half the usual one. With a larger one every cell of an undefended network
is 100; with a smaller one only classes that look alike are left.
"""

from __future__ import annotations

import numpy as np

from attacks.commands.helpers import setting
from attacks.commands.helpers.catalogue import ATTACKS, in_batches
from attacks.core.goal import Targeted
from attacks.core.result import Result
from minigrad import command, words
from minigrad.pictures import heat
from minigrad.words import percent, show, write_json

CHOICES = [name for name, a in ATTACKS.items() if a.targeted and a.view == "white_box" and "threat" in a.takes]
BATCH = 250


def main(argv=None):
    parser = command.Parser("attacks table", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="6 seconds",
                            examples=["--model runs/classifier-0001", "--model runs/classifier-0001 --epsilon 0.1"])
    setting.model_options(parser, 20, "images of each class")
    parser.add_argument("--attack", choices=CHOICES, default="pgd", help="which attack")
    parser.add_argument("--steps", type=command.COUNT, default=40, metavar="N", help="steps of it")
    o = parser.parse(argv)
    victim, config = setting.victim_of(o, parser)
    samples = setting.pick(setting.test_set(o, config), None, o.seed)
    threat = setting.threat_of(o, config, 0.5)
    run = setting.start("table", o)
    k = len(samples.classes)
    rows = sources(victim, samples, min(o.count, 2) if o.dry_run else o.count)
    y = np.repeat(samples.y[rows], k)
    t = np.tile(np.arange(k), len(rows))
    x = np.repeat(samples.x[rows], k, axis=0)[y != t]
    y, t = y[y != t], t[y != t]

    parts, stopped = in_batches(ATTACKS[o.attack], run, victim, x, Targeted(t, y), threat, o, BATCH)
    success = Result.join(parts).success if parts else np.zeros(0, bool)
    y, t = y[: len(success)], t[: len(success)]

    tried, won = np.zeros((k, k), int), np.zeros((k, k), int)
    np.add.at(tried, (y, t), 1)
    np.add.at(won, (y, t), success)
    rates = np.where(tried > 0, won / np.maximum(tried, 1), np.nan)
    title = f"{o.attack}, {o.norm} {o.epsilon:.4g}, {o.model} on {samples.name}: success of targeted attacks" + (
        f", stopped after {len(y)}" if stopped else "")
    run.image(o.steps, heat(rates, samples.classes, title.replace(": ", "\n")), "table")
    write_json(run.file("table.json"), {"classes": list(samples.classes), "tried": tried.tolist(), "won": won.tolist()})
    mean = success.mean() if len(success) else np.nan
    summary = {"mean over all pairs": f"{percent(mean)} of {len(y)} attacks", **extremes(rates, samples.classes)}
    if stopped:
        summary["stopped"] = f"after {len(y)} attacks; cells without any are empty"
    run.finish(title=title, summary=summary)
    print(title)
    print(text(rates, samples.classes))
    show(summary)
    return 130 if stopped else 0


def sources(victim, samples, count: int) -> np.ndarray:
    """Places of the first `count` samples of each class that the victim gets right, in order of class."""
    found = []
    for c in range(len(samples.classes)):
        of_class = np.flatnonzero(samples.y == c)
        right = []
        for start in range(0, len(of_class), BATCH):
            here = of_class[start : start + BATCH]
            right.extend(here[victim.predict(samples.x[here]).argmax(1) == c])
            if len(right) >= count:
                break
        found.extend(right[:count])
    return np.array(found, np.int64)


def extremes(rates, classes) -> dict:
    """The easiest and the hardest classes."""
    if not np.isfinite(rates).any():
        return {"note": "the network gets nothing right, so there was nothing to attack"}
    said = {}
    for name, axis in (("as a target", 0), ("as a source", 1)):
        seen = np.isfinite(rates)
        mean = np.where(seen, rates, 0).sum(axis) / np.maximum(seen.sum(axis), 1)
        mean = np.where(seen.any(axis), mean, np.nan)
        low, high = int(np.nanargmin(mean)), int(np.nanargmax(mean))
        said[f"easiest {name}"] = f"{classes[high]} ({percent(mean[high])})"
        said[f"hardest {name}"] = f"{classes[low]} ({percent(mean[low])})"
    return said


def text(rates, classes) -> str:
    """The table in letters: per cent, rows are true classes, columns targets."""
    rows = []
    for name, row in zip(classes, rates, strict=True):
        mean = f"{100 * np.nanmean(row):.0f}" if np.isfinite(row).any() else "-"
        rows.append([str(name)[:14], *("-" if np.isnan(v) else f"{100 * v:.0f}" for v in row), mean])
    return words.table(["true \\ target", *(str(c)[:6] for c in classes), "mean"], rows, indent=0)
