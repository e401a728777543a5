"""A classifier of two kinds of pictures, trained before they are translated: does it take a translation for the other kind?"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import data
from minigrad import functional as F
from minigrad.random import Streams
from nets.classifiers.plain import Residual
from nets.generators.draw import in_batches
from nets.training import fit

STEPS, BATCH = 300, 32


def classifier_of_two(say, train, test, o):
    """answers(images (N, C, H, W)) -> (N,), 0 for the first kind and 1 for the second; says how often it is right.

    It is trained on the training pictures, half of them mirrored, from streams of its own that follow from --seed: a run that is
    resumed has the same one."""
    streams = Streams(o.seed)
    network = Residual(train.a.x.shape[1], 2, rng=streams["judge init"])
    loaders = [data.DataLoader(side, BATCH, shuffle=True, drop_last=len(side) >= BATCH, rng=streams[f"judge {name}"]).forever()
               for name, side in zip("ab", train, strict=True)]
    mirror = streams["judge mirror"]

    def batches():
        while True:
            both = [next(loader)[0] for loader in loaders]
            x = np.concatenate(both)
            flip = mirror.bernoulli(0.5, len(x))
            yield np.where(flip[:, None, None, None], x[:, :, :, ::-1], x), np.repeat([0, 1], [len(part) for part in both])

    say(f"first, a classifier of {test.a.name} and {test.b.name}: {STEPS} steps ...")
    fit(network, lambda x, y, step: F.cross_entropy(network(mg.tensor(x)), mg.tensor(y)), batches(), min(STEPS, o.steps * 10))

    def answers(images):
        return in_batches(network, network, np.asarray(images, np.float32)).argmax(1)

    right = [float((answers(side.normalised()) == label).mean()) for label, side in enumerate(test)]
    say(f"it tells {100 * right[0]:.1f} % of held-out {test.a.name} and {100 * right[1]:.1f} % of {test.b.name} rightly")
    return answers
