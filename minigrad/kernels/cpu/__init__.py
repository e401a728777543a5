"""The kernels of `reference` for float32 arrays of NumPy, compiled by Numba. `minigrad.kernels` is the way in.

The folder `minigrad/kernels/reference/` says what each kernel computes. This page says how it is computed here, and where. Read
on in `convolution/choice.py`, which says which algorithm runs for which shape, then in `convolution/direct.py`, the plainest of
them, and then in `registers/tiles.py`, its inner loop. Imports point down this list only:

    layers/         matmul, lstm, normalise, pooling, optimisers
    convolution/    which algorithm serves which shape (`choice`), the tables that it walks (`plans`), the algorithms
    parts/          what several kernels use: layout of arrays, packing, BLAS, long sums, bias and activation
    registers/      the inner loops, emitted as vector instructions: the tile of a product, copies
    machine/        how Python is compiled, words that threads share, the pool of threads

The map
-------
x (N,H,W,C), y and g (N,OH,OW,O), w (O,C,kh,kw); s, p, d: stride, padding, dilation. Each outermost loop is shared by all threads.

Any shape: `convolution/direct.py`. Sums stay in registers, each weight is read once for MR outputs, and no image is copied.

    for tile in tiles(phase):                                   # MR outputs (n, i, j)
        for panel in panels(w):                                 # NR columns o
            acc = np.zeros((MR, NR))
            for t, (dy, dx) in taps(phase):
                acc += x[n, i*s + dy, j*s + dx] @ packed[panel, t]
            y[tile, panel] = acc

3x3, 5x5, and 4x4 of stride 2, with many channels: `convolution/winograd.py`. 36 products do the work of 144. Where weights
outnumber pixels, `convolution/winograd_panels.py` loops over panels of W first, so that W need not be written down.

    W = G @ w @ G.T                                             # a matrix (C, O) for each of 36 frequencies
    for patches in blocks(y):                                   # squares of 4x4 outputs
        V = B.T @ windows(x, patches) @ B                       # a matrix (patches, C) for each frequency
        y[patches] = A.T @ [V[f] @ W[f] for f in range(36)] @ A

Few channels of x, as in a first layer: `convolution/few_channels.py`. A table of addresses would cost as much as the products. A
block copies the padded rows that it reads into the L1 cache, where window m lies at the same place for every block.

    for band in bands(y):
        rows = pad(x[band]).ravel()
        for m in range(0, band.pixels, MR):
            y[band, m:m + MR] = sum(rows[begins[m:m + MR, None] + u*d*pitch + q] * w[u, q] for u, q in window)

Few channels of a transposed convolution, as in a generator's last layer: `convolution/few_channels_transposed.py`. A single output
would fill a few lanes of a vector, but all taps of all channels fill them. They are folded afterwards, within the L2 cache.

    for band in bands(x):
        planes = (g[band] @ w.reshape(O, -1)).T                 # (C*kh*kw, pixels)
        for (c, u, v), plane in zip(np.ndindex(C, kh, kw), planes):
            x[u*d - p::s, v*d - p::s, c] += plane               # clipped at the edges

A kernel as large as its image: `convolution/whole_image.py`. One of the two matrices is turned while it is packed, in registers.

    y = x.reshape(N, -1) @ w.transpose(2, 3, 1, 0).reshape(-1, O)

One filter for each channel: `convolution/depthwise.py`. There is no sum over channels, so the lanes are channels.

    for n, i, js in runs(y):                                    # outputs of a row that see the same taps
        y[n, i, js] = sum(x[n, i*s + dy, js*s + dx] * w[t] for t, (dy, dx) in taps)

Weight gradients, dw (O,C,kh,kw): sums of outer products over all outputs, cut into parts that are added up in order.
`direct`, `few_channels` and `depthwise` have theirs in the same file. In `direct` it is, for each tap,

    for part, t in blocks(g):
        total[part, t] = sum(np.outer(g[n, i, j], x[n, i*s + dy[t], j*s + dx[t]]) for n, i, j in part)
    dw = total.sum(0)

`few_channels` sums all taps at once, because it copies whole windows side by side. `depthwise` multiplies channel by channel.
`winograd` and `winograd_panels` have theirs too, but the sum runs over transformed patches, frequency by frequency, and is
transformed back once at the end.

    S = np.zeros((36, C, O))
    for patches in blocks(g):
        V = B.T @ windows(x, patches) @ B                       # a matrix (patches, C) for each frequency
        E = A @ g[patches] @ A.T                                # a matrix (patches, O) for each frequency
        S += [V[f].T @ E[f] for f in range(36)]
    dw = G.T @ S @ G

Three shapes go elsewhere. A kernel as large as its image makes it a product of matrices (`direct.product`). With few outputs, image
and gradient change places, and `few_channels` takes the gradient for its image. For matrices (1x1 convolutions, linear layers,
LSTMs) it is `parts/long_sums.py`, which packs the rows into panels first. The weight gradient of a transposed convolution is that
of the convolution whose adjoint it is, so `few_channels_transposed` needs none.

Matrices: `layers/matmul.py`, by BLAS where they are small, else by `direct`. LSTM: `layers/lstm.py`, one launch for all time steps.
Normalisation: `layers/normalise.py`, each statistic and each map in one pass over memory. Pooling: `layers/pooling.py`, along the
channels of a pixel. Optimisers: `layers/optimisers.py`, one launch for all parameters.

Glossary
--------
| word | meaning |
|---|---|
| launch | one run of a kernel on all threads |
| block | the work that a thread takes at once; which thread takes it makes no difference to the result |
| stage | the blocks of a launch that must be complete before the blocks of the next stage begin |
| scratch | memory of a thread's own for the time of a launch; "room" in a docstring: such memory, handed in |
| tile | the part of a product's result that is held in registers: MR rows of NV vectors (`registers/tiles.py`) |
| panel | NR columns of a matrix, row after row, so that a tile reads it from begin to end; packing makes panels |
| lane | one of the VL floats of a vector register |
| twin | the NumPy function that says what an emitted instruction does, and replaces it with NUMBA_DISABLE_JIT=1 |
| tap | a place (u, v) in the kernel of a convolution |
| window | the input pixels that one output, or one patch, reads |
| phase | outputs that read the same taps: those with the same remainder by the stride of a transposed convolution |
| plan | the tables of phases and taps that `direct` and `depthwise` walk |
| places | where weights lie in w, by tap and channel, in floats |
| step | the distance from one pixel, or row in memory, to the next |
| patch | Winograd's square of outputs that are computed together; one row of a tile |
| frequency | one of the products of a patch; they are independent of one another until the outputs are transformed back |
| problem | a grid of equal patches: Winograd's part of a convolution that is computed by itself |
| round | the patches that a weight gradient transforms at once |
| plane | one of many equal arrays, a fixed distance apart: one for each frequency, or for each tap and channel |
| chunk | channels, or terms of a long sum, that are taken at a time so that something stays in the cache |
| slice, piece | the channels, or columns, of a block; the number of such a choice |
| part | pixels, or terms, whose sum is made by itself; the sums of all parts are added up in order |
| band | rows of an image's output that make a block |
| fold | to add up products where their outputs overlap (col2im), and only that |
| strand | outputs of a row with the same remainder by the stride |
| ending | bias and leaky ReLU after a convolution, while the output is in the cache |
| streamed | written past the caches, because nothing reads it soon |
| slack | memory beyond an array's end that a tile may read, but does not use |

A kernel's name begins with its algorithm (`winograd_convolve`). The Python function that launches it begins with what it does
(`convolve_by_patches`).
"""
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
