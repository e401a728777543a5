"""How a picture file is opened: one of a few formats by its contents, never through another program.

Pillow tells the format by the first bytes and not by the name; asked without a list, it would hand an EPS called `.png` to
Ghostscript, and feed rare formats to decoders that few have tried. A pipe or a device is refused, and so is a picture that
declares more pixels than Pillow thinks safe (89 million).

Imports: PIL (when called), minigrad.files.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager

from minigrad.files import open_regular

__all__ = ["FORMATS", "open_picture"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


@contextmanager
def open_picture(path):
    """A Pillow image of the file, open inside the block. Whatever Pillow raises passes through; OSError for no file,
    `UnidentifiedImageError` (an OSError) for other formats, DecompressionBombWarning as an error."""
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (they register themselves)

    Image.preinit()
    known = [name for name in FORMATS if name in Image.OPEN]  # a Pillow built without WebP lacks it
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with open_regular(path) as file, Image.open(file, formats=known) as picture:
            yield picture
