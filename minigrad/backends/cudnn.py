"""torch.backends.cudnn: flags that do nothing. There is no cuDNN here, and the same seed gives the same numbers anyway.

Imports: the standard library.
"""

benchmark = False
deterministic = True
enabled = False
allow_tf32 = False


def is_available() -> bool:
    """False: cuDNN is not used."""
    return False


def version():
    """None: cuDNN is not used."""
