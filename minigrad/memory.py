"""Keep freed memory for the next step.

The C library hands large blocks back to the operating system as soon as they are freed, and the next step gets them
again page by page, each page zeroed: a quarter of the time of a small training step. glibc can be told to keep them.
Freed memory then stays with the process until it ends; the peak is the same. Other C libraries are left as they are,
and MINIGRAD_NO_ENV=1 leaves this one too.

Imports: the standard library.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h's names for mallopt's settings


def keep() -> bool:
    """Serve large arrays from the heap and do not give it back. True where the C library understands that (glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        if not hasattr(libc, "gnu_get_libc_version"):  # musl has mallopt's name but not its meaning
            return False
        settings = ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
        return all([libc.mallopt(name, value) == 1 for name, value in settings])
    except (OSError, AttributeError):
        return False
