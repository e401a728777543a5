"""The instructions of `threads`: to read and change words that threads share, each in one indivisible step, and to sleep.

Locks are those of CPython's C interface, because they need no GIL. PyThread_acquire_lock and PyThread_release_lock are called by
their addresses.

Imports: llvmlite, numba, compiling.
"""
import os

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import instruction

WORD = ir.IntType(64)


def _place(context, b, signature, args):
    return b.gep(context.make_array(signature.args[0])(context, b, args[0]).data, [args[1]])


@instruction(lambda words, place: words[place])
def look(typing_context, words, place):
    """words[place], as other threads see it."""
    def codegen(context, b, signature, args):
        return b.load_atomic(_place(context, b, signature, args), "acquire", 8)

    return types.int64(words, types.int64), codegen


@instruction(None)
def exchange(typing_context, words, place, value):
    """words[place] = value in one indivisible step. Returns the value before."""
    def codegen(context, b, signature, args):
        return b.atomic_rmw("xchg", _place(context, b, signature, args), args[2], "seq_cst")

    return types.int64(words, types.int64, types.int64), codegen


@instruction(None)
def replace(typing_context, words, place, expected, value):
    """words[place] = value if it was `expected`, in one indivisible step. Returns the value before."""
    def codegen(context, b, signature, args):
        pair = b.cmpxchg(_place(context, b, signature, args), args[2], args[3], "seq_cst", "seq_cst")
        return b.extract_value(pair, 0)

    return types.int64(words, types.int64, types.int64, types.int64), codegen


@instruction(None)
def relax(typing_context):
    """Tell the processor that this is a waiting loop."""
    def codegen(context, b, signature, args):
        if b.module.triple.startswith(("x86_64", "i686")):
            b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@instruction(None)
def give_way(typing_context):
    """Let another thread run on this core: it may be the one that this one waits for."""
    def codegen(context, b, signature, args):
        if os.name == "posix":
            b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@instruction(None)
def call(typing_context, function, argument):
    """function(argument), for the address of a C function that takes a word and returns one."""
    def codegen(context, b, signature, args):
        return b.call(b.inttoptr(args[0], ir.FunctionType(WORD, [WORD]).as_pointer()), [args[1]])

    return types.int64(types.int64, types.int64), codegen


@instruction(None)
def acquire(typing_context, function, lock):
    """PyThread_acquire_lock(lock, 1): sleep until another thread releases the lock."""
    def codegen(context, b, signature, args):
        int32 = ir.IntType(32)
        b.call(b.inttoptr(args[0], ir.FunctionType(int32, [WORD, int32]).as_pointer()), [args[1], int32(1)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@instruction(None)
def release(typing_context, function, lock):
    """PyThread_release_lock(lock): wake the thread that sleeps there."""
    def codegen(context, b, signature, args):
        b.call(b.inttoptr(args[0], ir.FunctionType(ir.VoidType(), [WORD]).as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen
