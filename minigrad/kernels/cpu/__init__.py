"""The kernels of `reference` for float32 arrays of NumPy, compiled by Numba. `minigrad.kernels` is the way in."""
from minigrad.kernels.cpu.convolution import conv2d, conv2d_dw, conv2d_dx, get_conv_precision, set_conv_precision
from minigrad.kernels.cpu.threads import get_num_threads, set_num_threads

__all__ = ["conv2d", "conv2d_dw", "conv2d_dx", "get_conv_precision", "get_num_threads", "set_conv_precision", "set_num_threads"]
