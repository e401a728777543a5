"""The price of adversarial examples: PGD on residual classifiers in both libraries, our attacks beside Foolbox's.

    python -m benchmarks.attack [--threads N] [--quick] [--cpu-time]

First the sweep alone: projected gradient descent, 40 steps in the L-infinity ball (Madry et al. 2018, section 2.1), on residual
classifiers of 3x3 convolutions in evaluation mode with frozen parameters. The attack is written once and runs in both.

Then whole attacks as a user calls them: attacks.pgd and attacks.carlini_l2 beside Foolbox's LinfPGD and L2CarliniWagnerAttack
on PyTorch, on the same small networks (a LeNet, and a strided one that was trained against one step) with the same weights,
images, steps, step sizes and search. Before anything is timed, success rates must agree within a point and C&W's mean distances
within 2 %. (PGD starts from the images themselves for this, because no two libraries draw the same random starts.) Ours checks
every point and keeps the best; Foolbox's PGD returns the last. `early stop` is our default: a sample rests once it is fooled.
Foolbox has no such thing. Without Foolbox these rows are left out: pip install foolbox==3.3.4
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from benchmarks import networks
from benchmarks.common import OURS, THEIRS, FlopCounter, check_equal, interleaved, row, start, table
from benchmarks.training import draw, labels
from minigrad.words import doc

try:
    import foolbox
except ImportError:
    foolbox = None
from attacks import Linf, Untargeted, Victim, carlini_l2, pgd
from attacks.defend import training
from minigrad import data, optim
from minigrad.random import Stream, Streams
from nets.classifiers.lenet import LeNet
from nets.classifiers.strided import Strided

BATCH, STEPS = 100, 40
MISSING = "Foolbox is not installed, so the rows beside it are left out: pip install foolbox==3.3.4 (or the extra `bench`)"


# ---- the sweep, written once -----------------------------------------------------------------------------------------


def attack(lib, model, images, y, steps=STEPS, epsilon=8 / 255, step=2 / 255):
    """Images within epsilon of `images` that the model takes for something else than y; and the last loss."""
    x = images
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss = lib.F.cross_entropy(model(x), y, reduction="sum")
        (g,) = lib.grad(loss, [x])
        with lib.no_grad():
            moved = (x + g.sign() * step - images).clamp(-epsilon, epsilon)
            x = (images + moved).clamp(0.0, 1.0)
    return x, loss


def measure(widths, blocks, options):
    images, y = abs(draw(BATCH, 3, 32, 32)).clip(0, 1), labels(10, BATCH)
    pair = [functools.partial(attack, lib, net.eval().requires_grad_(False), lib.images(images), lib.tensor(y))
            for lib, net in zip((OURS, THEIRS), networks.residuals(widths, blocks), strict=True)]
    check_equal("PGD, the second step's loss", *(f(2)[1].item() for f in pair))
    with FlopCounter() as counter:
        pair[1](1)
    name = f"PGD-{STEPS}, {networks.residual_name(widths, blocks)}, B={BATCH}"
    return row(name, interleaved(*pair, options), counter.flops * STEPS, options.threads)


# ---- whole attacks, beside Foolbox -----------------------------------------------------------------------------------


class Case(NamedTuple):
    """A trained network in both libraries, images (N, 1, 28, 28) in [0, 1] of the classes y (N,), and which of them it knows."""

    name: str
    victim: Victim
    model: object
    x: np.ndarray
    y: np.ndarray
    right: np.ndarray

    def ours(self, n, attack, *args, **options):
        """(success (n,), mean L2 of those that were right before) of an attack on the first n images; wrong before counts."""
        found = attack(self.victim, self.x[:n], Untargeted(self.y[:n]), *args, **options)
        return self._judged(n, found.success | found.already_wrong, found.x_adv)

    def theirs(self, n, attack, epsilon):
        """The same of a Foolbox attack."""
        x = THEIRS.images(self.x[:n])
        _, x_adv, success = attack(self.model, x, THEIRS.tensor(self.y[:n]), epsilons=epsilon)
        return self._judged(n, success.numpy(), x_adv.numpy())

    def _judged(self, n, success, x_adv):
        size = np.sqrt(np.square(x_adv - self.x[:n], dtype=np.float64).sum(axis=(1, 2, 3)))
        return success, float(size[success & self.right[:n]].mean())


def trained(name, net, method, epsilon, steps, count=1000, limit=4000, batch=100, rate=3e-3) -> Case:
    """A network that learned `limit` glyphs for `steps` steps by a method of attacks.defend.training; `count` test images."""
    streams, glyphs = Streams(0), data.load("glyphs", limit=limit)
    loader = data.DataLoader(glyphs, batch, shuffle=True, drop_last=True, rng=streams["data"],
                             value_range=(0.0, 1.0)).forever()
    victim, adam = Victim(net, bounds=(0, 1), normalize=(0.5, 0.5)), optim.Adam(net.parameters(), rate)
    for step in range(1, steps + 1):
        images, y = next(loader)
        threat = Linf(epsilon * training.warmup(step, steps, 0.5))
        adam.zero_grad()
        training.METHODS[method](victim, images, y, threat, rng=streams["perturbations"]).loss.backward()
        adam.step()
    test = data.load("glyphs", train=False, limit=count)
    twin = networks.layers_of(net.eval()).requires_grad_(False)
    model = foolbox.PyTorchModel(twin, bounds=(0, 1), preprocessing=dict(mean=0.5, std=0.5), device="cpu")
    x = test.normalised((0.0, 1.0))
    case = Case(name, victim, model, x, test.y, victim.predict(x).argmax(1) == test.y)
    check_equal(f"{name}, logits", victim.predict(case.x[:50]), model(THEIRS.images(case.x[:50])).numpy())
    return case


def agree(what, ours, theirs, near=None):
    """Success rates within a point, else AssertionError; with `near`, mean distances within that share as well."""
    (won, far), (theirs_won, theirs_far) = ours, theirs
    if abs(won.mean() - theirs_won.mean()) > 0.01 or (near is not None and not abs(far / theirs_far - 1) <= near):
        raise AssertionError(f"{what}: success {won.mean():.3f} at mean L2 {far:.3f}, Foolbox {theirs_won.mean():.3f} at "
                             f"{theirs_far:.3f}; the two do not do the same work")


def beside_foolbox(case: Case, epsilon: float, options) -> list[tuple]:
    """Rows of PGD and C&W on one network, in milliseconds for 1,000 images."""
    step, rounds, c, many, few = epsilon / 16, 3, 1.0, 250, 50

    def fixed(random_start):
        return foolbox.attacks.LinfPGD(steps=STEPS, abs_stepsize=step, random_start=random_start)

    nearest = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=rounds, steps=100, stepsize=0.1, initial_const=c,
                                                    abort_early=False)
    ours = functools.partial(pgd, threat=Linf(epsilon), steps=STEPS, step=step)
    ours_nearest = functools.partial(carlini_l2, steps=100, lr=0.1, search_steps=rounds, c=c, abort_early=False)
    still = case.ours(len(case.x), functools.partial(ours, random_start=False))
    agree(f"PGD, {case.name}", still, case.theirs(len(case.x), fixed(random_start=False), epsilon))
    near = case.ours(4 * few, ours_nearest)
    agree(f"C&W, {case.name}", near, case.theirs(4 * few, nearest, None), near=0.02)
    work = [
        (f"PGD-{STEPS}, every step", many, still, functools.partial(ours, early_stop=False), fixed(random_start=True), epsilon),
        (f"PGD-{STEPS}, early stop", many, still, ours, fixed(random_start=True), epsilon),
        (f"C&W L2, {rounds} x 100 steps", few, near, ours_nearest, nearest, None),
    ]
    rows = []
    for name, n, found, mine, theirs, radius in work:
        pair = [functools.partial(case.ours, n, mine), functools.partial(case.theirs, n, theirs, radius)]
        timing = interleaved(*pair, options, pairs=7).per(n / 1000)
        rows.append((*row(f"{name}, {case.name}, B={n}", timing, 0, options.threads)[:5], f"{100 * found[0].mean():.1f} %"))
    return rows


def main(argv=None):
    options = start(doc(__doc__, __file__), argv)
    cases = [((16, 32, 64), 3)] + ([] if options.quick else [((64, 128, 256), 1)])
    table("Adversarial examples", [measure(*case, options) for case in cases])
    if foolbox is None:
        print(f"\n{MISSING}")
        return
    init = Stream(0, "init")
    rows = beside_foolbox(trained("robust strided net", Strided(rng=init), "fast", 0.1, 250), 0.1, options)
    if not options.quick:
        rows += beside_foolbox(trained("LeNet", LeNet(dropout=0.0, rng=init), "standard", 0.0, 60), 0.1, options)
    table(f"Whole attacks, ms for 1,000 images of 28 pixels, beside Foolbox {foolbox.__version__} on PyTorch", rows,
          ("work", "ours ms", "Foolbox ms", "ratio", "quartiles", "success"))


if __name__ == "__main__":
    main()
