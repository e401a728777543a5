"""torch.backends.mps: never there.

Imports: the standard library.
"""


def is_available() -> bool:
    """False: there is no Metal backend."""
    return False


def is_built() -> bool:
    """False: there is no Metal backend."""
    return False
