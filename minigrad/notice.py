"""A warning about the code that calls the library, once for each place in it.

Python tells equal warnings once for each line that they point to. `warn` points to the line outside of this library that led here,
however many calls lie between, so a mistake in a training loop is told once, where it stands. Texts hold no values that change.

Imports: the standard library.
"""

from __future__ import annotations

import os
import sys
import warnings

__all__ = ["warn"]

HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn(text: str) -> None:
    """A UserWarning that points to the first caller whose file is not one of minigrad's."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
