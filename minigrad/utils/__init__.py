"""What PyTorch keeps below torch.utils: `data`."""

from minigrad.absent import missing as _missing
from minigrad.utils import data


def __getattr__(name):
    raise _missing("minigrad.utils", name)
