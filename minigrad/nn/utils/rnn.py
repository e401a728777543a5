"""Sequences of different lengths in one batch.

Imports: minigrad.absent, minigrad.functional.indexing.
"""

from __future__ import annotations

from minigrad.absent import missing as _missing
from minigrad.functional.indexing import pad_constant, stack


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences (L, ...) as one Tensor (longest L, N, ...), or (N, longest L, ...); shorter ones are filled with padding_value."""
    sequences = list(sequences)
    if not sequences:
        raise ValueError("pad_sequence: there are no sequences")
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    longest = max(len(s) for s in sequences)
    padded = []
    for s in sequences:
        extra = (longest - len(s), 0) if padding_side == "left" else (0, longest - len(s))
        padded.append(pad_constant(s, (extra, *[(0, 0)] * (s.ndim - 1)), padding_value))
    return stack(padded, 0 if batch_first else 1)


def __getattr__(name):
    raise _missing("minigrad.nn.utils.rnn", name)
