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
from attacks.copying.extract import fitting
from attacks.copying.transfer import Matrix, left_out, stacked, transfer, tried
from minigrad import command, words
from minigrad.pictures import heat
from minigrad.words import percent, show, write_json
from nets.classifiers.plain import NETWORKS

RULES = {"logits": "all others, mean logits", "probability": "all others, mean probability"}
NOISE = "random signs"


def options(argv=None):
    parser = command.Parser(
        "attacks transfer", command.doc(__doc__, __file__), data=None, steps=None, run=False,
        takes="20 seconds",
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
    pieces = work(o, config, samples, named, attack, threat)
    total = len(o.networks) * o.epochs + len(named) + len(o.networks) + 1 + len(RULES)
    rows = [piece for _, piece in zip(run.loop(0, total), pieces, strict=True) if isinstance(piece, Matrix)]

    matrix = stacked(rows)
    title = f"{o.attack}, {copies.within(o)}, on {matrix.count} test images of {samples.name}"
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


def with_model(o, path):
    """The options with one model."""
    return type(o)(**{**vars(o), "model": path})


def work(o, config, samples, named: dict, attack, threat):
    """Trains the networks into `named` (a yield for each epoch), then yields the rows of the matrix."""
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
        yield from fitting(victim, x, y, epochs=o.epochs, batch=64, lr=rate, decay=True, rng=o.seed)
        named[name] = victim
    for name, victim in named.items():
        yield transfer({name: victim}, named, samples.x, samples.y, attack)
    yield tried(NOISE, copies.noise(samples.x, threat, o.seed), samples.x, samples.y, named)
    for rule, name in RULES.items():
        if len(named) > 1:
            yield left_out(named, samples.x, samples.y, attack, rule, name)
        else:
            yield None


def means(matrix: Matrix) -> dict:
    """What the table says, in a few numbers."""
    k = len(matrix.targets)
    single, off = matrix.rates[:k], ~np.eye(k, dtype=bool)
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
