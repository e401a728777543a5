"""What the exhibits that train many networks share: one loop of training, and one progress bar over work of unlike kinds.

`fit` is the recipe of `python -m nets classifier` without a run of its own: Adam with a rate that rises over the first tenth
of the steps and falls to 0 along a line. `Bar` counts units of work (a unit is what the command says, a step of training, say),
so that the time left is about right when trainings and attacks take turns.

Imports: minigrad.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import data, optim


class Bar:
    """The progress bar of a run over `total` units: `spend(units)` as they are done, `end()` when all is."""

    def __init__(self, run, total: float):
        self.run, self.total, self.spent, self.shown = run, max(1, round(total)), 0.0, 0
        self.loop = iter(run.loop(0, self.total))
        next(self.loop)

    def spend(self, units: float = 1.0) -> None:
        """`units` more are done. What exceeds the total is not shown: the total is an estimate."""
        self.spent += units
        while self.shown < min(int(self.spent), self.total - 1):
            self.shown += 1
            next(self.loop)

    def reach(self, units: float) -> None:
        """All that was planned up to `units` is done, however much it took."""
        self.spend(max(0.0, units - self.spent))
        self.spent = units

    def end(self) -> None:
        """Close the bar, full."""
        for _ in self.loop:
            pass


def fit(net, loss_of, batches, steps: int, *, rate: float = 3e-3, bar: Bar | None = None, cost: float = 1.0, after=None):
    """Train `net` on loss_of(images, labels, step) -> Tensor () for `steps` batches; returns it in evaluation mode.

    batches  iterator of (images, labels);  step counts from 1
    bar      told `cost` units after each step;  after(): called when the optimiser has moved (a constraint on weights)
    NonFiniteError names the first parameter that is not finite at the end.
    """
    adam = optim.Adam(net.parameters(), rate)
    net.train()
    for step in range(1, steps + 1):
        done = step / steps
        adam.param_groups[0]["lr"] = rate * min(done / 0.1, (1 - done) / 0.9 + 1 / steps)
        loss = loss_of(*next(batches), step)
        adam.zero_grad()
        loss.backward()
        adam.step()
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
