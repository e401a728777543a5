"""A classifier as the judge of samples: its features, its probabilities, and the name of its weights.

The numbers that follow from them, each named after the judge:

    FD-NET-DATA-WEIGHTS-realR@N   Frechet distance between the features of N samples and R real images (Heusel et al. 2017,
               equation 6): ||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))
    confidence mean over samples of the classifier's largest probability
    histogram  share of samples in each class, and its entropy (log of the number of classes at best)

The Frechet distance depends on the network, on N and on the split, so none of these numbers may be called FID or compared
with one; the distance between two disjoint sets of real images, of the same size, is printed next to each as its floor.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import hashlib

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.domains import COUNT


def in_batches(function, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """function(Tensor of at most `batch` images) -> Tensor, over all images without recording; rows joined."""
    COUNT.check("in_batches: batch", batch)
    with mg.no_grad():
        parts = [function(mg.from_numpy(images[i : i + batch])).array for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def judge(classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(features, probabilities) of float images in [-1, 1], from a classifier in evaluation mode."""
    if classifier.training:
        raise ValueError("judge: put the classifier into evaluation mode first (.eval())")

    def both(x):
        features = classifier.features(x)
        return mg.cat([features, F.softmax(classifier.head(features), -1)], 1)

    joined = in_batches(both, images)
    classes = classifier.head.weight.shape[0]
    return joined[:, :-classes], joined[:, -classes:]


def distance_name(network: str, data: str, judge, count: int, turns: bool = False) -> str:
    """FD-NETWORK-DATA-WEIGHTS-realN@N: all that a Frechet distance between N samples and N real images depends on.

    data: as --data names it, of which a path leaves its last part. turns: the judge learned how far pictures are turned."""
    known = data.rstrip("/").rpartition("/")[2]
    for scheme in ("npz:", "folder:"):
        known = known.removeprefix(scheme)
    return f"FD-{network}-{known}{'-turns' * turns}-{fingerprint(judge)}-real{count}@{count}"


def fingerprint(module) -> str:
    """Six hexadecimal digits of the SHA-256 of a network's weights, to name it by."""
    digest = hashlib.sha256()
    for name, array in module.state_dict().items():
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:6]
