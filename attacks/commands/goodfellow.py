"""python -m attacks goodfellow: the tables of the paper that named the fast gradient sign, measured anew.

Goodfellow, Shlens & Szegedy 2014, Explaining and Harnessing Adversarial Examples. Every test image of MNIST is moved by 0.25 times
the sign of its gradient, and is not clipped to the range. Two numbers are taken: the share of all images that is classified
wrongly then, and the mean confidence on these errors. They stand beside the published ones.

The paper leaves some things open. Here they are so:
- Training: Adam for --epochs, far fewer than the paper's hundreds. Dropout and the bound on weights are those of
  nets.classifiers.maxout. Weights begin in U(-0.005, 0.005), those of linear models at 0.
- Training against FGSM: examples are made in evaluation mode, at the whole radius from the first step. Noise is not clipped.
- Measuring: sign(0) = 0. Images that are wrong already are moved and counted like all others. An ensemble answers with the mean
  probability. Confidence is the largest probability.
- The RBF network: B is diagonal, and the classes are independent in its loss.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

import minigrad as mg
from attacks.commands.helpers import setting
from attacks.core.goal import Untargeted
from attacks.core.result import batched
from attacks.core.threat import Linf
from attacks.core.victim import Victim
from attacks.defend import Ensemble, penalty, training
from attacks.evaluate.published import GOODFELLOW, NUMBERS
from attacks.white_box.gradient import fgsm
from minigrad import command, inputs, nn, words
from minigrad.data import Dataset
from minigrad.pictures import bars
from minigrad.random import Stream
from minigrad.words import percent, write_json
from nets.classifiers.maxout import MaxoutNet, bound_norms_
from nets.classifiers.rbf import RBF, independent_loss
from nets.training import fit

EPSILON, BATCH, SPREAD = 0.25, 100, 0.005
THREE, SEVEN = 3, 7
MAXOUT, TRAINED = "maxout 240 x 2, trained with dropout", "maxout, FGSM training"
THREE_SEVEN, SHALLOW = "logistic regression, 3 against 7", "shallow RBF network"
DECAY = "L1 weight decay 0.0025 on the first layer"


@dataclasses.dataclass
class Row:
    """One line: clean error, error and mean confidence on errors under FGSM, and the published ones (None: there is none)."""

    name: str
    clean: float
    error: float
    confidence: float
    published_error: float | None = None
    published_confidence: float | None = None
    note: str = ""


# ---- measuring -------------------------------------------------------------------------------------------------------


def points(victim, x, y, epsilon, loss="ce") -> np.ndarray:
    """x + epsilon sign(d loss / d x) for every sample of x (N, ...), whatever it is taken for; not clipped."""
    found = batched(fgsm, victim, x, Untargeted(y), Linf(epsilon), batch=1000, loss=loss, clip=False, attack_wrong=True)
    return np.asarray(found.candidate)


def measured(victim, x, y, probabilities=None) -> tuple[float, float]:
    """(error, mean confidence on errors; NaN without one) on points that may lie out of the bounds.

    probabilities(logits (N, K)) -> (N, K); default softmax."""
    z = victim.within((min(0.0, float(x.min())), max(1.0, float(x.max())))).predict(x, 1000)
    p = softmax(z) if probabilities is None else probabilities(z)
    wrong = z.argmax(1) != y
    return float(wrong.mean()), float(p[wrong].max(1).mean()) if wrong.any() else math.nan


def softmax(z) -> np.ndarray:
    """(N, K) in float64."""
    e = np.exp(z.astype(np.float64) - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def worst_logistic_loss(w, b, x, sign, epsilon) -> np.ndarray:
    """The largest loss within epsilon of each sample (N,), which FGSM reaches exactly on logistic regression:

        zeta(epsilon ||w||_1 - y (w x + b))

    x (N, d)  the samples;  y  their `sign`, -1 or 1;  w (d,), b  the model;  zeta(t) = log(1 + e^t), softplus

    The paper's section 5 writes it with the sign of one class; this is the worst case of each sample."""
    return np.logaddexp(0, epsilon * np.abs(w).sum() - sign * (x @ w + b))


class Logistic(nn.Module):
    """Images (N, ...) of d numbers -> (0, w x + b), w and b at 0: logistic regression in two logits."""

    def __init__(self, inputs):
        super().__init__()
        self.linear = zeroed(nn.Linear(inputs, 1))

    def forward(self, x):
        z = self.linear(x.flatten(1))
        return mg.cat([z * 0.0, z], 1)


def zeroed(linear) -> nn.Linear:
    """The same layer with weights of 0. The weights of pixels that are always black stay 0, so FGSM leaves those pixels alone."""
    for p in linear.parameters():
        p.assign_(np.zeros_like(p.array))
    return linear


# ---- networks --------------------------------------------------------------------------------------------------------


class Replication:
    """Data, options o, and the maxout networks that several lines share: each is trained once. steps: of one network."""

    def __init__(self, o, train, test, bar=None):
        self.o, self.train, self.bar = o, train, bar
        self.x, self.y = test.normalised((0.0, 1.0)), test.y
        self.inputs, self.classes = int(np.prod(train.x.shape[1:])), len(train.classes)
        self.steps, self.kept = steps_of(o, train), {}

    def fit(self, name, net, loss_of, train=None, rate=1e-3, cost=1.0, bound=False) -> Victim:
        """Train for --epochs; a victim of images in [0, 1]. loss_of(victim, images, labels) -> Tensor ()."""
        victim = Victim(net, bounds=(0, 1))
        rows = train or self.train
        loader = inputs.batches(rows, min(BATCH, len(rows)), Stream(self.o.seed, f"{name}/data"), value_range=(0.0, 1.0))
        fit(net, lambda x, y, step: loss_of(victim, x, y), loader.forever(), self.steps, rate=rate, bar=self.bar, cost=cost,
            after=(lambda: bound_norms_(net)) if bound else None)
        return victim

    def maxout(self, name="maxout", method="standard", *, cost=1.0, extra=None, **options) -> Victim:
        """A maxout network by that method of attacks.defend.training; extra(net): added to the loss."""
        if name not in self.kept:
            net = MaxoutNet(self.inputs, self.classes, self.o.units, rng=Stream(self.o.seed, f"{name}/init"))
            start = Stream(self.o.seed, f"{name}/weights")
            for p in net.parameters():
                p.assign_(start.uniform(-SPREAD, SPREAD, p.shape) if p.ndim == 2 else np.zeros(p.shape, np.float32))
            rng, ball = Stream(self.o.seed, f"{name}/perturbations"), Linf(self.o.epsilon)

            def loss_of(victim, x, y):
                wide = victim.within((-self.o.epsilon, 1 + self.o.epsilon))  # training does not clip either
                loss = training.METHODS[method](wide, x, y, ball, rng=rng, **options).loss
                return loss if extra is None else loss + extra(net)

            self.kept[name] = self.fit(name, net, loss_of, cost=cost, bound=True)
        return self.kept[name]

    def row(self, name, victim, source=None, what=None, attack="FGSM", note="") -> Row:
        """Measure `victim` on the points made for `source` (default: for itself). what, attack: the paper's number is found by them
        in attacks.evaluate.published."""
        x = points(source or victim, self.x, self.y, self.o.epsilon)
        error, confidence = measured(victim, x, self.y)
        return Row(name, measured(victim, self.x, self.y)[0], error, confidence, *self.both(what, attack), note)

    def published(self, what, attack="FGSM", unit="error"):
        """The figure of the paper; None where it has none or other conditions hold."""
        if self.o.data != "mnist" or self.o.epsilon != EPSILON:
            return None
        asked = ("mnist", GOODFELLOW, what, attack, unit)
        return next((p.value for p in NUMBERS if (p.data, p.source, p.what, p.attack, p.unit) == asked), None)

    def both(self, what, attack="FGSM"):
        """(error, confidence on errors) of the paper."""
        return self.published(what, attack), self.published(what, attack, "confidence on errors")


# ---- the lines -------------------------------------------------------------------------------------------------------


def softmax_regression(trial) -> list[Row]:
    net = nn.Sequential(nn.Flatten(), zeroed(nn.Linear(trial.inputs, trial.classes)))
    victim = trial.fit("softmax", net, standard, cost=0.15)
    return [trial.row("softmax regression", victim, what="softmax regression")]


def logistic_regression(trial) -> list[Row]:
    """3 against 7: FGSM's loss must equal the closed form, and with it the error."""
    def only(y):
        return np.flatnonzero((y == THREE) | (y == SEVEN))

    rows = only(trial.train.y)
    train = Dataset(trial.train.x[rows], (trial.train.y[rows] == SEVEN).astype(np.int64), classes=("3", "7"), name="3 and 7")
    victim = trial.fit("logistic", Logistic(trial.inputs), standard, train, cost=0.1)
    rows = only(trial.y)
    x, y = trial.x[rows], (trial.y[rows] == SEVEN).astype(np.int64)
    clean = measured(victim, x, y)[0]
    moved = points(victim, x, y, trial.o.epsilon)
    error, confidence = measured(victim, moved, y)
    z = victim.within((-1, 2)).predict(moved).astype(np.float64)[:, 1]
    sign = np.where(y == 1, 1.0, -1.0)
    w, b = (p.array.astype(np.float64).ravel() for p in victim.net.linear.parameters())
    off = np.abs(worst_logistic_loss(w, b, x.reshape(len(x), -1), sign, trial.o.epsilon) - np.logaddexp(0, -sign * z)).max()
    note = f"loss and closed form differ by at most {off:.1e}"
    note += of_the_paper(trial.published(THREE_SEVEN, "none", "clean error"), "clean error")
    return [Row(THREE_SEVEN, clean, error, confidence,
                *trial.both(THREE_SEVEN), note)]


def of_the_paper(value, what="") -> str:
    """For a note; nothing where there is no figure."""
    return "" if value is None else f"; in the paper {what} {100 * value:.3g} %".replace("  ", " ")


def standard(victim, x, y):
    return training.standard(victim, x, y).loss


def maxout(trial) -> list[Row]:
    return [trial.row("maxout, dropout", trial.maxout(), what=MAXOUT)]


def noise(trial) -> list[Row]:
    return [
        trial.row(f"maxout, noise {text} in training", trial.maxout(f"noise/{kind}", "noise", kind=kind, clip=False), what=what)
        for kind, text, what in (("sign", "±ε", "noise +-epsilon at training"),
                                 ("uniform", "U(-ε, ε)", "noise U(-epsilon, epsilon) at training"))
    ]


def ensemble(trial) -> list[Row]:
    members = [trial.maxout()] + [trial.maxout(f"member {i}") for i in range(1, trial.o.members)]
    whole = Victim(Ensemble([m.net for m in members]), bounds=(0, 1))
    name = f"mean of {len(members)} maxout"
    what = "ensemble of 12 maxout" if len(members) == 12 else None
    return [trial.row(f"{name}, attack on all", whole, what=what, attack="FGSM on the ensemble"),
            trial.row(f"{name}, attack on one", whole, members[0], what, "FGSM on one member")]


def decay(trial) -> list[Row]:
    victim = trial.maxout("decay", cost=1.2, extra=lambda net: penalty(net, l1=trial.o.decay, first=True))
    part = trial.train.subset(slice(0, 10_000))
    stuck = measured(victim, part.normalised((0.0, 1.0)), part.y)[0]
    note = f"training error {percent(stuck)}" + of_the_paper(trial.published(DECAY, "none", "training error"), "more than")
    return [trial.row("maxout, L1 decay", victim, note=note)]


def adversarial(trial) -> list[Row]:
    trained, plain = trial.maxout("adversarial", "fgsm", cost=3.0, alpha=0.5), trial.maxout()
    return [trial.row("maxout, FGSM training", trained, what=TRAINED),
            trial.row("  on the plain network's points", trained, plain, TRAINED, "FGSM from the undefended network"),
            trial.row("  its points on the plain network", plain, trained, MAXOUT, "FGSM from the FGSM-trained network")]


def rbf(trial) -> list[Row]:
    """A network that is seldom confident. FGSM climbs the loss that was trained, and the confidence is p itself."""
    few = trial.train.subset(slice(0, 10_000))
    images = few.normalised((0.0, 1.0)).reshape(len(few), -1)
    centres = np.stack([images[few.y == k].mean(axis=0) for k in range(trial.classes)])
    victim = trial.fit("rbf", RBF(centres), lambda v, x, y: independent_loss(training.logits_of(v, x), y).mean(), rate=0.01,
                       cost=0.3)
    moved = points(victim, trial.x, trial.y, trial.o.epsilon, lambda z, goal: independent_loss(z, goal.labels))
    clean = measured(victim, trial.x, trial.y, np.exp)[0]
    believed = np.exp(victim.predict(trial.x)).max(1).mean()
    note = f"mean confidence on clean points {percent(believed)}"
    note += of_the_paper(trial.published(SHALLOW, "none", "confidence on clean points"))
    return [Row(SHALLOW, clean, *measured(victim, moved, trial.y, np.exp), *trial.both(SHALLOW), note)]


class Experiment(NamedTuple):
    """rows(trial) -> [Row]. How long it takes, for the progress bar, in trainings of one maxout network: `cost`, and `members` more
    for each further member of the ensemble."""

    rows: object
    cost: float
    members: float = 0.0


EXPERIMENTS = {
    "softmax": Experiment(softmax_regression, 0.2), "logistic": Experiment(logistic_regression, 0.1),
    "maxout": Experiment(maxout, 1.05), "noise": Experiment(noise, 2.1), "ensemble": Experiment(ensemble, 0.3, 1.03),
    "decay": Experiment(decay, 1.25), "adversarial": Experiment(adversarial, 3.1), "rbf": Experiment(rbf, 0.4),
}


# ---- the command -----------------------------------------------------------------------------------------------------


def steps_of(o, train) -> int:
    """Batches in --epochs; two in a dry run."""
    return 2 if o.dry_run else o.epochs * (len(train) // BATCH)


def options(argv=None):
    parser = command.Parser(
        "attacks goodfellow", command.doc(__doc__, __file__), data="mnist", steps=None, run=False,
        presets={"quick": dict(epochs=1, members=4)},
        takes="5 minutes",
        examples=["--preset quick", "--only softmax logistic maxout", "--data glyphs", "--epochs 30"],
    )
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), metavar="NAME",
                        help=f"some of: {' '.join(EXPERIMENTS)} (default: all)")
    setting.radius_option(parser, "Linf radius; the paper's is 0.25", default=EPSILON)
    parser.add_argument("--epochs", type=command.COUNT, default=3, metavar="N", help="of training, for every network")
    parser.add_argument("--members", type=command.COUNT, default=12, metavar="N", help="networks of the ensemble")
    parser.add_argument("--units", type=command.COUNT, default=240, metavar="N", help="maxout units in each of two layers")
    parser.add_argument("--decay", type=command.POSITIVE, default=0.0025, metavar="C", help="coefficient of sum |w|, first layer")
    setting.run_options(parser)
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    if o.dry_run:
        o.members, o.units = min(o.members, 2), min(o.units, 8)
    train, test = (inputs.labelled(o, train=t) for t in (True, False))
    if len(train.classes) <= SEVEN:
        raise ValueError(f"--data {o.data} has {len(train.classes)} classes, 8 or more are needed; try glyphs or mnist")
    if o.dry_run:
        test = test.subset(slice(0, 50))
    chosen = {name: e for name, e in EXPERIMENTS.items() if o.only is None or name in o.only}
    run = setting.start("goodfellow", o)
    unit = steps_of(o, train)
    costs = {name: unit * (e.cost + e.members * (o.members - 1)) for name, e in chosen.items()}
    rows, planned = [], 0.0
    with setting.working(run, sum(costs.values()), rows) as bar:
        trial = Replication(o, train, test, bar)
        for name, experiment in chosen.items():
            found = experiment.rows(trial)
            planned += costs[name]
            bar.reach(planned)
            rows += found
            for row in found:
                run.say(f"{row.name.strip()}: error {percent(row.clean)} clean, {percent(row.error)} under FGSM")

    passes = f"{o.epochs} epoch{'s' * (o.epochs > 1)}"
    title = f"FGSM at epsilon {o.epsilon:g}, not clipped, on {len(trial.y):,} test images of {o.data}; {passes}"
    if bar.stopped:
        title += f", stopped after {len(rows)} lines"
    run.image(0, picture(rows, title), "goodfellow")
    write_json(run.file("goodfellow.json"), [dataclasses.asdict(row) for row in rows])
    run.finish(title=title, summary={row.name.strip(): in_report(row) for row in rows})
    print(title)
    print(table(rows))
    return 130 if bar.stopped else 0


def in_report(row: Row) -> dict:
    """One line in the report."""
    def beside(value, published):
        return percent(value) + (f" (published: {percent(published)})" if published is not None else "")

    said = {"clean error": percent(row.clean), "error under FGSM": beside(row.error, row.published_error),
            "confidence on errors": beside(row.confidence, row.published_confidence)}
    return said | ({"note": row.note} if row.note else {})


def table(rows) -> str:
    """The table in letters, ours beside the paper's; a note stands below its line."""
    numbers = [[percent(v) for v in (r.clean, r.error, r.published_error, r.confidence, r.published_confidence)] for r in rows]
    head = ["", "clean error", "FGSM error", "published", "confidence", "published"]
    first, *lines = words.table(head, [[r.name, *n] for r, n in zip(rows, numbers, strict=True)], gap=3, indent=0).splitlines()
    aside = " " * (max(len(r.name) for r in rows) + 4)
    for row, line in zip(rows, lines, strict=True):
        first += f"\n{line}" + (f"\n{aside}{row.note}" if row.note else "")
    return first


def picture(rows, title) -> np.ndarray:
    """Error and confidence as bars, the paper's as strokes."""
    def of(name):
        return [math.nan if getattr(r, name) is None else getattr(r, name) for r in rows]

    series = {"error under FGSM": "error", "mean confidence on errors": "confidence"}
    published = {name: of(f"published_{key}") for name, key in series.items()}
    known = any(not math.isnan(value) for values in published.values() for value in values)
    return bars([r.name.strip() for r in rows], {name: of(key) for name, key in series.items()}, title, "%",
                published if known else None, digits=1, colours=("C3", "0.72"))
