"""The optimiser steps in float32: one launch over all parameters, one pass over memory.

The arrays of all parameters are cut into blocks of elements. A table holds each array's address and size. Parameters and states are
changed in place, so they must be contiguous; if one is not, `reference` does the step. `reference` also has the equations.

Imports: llvmlite, numba, numpy, minigrad.kernels.reference, parts, registers, machine.
"""
import numba
import numpy as np
from llvmlite import ir
from numba import carray, types

from minigrad.kernels import reference
from minigrad.kernels.cpu.machine.compiling import inner, instruction, kernel
from minigrad.kernels.cpu.machine.threads import address, launch, share, take
from minigrad.kernels.cpu.parts.layout import BLOCK
from minigrad.kernels.cpu.registers.emit import at


@instruction(lambda address: address)
def pointer(typing_context, address):
    def codegen(context, b, signature, args):
        return b.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


if numba.config.DISABLE_JIT:
    part = at
else:
    @kernel
    def part(address, count):
        """The `count` floats at an address."""
        return carray(pointer(address), count, np.float32)


@inner
def find(first_blocks, block):
    """The parameter that a block belongs to."""
    i = 0
    while i + 1 < first_blocks.size and first_blocks[i + 1] <= block:
        i += 1
    return i


@kernel
def sgd(counter, table, sizes, first_blocks, blocks, sign, decay, momentum, fresh, nesterov, rate):
    """Rows of the table: param, grad, buffer. fresh: 1 - dampening; NaN at the first step, when the buffer becomes the gradient."""
    share(counter)
    sign, decay, momentum32 = np.float32(sign), np.float32(decay), np.float32(momentum)
    fresh32, rate = np.float32(fresh), np.float32(rate)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        a = find(first_blocks, block)
        start = (block - first_blocks[a]) * BLOCK
        size = min(BLOCK, sizes[a] - start)
        p, g = part(table[0, a] + 4 * start, size), part(table[1, a] + 4 * start, size)
        if momentum == 0:
            for i in range(size):
                p[i] += (sign * g[i] + decay * p[i]) * rate
        else:
            b = part(table[2, a] + 4 * start, size)
            for i in range(size):
                d = sign * g[i] + decay * p[i]
                v = momentum32 * b[i] + fresh32 * d if fresh == fresh else d
                b[i] = v
                p[i] += (d + momentum32 * v if nesterov else v) * rate


@kernel
def adam(counter, table, sizes, first_blocks, blocks, sign, decay, shrink, weight1, beta2, weight2, root, eps, rate, amsgrad):
    """Rows of the table: param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq. shrink: AdamW's factor of the parameter."""
    share(counter)
    sign, decay, shrink, rate = np.float32(sign), np.float32(decay), np.float32(shrink), np.float32(rate)
    near, far = np.float32(weight1), np.float32(1 - weight1)
    beta2, weight2, root, eps = np.float32(beta2), np.float32(weight2), np.float32(root), np.float32(eps)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        a = find(first_blocks, block)
        start = (block - first_blocks[a]) * BLOCK
        size = min(BLOCK, sizes[a] - start)
        p, g = part(table[0, a] + 4 * start, size), part(table[1, a] + 4 * start, size)
        m, v = part(table[2, a] + 4 * start, size), part(table[3, a] + 4 * start, size)
        if amsgrad:
            top = part(table[4, a] + 4 * start, size)
            for i in range(size):
                q = p[i] * shrink
                d = sign * g[i] + decay * q
                first = m[i] + near * (d - m[i]) if weight1 < 0.5 else d - (d - m[i]) * far
                second = v[i] * beta2 + d * weight2 * d
                largest = second if second > top[i] or second != second else top[i]
                m[i], v[i], top[i] = first, second, largest
                p[i] = q + first * rate / (np.sqrt(largest) / root + eps)
        else:
            for i in range(size):
                q = p[i] * shrink
                d = sign * g[i] + decay * q
                first = m[i] + near * (d - m[i]) if weight1 < 0.5 else d - (d - m[i]) * far
                second = v[i] * beta2 + d * weight2 * d
                m[i], v[i] = first, second
                p[i] = q + first * rate / (np.sqrt(second) / root + eps)


@kernel
def rmsprop(counter, table, sizes, first_blocks, blocks, sign, decay, alpha, weight, eps, momentum, rate, centered):
    """Rows of the table: param, grad, square_avg, grad_avg, buffer."""
    share(counter)
    sign, decay, alpha, weight32 = np.float32(sign), np.float32(decay), np.float32(alpha), np.float32(weight)
    far, eps, momentum32, rate = np.float32(1 - weight), np.float32(eps), np.float32(momentum), np.float32(rate)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        a = find(first_blocks, block)
        start = (block - first_blocks[a]) * BLOCK
        size = min(BLOCK, sizes[a] - start)
        p, g = part(table[0, a] + 4 * start, size), part(table[1, a] + 4 * start, size)
        v, mean = part(table[2, a] + 4 * start, size), part(table[3, a] + 4 * start, size)
        b = part(table[4, a] + 4 * start, size)
        for i in range(size):
            d = sign * g[i] + decay * p[i]
            second = v[i] * alpha + d * weight32 * d
            v[i] = second
            if centered:
                first = mean[i] + weight32 * (d - mean[i]) if weight < 0.5 else d - (d - mean[i]) * far
                mean[i] = first
                second = second - first * first
            root = np.sqrt(second) + eps
            if momentum > 0:
                step = b[i] * momentum32 + d / root
                b[i] = step
                p[i] += step * rate
            else:
                p[i] += d * rate / root


@kernel
def adagrad(counter, table, sizes, first_blocks, blocks, sign, decay, eps, rate):
    """Rows of the table: param, grad, sum."""
    share(counter)
    sign, decay, eps, rate = np.float32(sign), np.float32(decay), np.float32(eps), np.float32(rate)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        a = find(first_blocks, block)
        start = (block - first_blocks[a]) * BLOCK
        size = min(BLOCK, sizes[a] - start)
        p, g, s = (part(table[0, a] + 4 * start, size), part(table[1, a] + 4 * start, size), part(table[2, a] + 4 * start, size))
        for i in range(size):
            d = sign * g[i] + decay * p[i]
            total = s[i] + d * d
            s[i] = total
            p[i] += d * rate / (np.sqrt(total) + eps)


def sgd_step(params, grads, buffers, *, lr, momentum, dampening, weight_decay, nesterov, maximize, first):
    if not in_place(params, buffers):
        return reference.sgd_step(params, grads, buffers, lr=lr, momentum=momentum, dampening=dampening,
                                  weight_decay=weight_decay, nesterov=nesterov, maximize=maximize, first=first)
    fresh = float("nan") if first else 1.0 - dampening
    over(sgd, params, grads, [buffers], sign(maximize), float(weight_decay), float(momentum), fresh, bool(nesterov), -float(lr))


def adam_step(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, *, step, lr, beta1, beta2, eps, weight_decay, decoupled,
              maximize):
    if not in_place(params, exp_avgs, exp_avg_sqs, max_exp_avg_sqs):
        return reference.adam_step(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, step=step, lr=lr, beta1=beta1,
                                   beta2=beta2, eps=eps, weight_decay=weight_decay, decoupled=decoupled, maximize=maximize)
    decay, shrink = (0.0, 1.0 - lr * weight_decay) if decoupled else (float(weight_decay), 1.0)
    over(adam, params, grads, [exp_avgs, exp_avg_sqs, max_exp_avg_sqs], sign(maximize), decay, shrink, 1.0 - beta1, float(beta2),
         1.0 - beta2, (1.0 - beta2**step) ** 0.5, float(eps), -lr / (1.0 - beta1**step), max_exp_avg_sqs is not None)


def rmsprop_step(params, grads, square_avgs, grad_avgs, buffers, *, lr, alpha, eps, weight_decay, momentum, centered, maximize):
    if not in_place(params, square_avgs, grad_avgs, buffers):
        return reference.rmsprop_step(params, grads, square_avgs, grad_avgs, buffers, lr=lr, alpha=alpha, eps=eps,
                                      weight_decay=weight_decay, momentum=momentum, centered=centered, maximize=maximize)
    over(rmsprop, params, grads, [square_avgs, grad_avgs, buffers], sign(maximize), float(weight_decay), float(alpha), 1.0 - alpha,
         float(eps), float(momentum), -float(lr), bool(centered))


def adagrad_step(params, grads, sums, *, step, lr, lr_decay, eps, weight_decay, maximize):
    if not in_place(params, sums):
        return reference.adagrad_step(params, grads, sums, step=step, lr=lr, lr_decay=lr_decay, eps=eps,
                                      weight_decay=weight_decay, maximize=maximize)
    over(adagrad, params, grads, [sums], sign(maximize), float(weight_decay), float(eps), -lr / (1.0 + (step - 1) * lr_decay))


def sign(maximize):
    return -1.0 if maximize else 1.0


def in_place(*lists):
    return all(a.flags.c_contiguous and a.flags.writeable for arrays in lists if arrays is not None for a in arrays)


def over(kernel, params, grads, states, *settings):
    """Launch a kernel over all parameters. A state that is None gets the parameters' addresses, which the kernel does not use."""
    grads = [np.ascontiguousarray(g) for g in grads]
    lists = [params, grads, *(params if s is None else s for s in states)]
    if any([a.size for a in arrays] != [p.size for p in params] for arrays in lists):
        raise ValueError(f"optimiser step: parameters, gradients and states differ in size: "
                         f"{[[a.shape for a in arrays] for arrays in lists]}")
    if not params:
        return
    table = np.array([[address(a) for a in arrays] for arrays in lists], np.int64)
    sizes = np.array([p.size for p in params], np.int64)
    blocks = -(-sizes // BLOCK)
    launch(kernel, int(blocks.sum()), table, sizes, np.cumsum(blocks) - blocks, int(blocks.sum()), *settings)
