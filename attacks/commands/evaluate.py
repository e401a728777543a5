"""python -m attacks evaluate --model RUN: may this robust accuracy be believed?

PGD is run, and every check is asked about it: do gradients vanish, do steps converge, does noise find more, and so on. Then come
the strong attacks in a row and what each of them adds, and accuracy against epsilon. Each number is printed with its verdict, and
all of it is written to one report.html. The checks cost some thirty times the attack.
"""

from __future__ import annotations

import argparse

import numpy as np

from attacks.commands.helpers import setting
from attacks.evaluate import report
from attacks.evaluate.evaluation import evaluate
from attacks.white_box.apgd import apgd
from attacks.white_box.gradient import pgd
from minigrad import command
from minigrad.report import environment
from minigrad.words import percent, table, write_json

ATTACKS = {"pgd": pgd, "apgd": apgd}


def main(argv=None):
    o, parser = options(argv)
    victim, config = setting.victim_of(o, parser)
    samples = setting.pick(setting.test_set(o, config), min(o.count, 4) if o.dry_run else o.count, o.seed)
    threat = setting.threat_of(o, config)
    twin = None
    if o.twin is not None:
        twin, other = setting.victim_of(argparse.Namespace(**{**vars(o), "model": o.twin}), parser)
        for key in ("channels", "classes", "size"):
            if other[key] != config[key]:
                raise ValueError(f"--twin {o.twin} has {key} {other[key]}, the model {config[key]}; a twin takes the "
                                 f"same images")
    run = setting.start("evaluate", o)
    quick = dict(steps=4, targets=2) if o.dry_run else dict(steps=o.strong)
    statements = {key: getattr(o, key) for key in ("defense", "adaptive", "compare") if getattr(o, key)}
    parts, title = [], f"Robustness of {o.model}: {o.norm} {o.epsilon:.4g} on {len(samples.y)} images of {samples.name}"

    def seen(text):
        parts.append(text)
        if o.verbose:
            run.say(text)

    try:
        found = evaluate(victim, samples.x, samples.y, threat, attack=ATTACKS[o.attack], steps=4 if o.dry_run else o.steps,
                         restarts=o.restarts, samples=o.samples, queries=min(o.queries, 20) if o.dry_run else o.queries,
                         twin=twin, draws=4 if o.dry_run else o.draws, ensemble=quick, statements=statements, rng=o.seed,
                         seen=seen, units=lambda total: run.units(total, kept=parts))
    except SystemExit:  # Ctrl-C
        if not parts:
            raise
        return stopped(run, title, parts)

    found.ensemble.result.save_npz(run.file("ensemble.npz"))
    write_json(run.file("evaluation.json"), found.plain())
    path = report.write(run.file("report.html"), found, title=title, classes=samples.classes, data=samples.name, norm=o.norm,
                        command=run.command, environment=environment())
    run.image(0, report.curve_picture(found, o.norm), "curve")
    sheet = report.examples(found, samples.classes)
    if sheet is not None:
        run.image(0, sheet, "examples")
    print(title)
    show(found)
    print("dry run, nothing is kept" if o.dry_run else f"report: {path}")


def stopped(run, title: str, parts: list) -> int:
    """Keep what was answered before Ctrl-C. A robust accuracy is not among it, because it takes all that can be tried."""
    title += f", stopped after {len(parts)} parts"
    write_json(run.file("evaluation.json"), {"stopped": True, "parts": parts})
    run.finish(title=title, summary={f"part {i}": text for i, text in enumerate(parts, 1)})
    print(title)
    for text in parts:
        print(f"  {text}")
    return 130


def options(argv=None):
    parser = command.Parser("attacks evaluate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="1 minute",
                            examples=["--model runs/classifier-0001", "--model runs/robust-0001 --twin "
                                "runs/classifier-0001 "
                                      "--defense 'PGD training'"])
    setting.model_options(parser, 200, "images of the test set")
    parser.add_argument("--attack", choices=list(ATTACKS), default="pgd", help="the attack whose number is in question")
    parser.add_argument("--steps", type=command.COUNT, default=40, metavar="N", help="its steps")
    parser.add_argument("--restarts", type=command.COUNT, default=1, metavar="N", help="its random starts")
    parser.add_argument("--samples", type=command.COUNT, default=1, metavar="N",
                        help="draws at each step, for a network that answers at random")
    parser.add_argument("--strong", type=command.COUNT, default=100, metavar="N", help="steps of the attacks of the "
        "ensemble")
    parser.add_argument("--queries", type=command.COUNT, default=1000, metavar="N", help="queries of the black-box "
        "attacks")
    parser.add_argument("--draws", type=command.COUNT, default=100, metavar="N", help="random points around each "
        "image")
    parser.add_argument("--twin", type=command.path, metavar="RUN",
                        help="the same network without the defense: the attacks must work "
                                                      "there")
    parser.add_argument("--verbose", action="store_true", help="tell each check as it is answered")
    for key, what in report.NOT_MECHANICAL.items():
        parser.add_argument(f"--{key}", metavar="TEXT", help=f"for the report: {what}")
    return parser.parse(argv), parser


def show(found) -> None:
    """The checks that did not pass, then every number with its verdict."""
    counts = {s: sum(c.status == s for c in found.checks) for s in ("passed", "warn", "fail", "n/a")}
    print("  checks: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
    for check in found.checks:
        if check.status in ("warn", "fail"):
            print(f"  {check.status:<5} {check.name}: {check.evidence}\n        {check.advice}")
    print(table(["attacks in a row", "fools", "of", "left"], [
        [r["attack"], r["fooled"], r["attacked"], percent(r["robust_accuracy"])] for r in found.ensemble.runs]))
    if found.ablation is not None:
        print(table(["each attack", "first", "alone", "without it", "only it"], [
            [r["attack"], r["first"], percent(r["alone"]), percent(r["without"]), r["only"]] for r in found.ablation.rows]))
    numbers = found.numbers()
    wide = max(len(n.name) for n in numbers)
    for n in numbers:
        print(f"  {n.name:<{wide}} {percent(n.value):>8}  ({percent(n.low)} to {percent(n.high)})  {n.verdict}")
        if n.verdict == "do not believe":
            print(f"  {'':<{wide}}           {n.reasons[0]}" + (f" (and {len(n.reasons) - 1} more)" if len(n.reasons) > 1 else ""))
    half = found.curves.half
    print(f"  half of what was right falls within epsilon {half:.4g}" if np.isfinite(half) else "  half of what was "
        "right never falls")
