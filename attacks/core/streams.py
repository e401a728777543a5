"""Random numbers for each sample of a batch, whatever batch it sits in.

The stream of a sample is keyed by the seed, the purpose ("start", "restart 3", ...) and the sample's own values. Its place in
the batch is no part of the key: a photograph meets the same noise alone, first, last, or in another order. (Two equal samples
share theirs.) Pictures of 8 bits are keyed by their levels in the box, so that they meet the same noise in any units.

`rng` of every attack is an int, a `minigrad.random.Stream`, a numpy Generator (both: one number is drawn as the seed) or
None (fresh entropy; the settings of the result tell the seed).

Imports: numpy, minigrad.random, arrays.
"""

from __future__ import annotations

import hashlib

import numpy as np

from attacks.core.arrays import host
from minigrad.random import Stream, as_stream


def seed_of(rng) -> int:
    """The seed that `rng` stands for. Raises TypeError for anything else."""
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        return int(rng)
    if rng is None or isinstance(rng, (Stream, np.random.Generator)):
        return int(as_stream(rng).integers(0, 2**62))
    raise TypeError(f"rng must be an int, a minigrad.random.Stream, a numpy Generator or None, got {type(rng).__name__}")


class SampleStreams:
    """One Stream for each row of x (N, ...): `streams.normal((C, H, W), rows)` is (len(rows), C, H, W), NumPy.

    rows: which samples draw (default: all, in order); the others' streams stand still.  box: the bounds (lo, hi) of x, for its
    levels; None: the key is the bytes of x
    """

    def __init__(self, rng, x, purpose: str = "", box=None):
        self.seed, self.purpose = seed_of(rng), purpose
        self.streams = [Stream(self.seed, f"{purpose}/{hashlib.sha256(_key(r, box)).hexdigest()}") for r in host(x)]

    def __len__(self):
        return len(self.streams)

    def __getitem__(self, rows) -> SampleStreams:
        """The streams of some samples (the same objects: what is drawn here is drawn there)."""
        part = SampleStreams.__new__(SampleStreams)
        part.seed, part.purpose = self.seed, self.purpose
        part.streams = [self.streams[i] for i in np.arange(len(self.streams))[rows]]
        return part

    def _each(self, draw, rows, shape, dtype):
        chosen = self.streams if rows is None else [self.streams[i] for i in rows]
        out = np.empty((len(chosen), *np.atleast_1d(np.asarray(shape, int)).tolist()), dtype)
        for i, stream in enumerate(chosen):
            out[i] = draw(stream)
        return out

    def normal(self, shape=(), rows=None, dtype=np.float32):
        """N(0, 1)."""
        return self._each(lambda s: s.normal(shape, dtype), rows, shape, dtype)

    def uniform(self, low=0.0, high=1.0, shape=(), rows=None, dtype=np.float32):
        """U[low, high)."""
        return self._each(lambda s: s.uniform(low, high, shape, dtype), rows, shape, dtype)

    def exponential(self, shape=(), rows=None, dtype=np.float32):
        """Density e^-t."""
        return self._each(lambda s: s.generator.standard_exponential(shape, dtype), rows, shape, dtype)

    def signs(self, shape=(), rows=None, dtype=np.float32):
        """-1 or +1."""
        return self._each(lambda s: 2 * s.integers(0, 2, shape) - 1, rows, shape, dtype)

    def integers(self, low, high=None, shape=(), rows=None):
        """Integers in [low, high); with one bound, in [0, low)."""
        return self._each(lambda s: s.integers(low, high, shape), rows, shape, np.int64)

    def permutation(self, n: int, rows=None):
        """A random order of 0 .. n-1 for each sample."""
        return self._each(lambda s: s.permutation(n), rows, (n,), np.int64)


def _key(row, box) -> bytes:
    if box is not None:
        share = (row.astype(np.float64) - box[0]) / (box[1] - box[0])
        level = np.rint(share * 255) / 255
        if share.size and np.abs(share - level).max() < 1e-6:
            row = level.astype(row.dtype)
    return np.ascontiguousarray(row).tobytes()


def sample_streams(rng, x, purpose: str = "", box=None) -> SampleStreams:
    """rng itself if it has a stream for each sample already, else the streams that it stands for."""
    if isinstance(rng, SampleStreams):
        if len(rng) != len(x):
            raise ValueError(f"rng has streams for {len(rng)} samples, x holds {len(x)}; index it by the same rows")
        return rng
    return SampleStreams(rng, x, purpose, box)
