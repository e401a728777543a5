"""All numbers of a set of samples at once, and a ladder of real pictures spoilt in known ways, by which to read them.

A distance of 12 says nothing alone. So each number stands beside what real pictures score (the floor), and what they score after

    blur         a 3 x 3 blur, [1 2 1]/4 along both axes
    noise        Gaussian noise of a tenth of the range from black to white, clipped
    half         only the first half of the classes (rounded up), as many pictures
    duplicates   a tenth of the pictures, each ten times
    copies       the very pictures that samples are compared with: a generator that has learned them by heart

Each rung fails at one thing, and shows which numbers see it: blur and noise leave the variety, half and duplicates leave each
picture perfect, and copies score best on everything but `memorisation` and the 1-NN test.

Imports: numpy, minigrad.random, classes, frechet, judge, kernel, nearest, precision, sharpness, sliced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gan.metrics.classes import class_report, classifier_score
from gan.metrics.frechet import frechet_distance
from gan.metrics.judge import judge
from gan.metrics.kernel import kernel_distance
from gan.metrics.nearest import birthday, in_blocks, memorisation, two_sample
from gan.metrics.precision import prdc
from gan.metrics.sharpness import sharpness_ratio
from gan.metrics.sliced import pyramid_distance
from minigrad.random import Stream

FEW, PICTURES = 2000, 500   # rows for numbers from neighbours; pictures for the sliced distance and for memorisation
SUBSETS = 20                # of 1,000 rows, for the kernel distance
REAL_PAIRS = 10             # the limit of the birthday test is where so many pairs of FEW real pictures lie nearer


class Row(NamedTuple):
    """A number of the table: its key in `measure`, its name, what a perfect generator scores, and digits."""

    key: str
    name: str
    best: str
    digits: int = 3


ROWS = [
    Row("frechet_distance", "Frechet distance", "floor", 2),
    Row("kernel_distance", "kernel distance x 1000", "0", 2),
    Row("classifier_score", "classifier score", "real", 2),
    Row("confidence", "confidence", "real"),
    Row("entropy", "entropy of classes, nats", "real"),
    Row("precision", "precision", "real"),
    Row("recall", "recall", "real"),
    Row("density", "density", "1"),
    Row("coverage", "coverage", "real"),
    Row("two_sample", "1-NN test", "0.5"),
    Row("sliced", "sliced Wasserstein x 1000", "floor", 1),
    Row("sharpness", "sharpness ratio", "1"),
    Row("duplicates", "near-duplicate pairs", "real", 0),
    Row("memorisation", "distance to training set", "1"),
]


OF_CLASSES = ("classifier_score", "confidence", "entropy")  # what a judge without classes has no opinion on


class Seen(NamedTuple):
    """Pictures (N, C, H, W) in [-1, 1], the judge's features of each (N, d), and its answers: a row for each picture, or for each
    channel of each where it reads single channels."""

    images: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray

    def rows(self, rows) -> Seen:
        """What it saw of some of the pictures, a slice or an array of numbers."""
        answers = self.probabilities.reshape(len(self.images), -1, self.probabilities.shape[-1])[rows]
        return Seen(self.images[rows], self.features[rows], answers.reshape(-1, answers.shape[-1]))


def look(classifier, images, single: bool = False) -> Seen:
    """What a judge sees. single: it was trained on pictures of one channel, and reads each channel of these for itself."""
    if not single:
        return Seen(images, *judge(classifier, images))
    n, channels = images.shape[:2]
    features, probabilities = judge(classifier, images.reshape(n * channels, 1, *images.shape[2:]))
    return Seen(images, features.reshape(n, -1), probabilities)


def measure(seen: Seen, reference: Seen, real: dict, seed: int = 0, done: Callable = lambda: None) -> dict:
    """The numbers of `ROWS` by key, for samples against real pictures.

    real: what `scale` found of the real ones. done: called after each part of the work. The costly numbers take the first
    `FEW` rows (those from neighbours) or `PICTURES` (those of pixels), so the samples must come in no order."""
    found = {"frechet_distance": frechet_distance(seen.features, reference.features)}
    few, few_real = seen.features[:FEW], reference.features[:FEW]
    done()
    unit = np.sqrt(np.square(reference.features, dtype=np.float64).mean())  # so that a.b/d is about 1
    both = (features / unit for features in (seen.features, reference.features))
    found["kernel_distance"] = 1000 * kernel_distance(*both, subsets=SUBSETS, seed=seed)[0]
    done()
    report = class_report(seen.probabilities)
    splits = min(10, len(seen.probabilities))
    found |= {"classifier_score": classifier_score(seen.probabilities, splits)[0], "confidence": report["confidence"],
              "entropy": report["entropy"]}
    k = min(5, min(len(few), len(few_real)) - 1)
    found |= prdc(few_real, few, k)._asdict()
    done()
    size = min(len(few), len(few_real))
    found["two_sample"] = two_sample(few_real[:size], few[:size]).accuracy
    done()
    size = min(PICTURES, len(seen.images), len(reference.images))
    if min(seen.images.shape[2:]) >= 7:
        found["sliced"] = float(np.mean(pyramid_distance(reference.images[:size], seen.images[:size], seed=seed)))
    found["sharpness"] = sharpness_ratio(seen.images[:size], reference.images[:size])
    done()
    found["duplicates"] = birthday(few, real["limit"]).pairs
    if real["held_out"] is not None:
        found["memorisation"] = memorisation(seen.features[:PICTURES], real["training"], real["held_out"][:PICTURES])
    done()
    return found


PARTS = 6  # calls of `done` in `measure`


def scale(others: Seen, training, held_out) -> dict:
    """What the numbers from neighbours need of the real pictures: `limit`, the distance below which `REAL_PAIRS` pairs of real ones
    lie (of `others`, FEW of them), features of the training pictures, and those of held-out ones (None for none)."""
    return {"limit": near_pairs(others.features[:FEW], REAL_PAIRS), "training": training, "held_out": held_out}


def near_pairs(features, pairs: int) -> float:
    """The distance within which `pairs` pairs of rows lie."""
    least = np.empty(0)
    for rows, away in in_blocks(features):
        away[np.arange(away.shape[1]) <= np.arange(rows.start, rows.stop)[:, None]] = np.inf
        least = np.sort(np.concatenate([least, np.partition(away, min(pairs, away.size) - 1, axis=None)[:pairs]]))[:pairs]
    return float(least[np.isfinite(least)][-1])


# ---- rungs


def rungs(images, labels, reference, seed: int = 0) -> dict:
    """{name: pictures}: what the ladder makes of real pictures (N, C, H, W) in [-1, 1], in no order. labels: (N,) or (N, C), or
    None, and then no `half`. reference: the pictures that samples are compared with, for `copies`."""
    stream = Stream(seed, "ladder")
    found = {"blur": blurred(images), "noise": noisy(images, stream)}
    if labels is not None:
        labels = np.asarray(labels).reshape(len(images), -1)
        half = -(-(int(labels.max()) + 1) // 2)
        kept = np.flatnonzero((labels < half).all(1))
        if len(kept):
            found[f"{half} classes"] = images[kept[stream.integers(len(kept), size=len(images))]]
    few = max(1, len(images) // 10)
    found["duplicates"] = images[stream.permutation(np.arange(len(images)) % few)]
    found["copies"] = reference
    return found


def blurred(images) -> np.ndarray:
    """[1 2 1]/4 along both axes, mirrored at the border."""
    for axis in (2, 3):
        wide = np.pad(images, [(1, 1) if i == axis else (0, 0) for i in range(4)], mode="reflect")
        side = images.shape[axis]
        images = sum(np.float32(w) * np.take(wide, range(k, k + side), axis) for k, w in enumerate((0.25, 0.5, 0.25)))
    return images


def noisy(images, stream, std: float = 0.2) -> np.ndarray:
    """Gaussian noise on pixels in [-1, 1], clipped."""
    return np.clip(images + stream.normal(images.shape, std=std), -1, 1).astype(np.float32)
