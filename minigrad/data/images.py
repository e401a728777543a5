"""Pictures for people: grids, resizing, PNG and GIF files.

Pictures are arrays (N, C, H, W) or (C, H, W) with C = 1 or 3, uint8 as they are or floats with -1 black and 1 white
(values outside are clipped; NaN is drawn magenta, so that it is seen). Files are written atomically. NumPy; Pillow when
called.
"""

from __future__ import annotations

import os

import numpy as np

from minigrad.checkpoint import atomic_write

__all__ = ["make_grid", "resize", "save_gif", "save_png", "to_uint8"]


def to_uint8(images) -> np.ndarray:
    """uint8 of the same shape: floats from [-1, 1] to 0..255, rounded to nearest, clipped; NaN becomes 0."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise TypeError(f"to_uint8: pictures must be uint8 or floats in [-1, 1], got {images.dtype}")
    scaled = np.nan_to_num(np.asarray(images, np.float32) * 127.5 + 127.5, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def make_grid(images, columns: int | None = None, *, padding: int = 2, scale: int | None = None, labels=None,
              background: int = 255) -> np.ndarray:
    """One picture uint8 (H, W, 3) of all `images` (N, C, H, W), row by row.

    columns: default the smallest square. padding: pixels between pictures (after scaling). scale: nearest-neighbour
    magnification; default so that a picture is at least 56 px tall. labels: N strings written under the pictures."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"make_grid: images must be (N, C, H, W) with N >= 1 and C = 1 or 3, got {images.shape}")
    n, _, height, width = images.shape
    columns = int(np.ceil(np.sqrt(n))) if columns is None else columns
    scale = max(1, -(-56 // height)) if scale is None else scale
    if columns < 1 or scale < 1 or padding < 0:
        raise ValueError(f"make_grid: needs columns >= 1, scale >= 1, padding >= 0; got {columns}, {scale}, {padding}")
    if labels is not None and len(labels) != n:
        raise ValueError(f"make_grid: {n} images but {len(labels)} labels")
    columns = min(columns, n)
    rows = -(-n // columns)
    pixels = np.broadcast_to(to_uint8(images), (n, images.shape[1], height, width))
    pixels = np.repeat(pixels, 3, axis=1) if images.shape[1] == 1 else pixels.copy()
    if images.dtype.kind == "f":
        broken = np.isnan(images).any(axis=1)
        for channel, value in enumerate((255, 0, 255)):
            pixels[:, channel][broken] = value
    height, width = height * scale, width * scale
    pixels = pixels.repeat(scale, axis=2).repeat(scale, axis=3)
    line = 14 if labels is not None else 0
    grid = np.full((padding + rows * (height + line + padding), padding + columns * (width + padding), 3), background,
                   np.uint8)
    for i in range(n):
        top = padding + (i // columns) * (height + line + padding)
        left = padding + (i % columns) * (width + padding)
        grid[top:top + height, left:left + width] = pixels[i].transpose(1, 2, 0)
    return grid if labels is None else _write_labels(grid, labels, columns, height, width, padding, line)


def _write_labels(grid, labels, columns, height, width, padding, line):
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(grid)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for i, label in enumerate(labels):
        text = str(label)
        while len(text) > 1 and draw.textlength(text, font=font) > width:
            text = text[:-2] + "…" if len(text) > 2 else text[:1]
        x = padding + (i % columns) * (width + padding) + width / 2
        y = (i // columns + 1) * (height + line + padding) - line / 2
        draw.text((x, y), text, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(picture)


def resize(images: np.ndarray, size) -> np.ndarray:
    """uint8 (N, C, H, W) to (N, C, size, size), or size = (H, W): bilinear, with the triangle widened when shrinking so
    that nothing aliases (as Pillow's BILINEAR; equal to it within one grey level)."""
    height, width = (size, size) if isinstance(size, (int, np.integer)) else size
    if images.dtype != np.uint8 or images.ndim != 4:
        raise TypeError(f"resize: needs uint8 (N, C, H, W), got {images.dtype} {images.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"resize: size must be at least 1, got {(height, width)}")
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


def save_png(path, image) -> str:
    """Write a picture as PNG, atomically: a PIL image, an array uint8 (H, W, 3) or (H, W), or a picture (C, H, W) or
    several (N, C, H, W), which become a grid. Returns the path."""
    picture = _pillow(image)
    with atomic_write(path) as file:
        picture.save(file, "PNG")
    return os.fspath(path)


def save_gif(path, frames, *, milliseconds: int = 80, loop: bool = True) -> str:
    """Write pictures (each as in `save_png`, all of one size) as an animated GIF, atomically. Returns the path."""
    pictures = [_pillow(frame) for frame in frames]
    if not pictures or len({picture.size for picture in pictures}) > 1:
        raise ValueError(f"save_gif: needs one or more frames of one size, got {[p.size for p in pictures][:5]}")
    with atomic_write(path) as file:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds,
                         **({"loop": 0} if loop else {}))
    return os.fspath(path)


def _pillow(image):
    from PIL import Image

    if isinstance(image, Image.Image):
        return image
    image = np.asarray(image)
    if image.ndim == 4 or image.ndim == 3 and image.shape[2] != 3 and image.shape[0] in (1, 3):
        image = make_grid(image, **({"padding": 0, "scale": 1} if image.ndim == 3 else {}))
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3 or not image.size:
        raise ValueError(f"a picture must be uint8 (H, W, 3) or (H, W), or (C, H, W), or (N, C, H, W) for a grid, with "
                         f"C = 1 or 3; got {image.dtype} {image.shape}")
    return Image.fromarray(np.ascontiguousarray(image))
