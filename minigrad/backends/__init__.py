"""Flags of PyTorch's backends. They can be set, and change nothing: results here do not depend on the machine's fastest choice."""

from minigrad.backends import cudnn, mps
