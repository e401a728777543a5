"""Addresses in the tiles are unchecked, so their arrays stand here between two pages that may not be touched: what reads or writes
beyond an array ends the process."""
import math
import os
import subprocess
import sys

import pytest

from tests.kernels.test_cpu_convolution import NETWORKS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages with Linux's mprotect")

FENCED = """
import ctypes, faulthandler, math, mmap, sys
import numpy as np
from minigrad.kernels import cpu
from minigrad.kernels.cpu.machine import threads
faulthandler.enable()
mprotect = ctypes.CDLL(None).mprotect
mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

def fenced(*shape, dtype=np.float32):
    size = math.prod(shape) * np.dtype(dtype).itemsize
    inside = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, inside + 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + mmap.PAGESIZE + inside):
        assert mprotect(page, mmap.PAGESIZE, 0) == 0
    return np.ndarray(shape, dtype, memory, mmap.PAGESIZE + {at_the_end} * (inside - size))

def ones(*shape):
    array = fenced(*shape)
    array[...] = 1
    return array

plain = threads.empty
for module in list(sys.modules.values()):
    if getattr(module, "empty", None) is plain:
        module.empty = fenced
for n, c, h, w, o, k, s, p, d, groups in {cases}:
    print((n, c, h, w, o, k, s, p, d, groups), file=sys.stderr, flush=True)
    out = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size in (h, w)]
    x, g = ones(n, h, w, c).transpose(0, 3, 1, 2), ones(n, *out, o).transpose(0, 3, 1, 2)
    weights, bias = ones(o, c // groups, k, k), ones(o)
    rest = (s, s), (p, p), (d, d), groups
    threads.forget_scratch()
    cpu.conv2d(x, weights, *rest, bias=bias, slope=0.5)
    cpu.conv2d_dx(g, weights, *rest, (h, w))
    cpu.conv2d_dw(x, g, *rest, (k, k))
for kernel, stride, dilation, size in {transposed}:
    g, weights = ones(2, 9, 9, 32).transpose(0, 3, 1, 2), ones(32, 2, *kernel)
    threads.forget_scratch()
    cpu.conv2d_dx(g, weights, stride, (0, 0), dilation, 1, size)
print("inside")
"""
ENDS = [                            # n, c, h, w, o, k, s, p, d, groups: groups that fill no tile; a last block of hardly any pixels
    (3, 8, 3, 5, 12, 3, 1, 1, 1, 2),
    (2, 48, 4, 4, 72, 2, 1, 1, 1, 4),
    (1, 1, 259, 3, 1, 3, 1, 0, 1, 1),
    (1, 3, 259, 3, 20, 3, 1, 0, 1, 1),
    (33, 2, 3, 3, 1, 3, 1, 0, 1, 1),
]
OUTPUT_PADDING = [((8, 1), (1, 1), (1, 60), (16, 68)), ((8, 1), (1, 50), (1, 1), (16, 450))]


def run(environment=(), **values):
    done = subprocess.run([sys.executable, "-c", FENCED.format(**values)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "MINIGRAD_NUM_THREADS": "2", **dict(environment)})
    assert done.stdout == "inside\n", done.stderr[-2000:]


@pytest.mark.parametrize("at_the_end", [1, 0], ids=["behind", "before"])
def test_no_convolution_reads_or_writes_beyond_its_arrays(at_the_end):
    networks = [(n, c, size, size, *rest) for n, c, size, *rest in NETWORKS.values() if math.prod((n, c, size, size)) < 1 << 18]
    run(at_the_end=at_the_end, cases=ENDS + networks, transposed=OUTPUT_PADDING)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 processors")
def test_no_fold_reads_beyond_its_planes_where_loads_have_no_mask():
    avx2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse2"}
    run(avx2, at_the_end=1, cases=[], transposed=OUTPUT_PADDING)
