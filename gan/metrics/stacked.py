"""Stacked digits: pictures of three digits, one in each colour, so that there are 1,000 modes to be found (Metz et al. 2017).

    d1, d2, d3   what a classifier of single digits answers for the red, green and blue picture of a sample
    mode         100 d1 + 10 d2 + d3, one of 1,000

    modes = how many of the 1,000 some sample shows,   KL = sum over modes of q log(1000 q),   q the share of samples in a mode

PacGAN's protocol (Lin et al. 2018, section 4.2) draws 26,000 samples. Of as many real stacks all modes are found, but for the
rarest answers, and KL is (1000 - 1)/(2 * 26000) = 0.019 on average (`modes.floor`); the classifier's own mistakes come on top, so
that the real stacks are judged alike and stand beside the samples.

Imports: numpy, judge, modes.
"""

from __future__ import annotations

import numpy as np

from gan.metrics.judge import judge
from gan.metrics.modes import stacked_modes

SAMPLES = 26_000


def read_stack(classifier, images) -> np.ndarray:
    """What a classifier of single-channel pictures answers for each channel: images (N, C, H, W) in [-1, 1] -> int64 (N, C)."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"read_stack: images must be (N, C, H, W), got {images.shape}")
    n, channels = images.shape[:2]
    return judge(classifier, images.reshape(n * channels, 1, *images.shape[2:]))[1].argmax(1).reshape(n, channels)


def stacked_report(classifier, images) -> dict:
    """{'modes', 'of', 'kl' in nats, 'samples'} of stacks (N, C, H, W), as a classifier of single digits reads them."""
    labels = read_stack(classifier, images)
    classes = classifier.head.weight.shape[0]
    found, divergence = stacked_modes(labels, classes)
    return {"modes": found, "of": classes ** labels.shape[1], "kl": divergence, "samples": len(labels)}
