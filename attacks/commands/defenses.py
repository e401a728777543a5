"""python -m attacks defenses: defenses that fail, the attack that seemed to fail on them, and the check that would have told.

Each defense is built in good faith and trained. Then it meets two attacks. The naive one is plausible and correctly run, but it
does not look at the defense. The other was made for this defense in the literature. The checks of `python -m attacks evaluate`
are asked about the naive attack, and the first that warns is named. Below the line stands what holds.

A robust accuracy counts all images; an image that was wrong before the attack counts as wrong. For a random defense the majority
of fresh looks decides. The smoothed network's radius is measured in L2, and a share of its images is proved to stand.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attacks.commands.helpers import setting
from attacks.commands.helpers.defenses_built import DEFENSES, Lab
from attacks.core.watch import watching
from attacks.evaluate.case import FAIL, WARN, Case
from attacks.evaluate.checks import ask
from minigrad import command, inputs, words
from minigrad.pictures import bars
from minigrad.random import Stream
from minigrad.words import percent, write_json

QUERIES = 500  # of the black-box attack, for each image
DRY = dict(count=4, steps=2, attack_steps=2, draws=2, points=2, members=2, looks=4, certified=2, width=2)


@dataclasses.dataclass
class Row:
    """One line of the table. clean, naive, own: accuracies; naive_attack, own_attack: in words; check: its name, or why there is
    none; status, value: of the check; evidence: its sentence, or the certificate's."""

    name: str
    title: str
    holds: bool
    clean: float
    naive: float
    naive_attack: str
    own: float
    own_attack: str
    check: str
    status: str = ""
    value: float | None = None
    evidence: str = ""

    @property
    def warning(self) -> str:
        """The check and its value, short."""
        return f"{self.check}: {self.status}" + ("" if self.value is None else f", {self.value:.3g}") if self.status else self.check


def options(argv=None):
    parser = command.Parser("attacks defenses", command.doc(__doc__, __file__).split("\n\nA robust")[0],
                            data="mnist", steps=None, run=False,
                            takes="3 minutes",
                            examples=["--data glyphs", "--only noise-at-test dropout-at-test smoothing", "--only fast pgd "
                                      "--steps 2000", "--epsilon 0.1"])
    parser.add_argument("--only", nargs="+", choices=list(DEFENSES), metavar="NAME",
                        help=f"some of: {' '.join(DEFENSES)} (default: all)")
    setting.radius_option(parser, "Linf radius", default=0.2)
    parser.add_argument("--radius", type=command.POSITIVE, default=0.5, metavar="R", help="L2 radius for randomized smoothing")
    parser.add_argument("--count", type=command.COUNT, default=200, metavar="N", help="images of the test set to attack")
    for name, default, text in (
        ("steps", 500, "training steps of each network"), ("batch", 128, "images in a batch"),
        ("width", 16, "maps of the first convolution"), ("attack-steps", 40, "steps of PGD"),
        ("draws", 20, "draws at each step of EOT"), ("points", 100, "points of random noise"),
        ("members", 5, "networks that are averaged"), ("looks", 1000, "noisy looks for a certificate"),
        ("certified", 100, "images with a certificate"),
    ):
        parser.add_argument(f"--{name}", type=command.COUNT, default=default, metavar="N", help=text)
    parser.add_argument("--sigma", type=command.POSITIVE, default=0.5, metavar="S", help="standard deviation of noise at test time")
    parser.add_argument("--decay", type=command.POSITIVE, default=1e-3, metavar="C", help="weight decay: of sum w^2 / 2")
    setting.run_options(parser)
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    if o.dry_run:
        for name, most in DRY.items():
            setattr(o, name, min(getattr(o, name), most))
    train, test = (inputs.labelled(o, train=t) for t in (True, False))
    chosen = {name: DEFENSES[name] for name in DEFENSES if o.only is None or name in o.only}
    few = Stream(o.seed, "samples").permutation(len(test))[: o.count]
    samples = setting.Samples(test.subset(few).normalised((0.0, 1.0)), test.y[few], test.classes, o.data)
    run = setting.start("defenses", o)
    unit = o.steps  # of work: a training step of the undefended network
    rows, planned = [], 0.0
    with setting.working(run, unit * sum(d.cost for d in chosen.values()), rows) as bar:
        lab = Lab(o, train, samples, bar)
        for name, defense in chosen.items():
            planned += unit * defense.cost
            rows.append(judged(name, defense, lab, planned))
            bar.reach(planned)
            run.say(line(rows[-1]))
    stopped = f", stopped after {len(rows)} of {len(chosen)} defenses" if bar.stopped else ""

    title = f"Defenses of {o.data}: Linf {o.epsilon:.4g} where a row names no other radius, {len(samples.y)} images{stopped}"
    run.image(0, picture(rows, title), "defenses")
    write_json(run.file("defenses.json"), [dataclasses.asdict(row) for row in rows])
    run.finish(title=title, summary={row.title: in_report(row) for row in rows})
    print(title)
    print(table(rows))
    return 130 if stopped else 0


def judged(name: str, defense, lab, end: float = 0.0) -> Row:
    """Build it, attack it twice, ask its checks. end: where the lab's bar, if it has one, stands after that."""
    built = defense.build(lab)
    if lab.bar is None:
        return attacked(name, defense, built, lab)
    asked = queries(built, defense, lab)
    with watching(lab.bar, asked, *lab.victims, cost=max(0.0, end - lab.bar.spent) / asked):
        return attacked(name, defense, built, lab)


def queries(built, defense, lab) -> float:
    """What the attacks, the checks and the certificate ask of each sample, as a rule."""
    o, way = lab.o, built.own if defense.holds else built.naive
    case = Case(built.victim, lab.samples.x, lab.samples.y, lab.threat, queries=QUERIES, rng=o.seed,
                steps=o.attack_steps if way.steps is None else way.steps)
    found = sum(w.asks * (1 + (o.attack_steps if w.steps is None else w.steps)) for w in (built.naive, built.own))
    found += sum(asks * (way.asks if cost == 1 else cost) for asks, cost in (check.asks(case) for check in built.checks))
    return found + (0 if built.certificate is None else 2 * o.certified)


def attacked(name: str, defense, built, lab) -> Row:
    """Two attacks, the checks until one warns, the certificate."""
    o = lab.o
    ball = built.threat or lab.threat

    def case(way):
        return Case(built.victim, lab.samples.x, lab.samples.y, ball, attack=way.attack, queries=QUERIES,
                    steps=o.attack_steps if way.steps is None else way.steps, rng=o.seed)

    naive, own = case(built.naive), case(built.own)
    row = Row(name, defense.title, defense.holds, float(naive.right.mean()), naive.base.robust_accuracy, built.naive.name,
              (own.base if built.checks and defense.holds else own.run()).robust_accuracy, built.own.name, built.none)
    if built.certificate is not None:
        row.check, row.evidence = "certificate", built.certificate()[1]
    asked = []
    for check in built.checks:
        asked += ask(own if defense.holds else naive, [check])
        if asked[-1].status in (FAIL, WARN):
            row.check, row.status, row.value, row.evidence = asked[-1].name, asked[-1].status, asked[-1].value, asked[-1].evidence
            return row
    if asked:
        row.check = f"none of {len(asked)} warns"
        row.evidence = "; ".join(f"{a.name}: {a.evidence}" for a in asked)
    return row


# ---- in words --------------------------------------------------------------------------------------------------------


def line(row: Row) -> str:
    """One defense, while the others are still under way."""
    return (f"{row.title}: clean {percent(row.clean)}, {row.naive_attack} {percent(row.naive)}, {row.own_attack} "
            f"{percent(row.own)}; {row.warning}")


def in_report(row: Row) -> dict:
    """One defense in the report."""
    said = {"clean": percent(row.clean), f"naive: {row.naive_attack}": percent(row.naive),
            f"its own: {row.own_attack}": percent(row.own), "check": row.warning}
    return said | ({"seen": row.evidence} if row.evidence else {})


def table(rows) -> str:
    """The table in letters: a line for each defense, what holds below a rule."""
    head = ["defense", "clean", "naive", "", "its own", "", "the check that warns"]
    body = [(r.title, percent(r.clean), percent(r.naive), r.naive_attack, percent(r.own), r.own_attack,
             r.evidence if r.check == "certificate" else r.warning) for r in rows]
    lines = words.table(head, body, left=(0, 3, 5, 6), indent=0).splitlines()
    first = next((i for i, row in enumerate(rows) if row.holds), None)
    if first is not None:
        lines.insert(1 + first, "-- what holds ".ljust(len(lines[0]), "-"))
    return "\n".join(lines)


def picture(rows, title) -> np.ndarray:
    """Bars in groups: clean, under the naive attack, under its own."""
    names = [f"{r.title}\n{r.naive_attack} | {r.own_attack}" for r in rows]
    series = {"clean": [r.clean for r in rows], "under the naive attack": [r.naive for r in rows],
              "under its own attack": [r.own for r in rows]}
    failed = sum(not r.holds for r in rows)
    return bars(names, series, title, "accuracy, %", rule=failed if 0 < failed < len(rows) else None)
