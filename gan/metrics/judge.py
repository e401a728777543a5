"""How good are the samples? Numbers from a classifier trained here, named after it.

    FD-NET@N   Frechet distance between the features of N samples and N real images (Heusel et al. 2017, equation 6):
               ||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))
    confidence mean over samples of the classifier's largest probability
    histogram  share of samples in each class, and its entropy (log of the number of classes at best)

The Frechet distance depends on the network, on N and on the split, so none of these numbers may be called FID or compared
with one; the distance between two sets of real images is printed next to each as the floor that it cannot go below.

Imports: NumPy, minigrad.
"""

from __future__ import annotations

import hashlib

import numpy as np

import minigrad as mg
from minigrad import functional as F


def in_batches(function, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """function(Tensor of at most `batch` images) -> Tensor, over all images without recording; rows joined."""
    with mg.no_grad():
        parts = [function(mg.from_numpy(images[i : i + batch])).array for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between normal distributions fitted to the rows of a (N, d) and b (M, d), in float64.

    Raises ValueError with fewer than two rows. Below about 10 d rows the estimate is biased upwards noticeably.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"frechet_distance: features {a.shape} and {b.shape} must be (N, d) and (M, d) with N, M >= 2")
    s1, s2 = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # the eigenvalues of S1 S2 are real and not negative up to rounding; their roots sum to tr (S1 S2)^(1/2)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(s1 @ s2).real, 0.0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s1) + np.trace(s2) - 2 * roots)


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


def class_report(probabilities: np.ndarray) -> dict:
    """{'histogram': share of each class, 'entropy': in nats, 'confidence': mean largest probability}."""
    classes = probabilities.shape[1]
    share = np.bincount(probabilities.argmax(1), minlength=classes) / len(probabilities)
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    return {"histogram": share.tolist(), "entropy": entropy, "confidence": float(probabilities.max(1).mean())}


def fingerprint(module) -> str:
    """Six hexadecimal digits of the SHA-256 of a network's weights, to name it by."""
    digest = hashlib.sha256()
    for name, array in module.state_dict().items():
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:6]
