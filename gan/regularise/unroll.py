"""Unrolled GANs: the generator plays against the discriminator as it will be after its next k steps (Metz et al. 2017).

    theta, phi       parameters of the generator and of the discriminator
    f(theta, phi)    the discriminator's loss;  u(phi, g)  one step of its optimiser with the gradient g
    phi_0 = phi,     phi_{i+1} = u(phi_i, df/dphi_i),     and the generator's step follows  d/dtheta loss_G(theta, phi_k(theta))

phi_k depends on theta through every step, and that dependence is what keeps a generator from putting all samples where the
discriminator happens to be blind now (section 2.2). So the steps are computed as part of the graph (`create_graph`), for SGD with
its momentum and for Adam with its moments, from the state that the optimiser is in. Nothing moves: neither parameters nor the
optimiser's state.

    with unrolled(discriminator, adam_d, lambda: loss.discriminator(discriminator(real), discriminator(fake)), steps=5):
        loss_g = loss.generator(discriminator(fake))
    loss_g.backward()

first_order=True leaves the dependence out: phi_k is a constant. That surrogate costs less and is not unrolling in the paper's
sense.

Imports: minigrad.
"""

from __future__ import annotations

import contextlib

import minigrad as mg
from minigrad import optim

TINY = 1e-30  # under Adam's root: a gradient of exactly 0 has no infinite derivative, and 1e-15 beside eps = 1e-8 is nothing


@contextlib.contextmanager
def substituted(module, tensors: dict):
    """Inside, the module computes with `tensors` {path: Tensor} in place of the parameters of these names."""
    before = []
    try:
        for path, tensor in tensors.items():
            owner, _, name = path.rpartition(".")
            slots = vars(module.get_submodule(owner))
            before.append((slots, name, slots[name]))
            slots[name] = tensor  # past Module's own check, which keeps a parameter's name for Parameters
        yield module
    finally:
        for slots, name, parameter in before:
            slots[name] = parameter


@contextlib.contextmanager
def unrolled(discriminator, optimizer, loss_of, steps: int, *, first_order: bool = False):
    """Inside, `discriminator` computes with the parameters that it would have after `steps` steps of `optimizer`.

    loss_of()    the discriminator's loss, computed with `discriminator`; samples of the generator in it must not be detached
    optimizer    optim.SGD, Adam or AdamW over the discriminator's parameters
    first_order  a named surrogate: look ahead, but do not differentiate through the steps
    Not for a discriminator with batch norm's running statistics or a spectral norm's power iteration: those would move."""
    if steps < 0:
        raise ValueError(f"unrolled: steps must be at least 0, got {steps}")
    if not steps:
        yield discriminator
        return
    names = {id(p): name for name, p in discriminator.named_parameters()}
    present, memory = {}, {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if id(p) not in names:
                raise ValueError(f"unrolled: the optimiser moves a parameter {p.shape} that the discriminator does not have")
            present[names[id(p)]] = p.detach().requires_grad_()
            memory[names[id(p)]] = (group, {key: mg.tensor(value) if hasattr(value, "shape") else value
                                            for key, value in optimizer.state.get(p, {}).items()})
    for _ in range(steps):
        with substituted(discriminator, present):
            loss = loss_of()
        gradients = mg.grad(loss, list(present.values()), create_graph=not first_order, allow_unused=True)
        for (name, value), g in zip(list(present.items()), gradients, strict=True):
            if g is not None:  # an optimiser passes such a parameter over
                group, state = memory[name]
                after, memory[name] = _update(optimizer, value, g, group, state)
                present[name] = after.detach().requires_grad_() if first_order else after
    with substituted(discriminator, present):
        yield discriminator


def _update(optimizer, value, g, group, state):
    """(parameter, (group, state)) after one step, as Tensors: the equations of `minigrad.optim`."""
    if group.get("maximize"):
        g = -g
    if isinstance(optimizer, optim.Adam):
        return _adam(value, g, group, state, optimizer.decoupled)
    if isinstance(optimizer, optim.SGD):
        return _sgd(value, g, group, state)
    raise TypeError(f"unrolled: knows SGD, Adam and AdamW, not {type(optimizer).__name__}")


def _sgd(value, g, group, state):
    lr, momentum = group["lr"], group["momentum"]
    if group["weight_decay"]:
        g = g + value * group["weight_decay"]
    if momentum:
        old = state.get("momentum_buffer")
        v = g if old is None else old * momentum + g * (1 - group["dampening"])
        state = {"momentum_buffer": v}
        g = g + v * momentum if group["nesterov"] else v
    return value - g * lr, (group, state)


def _adam(value, g, group, state, decoupled):
    if group["amsgrad"]:
        raise TypeError("unrolled: Adam with amsgrad is not supported")
    lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
    if decay and decoupled:
        value = value * (1 - lr * decay)
    elif decay:
        g = g + value * decay
    step = state.get("step", 0) + 1
    m = g * (1 - beta1) if step == 1 else state["exp_avg"] * beta1 + g * (1 - beta1)
    v = g * g * (1 - beta2) if step == 1 else state["exp_avg_sq"] * beta2 + g * g * (1 - beta2)
    root = (v * (1 / (1 - beta2**step)) + TINY).sqrt()
    after = value - m * (lr / (1 - beta1**step)) / (root + group["eps"])
    return after, (group, {"step": step, "exp_avg": m, "exp_avg_sq": v})
