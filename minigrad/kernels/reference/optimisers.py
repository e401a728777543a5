"""Steps of optimisers, in place over lists of arrays, one call a step.

The order of floating-point operations is that of torch.optim's single-tensor implementation. `maximize` climbs: the gradient's sign
is turned first.

Imports: numpy.
"""

import numpy as np


def sgd_step(params, grads, buffers, *, lr, momentum, dampening, weight_decay, nesterov, maximize, first):
    """buffer = momentum*buffer + (1 - dampening)*grad (at first: grad); param -= lr * buffer, or of grad + momentum*buffer
    (Nesterov). buffers is None when momentum is 0. weight_decay adds weight_decay*param to the gradient."""
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = _decayed(p, g, weight_decay, maximize)
        if momentum:
            b = buffers[i]
            if first:
                b[...] = g
            else:
                b *= _scalar(p, momentum)
                b += g * _scalar(p, 1 - dampening)
            g = g + b * _scalar(p, momentum) if nesterov else b
        p += g * _scalar(p, -lr)


def adam_step(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, *, step, lr, beta1, beta2, eps, weight_decay, decoupled,
              maximize):
    """m += (1-beta1)(g - m); v = beta2 v + (1-beta2) g^2; p -= lr/(1-beta1^t) * m / (sqrt(v / (1-beta2^t)) + eps).

    step t counts from 1. max_exp_avg_sqs (AMSGrad) holds the largest v so far, or is None. decoupled is AdamW: the decay
    multiplies p by 1 - lr*weight_decay instead of joining the gradient. (Kingma and Ba 2015; Loshchilov and Hutter 2019)
    """
    step_size, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    for i, (p, g, m, v) in enumerate(zip(params, grads, exp_avgs, exp_avg_sqs, strict=True)):
        g = _decayed(p, g, 0 if decoupled else weight_decay, maximize)
        if decoupled and weight_decay:
            p *= _scalar(p, 1 - lr * weight_decay)
        _lerp(m, g, 1 - beta1)
        v *= _scalar(p, beta2)
        v += g * _scalar(p, 1 - beta2) * g
        if max_exp_avg_sqs is not None:
            v = np.maximum(max_exp_avg_sqs[i], v, out=max_exp_avg_sqs[i])
        p += m * _scalar(p, -step_size) / (np.sqrt(v) / _scalar(p, root) + _scalar(p, eps))


def rmsprop_step(params, grads, square_avgs, grad_avgs, buffers, *, lr, alpha, eps, weight_decay, momentum, centered, maximize):
    """v = alpha v + (1-alpha) g^2; p -= lr * g / (sqrt(v) + eps); `centered` takes v - mean(g)^2, `momentum` averages the step.

    grad_avgs is None unless centered; buffers is None unless momentum.
    """
    for i, (p, g, v) in enumerate(zip(params, grads, square_avgs, strict=True)):
        g = _decayed(p, g, weight_decay, maximize)
        v *= _scalar(p, alpha)
        v += g * _scalar(p, 1 - alpha) * g
        if centered:
            a = grad_avgs[i]
            _lerp(a, g, 1 - alpha)
            v = v - a * a
        denominator = np.sqrt(v) + _scalar(p, eps)
        if momentum > 0:
            b = buffers[i]
            b *= _scalar(p, momentum)
            b += g / denominator
            p += b * _scalar(p, -lr)
        else:
            p += g * _scalar(p, -lr) / denominator


def adagrad_step(params, grads, sums, *, step, lr, lr_decay, eps, weight_decay, maximize):
    """sum += g^2; p -= lr/(1 + (t-1) lr_decay) * g / (sqrt(sum) + eps); step t counts from 1."""
    rate = lr / (1 + (step - 1) * lr_decay)
    for p, g, s in zip(params, grads, sums, strict=True):
        g = _decayed(p, g, weight_decay, maximize)
        s += g * g
        p += g * _scalar(p, -rate) / (np.sqrt(s) + _scalar(p, eps))


def _decayed(p, g, weight_decay, maximize):
    g = -g if maximize else g
    return g + p * _scalar(p, weight_decay) if weight_decay else g


def _lerp(a, b, weight):
    """a += weight*(b - a), from the nearer end, as torch.lerp does."""
    if weight < 0.5:
        a += (b - a) * _scalar(a, weight)
    else:
        a[...] = b - (b - a) * _scalar(a, 1 - weight)


def _scalar(x, value):
    return x.dtype.type(value)
