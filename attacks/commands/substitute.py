"""python -m attacks substitute --model RUN: a black box that only says labels is learnt by asking, then fooled through the copy.

The black box is called the oracle. The attacker has --seeds images and --budget questions (Papernot et al. 2017):

    1  ask the oracle for the labels of the images that are new, and train a substitute on all of them
    2  move each image along the substitute's gradient of its label; these are new images; go to 1
    3  attack the substitute, of which everything is known, and show the results to the oracle

Success is counted on test images that the oracle gets right and was not asked about. Beside it stand random signs of the same size,
and the same attack on the oracle itself. --repeats does all of it again with other seeds, because results scatter.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from attacks.commands.helpers import copies, setting
from attacks.copying.transfer import Matrix, substitute_rounds, transfer, tried
from attacks.core.goal import Untargeted
from attacks.evaluate.published import NUMBERS, PAPERNOT
from minigrad import command, words
from minigrad.pictures import Caption, colour, columns, lines
from minigrad.random import Stream
from minigrad.words import percent, show, write_json
from nets.classifiers.plain import NETWORKS

SHOWN = 10
BATCH, AFTER = 128, 3  # images in a step of the substitute's training; the round from which on a reservoir bounds the new ones
LOOKS = 4  # at all test images, in each round


def options(argv=None):
    parser = command.Parser(
        "attacks substitute", command.doc(__doc__, __file__), data=None, steps=None, run=False,
        takes="25 seconds",
        examples=["", "--model runs/classifier-0001", "--model runs/classifier-0001 --seeds 100 --substitute lenet --repeats 1",
                  "--model runs/classifier-0001 --reservoir 400 --rounds 9", "--data mnist --lam -0.1"],
    )
    setting.model_options(parser, 2000, "test images that the result is measured on", ("linf", "l2"))
    parser.add_argument("--seeds", type=command.COUNT, default=150, metavar="N", help="images that the attacker begins with")
    parser.add_argument("--rounds", type=command.COUNT, default=6, metavar="N", help="augmentations; each doubles the images")
    parser.add_argument("--budget", type=command.COUNT, default=6400, metavar="N", help="questions in all")
    parser.add_argument("--substitute", choices=NETWORKS, default="mlp", help="what the attacker trains")
    parser.add_argument("--epochs", type=command.COUNT, default=10, metavar="N", help="of training in each round")
    parser.add_argument("--lam", type=command.NUMBER, default=0.1, metavar="L", help="step of the augmentation; below 0: towards "
                        "the boundary")
    parser.add_argument("--period", type=command.COUNT, default=3, metavar="N", help="turn the step's sign every N rounds; as "
                        "many as --rounds for never")
    parser.add_argument("--reservoir", type=command.COUNT, metavar="N", help="augment so many images in a round at most, from "
                        "the fourth round on")
    parser.add_argument("--attack", choices=list(copies.TRAVELS), default="fgsm", help="on the substitute")
    parser.add_argument("--repeats", type=command.COUNT, default=3, metavar="N", help="attackers with other seeds")
    return parser, parser.parse(argv)


def main(argv=None):
    parser, o = options(argv)
    oracle = copies.black_box_of(o, parser)
    threat = setting.threat_of(o, oracle.config)
    if o.seeds > o.budget:
        raise ValueError(f"--seeds {o.seeds}: labelling them takes more than the budget of {o.budget} questions; give fewer")
    if o.seeds >= len(oracle.test.y):
        raise ValueError(f"--seeds {o.seeds}: {oracle.test.name} has {len(oracle.test.y)} test images, and some must be left to "
                         "measure on; give fewer")
    if o.dry_run:
        o.count, o.seeds, o.rounds, o.epochs, o.repeats = 20, min(o.seeds, 12), min(o.rounds, 2), 1, 1
    run = setting.start("substitute", o)
    attack = partial(copies.TRAVELS[o.attack], threat=threat, rng=o.seed)
    attackers, each = [], planned(o)
    with setting.working(run, copies.training_units(oracle, o) + o.repeats * sum(each), attackers) as bar:
        copies.train(oracle, o, bar)
        for i in range(o.repeats):
            for numbers in attacked(o, i, oracle, attack, threat, attackers, bar, each):
                run.log(round(bar.spent), agreement=numbers["agreement"], transfer=numbers["transfer"])

    first = attackers[0]
    accuracy = oracle.victim.accuracy(first["x"], first["y"])
    last = {k: [a["rounds"][-1][k] for a in attackers] for k in ("agreement", "transfer", "queries", "accuracy")}
    noise, white = ([float(a[k].rates[0, 0]) for a in attackers] for k in ("noise", "white"))
    title = f"Substitute ({o.substitute}) for {oracle.name}, {oracle.test.name}: {o.attack}, {copies.within(o)}"
    if bar.stopped:
        title += f", stopped after round {len(attackers[-1]['rounds']) - 1} of attacker {len(attackers)} of {o.repeats}"
    run.image(0, curves(attackers, noise, white, title), "by_round")
    run.image(0, sheet(oracle, first["found"].victim, attack, first, title), "examples")
    published = next(p for p in NUMBERS if p.source == PAPERNOT and p.unit == "transfer")
    summary = {
        "oracle's accuracy": f"{percent(accuracy)} of {len(first['y'])}",
        "queries": " ".join(f"{q:,}" for q in sorted(set(last["queries"]))) + f" of {o.budget:,}",
        "agreement": copies.spread(last["agreement"]) + " of test images",
        "substitute's accuracy": copies.spread(last["accuracy"]),
        "transfer rate": copies.spread(last["transfer"]) + " of those that the oracle got right",
        "published": f"{percent(published.value, 2)} ({PAPERNOT.split(',')[0]}; {published.what}: another network, other images)",
        "random signs instead": copies.spread(noise),
        "attacking the oracle itself": copies.spread(white),
    }
    if first["found"].ended:
        summary["ended"] = first["found"].ended
    numbers = {"noise": noise, "white_box": white, "attackers": [a["rounds"] for a in attackers]}
    write_json(run.file("substitute.json"), numbers)
    run.finish(title=title, summary=summary)
    print(title)
    print(table(attackers))
    show(summary)
    return 130 if bar.stopped else 0


def planned(o) -> list[float]:
    """Units of the bar for each round of one attacker (`copies.COST`); the first has what comes before it, too."""
    cost, n, found = copies.COST[o.substitute], o.seeds, []
    looks = LOOKS * o.count / copies.LOOKED
    for r in range(o.rounds + 1):
        start = looks + copies.queries(o.attack) * o.count / copies.ASKED if r == 0 else 0.0
        moved = copies.queries(o.attack) * cost * o.count / copies.ASKED
        found.append(start + BATCH / copies.UNIT * cost * copies.steps(n, o.epochs, BATCH) + looks + moved)
        n = min(o.budget, n + (n if o.reservoir is None or r < AFTER else min(n, o.reservoir)))
    return found


def attacked(o, i: int, oracle, attack, threat, attackers: list, bar, each):
    """Attacker i: yields the numbers of each round, and joins `attackers` with the first. The bar moves by sum(each)."""
    rows = Stream(o.seed, f"attacker {i}").permutation(len(oracle.test.y))
    seeds, rest = rows[: o.seeds], rows[o.seeds :][: o.count]
    x, y, target, begun = oracle.test.x[rest], oracle.test.y[rest], {"oracle": oracle.victim}, bar.spent
    mine = copies.network(o.substitute, oracle.config, o.seed + 1000 * (i + 1), o.device)
    rounds = substitute_rounds(oracle.victim.labels(o.budget), oracle.test.x[seeds], mine.net, o.rounds, o.lam, period=o.period,
                               reservoir=o.reservoir, after=AFTER, epochs=o.epochs, batch=BATCH, normalize=mine.normalize,
                               held_out=x, rng=o.seed + i, bar=bar, cost=BATCH / copies.UNIT * copies.COST[o.substitute])
    a = dict(x=x, y=y, rounds=[], noise=tried("noise", copies.noise(x, threat, o.seed + i), x, y, target),
             white=transfer(target, target, x, y, attack))
    for r, found in enumerate(rounds):
        moved: Matrix = transfer({"substitute": found.victim}, target, x, y, attack)
        numbers = {**found.rounds[-1], "transfer": float(moved.rates[0, 0]), "tried": int(moved.right[0]),
                   "accuracy": found.victim.accuracy(x, y)}
        a["found"] = found
        a["rounds"].append(numbers)
        if r == 0:
            attackers.append(a)
        bar.reach(begun + sum(each[: r + 1]))
        yield numbers
    bar.reach(begun + sum(each))  # the budget may have ended it before


def by_round(attackers, key) -> np.ndarray:
    """(attackers, rounds) of a number; attackers whose budget ended earlier stay at their last value."""
    longest = max(len(a["rounds"]) for a in attackers)
    return np.array([[a["rounds"][min(r, len(a["rounds"]) - 1)][key] for r in range(longest)] for a in attackers], float)


def curves(attackers, noise, white, title) -> np.ndarray:
    """Agreement and transfer by round: mean and, with several attackers, least to largest."""
    def band(key):
        v = 100 * by_round(attackers, key)
        return v.mean(0), v.min(0), v.max(0)

    x = by_round(attackers, "queries")[0]
    level = {"attack on the oracle itself": 100 * np.mean(white), "random signs": 100 * np.mean(noise)}
    flat = {name: np.full(len(x), v) for name, v in level.items()}
    styles = {"attack on the oracle itself": {"color": "0.3", "linestyle": "--", "marker": None},
              "random signs": {"color": "0.6", "linestyle": ":", "marker": None}}
    across = "questions asked so far"
    return lines([
        dict(x=x, series={"agree with the oracle": band("agreement"), "right (the substitute)": band("accuracy")},
             across=across, down="test images, %", percent=True, logx=True, styles={"right (the substitute)": {"linestyle": "--"}}),
        dict(x=x, series={"from the substitute": band("transfer"), **flat}, across=across, styles=styles,
             down="fooled, % of those the oracle got right", percent=True, logx=True),
    ], title)


def sheet(oracle, substitute, attack, a, title) -> np.ndarray:
    """Originals and adversarial examples with the labels of both networks: one image of each class, fooled or not."""
    says = oracle.victim.predict(a["x"]).argmax(1)
    right = np.flatnonzero(says == a["y"])
    rows = np.array([right[a["y"][right] == c][0] for c in np.unique(a["y"][right])][:SHOWN], np.int64)
    rows = rows if len(rows) else np.arange(min(SHOWN, len(a["y"])))
    x, y, names = a["x"][rows], a["y"][rows], oracle.test.classes
    made = attack(substitute, x, Untargeted(y), attack_wrong=True).candidate

    def texts(pictures):
        theirs, mine = (v.predict(pictures).argmax(1) for v in (oracle.victim, substitute))
        return [Caption(f"oracle {setting.label(names, p)}\nsubstitute {setting.label(names, q)}", p != t)
                for p, q, t in zip(theirs, mine, y, strict=True)]

    return columns([colour(x), colour(made)], ["original", "made on the\nsubstitute\nred: oracle fooled"],
                   [texts(x), texts(made)], title)


def table(attackers) -> str:
    """By round: questions, agreement, transfer; means over attackers."""
    means = zip(*(by_round(attackers, k).mean(0) for k in ("queries", "agreement", "transfer")), strict=True)
    return words.table(["round", "questions", "agreement", "transfer"], [
        [r, f"{asked:,.0f}", percent(agree), percent(moved)] for r, (asked, agree, moved) in enumerate(means)
    ], left=(), gap=3)
