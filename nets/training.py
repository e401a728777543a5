"""What trains one network: the schedule of the learning rate, one loop of training, and the score.

`fit` is the recipe of `python -m nets classifier` without a run of its own, for exhibits that train many networks.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import data, optim
from minigrad.divergence import DivergedError, diverged
from minigrad.domains import COUNT, FRACTION, LEVEL, NATURAL, POSITIVE
from minigrad.optim.lr_scheduler import LambdaLR
from minigrad.progress import Units


def scheduled(optimizer, factor, done: int = 0) -> LambdaLR:
    """The rate given to the optimiser times factor(t), t the number of steps done; call its `step()` after each of them.

    done: steps that a run which goes on has behind it. The rate follows from this number alone, so no checkpoint has to hold the
    state of a schedule.
    """
    NATURAL.check("scheduled: done", done)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", optimizer.defaults["lr"])
    return LambdaLR(optimizer, factor, last_epoch=done - 1)


def rise_and_fall(steps: int, rise: float = 0.1):
    """factor(t) for `scheduled`: up along a line in the first share `rise` of the steps, then down along a line, nearly to 0."""
    COUNT.check("rise_and_fall: steps", steps)
    LEVEL.check("rise_and_fall: rise", rise)

    def factor(t):
        share = (t + 1) / steps  # of the steps, with the one that this rate is for
        return max(0.0, min(share / rise, (1 - share) / (1 - rise) + 1 / steps))

    return factor


def constant_then_falling(steps: int, fall: float):
    """factor(t) for `scheduled`: 1, and along a line to 0 in the last share `fall` of the steps; fall = 0: 1 to the end."""
    COUNT.check("constant_then_falling: steps", steps)
    FRACTION.check("constant_then_falling: fall", fall)
    return lambda t: min(1.0, (steps - t) / (fall * steps)) if fall else 1.0


WATCHED = 20  # steps between two looks at the loss


def fit(net, loss_of, batches, steps: int, *, rate: float = 3e-3, bar: Units | None = None, cost: float = 1.0, after=None):
    """Train `net` on loss_of(images, labels, step) -> Tensor () for `steps` batches; returns it in evaluation mode.

    batches  iterator of (images, labels);  step counts from 1
    rate     Adam's largest; it rises over the first tenth of the steps and then falls
    bar      told `cost` units after each step;  after(): called when the optimiser has moved (a constraint on weights)
    NonFiniteError names the first parameter that is not finite at the end, DivergedError a loss beyond all sense.
    """
    COUNT.check("fit: steps", steps)
    adam = optim.Adam(net.parameters(), POSITIVE.check("fit: rate", rate))
    schedule = scheduled(adam, rise_and_fall(steps))
    net.train()
    for step in range(1, steps + 1):
        loss = loss_of(*next(batches), step)
        if step % WATCHED == 1 and (beyond := diverged({"loss": loss.item()})):
            raise DivergedError(step, beyond, None)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if after is not None:
            after()
        if bar is not None:
            bar.spend(cost)
    if bar is not None:
        bar.run.check_finite(steps, net.named_parameters())
    return net.eval()


def evaluate(network, test, batch=500):
    """(accuracy, [(index, prediction) of each mistake]) in evaluation mode; the mode is restored."""
    was = network.training
    network.eval()
    device = next(iter(network.parameters())).device
    with mg.no_grad():
        predictions = np.concatenate([
            network(mg.tensor(images, device=device)).cpu().array.argmax(1)
            for images, _ in data.DataLoader(test, batch, shuffle=False, drop_last=False)
        ])
    network.train(was)
    wrong = np.flatnonzero(predictions != test.y)
    return 1 - len(wrong) / len(test), [(int(i), int(predictions[i])) for i in wrong]
