"""The first number that a GAN was given: the likelihood of test pictures under a Parzen window of samples.

    p(x) = 1/N sum_i N(x; s_i, sigma^2 I)      s_i a generated sample (d,), N of them

(Breuleux et al. 2011; Goodfellow et al. 2014, section 5.) In nats per picture, higher is better. It is kept because the paper's
table is made of it, not because it is good: in hundreds of dimensions a Gaussian round each sample covers next to nothing, so
the number grows with N, and the k-means centres of the training set beat the training set itself (Theis et al. 2016, section 3.2).

Imports: numpy, minigrad.domains.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.domains import COUNT, POSITIVE

WIDTHS = tuple(np.logspace(-1, 0, 10))  # of the window, as in the authors' code


def log_likelihoods(data, samples, sigma: float, block: int = 500) -> np.ndarray:
    """log p of each row of `data` (M, d) under the window of width sigma on `samples` (N, d), in nats: (M,), float64."""
    return _log_likelihoods(data, samples, [sigma], block)[0]


def parzen(held_out, test, samples, widths=WIDTHS) -> tuple[float, float, float]:
    """(mean log likelihood of `test`, its standard error, sigma): sigma is that of `widths` which suits `held_out` best."""
    widths = list(widths)
    best = widths[int(np.argmax(_log_likelihoods(held_out, samples, widths).mean(1)))]
    found = log_likelihoods(test, samples, best)
    return float(found.mean()), float(found.std() / math.sqrt(len(found))), float(best)


def _log_likelihoods(data, samples, widths, block: int = 500) -> np.ndarray:
    """(len(widths), M). The distances are computed once for all widths, in blocks of `block` rows of data."""
    COUNT.check("parzen: block", block)
    for sigma in widths:
        POSITIVE.check("parzen: sigma", sigma)
    data, samples = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (data, samples))
    if data.shape[1] != samples.shape[1] or not len(data) or not len(samples):
        raise ValueError(f"parzen: {data.shape} and {samples.shape} must be (M, d) and (N, d), none empty")
    n, d = samples.shape
    middle = samples.mean(0)  # differences do not change, and squares round less
    data, samples = data - middle, samples - middle
    norms, out = (samples * samples).sum(1), np.empty((len(widths), len(data)))
    for i in range(0, len(data), block):
        part = data[i : i + block]
        squares = np.maximum((part * part).sum(1)[:, None] + norms - 2 * (part @ samples.T), 0)
        nearest = squares.min(1)
        for k, sigma in enumerate(widths):  # log mean exp, around the nearest sample
            mean = np.exp((nearest[:, None] - squares) / (2 * sigma**2)).mean(1)
            out[k, i : i + block] = np.log(mean) - nearest / (2 * sigma**2) - d * math.log(sigma * math.sqrt(2 * math.pi))
    return out
