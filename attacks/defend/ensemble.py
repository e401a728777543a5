"""Averaging many models as a defense. It fails: what fools the average is as easy to find as what fools one.

Goodfellow et al. 2014, section 9: twelve maxout networks err on 91.1 % of examples made from the gradient of the whole
ensemble, and on 87.9 % of those made from one member. The naive attack is the one on a member; the attack that breaks it
climbs the logarithm of the mean probability, which is simply what `Ensemble` returns:

    victim = Victim(Ensemble(nets), normalize=(0.5, 0.5));   pgd(victim, x, Untargeted(y), Linf(0.25))

Imports: minigrad.nn, base.
"""

from __future__ import annotations

from attacks.defend.base import log_mean_probability
from minigrad import nn


class Ensemble(nn.Module):
    """Many networks as one. nets: networks (N, ...) -> logits (N, classes), all with the same classes; at least one.

    rule  'probability': log mean_k softmax(z_k), whose softmax is the mean probability;  'logits': mean_k z_k
    Networks of unlike normalisation go into base.Normalized first. A network may appear more than once.
    """

    def __init__(self, nets, rule="probability"):
        super().__init__()
        nets = list(nets)
        if not nets:
            raise ValueError("Ensemble: nets is empty; give at least one network")
        if rule not in ("probability", "logits"):
            raise ValueError(f"Ensemble: rule must be 'probability' or 'logits', got {rule!r}")
        self.nets, self.rule = nn.ModuleList(nets), rule

    def __len__(self):
        return len(self.nets)

    def forward(self, x):
        logits = [net(x) for net in self.nets]
        shapes = {z.shape for z in logits}
        if len(shapes) > 1:
            raise ValueError(f"Ensemble: the networks give logits of shapes {sorted(shapes)}; all must have the same classes")
        if len(logits) == 1:
            return logits[0]
        return log_mean_probability(logits) if self.rule == "probability" else sum(logits[1:], logits[0]) / len(logits)
