"""The defenses of `python -m attacks defenses`: how each is built, what seems to fail on it, what breaks it, what warns.

    DEFENSES     name -> Defense; the failed ones first, then what holds
    Lab          trains and keeps the networks that the defenses share, and holds the samples
    through      an attack that follows the gradients of a stand-in and is judged on the defense itself
    Way          an attack as attacks.evaluate.Case takes it, so that a check looks at the very attack whose number is printed

The stand-in of `through` is what makes an attack naive or strong. It may be

    another network                                    transfer
    one draw of a random defense, always the same      the naive attack on randomness
    one look at a random defense, averaged over many   expectation over transformation (EOT)
    the defense with another derivative                BPDA: where a step has no useful derivative, that of the identity is taken

Sources: Athalye, Carlini & Wagner 2018 (BPDA, EOT, signs of masking); Carlini et al. 2019 (what an evaluation must try);
Goodfellow et al. 2014 (noise, ensembles, weight decay, dropout, generative training); Madry et al. 2017 (training against
FGSM); Carlini & Wagner 2017 (distillation); Cohen, Rosenfeld & Kolter 2019 (smoothing).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from attacks.black_box.score import random_noise
from attacks.core.result import Result, Task
from attacks.core.threat import L2, Linf
from attacks.core.victim import Victim, as_white_box
from attacks.defend import (
    Autoencoder,
    DropoutAtTest,
    Ensemble,
    Noisy,
    Normalized,
    Pretrained,
    Purified,
    Quantised,
    Smoothed,
    denoising_loss,
    distillation,
    penalty,
    textbook_cross_entropy,
    training,
)
from attacks.evaluate.auto import auto
from attacks.evaluate.of_attack import (
    black_box_finds_nothing,
    converged,
    enough_eot,
    iterative_not_weaker,
    label_leaking,
    unbounded,
)
from attacks.evaluate.of_victim import deterministic, gradient_matches, zero_gradients
from attacks.white_box.gradient import pgd
from minigrad import functional as F
from minigrad import inputs
from minigrad.random import Stream
from minigrad.tensor import Tensor
from minigrad.words import percent
from nets.classifiers.lenet import LeNet
from nets.training import fit

LOOKS = 11  # fresh looks at a random defense, whose majority decides
VOTES, POLLS = 15, 3  # noisy looks in one answer of a voting defense, and how many such answers decide
CROSSING = 0.6  # radius at which rounding to black and white can be crossed
STRONG = 12  # queries of `strongest` for each of its steps
TEMPERATURE = 100.0  # of distillation (Papernot et al. 2016; Carlini & Wagner 2017, section VIII)


# ---- attacks ---------------------------------------------------------------------------------------------------------


def through(source, looks: int = 1, **fixed):
    """PGD on `source` (Victim), judged on the victim of the call by the majority of `looks` fresh looks.

    fixed: options of pgd that the call may not change. Every sample runs to the last step, because the point with the largest
    loss on the stand-in is the one that most often fools the victim too; the first point that fools the stand-in rarely does.
    """

    def attack(victim, x, goal, threat, *, rng=0, trace=False, **options) -> Result:
        options = {**options, **fixed, "early_stop": False, "attack_wrong": True}
        found = pgd(source, x, goal, threat, rng=rng, **options)
        task = Task("pgd", as_white_box(victim, "through"), x, goal, rng=rng, looks=looks)

        def judge(points):
            return 2 * sum(task.goal.success(task.victim.predict(points)).astype(int) for _ in range(looks)) > looks

        settings = {**found.settings, "stand-in": repr(source), "looks": looks}
        return task.result(found.candidate, threat=threat, judge=judge, steps=found.steps, zero_gradient=found.zero_gradient,
                           settings=settings)

    return attack


def noise(victim, x, goal, threat, *, steps, rng=0, **_) -> Result:
    """`steps` random points of the ball, for a Case."""
    return random_noise(victim, x, goal, threat, steps, rng=rng)


def strongest(victim, x, goal, threat, *, steps, rng=0, **_) -> Result:
    """The ensemble of attacks.evaluate.auto with two of the likely classes and 500 queries, for a Case."""
    return auto(victim, x, goal, threat, steps=steps, targets=2, queries=500, rng=rng).result


class Way(NamedTuple):
    """name: in words. attack: as Case takes it. steps: of it; None for those of --attack-steps. asks: queries in a step, as a rule;
    the progress bar needs it."""

    name: str
    attack: object = pgd
    steps: int | None = None
    asks: int = 1


def one_step(name="FGSM", **fixed) -> Way:
    """One step over the whole radius without a random start (PGD's default step is 2.5 epsilon, and is projected)."""
    return Way(name, partial(pgd, random_start=False, **fixed), 1)


def one_step_of(source) -> Way:
    """FGSM's points for another network."""
    return Way("FGSM, another network", through(source, random_start=False), 1)


# ---- networks --------------------------------------------------------------------------------------------------------


class Lab:
    """Data, threat, options o, and every network that was asked for: each is trained once."""

    def __init__(self, o, train, samples, bar=None):
        self.o, self.train, self.samples, self.bar = o, train, samples, bar
        self.size, self.channels, self.classes = train.x.shape[2], train.x.shape[1], len(train.classes)
        self.threat, self.kept, self.victims = Linf(o.epsilon), {}, []

    def stream(self, name) -> Stream:
        """The random numbers of this name, from the beginning."""
        return Stream(self.o.seed, name)

    def batches(self, name):
        """Batches of images in [0, 1] without end."""
        return inputs.batches(self.train, self.o.batch, self.stream(f"{name}/data"), value_range=(0.0, 1.0)).forever()

    def lenet(self, name, dropout=0.0) -> LeNet:
        """A new network."""
        return LeNet(self.channels, self.classes, self.size, self.o.width, dropout, rng=self.stream(f"{name}/init"))

    def victim(self, net) -> Victim:
        """A network that takes images in [-1, 1]."""
        return self.noted(Victim(net, bounds=(0, 1), normalize=(0.5, 0.5), classes=self.classes))

    def plain(self, net) -> Victim:
        """A network that takes images in [0, 1]."""
        return self.noted(Victim(net, bounds=(0, 1), classes=self.classes))

    def noted(self, victim) -> Victim:
        """The same, now one of `victims`: what is asked of those moves the bar."""
        self.victims.append(victim)
        return victim

    def fit(self, name, net, loss_of, steps=None, cost=1.0):
        """Train on `steps` batches (default --steps)."""
        return fit(net, loss_of, self.batches(name), self.o.steps if steps is None else steps, bar=self.bar, cost=cost)

    def trained(self, name, method="standard", *, dropout=0.0, threat=None, warm=False, more=1, cost=1.0, extra=None, **options):
        """The victim of this name, trained by a method of attacks.defend.training.

        more: times as many steps. warm: the radius grows over the first 30 % of them. extra(net) -> Tensor: added to the loss.
        options: of the method."""
        if name not in self.kept:
            victim, steps = self.victim(self.lenet(name, dropout)), more * self.o.steps
            rng, threat = self.stream(f"{name}/perturbations"), threat or self.threat

            def loss_of(images, labels, step):
                ball = threat.with_epsilon(threat.epsilon * training.warmup(step, steps)) if warm else threat
                loss = training.METHODS[method](victim, images, labels, ball, rng=rng, **options).loss
                return loss if extra is None else loss + extra(victim.net)

            self.fit(name, victim.net, loss_of, steps, cost)
            self.kept[name] = victim
        return self.kept[name]

    @property
    def undefended(self) -> Victim:
        """Standard training."""
        return self.trained("undefended")

    @property
    def autoencoder(self) -> Autoencoder:
        """Denoising, trained on Gaussian noise of 0.3."""
        if "autoencoder" not in self.kept:
            ae, rng = self.new_autoencoder(), self.stream("autoencoder/noise")
            self.kept["autoencoder"] = self.fit("autoencoder", ae, lambda x, y, step: denoising_loss(ae, x, 0.3, rng))
        return self.kept["autoencoder"]

    def new_autoencoder(self) -> Autoencoder:
        """Untrained."""
        return Autoencoder(self.channels, self.size, rng=self.stream("autoencoder/init"))

    @property
    def gaussian(self) -> Victim:
        """Trained on images with Gaussian noise of --sigma."""
        return self.trained("gaussian", "noise", threat=Linf(self.o.sigma), kind="gaussian")


# ---- defenses --------------------------------------------------------------------------------------------------------


class Built(NamedTuple):
    """A defense, ready to be attacked.

    victim        the defended network
    naive, own    the attack that seems to fail on it, and the one that was made for it
    checks        of attacks.evaluate. They are asked about the naive attack, one after the other, until one warns
    none          why no check is asked, in words; for a defense without checks
    threat        the ball of both attacks; None for that of the lab
    certificate   function without arguments -> (share of images that are proved to stand, a sentence); None for no proof
    """

    victim: Victim
    naive: Way
    own: Way
    checks: tuple = ()
    none: str = ""
    threat: object = None
    certificate: object = None


class Defense(NamedTuple):
    """A line of the table: its title, and build(lab) -> Built.

    cost: how long all of it takes, in trainings of the undefended network; the progress bar needs it. holds: no attack here
    breaks it."""

    title: str
    cost: float
    build: object
    holds: bool = False


NOT_MASKED = "none needed: PGD already breaks it"
HOLDS = (zero_gradients, gradient_matches, iterative_not_weaker, unbounded, black_box_finds_nothing)
STAND_IN = (iterative_not_weaker, unbounded, black_box_finds_nothing)  # what shows that a stand-in's gradients are too weak


def undefended(lab) -> Built:
    return Built(lab.undefended, one_step(), Way("PGD"), none="nothing is defended")


def pretraining(lab) -> Built:
    """The encoder of a denoising autoencoder, trained on as a classifier."""
    ae = lab.new_autoencoder()
    ae.load_state_dict(lab.autoencoder.state_dict())  # training on would spoil the one that `purification` needs
    victim = lab.plain(Pretrained(ae, lab.classes, rng=lab.stream("pretraining/init")))
    lab.fit("pretraining", victim.net, lambda x, y, step: training.standard(victim, x, y).loss)
    return Built(victim, Way("random noise", noise, lab.o.points), Way("PGD through the encoder"), STAND_IN)


def purification(lab) -> Built:
    """Images pass through the autoencoder before they are classified. Its code is rounded to 8 levels, which takes away some of the
    perturbation. The radius is 1.5 times as large as elsewhere, so that what is left of the perturbation still fools."""
    built, ball = Purified(Normalized(lab.undefended.net), lab.autoencoder, levels=8), Linf(1.5 * lab.o.epsilon)
    note = f", Linf {ball.epsilon:g}"
    seeing = through(lab.plain(built.bpda()), loss="margin", restarts=3)
    return Built(lab.plain(built), Way("PGD as built" + note), Way("PGD, BPDA, 3 starts" + note, seeing), (zero_gradients,),
                 threat=ball)


def noise_at_test(lab) -> Built:
    """A vote of VOTES noisy looks, by a network that was trained with that noise. Such training alone gives some robustness. The
    radius is 1.25 times as large as elsewhere, because little of that robustness is left there."""
    ball = Linf(1.25 * lab.o.epsilon)
    noisy = Noisy(Normalized(lab.gaussian.net), lab.o.sigma, draws=VOTES, rng=lab.stream("noise at test time"))
    note = f", Linf {ball.epsilon:g}"
    return Built(lab.plain(noisy), Way("FGSM on one draw" + note, through(fixed_draw(lab), POLLS, random_start=False), 1),
                 Way("EOT-PGD" + note, through(lab.plain(noisy.one()), POLLS, samples=lab.o.draws), asks=lab.o.draws),
                 (deterministic,), threat=ball)


def many_models(lab) -> Built:
    """The mean probability of several networks, alike but for their seeds."""
    nets = [lab.undefended.net] + [lab.trained(f"member {i}").net for i in range(1, lab.o.members)]
    return Built(lab.victim(Ensemble(nets)), Way("PGD on one member", through(lab.victim(nets[-1]))), Way("PGD on the mean"),
                 STAND_IN)


def weight_decay(lab) -> Built:
    """L2 on every layer."""
    victim = lab.trained("weight decay", extra=lambda net: penalty(net, l2=lab.o.decay))
    return Built(victim, one_step_of(lab.undefended), Way("PGD"), none=NOT_MASKED)


def noise_at_training(lab) -> Built:
    """U(-epsilon, epsilon) on every pixel."""
    return Built(lab.trained("noise", "noise", kind="uniform"), Way("random noise", noise, lab.o.points), Way("PGD"),
                 none=NOT_MASKED)


def fgsm_training(lab) -> Built:
    """Half of the loss is taken on FGSM's points, without a random start. The network learns to mask its gradient, but only where
    the step is long. So the radius is 1.5 times as large as elsewhere, in training and under attack."""
    ball = Linf(1.5 * lab.o.epsilon)
    victim, note = lab.trained("fgsm", "fgsm", threat=ball, cost=2.5), f", Linf {ball.epsilon:g}"
    return Built(victim, one_step("FGSM" + note), Way("PGD" + note), (label_leaking, converged, black_box_finds_nothing),
                 threat=ball)


def dropout_network(lab) -> Victim:
    return lab.trained("dropout", dropout=0.5)


def dropout_at_training(lab) -> Built:
    """Half of the features are dropped while training; none in use."""
    return Built(dropout_network(lab), one_step_of(lab.undefended), Way("PGD"), none=NOT_MASKED)


def dropout_at_test(lab) -> Built:
    """The same network; in use, too, half of its features are dropped at random."""
    random = DropoutAtTest(dropout_network(lab).net, rng=lab.stream("dropout at test time"))
    frozen = through(lab.victim(random.frozen(lab.o.seed)), LOOKS, random_start=False)
    return Built(lab.victim(random), Way("FGSM on one mask", frozen, 1),
                 Way("EOT-PGD", through(lab.victim(random), LOOKS, samples=lab.o.draws), asks=lab.o.draws),
                 (deterministic, enough_eot))


def quantisation(lab, levels) -> Built:
    """The input is rounded to a few levels. With two levels a black pixel stays black until it has changed by 1/2. Digits are black
    and white, so at a smaller radius hardly anything changes; the radius is made large enough to cross 1/2."""
    built = Quantised(Normalized(lab.undefended.net), levels)
    ball = Linf(max(CROSSING, lab.o.epsilon)) if levels == 2 else None
    note = "" if ball is None else f", Linf {ball.epsilon:g}"
    return Built(lab.plain(built), Way("PGD as built" + note), Way("PGD, BPDA" + note, through(lab.plain(built.bpda()))),
                 (zero_gradients,), threat=ball)


def defensive_distillation(lab) -> Built:
    """A student learns a teacher's probabilities. Both train with logits divided by 100 (their temperature), and are used with the
    logits as they are."""
    teacher, student = (lab.victim(lab.lenet(f"distillation/{name}")) for name in ("teacher", "student"))
    lab.fit("distillation/teacher", teacher.net,
            lambda x, y, step: F.cross_entropy(training.logits_of(teacher, x) / TEMPERATURE, y))
    lab.fit("distillation/student", student.net,
            lambda x, y, step: distillation(training.logits_of(student, x), Tensor.wrap(teacher.predict(x)), TEMPERATURE))
    return Built(student, Way("PGD, cross-entropy", partial(pgd, loss=textbook_cross_entropy)),
                 Way("PGD, margin", partial(pgd, loss="margin")), (zero_gradients,))


def adversarial_training(lab, method, name, **options) -> Built:
    """The loss is taken at the point where an attack from a random start ends. The radius grows from 0 at first."""
    return Built(lab.trained(name, method, warm=True, **options), one_step(), Way("strongest of 4", strongest, asks=STRONG), HOLDS)


def smoothing(lab) -> Built:
    """The noise and the vote of `noise_at_test`. Here the votes are counted: their share proves the answer within an L2 radius."""
    smoothed, ball = Smoothed(lab.gaussian, lab.o.sigma, rng=lab.o.seed), L2(lab.o.radius)
    voting = lab.noted(smoothed.noisy(VOTES, lab.stream("smoothing")))
    few = slice(0, lab.o.certified)

    def certificate():
        found = smoothed.certify(lab.samples.x[few], n0=min(100, lab.o.looks), n=lab.o.looks, bar=lab.gaussian.watch)
        share = found.accuracy(lab.samples.y[few], lab.o.radius)
        return share, (f"at least {percent(share, 0)} proved in L2 {lab.o.radius:g}, of {len(found.radius)} images, "
                       f"{lab.o.looks:,} looks each, alpha 0.001")

    return Built(voting, Way(f"PGD on one draw, L2 {lab.o.radius:g}", through(fixed_draw(lab), POLLS)),
                 Way(f"EOT-PGD, L2 {lab.o.radius:g}", through(lab.noted(smoothed.noisy()), POLLS, samples=lab.o.draws),
                     asks=lab.o.draws),
                 threat=ball, certificate=certificate)


def fixed_draw(lab) -> Victim:
    """The noise-trained network behind one draw of noise, always the same."""
    return lab.plain(Noisy(Normalized(lab.gaussian.net), lab.o.sigma, fixed=lab.o.seed))


DEFENSES = {
    "none": Defense("no defense", 1.5, undefended),
    "pretraining": Defense("generative pre-training", 4, pretraining),
    "purification": Defense("purification by an autoencoder", 3, purification),
    "noise-at-test": Defense("noise at test time, with a vote", 6, noise_at_test),
    "ensemble": Defense("averaging many models", 8, many_models),
    "weight-decay": Defense("weight decay", 1.5, weight_decay),
    "noise-at-training": Defense("noise at training time", 1.5, noise_at_training),
    "fgsm-at-training": Defense("FGSM at training time", 3, fgsm_training),
    "dropout-at-training": Defense("dropout at training time", 1.5, dropout_at_training),
    "dropout-at-test": Defense("dropout at test time", 4, dropout_at_test),
    "quantised-3": Defense("3-bit images", 1, partial(quantisation, levels=8)),
    "quantised-1": Defense("1-bit images", 1, partial(quantisation, levels=2)),
    "distillation": Defense("distillation at T = 100", 3, defensive_distillation),
    "fast": Defense("fast adversarial training", 7, partial(adversarial_training, method="fast", name="fast", more=2, cost=1.7),
                    holds=True),
    "pgd": Defense("PGD training", 14, partial(adversarial_training, method="pgd", name="pgd", steps=7, cost=5), holds=True),
    "smoothing": Defense("randomized smoothing", 6, smoothing, holds=True),
}
