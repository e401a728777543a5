"""python -m attacks transfer: what fools one network, tried on others that have little in common with it.

Networks from softmax regression to a residual one learn the same data, or with --disjoint each its own part of it. Each is attacked
with everything known, and the examples are tried on all. Two kinds of rows stand below: random signs of the same size, and
examples made on all networks but the one they are tried on. A cell counts only test images that the target got right before.
--model adds trained classifiers.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from attacks.commands.helpers import copies, setting
from attacks.copying.extract import fit
from attacks.copying.transfer import Matrix, left_out, stacked, transfer, tried
from attacks.core.watch import watching
from minigrad import command, words
from minigrad.pictures import heat
from minigrad.words import percent, show, write_json
from nets.classifiers.plain import NETWORKS

RULES = {"logits": "all others, mean logits", "probability": "all others, mean probability"}
NOISE = "random signs"


def options(argv=None):
    parser = command.Parser(
        "attacks transfer", command.doc(__doc__, __file__), data=None, steps=None, run=False,
        takes="25 seconds",
        examples=["", "--data mnist", "--data mnist --attack pgd --epsilon 0.2", "--data mnist --disjoint",
                  "--model runs/classifier-0001 --networks softmax mlp"],
    )
    setting.model_options(parser, 1000, "test images to attack", ("linf", "l2"), several=True)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="which to train")
    parser.add_argument("--images", type=command.COUNT, default=6000, metavar="N", help="training images of each")
    parser.add_argument("--epochs", type=command.COUNT, default=4, metavar="N", help="of training")
    parser.add_argument("--disjoint", action="store_true", help="no two networks see the same training image")
    parser.add_argument("--attack", choices=list(copies.TRAVELS), default="mi_fgsm", help="on the sources")
    return parser, parser.parse(argv)


def main(argv=None):
    parser, o = options(argv)
    named, config, test = {}, None, None
    for path in o.model or []:
        one = with_model(o, path)
        victim, found = setting.victim_of(one, parser)
        if config is not None and any(found[k] != config[k] for k in ("size", "channels", "classes")):
            raise ValueError(f"--model {path} takes other images than {o.model[0]}; give models of the same data and size")
        config, test = (found, setting.test_set(one, found)) if config is None else (config, test)
        o.data = one.data
        named[os.path.basename(os.path.normpath(path))] = victim
    if config is None:
        config, test = copies.configured(o)
    config = {**config, "data": o.data}
    threat = setting.threat_of(o, config)
    if o.dry_run:
        o.count, o.images, o.epochs = 12, 64, 1
    samples = setting.pick(test, o.count, o.seed)
    run = setting.start("transfer", o)
    attack = partial(copies.TRAVELS[o.attack], threat=threat, rng=o.seed)
    costs = {**dict.fromkeys(named, copies.COST["lenet"]), **{name: copies.COST[name] for name in o.networks}}
    training = {name: costs[name] * copies.steps(o.images, o.epochs) for name in o.networks}
    each = o.count / copies.ASKED * copies.queries(o.attack)  # units that an attack on LeNet takes
    rounds, rows = 1 + len(RULES) * (len(costs) - 1), []  # how often each network is attacked, alone or with others
    with setting.working(run, sum(training.values()) + each * rounds * sum(costs.values()), rows) as bar:
        train(o, config, named, bar)
        for row in attacked(o, samples, named, attack, threat, bar, {name: each * cost for name, cost in costs.items()}):
            rows.append(row)

    matrix = stacked(rows)
    title = f"{o.attack}, {copies.within(o)}, on {matrix.count} test images of {samples.name}"
    if bar.stopped:
        title += f", stopped after {len(rows)} of {len(named) + 1 + len(RULES) * (len(named) > 1)} rows"
    run.image(0, heat(matrix.rates, matrix.targets, f"Fooled, of those the target got right\n{title}", "tried on (target)",
                      "made on (source)", matrix.sources), "matrix")
    accuracy = {name: float(right / matrix.count) for name, right in zip(matrix.targets, matrix.right, strict=True)}
    write_json(run.file("transfer.json"), {
        "sources": matrix.sources, "targets": matrix.targets, "count": matrix.count, "right": matrix.right.tolist(),
        "fooled": matrix.fooled.tolist(), "fooled_both": matrix.both.tolist(), "fooled_source": matrix.own.tolist(),
    })
    summary = {f"accuracy of {name}": percent(a) for name, a in accuracy.items()} | means(matrix)
    run.finish(title=title, summary=summary)
    print(title)
    print(text(matrix))
    show(summary)
    return 130 if bar.stopped else 0


def with_model(o, path):
    """The options with one model."""
    return type(o)(**{**vars(o), "model": path})


def train(o, config, named: dict, bar) -> None:
    """Train the networks into `named`."""
    count = o.images * (len(o.networks) if o.disjoint else 1)
    part = copies.training_set(config, count, o)
    if o.disjoint and len(part.y) < count:
        raise ValueError(f"--disjoint: {len(o.networks)} networks with {o.images} images each take {count}, {config['data']} has "
                         f"{len(part.y)}; give fewer --images")
    for i, name in enumerate(o.networks):
        victim = copies.network(name, config, o.seed, o.device)
        rows = slice(i * o.images, (i + 1) * o.images) if o.disjoint else slice(o.images)
        x, y = part.x[rows], part.y[rows]
        rate = 1e-3 if name in ("softmax", "mlp") else 3e-3
        fit(victim, x, y, epochs=o.epochs, batch=copies.UNIT, lr=rate, decay=True, rng=o.seed, bar=bar, cost=copies.COST[name])
        named[name] = victim


def attacked(o, samples, named: dict, attack, threat, bar, units: dict):
    """Yields the rows of the matrix. units: {name: what an attack on that network takes}."""
    asked = copies.queries(o.attack)
    for name, victim in named.items():
        with watching(bar, asked, victim, cost=units[name] / asked):
            row = transfer({name: victim}, named, samples.x, samples.y, attack)
        yield row
    yield tried(NOISE, copies.noise(samples.x, threat, o.seed), samples.x, samples.y, named)
    if len(named) > 1:
        mean = sum(units.values()) * (len(named) - 1) / len(named)  # of the attacks on all but one
        for rule, name in RULES.items():
            with watching(bar, asked * len(named), *named.values(), cost=mean / asked):
                row = left_out(named, samples.x, samples.y, attack, rule, name)
            yield row


def means(matrix: Matrix) -> dict:
    """What the table says, in a few numbers."""
    k = len(matrix.targets)
    single = matrix.rates[:k]  # fewer, where Ctrl-C came before
    off = ~np.eye(len(single), k, dtype=bool)
    cells = {"white box (the diagonal)": single[~off]}
    if k > 1:
        cells["one other network"] = single[off]
        cells["the best other network"] = np.fmax.reduce(np.where(off, single, np.nan), axis=0)
    cells |= dict(zip(matrix.sources[k:], matrix.rates[k:], strict=True))
    seen = {name: v[np.isfinite(v)] for name, v in cells.items()}
    return {name: f"{percent(v.mean() if len(v) else np.nan)} on average" for name, v in seen.items()}


def text(matrix: Matrix) -> str:
    """The matrix in letters, per cent."""
    rows = [[name, *("-" if np.isnan(v) else f"{100 * v:.1f}" for v in row)]
            for name, row in zip(matrix.sources, matrix.rates, strict=True)]
    return words.table(["made on \\ tried on", *matrix.targets], rows, gap=3)
