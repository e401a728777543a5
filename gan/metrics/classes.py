"""What a classifier says of the samples: the share of each class, how sure it is, and the classifier score.

    p(y|x)    the classifier's answer for a sample, p(y) its mean over the samples

    score = exp( mean over x of KL(p(y|x) || p(y)) )        (Salimans et al. 2016, section 4: the "Inception score")

1 when all answers are alike, the number of classes when each is sure and all classes are equally often. It is called inception
score only for Inception's answers.

Imports: numpy.
"""

from __future__ import annotations

import numpy as np


def class_report(probabilities: np.ndarray) -> dict:
    """{'histogram': share of each class, 'entropy': in nats, 'confidence': mean largest probability}."""
    classes = probabilities.shape[1]
    share = np.bincount(probabilities.argmax(1), minlength=classes) / len(probabilities)
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum()) + 0.0  # of one class 0.0, and not -0.0
    return {"histogram": share.tolist(), "entropy": entropy, "confidence": float(probabilities.max(1).mean())}


def classifier_score(probabilities, splits: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) of the score over `splits` equal parts, in their order; shuffle sorted samples first.

    probabilities (N, K), rows that sum to 1. Of N that does not divide, the last N mod splits are left out."""
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or splits < 1 or len(p) < splits:
        raise ValueError(f"classifier_score: probabilities must be (N, K) with N >= splits={splits}, got {p.shape}")
    if (p < 0).any() or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ValueError("classifier_score: every row must hold probabilities that sum to 1")
    size, scores = len(p) // splits, []
    for part in p[: size * splits].reshape(splits, size, -1):
        mean = part.mean(0)
        logs = np.log(np.where(part > 0, part, 1.0)) - np.log(np.where(mean > 0, mean, 1.0))
        scores.append(np.exp((part * logs).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
