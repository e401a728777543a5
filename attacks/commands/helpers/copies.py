"""What `substitute`, `transfer` and `extract` share: a black box with its data, attacks whose examples travel, noise beside them.

The black box, in the papers the oracle, is a run of a classifier (--model), or a LeNet that is trained here in a few seconds, so
that each command works without a run. The images that the attacker asks about and those that the result is measured on are
disjoint parts of the test set.
"""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import NamedTuple

import numpy as np

from attacks.commands.helpers import setting
from attacks.commands.helpers.setting import Samples
from attacks.copying.extract import fit
from attacks.core.threat import rows_of
from attacks.core.victim import Victim
from attacks.white_box.gradient import fgsm, mi_fgsm, pgd
from minigrad import inputs
from minigrad.random import Stream
from nets.classifiers.plain import build

IMAGES, EPOCHS = 6000, 2  # that an oracle without --model is trained on
COST = {"softmax": 0.1, "mlp": 0.2, "lenet": 1.0, "residual": 0.8}  # of a training step on UNIT images; LeNet's is the bar's unit
FGSM = 2  # queries of it: the gradient, and a look at where it leads
DRY = 64  # images of a dry run
UNIT, ASKED, LOOKED = 64, 110, 300  # images that LeNet trains on, makes a step of an attack on, and answers, in the same time
TRAVELS = {  # many steps go on beyond the boundary, because points just beyond it fool no other network
    "fgsm": fgsm,
    "mi_fgsm": mi_fgsm,
    "pgd": partial(pgd, early_stop=False),
}


class BlackBox(NamedTuple):
    """The network that is copied.

    victim  it, as a Victim; where `own` it is not trained yet, and `training` does that
    test    the whole test set
    config  data, size, channels, classes
    name    in titles
    own     made here, not a run's
    """

    victim: Victim
    test: Samples
    config: dict
    name: str
    own: bool


def training_set(config, count: int, o, purpose="training") -> Samples:
    """`count` images of the training set, drawn by o.seed."""
    few = 1000 if count < 100 else None  # a dry run need not draw all glyphs
    found = inputs.labelled(o, config["data"], train=True, size=config["size"], limit=few)
    rows = Stream(o.seed, purpose).permutation(len(found))[:count]
    part = found.subset(rows)
    return Samples(part.normalised((0.0, 1.0)), part.y, found.classes, config["data"])


def configured(o) -> tuple[dict, Samples]:
    """(config, test set) of --data, by default glyphs, for networks that are trained here."""
    o.data = o.data or "glyphs"
    test = inputs.labelled(o, train=False)
    config = {"data": o.data, "size": test.x.shape[2], "channels": test.x.shape[1], "classes": len(test.classes)}
    return config, Samples(test.normalised((0.0, 1.0)), test.y, test.classes, o.data)


def black_box_of(o, parser) -> BlackBox:
    """The network of --model, or an untrained LeNet for --data."""
    if o.model is not None:
        victim, config = setting.victim_of(o, parser)
        return BlackBox(victim, setting.test_set(o, config), config, os.path.basename(os.path.normpath(o.model)), False)
    config, test = configured(o)
    return BlackBox(network("lenet", config, o.seed, o.device), test, config, "a LeNet trained here", True)


def network(name: str, config, seed: int, device="cpu") -> Victim:
    """A new network of that name as a victim in [0, 1]."""
    net = build(name, config["channels"], config["classes"], config["size"], Stream(seed, f"init/{name}"))
    return Victim(net.to(device), bounds=(0, 1), normalize=(0.5, 0.5), classes=config["classes"])


def steps(images: int, epochs: int, batch: int = UNIT) -> int:
    """Of a training by `attacks.copying.extract.fitting`."""
    return epochs * -(-images // batch)


OWN = dict(epochs=EPOCHS, batch=2 * UNIT)  # of an oracle's training


def training_units(oracle: BlackBox, o) -> float:
    """What `train` takes of a bar."""
    return oracle.own * 2 * steps(DRY if o.dry_run else IMAGES, **OWN)


def train(oracle: BlackBox, o, bar) -> None:
    """Train an oracle of its own; nothing to do for a run. bar: moves by `training_units`."""
    if oracle.own:
        part = training_set(oracle.config, DRY if o.dry_run else IMAGES, o)
        fit(oracle.victim, part.x, part.y, **OWN, lr=3e-3, decay=True, rng=o.seed, bar=bar, cost=2.0)


def noise(x, threat, seed: int) -> np.ndarray:
    """x moved as far as an attack may move it, in a random direction: random signs in Linf. Clipped to [0, 1]."""
    d = threat.steepest(Stream(seed, "noise").normal(x.shape))
    return np.clip(x + rows_of(threat.epsilon, d) * d, 0, 1).astype(x.dtype)


def queries(name: str) -> int:
    """That one of TRAVELS asks of each sample with its defaults."""
    return FGSM if name == "fgsm" else inspect.signature(TRAVELS[name]).parameters["steps"].default + 1


def within(o) -> str:
    """The norm and the radius in words."""
    return f"{o.norm} {o.epsilon:.4g}"


def spread(values, digits: int = 1) -> str:
    """Shares as "mean % (least to largest)"."""
    v = 100 * np.asarray(values, float)
    text = f"{np.mean(v):.{digits}f} %"
    return text if len(v) == 1 else f"{text} ({v.min():.{digits}f} to {v.max():.{digits}f} over {len(v)} seeds)"
