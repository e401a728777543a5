"""The kernels of `reference` for float32 arrays of NumPy, compiled by Numba. `minigrad.kernels` is the way in."""
from minigrad.kernels.cpu.convolution.choice import conv2d, conv2d_dw, conv2d_dx, get_conv_precision, set_conv_precision
from minigrad.kernels.cpu.layers.lstm import lstm_scan, lstm_scan_dx
from minigrad.kernels.cpu.layers.matmul import add_rows, matmul
from minigrad.kernels.cpu.layers.normalise import (
    bias_leaky_relu,
    bias_leaky_relu_dx,
    norm_leaky_relu,
    norm_leaky_relu_dx,
    normalise,
    normalise_dx,
)
from minigrad.kernels.cpu.layers.optimisers import adagrad_step, adam_step, rmsprop_step, sgd_step
from minigrad.kernels.cpu.layers.pooling import avg_pool2d, avg_pool2d_dx, max_pool2d, max_pool2d_gather, max_pool2d_scatter
from minigrad.kernels.cpu.machine.threads import get_num_threads, set_num_threads
from minigrad.kernels.cpu.parts.activation import add_leaky_relu, leaky_relu, leaky_relu_dx

__all__ = [
    "adagrad_step",
    "adam_step",
    "add_leaky_relu",
    "add_rows",
    "avg_pool2d",
    "avg_pool2d_dx",
    "bias_leaky_relu",
    "bias_leaky_relu_dx",
    "conv2d",
    "conv2d_dw",
    "conv2d_dx",
    "get_conv_precision",
    "get_num_threads",
    "leaky_relu",
    "leaky_relu_dx",
    "lstm_scan",
    "lstm_scan_dx",
    "matmul",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_scatter",
    "norm_leaky_relu",
    "norm_leaky_relu_dx",
    "normalise",
    "normalise_dx",
    "rmsprop_step",
    "set_conv_precision",
    "set_num_threads",
    "sgd_step",
]
