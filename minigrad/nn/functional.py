"""torch.nn.functional by name: `minigrad.functional`, so that only the first word of an import changes.

Imports: minigrad.functional.
"""

from minigrad import functional


def __getattr__(name):
    return getattr(functional, name)


def __dir__():
    return dir(functional)
