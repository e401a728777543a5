"""Flags of PyTorch's backends. They can be set, and change nothing: results here do not depend on the machine's fastest choice."""

from minigrad.backends import cudnn, mps


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing to do: the same seed gives the same numbers to the bit, for any number of threads."""
