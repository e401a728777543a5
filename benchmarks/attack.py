"""Projected gradient descent on a classifier's input, 40 steps in the L-infinity ball: the price of an adversarial example.

    python -m benchmarks.attack [--threads N] [--quick] [--cpu-time]

Madry et al. 2018, section 2.1, on residual classifiers of 3x3 convolutions in evaluation mode, with frozen parameters: the
sweep computes gradients of inputs only. The attack is written once and runs in both libraries.
"""

from __future__ import annotations

import functools

from benchmarks import networks
from benchmarks.common import OURS, THEIRS, FlopCounter, check_equal, interleaved, row, start, table
from benchmarks.training import draw, labels

BATCH, STEPS = 100, 40


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
            for lib, net in zip((OURS, THEIRS), networks.residuals(widths, blocks), strict=True)]  # fmt: skip
    check_equal("PGD, the second step's loss", *(f(2)[1].item() for f in pair))
    with FlopCounter() as counter:
        pair[1](1)
    name = f"PGD-{STEPS}, {networks.residual_name(widths, blocks)}, B={BATCH}"
    return row(name, interleaved(*pair, options), counter.flops * STEPS, options.threads)


def main(argv=None):
    options = start(__doc__, argv)
    cases = [((16, 32, 64), 3)] + ([] if options.quick else [((64, 128, 256), 1)])
    table("Adversarial examples", [measure(*case, options) for case in cases])


if __name__ == "__main__":
    main()
