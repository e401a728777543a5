"""Pictures of another size. Pictures for people (grids, PNG and GIF files) are made by `minigrad.pictures`.

Imports: numpy, minigrad.domains.
"""

from __future__ import annotations

import numpy as np

from minigrad.domains import COUNT

__all__ = ["resize"]


def resize(images: np.ndarray, size) -> np.ndarray:
    """uint8 (N, C, H, W) to (N, C, size, size), or size = (H, W): bilinear, with the triangle widened when shrinking so
    that nothing aliases (as Pillow's BILINEAR; equal to it within one grey level)."""
    height, width = (size, size) if isinstance(size, (int, np.integer)) else size
    if images.dtype != np.uint8 or images.ndim != 4:
        raise TypeError(f"resize: needs uint8 (N, C, H, W), got {images.dtype} {images.shape}")
    for side in (height, width):
        COUNT.check("resize: size", side)
    if images.shape[2:] == (height, width):
        return images
    down, across = _triangle(images.shape[2], height), _triangle(images.shape[3], width)
    n, channels = images.shape[:2]
    out = np.empty((n, height, width, channels), np.uint8)
    step = max(1, 2**22 // max(1, images[0].size + channels * height * width)) if n else 1
    for start in range(0, n, step):
        part = images[start:start + step].astype(np.float32)
        part = np.matmul(np.matmul(down, part), across.T)  # (n, C, H, W)
        out[start:start + step] = np.clip(part + np.float32(0.5), 0, 255).transpose(0, 2, 3, 1)
    return out.transpose(0, 3, 1, 2)


def _triangle(old: int, new: int) -> np.ndarray:
    """The (new, old) matrix of bilinear interpolation between pixel centres."""
    ratio = old / new
    support = max(ratio, 1.0)
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(old) - centres[:, None]) / support)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
