"""What each kernel computes, in plain array code: the definition, the oracle and the fallback.

| module | kernels |
|---|---|
| `convolution` | conv2d and its two adjoints |
| `pooling` | largest values and means of windows |
| `products` | products of matrices; rows added up |
| `activation` | (leaky) ReLU, alone or with the addition before it |
| `normalisation` | zero mean and unit variance, alone or with what follows it |
| `lstm` | a recurrence over all steps |
| `optimisers` | updates of parameters in place |

Every function runs on NumPy and on CuPy, in any floating type, because it only calls `np.*` on the arrays handed in (NumPy's
dispatch protocols carry the calls to CuPy). The fast kernels in `cpu/` must equal these; the tests hold them to it.

Shapes are (N, C, H, W) in any memory layout. Results of image shape are N,C,H,W views of contiguous N,H,W,C buffers. Pairs
are tuples of two ints that `minigrad.functional` has validated. Symbols: x input, w weight, g gradient of the output,
k kernel, s stride, p padding, d dilation, G groups. Nothing here records or differentiates; that some of the maps are adjoint to
one another is all that these modules know about gradients.

Imports: numpy, `geometry`.
"""

from minigrad.kernels.reference.activation import add_leaky_relu, bias_leaky_relu, bias_leaky_relu_dx, leaky_relu, leaky_relu_dx
from minigrad.kernels.reference.convolution import conv2d, conv2d_dw, conv2d_dx
from minigrad.kernels.reference.lstm import lstm_scan, lstm_scan_dx
from minigrad.kernels.reference.normalisation import norm_leaky_relu, norm_leaky_relu_dx, normalise, normalise_dx
from minigrad.kernels.reference.optimisers import adagrad_step, adam_step, rmsprop_step, sgd_step
from minigrad.kernels.reference.pooling import (
    avg_pool2d,
    avg_pool2d_dx,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_scatter,
    pool_divisors,
)
from minigrad.kernels.reference.products import add_rows, matmul
