"""`glyphs`: digits that need no download, drawn from the fonts that come with matplotlib.

Each picture is one digit of one font in one of three stroke weights, under a random affine map (turn, slant, size,
place) and contrast: white on black like MNIST, but made here. A sheet of all outlines is drawn once at four times the
size and smoothed by a box of one output pixel, so that the affine map needs a single look-up per pixel and stays free
of jags: 60,000 pictures of 28 px take about a second and are not cached. Row i depends on (seed, train, i) only: a
smaller `limit` is a prefix.

Imports: PIL (when called), matplotlib (when called), numpy, minigrad.domains, minigrad.random, dataset.
"""

from __future__ import annotations

import functools
import os

import numpy as np

from minigrad.data.dataset import DataError, Dataset
from minigrad.domains import COUNT
from minigrad.random import Stream

__all__ = ["FONTS", "glyphs"]

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono",
         "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral",
         "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmb10", "cmss10", "cmtt10")
_SCALE = 4      # sheet pixels per output pixel
_FILL = 0.68    # height of a digit as a part of the picture
_BLOCK = 2000   # pictures made at a time: bounds the working memory to about 40 MB


def glyphs(*, train=True, size=28, limit=None, seed=0) -> Dataset:
    """Digits as uint8 (N, 1, size, size) with labels 0 to 9; N = limit, or 60,000 (train) and 10,000 (test)."""
    count = (60_000 if train else 10_000) if limit is None else COUNT.check("glyphs: limit", limit)
    COUNT.check("glyphs: size", size)
    if not 8 <= size <= 256:
        raise ValueError(f"glyphs: size must lie between 8 and 256, got {size}")
    sheet = _sheet(size)  # (font, digit, weight, S, S)
    draws = Stream(seed, f"glyphs/{'train' if train else 'test'}").uniform(size=(count, 10))
    labels = (draws[:, 0] * 10).astype(np.int64)
    which = ((draws[:, 1] * len(FONTS)).astype(np.int64) * 10 + labels) * 3 + (draws[:, 2] * 3).astype(np.int64)
    x = np.empty((count, size, size), np.uint8)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        x[rows] = _draw(sheet, which[rows], 2 * draws[rows, 3:] - 1, size)
    return Dataset(x[:, None], labels, classes=tuple("0123456789"), name="glyphs",
                   source=f"{len(FONTS)} fonts of matplotlib, seed {seed}")


def _draw(sheet, which, u, size):
    """Pictures (n, size, size) from outlines `which` and numbers u (n, 7) in [-1, 1)."""
    side = sheet.shape[-1]
    angle, slant = 0.20 * u[:, 0], 0.22 * u[:, 1]
    width, height = 1 + 0.14 * u[:, 2], 1 + 0.14 * u[:, 3]
    cos, sin = np.cos(angle), np.sin(angle)
    # output pixel -> sheet pixel: the inverse of turn, slant and size, times the resolution of the sheet
    a, b = _SCALE * cos / width, _SCALE * (sin + slant * cos) / width
    c, d = -_SCALE * sin / height, _SCALE * (cos - slant * sin) / height
    centre = (size - 1) / 2
    grid = np.arange(size, dtype=np.float32) - np.float32(centre)
    dx, dy = grid - (0.07 * size * u[:, 4])[:, None], grid - (0.06 * size * u[:, 5])[:, None]  # (n, size)
    middle = np.float32((side - 1) / 2 + 0.5)
    column = (a[:, None] * dx + middle)[:, None, :] + (b[:, None] * dy)[:, :, None]
    row = (c[:, None] * dx + middle)[:, None, :] + (d[:, None] * dy)[:, :, None]
    # float32 holds these integers exactly; the sheet's margin is black, so clipping reads black
    index = np.clip(column, 0, side - 1, out=column).astype(np.int32)
    index += np.clip(row, 0, side - 1, out=row).astype(np.int32) * np.int32(side)
    index += (which * (side * side)).astype(np.int32)[:, None, None]
    picture = sheet.reshape(-1).take(index)
    # contrast from 75 % up to 100 %
    level = (223.5 + 32 * u[:, 6]).astype(np.uint16)[:, None, None]
    return ((picture * level + 127) // 255).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _sheet(size: int) -> np.ndarray:
    """All outlines, smoothed, uint8 (len(FONTS) * 10 * 3, S, S) with S = 4 * size."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    side, tall = _SCALE * size, int(_FILL * _SCALE * size)
    sheet = np.zeros((len(FONTS), 10, 3, side, side), np.uint8)
    for f, name in enumerate(FONTS):
        path = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name + ".ttf")
        try:
            probe = ImageFont.truetype(path, 200)
            left, top, right, bottom = probe.getbbox("0")
            font = ImageFont.truetype(path, round(200 * tall / (bottom - top)))
        except OSError as error:
            raise DataError(path, f"matplotlib's font cannot be read: {error}",
                            "pip install --force-reinstall matplotlib") from None
        for digit in range(10):
            outline = Image.new("L", (side, side))
            box = font.getbbox(str(digit))
            at = ((side - box[0] - box[2]) / 2, (side - box[1] - box[3]) / 2)
            ImageDraw.Draw(outline).text(at, str(digit), fill=255, font=font)
            grow = max(3, 2 * round(_SCALE * size / 112) + 1)  # about a quarter of a 28-px pixel on each side
            for w, shape in enumerate((outline, outline.filter(ImageFilter.MaxFilter(grow)),
                                       outline.filter(ImageFilter.MaxFilter(2 * grow - 1)))):
                sheet[f, digit, w] = shape.filter(ImageFilter.BoxBlur((_SCALE - 1) / 2))
    return sheet.reshape(-1, side, side)
