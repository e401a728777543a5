"""Pictures named on the command line: files and folders, as squares of one size."""

from __future__ import annotations

import os

import numpy as np

from minigrad.data import ENDINGS, DataError, is_picture, open_picture


def files_of(path) -> list[str]:
    """The file itself, or the picture files of a folder in the order of their names; DataError for a folder without any."""
    if not os.path.isdir(path):
        return [path]
    names = [name for name in sorted(os.listdir(path)) if is_picture(name) and not os.path.isdir(os.path.join(path, name))]
    if not names:
        raise DataError(path, "holds no pictures", f"Pictures end in {', '.join(ENDINGS)}")
    return [os.path.join(path, name) for name in names]


def squares(files, size: int, channels: int) -> np.ndarray:
    """(N, channels, size, size) float32 in [-1, 1]: the largest square in the middle of each, reduced or enlarged."""
    from PIL import Image

    rows = []
    for file in files:
        picture = open_picture(file, grey=channels == 1)
        side = min(picture.size)
        left, top = ((length - side) // 2 for length in picture.size)
        small = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.LANCZOS)
        rows.append(np.asarray(small, np.float32).reshape(size, size, channels).transpose(2, 0, 1))
    return np.stack(rows) / np.float32(127.5) - 1
