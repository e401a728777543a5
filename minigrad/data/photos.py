"""Picture files: which names are pictures, and how one is opened. One rule for `folder:`, `nets classify` and `attacks panda`.

A picture becomes 8-bit RGB or grey:
  turned          as its EXIF says
  transparency    on white; also of a palette, and of one grey level or colour that a PNG names
  16-bit grey     v / 257: 65535 is white (Pillow's mode I;16; integers of 32 bits the same, or by 2^31 - 1 where one is larger)
  float grey      v / w: white w is the smallest of 1, 255 and 65535 that no value of the picture exceeds; what lies less than
                  1 % beyond black or white, as after resampling, is black or white
  16-bit colour   the upper 8 bits (Pillow's decoder)
  palette, CMYK, YCbCr, HSV, one bit    by Pillow's conversion; colour profiles are not applied, and of an animation the first
                  picture counts
NaN, infinity and negative values have no grey level: such a picture is refused, as is one that declares more pixels than Pillow
thinks safe (89 million). Everything wrong is a DataError with the file's name.

Pillow tells the format by the first bytes and not by the name. It is asked for a few formats only, because it would hand an EPS
called `.png` to Ghostscript, and feed rare formats to decoders that few have tried. A pipe or a device is refused.

Imports: PIL (when called), numpy, minigrad.files, dataset.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager

import numpy as np

from minigrad.data.dataset import DataError
from minigrad.files import open_regular

__all__ = ["ENDINGS", "UNREADABLE", "is_picture", "open_picture"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
WHITES = {"F": (1, 255, 65535), "I": (65535, 2**31 - 1)}
BEYOND = 0.01  # of white
UNREADABLE = "not a readable picture"  # how the reason begins where the file is at fault, and not the moment


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture: by its ending, in small or capital letters, and not hidden."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def open_picture(path, *, grey=False, remedy="Name a picture (.jpg, .png, ...)"):
    """A PIL image in mode RGB, or L for `grey`, by the rule at the top of this file; DataError with `remedy` when there is none."""
    from PIL import Image, ImageOps

    try:
        with decoder(path) as opened:
            inverted = opened.mode.startswith("I;16") and getattr(opened, "tag_v2", {}).get(262) == 0  # TIFF, white is zero
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":
                picture = _levels(picture, inverted)
            if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("L" if grey else "RGB")
    except FileNotFoundError:
        raise DataError(path, "no such file", remedy) from None
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        if isinstance(error, (OSError, MemoryError)) and (getattr(error, "errno", None) or isinstance(error, MemoryError)):
            raise DataError(path, f"cannot be read: {getattr(error, 'strerror', None) or 'not enough memory'}", remedy) from error
        raise DataError(path, f"{UNREADABLE}: {_why(path, error)}", remedy) from error


def _why(path, error) -> str:
    """Pillow's reason; where it names no more than the file, what the file begins with tells more."""
    from PIL import UnidentifiedImageError

    if not isinstance(error, UnidentifiedImageError):
        return str(error)
    return f"it is none of {', '.join(FORMATS)}" if os.path.getsize(path) else "it is empty"


@contextmanager
def decoder(path):
    """A Pillow image of the file, open inside the block. Whatever Pillow raises passes through; OSError for no file,
    `UnidentifiedImageError` (an OSError) for other formats, DecompressionBombWarning as an error."""
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (they register themselves)

    Image.preinit()
    known = [name for name in FORMATS if name in Image.OPEN]  # a Pillow built without WebP lacks it
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with open_regular(path) as file, Image.open(file, formats=known) as picture:
            yield picture


def _levels(picture, inverted: bool):
    """Grey of more than 8 bits as 8 bits. ValueError where values have no grey level."""
    from PIL import Image

    values = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        values, white = (65535 - values if inverted else values), 65535
    else:
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        white = next((w for w in WHITES[picture.mode] if high <= w * (1 + BEYOND)), None)
        if white is None or not low >= -BEYOND * white:  # NaN fails both
            raise ValueError(f"grey levels from {low:g} to {high:g}; they must be finite, at least 0 and at most "
                             f"{WHITES[picture.mode][-1]}. Save it with 8 or 16 bits")
    grey = np.rint(np.clip(values.astype(np.float64) * (255 / white), 0, 255)).astype(np.uint8)
    clear = picture.info.get("transparency")  # a PNG's grey level that is transparent
    if isinstance(clear, int):
        grey = np.where(np.asarray(picture) == clear, np.uint8(255), grey)
    return Image.fromarray(grey)
