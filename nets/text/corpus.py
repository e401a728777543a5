"""The text to learn: the play that is built in, or a file of yours.

Imports: minigrad.data.
"""

from __future__ import annotations

import os

from minigrad import data
from minigrad.data import Dataset

BUILT_IN = "romeo-and-juliet"


def load(name: str) -> Dataset:
    """All characters of a text as codes (`minigrad.data`): of BUILT_IN, or of text:PATH.

    ValueError for a source that holds no text, DataError for a file that is missing or no text."""
    if name == BUILT_IN:
        name = "text:" + os.path.join(os.path.dirname(__file__), "romeo_and_juliet.txt")
    if not name.startswith("text:"):
        raise ValueError(f"--data {name}: holds no text; there are {BUILT_IN} (built in) and text:PATH")
    return data.load(name, held_out=0.0)
