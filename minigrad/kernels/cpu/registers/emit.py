"""The shape of this machine's register tile, memory by address, and the LLVM phrases that instructions are written in.

The tile's shape follows from the processor's vector registers; `tiles` explains how. `Emit` writes the few phrases that all
instructions consist of: load, store, multiply-add, broadcast.

Imports: llvmlite, numba, numpy, machine.
"""
import ctypes
import os

import numpy as np
from llvmlite import binding, ir
from numba import config
from numba.core import cgutils

from minigrad.kernels.cpu.machine.threads import ALIGNMENT

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def host_features():
    """The processor features that Numba compiles for. NUMBA_CPU_FEATURES overrides what the machine has."""
    if config.CPU_FEATURES is not None or config.CPU_NAME is not None:
        listed = (config.CPU_FEATURES or "").split(",")
        return {f[1:] for f in listed if f.startswith("+")}
    return {name for name, present in binding.get_host_cpu_features().items() if present}


def tile_shape(features, triple):
    """(VL, MR, NV) for a machine: see the table in `tiles`."""
    if "avx512f" in features:
        return 16, 14, 2
    if "avx2" in features and "fma" in features:
        return 8, 6, 2
    if triple.split("-")[0] in ("aarch64", "arm64"):
        return 4, 14, 2
    return 4, 6, 2


def chosen_shape():
    """This machine's shape, or MINIGRAD_TILE="VL,MR,NV" to try another, with MR 14 or less."""
    asked = os.environ.get("MINIGRAD_TILE")
    return tuple(int(n) for n in asked.split(",")) if asked else tile_shape(host_features(), binding.get_process_triple())


VL, MR, NV = chosen_shape()         # floats of a vector; rows of a tile; vectors of a row of a tile
NR = VL * NV                        # columns of a tile: output channels
AR = 8 if MR == 14 else 6           # rows of the outer-product tile: 8 divides common channel counts
STREAMED = 1 << 23                  # bytes of an output from which `streams` pays, measured together with the next layer
LOW = max(1, MR // 2)  # the least height of `product_tiles`: any number of rows over MR can be cut into heights of LOW to MR


def at(address, count):
    """The `count` floats at an address, as an array."""
    return np.frombuffer((ctypes.c_float * int(count)).from_address(int(address)), np.float32)


def addresses(address, count):
    """The `count` words at an address, as an array of int64."""
    return np.frombuffer((ctypes.c_int64 * int(count)).from_address(int(address)), np.int64)


def streams(y, outs, sooner=1):
    """Whether tiles write an output of `outs` channels, or groups of them, past the caches (`Emit.stream`), as 0 or 1.

    sooner: a kernel that does not prefetch the lines that it will write gains from STREAMED/sooner bytes on."""
    return int(y.nbytes >= STREAMED // sooner and outs % VL == 0 and y.ctypes.data % ALIGNMENT == 0)


def all_lanes(b, value, vector):
    """A vector of the given type whose lanes are all `value`."""
    undefined, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, vector.count), None)
    return b.shuffle_vector(b.insert_element(undefined, value, I32(0)), undefined, first)


class Emit:
    """The few LLVM phrases that the tiles are written in: vectors of `lanes` floats at integer addresses."""

    def __init__(self, builder, lanes=VL):
        self.b, self.vector, self.lanes = builder, ir.VectorType(F32, lanes), lanes
        self.zero = ir.Constant(self.vector, None)
        # Fused where the machine has such an instruction, else a product and a sum.
        self.muladd = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fmuladd.v{lanes}f32")

    def load(self, address, offset=0):
        return self.b.load(self.pointer(address, offset), align=4)

    def store(self, value, address, offset=0):
        self.b.store(value, self.pointer(address, offset), align=4)

    def stream(self, value, address, offset=0):
        """Store a vector past the caches. Its place must be aligned to its size.

        This pays for an output that is larger than the caches. It would have left them before the next layer reads it, and an
        ordinary store would first fetch the line that it overwrites. Other threads may see such stores late, but at the latest with
        the next atomic step of the thread that made them. Only x86 delays them at all; there `take` is a locked instruction, and it
        is the last thing that a thread does in a kernel.
        """
        store = self.b.store(value, self.pointer(address, offset), align=4 * self.lanes)
        store.set_metadata("nontemporal", self.b.module.add_metadata([I32(1)]))

    def store_first(self, value, address, offset, count):
        """Store the first `count` lanes only: a masked store on AVX, branches elsewhere."""
        pointer = self.pointer(address, offset)
        typed = "*" in str(pointer.type)                                                    # LLVM before 17
        name = f"llvm.masked.store.v{self.lanes}f32.p0" + (f"v{self.lanes}f32" if typed else "")
        mask = ir.VectorType(ir.IntType(1), self.lanes)
        store = cgutils.get_or_insert_function(
            self.b.module, ir.FunctionType(ir.VoidType(), [self.vector, pointer.type, I32, mask]), name)
        lanes = ir.Constant(ir.VectorType(I64, self.lanes), [I64(i) for i in range(self.lanes)])
        within = self.b.icmp_signed("<", lanes, all_lanes(self.b, count, lanes.type))
        self.b.call(store, [value, pointer, I32(4), within])

    def store_rows(self, acc, rows, width, streamed):
        """Store the first `width` lanes of each row of vectors. Where the number `streamed` is 1, store all, as `stream` does.

        Whole rows have a path of their own, because Zen 3 takes twelve cycles for a masked store, and one for any other."""
        b, places = self.b, [(m, v) for m in range(len(rows)) for v in range(len(acc[m]))]
        with b.if_else(b.icmp_signed("!=", streamed, I64(0))) as (past_caches, otherwise):
            with past_caches:
                for m, v in places:
                    self.stream(b.load(acc[m][v]), rows[m], 4 * VL * v)
            with otherwise, b.if_else(b.icmp_signed(">=", width, I64(VL * len(acc[0])))) as (whole, part):
                with whole:
                    for m, v in places:
                        self.store(b.load(acc[m][v]), rows[m], 4 * VL * v)
                with part:
                    for m, v in places:
                        self.store_first(b.load(acc[m][v]), rows[m], 4 * VL * v, b.sub(width, I64(VL * v)))

    def pointer(self, address, offset):
        """The address as a pointer to vectors, which LLVM wants."""
        return self.b.inttoptr(self.b.add(address, I64(offset)), self.vector.as_pointer())

    def scalar(self, address, index):
        """All lanes equal to the float at address + 4*index."""
        value = self.b.load(self.b.gep(self.b.inttoptr(address, F32.as_pointer()), [index]))
        return self.splat(value)

    def splat(self, value):
        """All lanes equal to one float."""
        return all_lanes(self.b, value, self.vector)

    def constant(self, value):
        """All lanes equal to one number that is known now."""
        return ir.Constant(self.vector, [ir.Constant(F32, float(np.float32(value)))] * self.lanes)

    def variable(self, value):
        """A value that changes in a loop; LLVM keeps it in a register."""
        return cgutils.alloca_once_value(self.b, value)

    def accumulate(self, variable, x, y):
        """variable += x * y"""
        self.b.store(self.b.call(self.muladd, [x, y, self.b.load(variable)]), variable)

    def in_pairs(self, start, end, term):
        """term(k) for start <= k < end, two in each turn of the loop. Short sums are up to a tenth faster."""
        b = self.b
        whole = b.add(start, b.and_(b.sub(end, start), I64(-2)))
        with cgutils.for_range_slice(b, start, whole, I64(2), intp=I64) as (k, _):
            term(k)
            term(b.add(k, I64(1)))
        with b.if_then(b.icmp_signed("<", whole, end)):
            term(whole)

    def word(self, table, index):
        """table[index] of a table of int64 at an address."""
        return self.b.load(self.b.gep(self.b.inttoptr(table, I64.as_pointer()), [index]))

    def times4(self, value):
        return self.b.shl(value, I64(2))
