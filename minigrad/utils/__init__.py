"""What PyTorch keeps below torch.utils: `data`."""

from minigrad.utils import data
