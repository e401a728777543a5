"""python -m attacks train: a classifier that is trained against attacks, or is defended in a way that fails.

Methods are those of attacks.defend.training: standard, noise, fgsm, fast, pgd, trades. The defaults are the recipe of Wong,
Rice & Kolter 2020 for MNIST: their network, ten epochs in batches of 100, a rate that rises and falls. Weight decay and
dropout are options of every method. The result is a run as `python -m nets classifier` writes it: `python -m attacks NAME
--model RUN`, `python -m gan evaluate ... --judge RUN` take it.

Logged once an epoch are the accuracy on the test set, and the accuracy on some training images under PGD from a random start. A
one-step method may learn to mask its gradient; then its PGD accuracy collapses (catastrophic overfitting). --early-stop goes back
to the last good weights, as Wong, Rice & Kolter 2020 do.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attacks.commands.helpers import setting
from attacks.commands.helpers.setting import ball
from attacks.core.goal import Untargeted
from attacks.core.victim import Victim
from attacks.defend import training
from attacks.defend.decay import penalty
from attacks.defend.noise import KINDS
from attacks.white_box.gradient import pgd
from minigrad import command, inputs, optim
from minigrad.random import Streams
from minigrad.words import percent, show
from nets.classifiers import NETWORKS
from nets.training import evaluate, rise_and_fall, scheduled

WIDTH = {"strided": 16, "lenet": 32}  # maps of the first convolution
WARMUP = {"pgd": 0.3, "trades": 0.3}  # at the full radius from the start, they may learn to answer with one class only
RISE = 0.4  # of the steps, in which the learning rate rises along a line; then it falls to 0 (Wong, Rice & Kolter 2020)
PROBE = 200  # training images that PGD is tried on once an epoch
FALL = 0.2  # of PGD accuracy between two epochs: collapsed (Wong, Rice & Kolter 2020)


def options(argv=None):
    parser = command.Parser(
        "attacks train", command.doc(__doc__, __file__).split("\n\nLogged")[0], data="mnist", steps=6_000,
        takes="1 minute",
        examples=["--method fast --early-stop", "--method pgd --inner-steps 10", "--method trades --beta 6",
                  "--method noise --noise sign --epsilon 0.25", "--method noise --noise gaussian --norm l2 --epsilon 0.5",
                  "--data cifar10 --epsilon 8/255 --network lenet"],
    )
    parser.add_argument("--method", choices=list(training.METHODS), default="fast", help="what is minimised")
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf", help="of the perturbations")
    setting.radius_option(parser, "their size; for --noise gaussian the standard deviation", default=0.3)
    parser.add_argument("--warmup", type=command.SHARE, metavar="SHARE",
                        help="of the steps, in which epsilon grows from 0 (default: 0.3 "
                        "for pgd and trades, else 0: none)")
    parser.add_argument("--inner-steps", type=command.COUNT, default=10, metavar="N", help="steps of pgd and trades")
    parser.add_argument("--inner-step", type=command.POSITIVE, metavar="F",
                        help="length of a step in units of epsilon (default: 1.25 "
                        "for fast, 2.5 / N for pgd and trades)")
    parser.add_argument("--beta", type=command.WEIGHT, default=1.0, metavar="B", help="trades: weight of the divergence")
    parser.add_argument("--alpha", type=command.SHARE, default=0.5, metavar="A", help="fgsm: weight of the clean samples")
    parser.add_argument("--noise", choices=KINDS, default="uniform", help="noise: of which kind")
    parser.add_argument("--l1", type=command.WEIGHT, default=0.0, metavar="C", help="weight decay: coefficient of sum |w|")
    parser.add_argument("--l2", type=command.WEIGHT, default=0.0, metavar="C", help="weight decay: coefficient of sum w^2 / 2")
    parser.add_argument("--first", action="store_true", help="weight decay on the first layer only")
    parser.add_argument("--dropout", type=command.SHARE, default=0.0, metavar="P", help="probability, before the linear layers")
    parser.add_argument("--early-stop", action="store_true", help="end with the last good weights when PGD accuracy collapses")
    parser.add_argument("--size", type=command.COUNT, help="pixels; default: 28, or what the data has")
    parser.add_argument("--network", choices=list(WIDTH), default="strided", help="strided: Wong, Rice & Kolter's, small, no "
                        "pooling; lenet: of `nets classifier`, with batch norm")
    parser.add_argument("--batch", type=command.COUNT, default=100, help="images in a batch")
    parser.add_argument("--width", type=command.COUNT, help="maps of the first convolution (default: 16 for strided, 32 for "
                        "lenet)")
    parser.add_argument("--rate", type=command.POSITIVE, default=5e-3, help="Adam's largest learning rate, after 2/5 of the steps")
    return parser.parse(argv)


@dataclasses.dataclass
class Good:
    """The weights of the last epoch, their accuracy under PGD; over: training has collapsed and ended with them."""

    weights: dict | None = None
    robust: float = -1.0
    step: int = 0
    over: bool = False

    def state_dict(self) -> dict:
        return dict(vars(self))

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


def inner(o) -> dict:
    """The options of the method that are not common to all."""
    step = o.inner_step
    if o.method in ("pgd", "trades"):
        found = dict(steps=o.inner_steps, step=2.5 / o.inner_steps if step is None else step)
        return found | (dict(beta=o.beta) if o.method == "trades" else {})
    return {"fast": dict(step=1.25 if step is None else step), "fgsm": dict(alpha=o.alpha), "noise": dict(kind=o.noise)}.get(
        o.method, {}
    )


def along(o, steps: int):
    """factor(t): what follows from the number of steps, the rate and the radius, as shares of their largest."""
    rate = rise_and_fall(steps, RISE)
    return lambda t: (rate(t), training.warmup(t + 1, steps, o.warmup))


def batch_of(o, victim, images, labels, step, rng) -> training.Batch:
    """The loss of one step: the method at the radius of this step, and weight decay. images (N, C, H, W) in [0, 1]."""
    threat, extra = ball(o.norm, o.epsilon * training.warmup(step, o.steps, o.warmup)), inner(o)
    if o.method in ("pgd", "trades"):
        extra["step"] *= threat.epsilon
    batch = training.METHODS[o.method](victim, images, labels, threat, rng=rng, **extra)
    if o.l1 or o.l2:
        batch = batch._replace(loss=batch.loss + penalty(victim.net, o.l1, o.l2, o.first))
    return batch


def main(argv=None):
    o = options(argv)
    train, test = (inputs.labelled(o, train=t, size=o.size) for t in (True, False))
    o.size, o.channels, o.classes = train.x.shape[2], train.x.shape[1], len(train.classes)
    o.width = o.width or WIDTH[o.network]
    o.warmup = WARMUP.get(o.method, 0.0) if o.warmup is None else o.warmup
    run = command.start(f"trained-{o.method}", o)
    streams = Streams(o.seed)
    loader = inputs.batches(train, o.batch, streams["data"], value_range=(0.0, 1.0))
    network = NETWORKS[o.network](o.channels, o.classes, o.size, o.width, o.dropout, rng=streams["init"]).to(o.device)
    victim = Victim(network, bounds=(0, 1), normalize=(0.5, 0.5), classes=o.classes)
    adam = optim.Adam(network.parameters(), o.rate)
    few = train.subset(streams["probe"].permutation(len(train))[:PROBE])
    few = few.normalised((0.0, 1.0)), few.y
    good = Good()
    kept = dict(network=network, adam=adam, loader=loader, streams=streams, good=good)
    run.restore(kept)
    schedule = scheduled(adam, rise_and_fall(o.steps, RISE), run.step)
    run.follows(lambda steps: along(o, steps), o.steps)

    batches, epoch = loader.forever(), len(loader)
    for step in run.loop(run.step, o.steps, save=kept):
        if good.over:
            continue
        images, labels = next(batches)
        batch = batch_of(o, victim, images, labels, step, streams["perturbations"])
        adam.zero_grad()
        batch.loss.backward()
        adam.step()
        schedule.step()
        if run.due(step, 20):
            run.log(step, loss=batch.loss, batch_accuracy=batch.accuracy(labels))
        if run.due(step, epoch):
            run.check_finite(step, network.named_parameters())
            robust = probe(victim, few, o, step)
            run.log(step, test_accuracy=evaluate(network, test)[0], probe_accuracy=robust)
            if o.early_stop and good.robust - robust > FALL and step > o.warmup * o.steps:
                run.say(f"step {step}: accuracy under PGD fell from {percent(good.robust)} to {percent(robust)}; back to step "
                        f"{good.step}, which is the result")
                network.load_state_dict(good.weights)
                good.over = True
            else:
                good.weights, good.robust, good.step = {k: np.array(v) for k, v in network.state_dict().items()}, robust, step

    score = evaluate(network, test)[0]
    rows = streams["report"].permutation(len(test))[: 50 if o.dry_run else 500]
    found = pgd(victim, test.subset(rows).normalised((0.0, 1.0)), Untargeted(test.y[rows]), ball(o.norm, o.epsilon), 20, rng=o.seed)
    run.image(o.steps, np.asarray(found.candidate)[:50] * 2 - 1, "attacked", columns=10)
    summary = {"method": o.method, "test accuracy": f"{percent(score, 2)} of {len(test)}",
               "under PGD-20": f"{percent(found.robust_accuracy)} of {len(rows)}, {o.norm} {o.epsilon:.4g}, one restart: "
               "an upper bound"}
    if good.over:
        summary["ended early"] = f"with the weights of step {good.step}"
    run.finish(title=f"Classifier of {o.data}, trained by {o.method}", summary=summary)
    show(summary)


def probe(victim, few, o, step) -> float:
    """Accuracy of training images under ten steps of PGD, at the radius of this step."""
    threat = ball(o.norm, o.epsilon * training.warmup(step, o.steps, o.warmup))
    return pgd(victim, few[0], Untargeted(few[1]), threat, 10, rng=o.seed).robust_accuracy
