"""Dropout as a defense. It fails in both forms.

In training only, nothing is hidden from plain FGSM (Goodfellow et al. 2014, section 4: a maxout network trained with
dropout errs on 89.4 %): build the network with it, `LeNet(dropout=0.5)`. At test time, as `DropoutAtTest`, it is noise
inside the network (stochastic activation pruning, Dhillon et al. 2018, is of this kind; Athalye et al. 2018: 0 % accuracy
left). The naive attack freezes one mask; the attack that breaks it averages over masks: `pgd(victim, ..., samples=20)`.

Imports: attacks.core.arrays, minigrad.nn, minigrad.random.
"""

from __future__ import annotations

from attacks.core.arrays import real
from minigrad import nn
from minigrad.random import Stream, as_stream


class DropoutAtTest(nn.Module):
    """net with its dropout layers drawing in evaluation mode, too; all its other layers keep their mode.

    p      None, or the probability that all of them use instead of their own
    fixed  None: fresh masks at each call, from rng; an int: the same masks at each call, the naive attacker's view
    The layers of net are as they were after each call, so the undefended net stays usable. ValueError without dropout.
    """

    def __init__(self, net, p=None, *, fixed=None, rng=None):
        super().__init__()
        p = None if p is None else real("DropoutAtTest", "[0, 1)", p=p)
        if not dropout_layers(net):
            raise ValueError(f"DropoutAtTest: {type(net).__name__} has no Dropout or Dropout2d layer; there is nothing to draw")
        self.net, self.p, self.fixed, self.rng = net, p, fixed, as_stream(rng)

    def frozen(self, seed: int = 0) -> DropoutAtTest:
        """The same network (shared) with one mask for ever."""
        return DropoutAtTest(self.net, self.p, fixed=seed)

    def forward(self, x):
        stream = self.rng if self.fixed is None else Stream(self.fixed, "dropout")
        layers = dropout_layers(self.net)
        kept = [(layer, layer.training, layer.p, layer.rng) for layer in layers]
        try:
            for layer in layers:
                layer.training, layer.rng = True, stream
                layer.p = layer.p if self.p is None else self.p
            return self.net(x)
        finally:
            for layer, mode, p, rng in kept:
                layer.training, layer.p, layer.rng = mode, p, rng


def dropout_layers(net) -> list:
    """The dropout layers of a network, in order."""
    return [m for m in net.modules() if isinstance(m, (nn.Dropout, nn.Dropout2d))]
