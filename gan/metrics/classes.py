"""What a classifier says of the samples: the share of each class, and how sure it is.

Imports: numpy.
"""

from __future__ import annotations

import numpy as np


def class_report(probabilities: np.ndarray) -> dict:
    """{'histogram': share of each class, 'entropy': in nats, 'confidence': mean largest probability}."""
    classes = probabilities.shape[1]
    share = np.bincount(probabilities.argmax(1), minlength=classes) / len(probabilities)
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    return {"histogram": share.tolist(), "entropy": entropy, "confidence": float(probabilities.max(1).mean())}
