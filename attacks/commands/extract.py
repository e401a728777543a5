"""python -m attacks extract --model RUN: a model is copied through its answers.

A student of another architecture learns from the model's answers to images that the attacker has: labels only, or whole
probabilities. No training image of the model is among them. Two other students stand beside it: one learns the true labels of the
same images, which needs no model; one asks about pure noise. Each copy gets two numbers, measured on other test images: fidelity is
the share on which copy and model agree, accuracy the share that the copy gets right.

A linear model, softmax(W x + b) of d numbers, needs no learning. d + 1 answers in probabilities are d + 1 equations for each class,
and give W and b up to rounding (Tramer et al. 2016).
"""

from __future__ import annotations

import numpy as np

from attacks.commands.helpers import copies, setting
from attacks.copying.extract import agreement, centred, extract, fit, solve_softmax
from attacks.core.victim import Victim
from minigrad import command, words
from minigrad.pictures import lines
from minigrad.random import Stream
from minigrad.words import percent, show, write_json
from nets.classifiers.plain import NETWORKS

KINDS = {  # name in figures -> (questions, answers)
    "probabilities": ("images", "probabilities"),
    "labels": ("images", "labels"),
    "noise, probabilities": ("noise", "probabilities"),
    "true labels, no model": ("images", "truth"),
}


def options(argv=None):
    parser = command.Parser("attacks extract", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="25 seconds",
                            examples=["", "--model runs/classifier-0001", "--model runs/classifier-0001 --student lenet",
                                      "--data mnist --queries 100 1000 5000"])
    parser.add_argument("--model", type=command.path, metavar="RUN",
                        help="a run of `python -m nets classifier` (default: a LeNet trained here)")
    parser.add_argument("--data", metavar="NAME", help="where questions and test images come from (default: "
                        "the model's, or glyphs)")
    parser.add_argument("--download", action="store_true", help="fetch the data if it is not there")
    parser.add_argument("--skip-broken", action="store_true", help=command.SKIP_BROKEN)
    parser.add_argument("--queries", type=command.COUNT, nargs="+", default=[50, 150, 500, 1500, 5000], metavar="N",
                        help="numbers of questions")
    parser.add_argument("--student", choices=NETWORKS, default="mlp", help="what is trained on the answers")
    parser.add_argument("--steps", type=command.COUNT, default=600, metavar="N", help="steps of a student at least")
    parser.add_argument("--count", type=command.COUNT, default=3000, metavar="N", help="test images to compare on")
    setting.run_options(parser)
    return parser, parser.parse(argv)


def main(argv=None):
    parser, o = options(argv)
    oracle = copies.black_box_of(o, parser)
    run = setting.start("extract", o)
    if o.dry_run:
        o.count, o.queries = 20, [min(q, 8 * (i + 1)) for i, q in enumerate(sorted(o.queries)[:2])]
    rows = Stream(o.seed, "extract").permutation(len(oracle.test.y))
    held, rest = rows[: o.count], rows[o.count :]
    o.queries = sorted(set(o.queries))
    if o.queries[-1] > len(rest):
        raise ValueError(f"--queries {o.queries[-1]}: {oracle.test.name} has {len(rest)} test images beside the {len(held)} of "
                         "--count; ask fewer")
    each, last, points, linear = planned(o), copies.COST["softmax"] * copies.steps(copies.IMAGES, copies.EPOCHS), [], None
    with setting.working(run, copies.training_units(oracle, o) + len(KINDS) * sum(each) + last, points) as bar:
        copies.train(oracle, o, bar)
        for n, units in zip(o.queries, each, strict=True):
            points += [student(o, oracle, rest, held, n, kind, units, bar) for kind in KINDS]
        linear = exact(o, oracle.config, oracle.test.x[held], bar)
    asked, o.queries = o.queries, [n for n in o.queries if any(p["images"] == n for p in points)]
    by = {kind: {k: [p[k] for p in points if p["kind"] == kind] for k in ("fidelity", "accuracy")} for kind in KINDS}
    title = f"Copies ({o.student}) of {oracle.name}, on {len(held)} test images of {oracle.test.name}"
    if bar.stopped:
        title += f", stopped after {len(o.queries)} of {len(asked)} numbers of questions"
    run.image(0, curves(o.queries, by, title), "copies")
    accuracy = oracle.victim.accuracy(oracle.test.x[held], oracle.test.y[held])
    summary = {"the model's accuracy": f"{percent(accuracy)} of {len(held)}"}
    for kind in KINDS:
        summary[f"{o.queries[-1]:,} x {kind}"] = (f"fidelity {percent(by[kind]['fidelity'][-1])}, accuracy "
                                                  f"{percent(by[kind]['accuracy'][-1])}")
    if linear is not None:
        summary["a linear model"] = (f"W and b from {linear['queries']:,} answers: largest error {linear['error']:.1e}, weights up "
                                     f"to {linear['largest']:.2g}; fidelity {percent(linear['fidelity'], 2)}")
    write_json(run.file("extract.json"), {"points": points, "linear": linear})
    run.finish(title=title, summary=summary)
    print(title)
    print(table(o.queries, by))
    show(summary)
    return 130 if bar.stopped else 0


def epochs_of(o, n: int) -> int:
    """Of a student that learns n answers."""
    return 1 if o.dry_run else max(5, -(-o.steps // -(-n // copies.UNIT)))


def planned(o) -> list[float]:
    """Units of the bar (`copies.COST`) for one student of each number of questions: training, questions, two looks at the end."""
    return [copies.COST[o.student] * copies.steps(n, epochs_of(o, n)) + (n + o.count) / copies.LOOKED for n in o.queries]


def student(o, oracle, rest, held, n: int, kind: str, units: float, bar) -> dict:
    """The numbers of one student that learns n answers of that kind. The bar moves by `units`."""
    questions, answers = KINDS[kind]
    x, y, mine, begun = oracle.test.x[held], oracle.test.y[held], (oracle.test.x[rest[:n]], oracle.test.y[rest[:n]]), bar.spent
    copy, how = copies.network(o.student, oracle.config, o.seed + 1, o.device), dict(
        epochs=epochs_of(o, n), batch=copies.UNIT, rng=o.seed, bar=bar, cost=copies.COST[o.student])
    asked = mine[0] if questions == "images" else Stream(o.seed, "noise").uniform(0, 1, mine[0].shape)
    if answers == "truth":
        loss, queries = fit(copy, *mine, decay=True, **how), 0
    else:
        view = (oracle.victim.labels if answers == "labels" else oracle.victim.scores)(budget=n)
        done = extract(view, asked, copy.net, answers, normalize=copy.normalize, **how)
        copy, loss, queries = done.victim, done.loss, view.total
    found = {"kind": kind, "images": n, "queries": queries, "loss": loss, "accuracy": copy.accuracy(x, y),
             "fidelity": agreement(copy, oracle.victim, x)}
    bar.reach(begun + units)
    return found


def exact(o, config, x, bar) -> dict:
    """Train a softmax regression, then find its W and b by their equations."""
    victim = copies.network("softmax", config, o.seed, o.device)
    part = copies.training_set(config, 64 if o.dry_run else copies.IMAGES, o)
    fit(victim, part.x, part.y, epochs=copies.EPOCHS, batch=copies.UNIT, rng=o.seed, bar=bar, cost=copies.COST["softmax"])
    view = victim.scores(output="log_probabilities")
    found = solve_softmax(view, x.shape[1:])
    weight, bias = (p.cpu().array.astype(np.float64) for p in victim.net[1].parameters())
    mean, std = victim.normalize
    true = centred(weight / std, bias - weight.sum(1) * (mean / std))
    error = max(np.abs(a - b).max() for a, b in zip((found.weight, found.bias), true, strict=True))
    copy = Victim(found.network())
    return {"queries": view.total, "error": float(error), "largest": float(np.abs(true[0]).max()), "condition": found.condition,
            "fidelity": agreement(copy, victim, x)}


def curves(queries, by, title) -> np.ndarray:
    """Fidelity and accuracy against the number of questions."""
    styles = {"true labels, no model": {"color": "0.5", "linestyle": "--"}}
    panels = []
    for key, down in (("fidelity", "fidelity: copy and model agree, %"), ("accuracy", "accuracy of the copy, %")):
        series = {kind: 100 * np.array(v[key]) for kind, v in by.items()}
        panels.append(dict(x=queries, series=series, across="questions (images)", down=down, percent=True, logx=True,
                           styles=styles))
    return lines(panels, title)


def table(queries, by) -> str:
    """Fidelity / accuracy, per cent."""
    return words.table(["fidelity / accuracy", *by], [
        [f"{n:,} queries", *(f"{100 * v['fidelity'][i]:.1f} / {100 * v['accuracy'][i]:.1f}" for v in by.values())]
        for i, n in enumerate(queries)
    ], left=(), gap=3)
