"""Averaged weights: a copy of a module, the shadow, whose parameters follow the module's slowly. A generator's shadow draws better.

Parameters are averaged; buffers are copied as they are, so batch norm's statistics belong to the last weights, not to
the averaged ones (re-estimate them before sampling from a network with batch norm: Mescheder et al. 2018).

Imports: minigrad.nn.module.
"""

from __future__ import annotations

import copy

from minigrad.nn.module import Module


class EMA:
    """Exponential moving average of a module: shadow <- beta * shadow + (1 - beta) * parameter at each `update`.

    decay      beta itself, for averaging per step (0.999 by default), or
    half_life  the number of images after which an old weight counts half: beta = 0.5 ** (images / half_life), where
               `update(images)` is told how many the step saw (Karras et al. 2018), and
    ramp_up    fraction: half_life is at most ramp_up times the images seen so far, so that the start is forgotten
               quickly (Karras et al. 2020 take 0.05).
    `.module` is the shadow: in evaluation mode, without gradients, for sampling.
    """

    def __init__(self, module: Module, decay: float | None = None, *, half_life: float | None = None,
                 ramp_up: float | None = None):
        if not isinstance(module, Module):
            raise TypeError(f"EMA: expected a Module, got {type(module).__name__}")
        if decay is not None and half_life is not None:
            raise ValueError("EMA: give decay (per step) or half_life (in images), not both")
        if decay is None and half_life is None:
            decay = 0.999
        if decay is not None and not 0 <= decay <= 1:
            raise ValueError(f"EMA: decay must lie in [0, 1], got {decay}")
        if half_life is not None and not half_life > 0:
            raise ValueError(f"EMA: half_life must be positive, got {half_life}")
        if ramp_up is not None and (half_life is None or not ramp_up > 0):
            raise ValueError(f"EMA: ramp_up must be positive and needs half_life, got ramp_up={ramp_up}")
        self.decay, self.half_life, self.ramp_up = decay, half_life, ramp_up
        self.images = self.updates = 0
        self.source = module
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    def beta(self, images: int | None = None) -> float:
        """How much of the shadow the next update of `images` images keeps."""
        if self.half_life is None:
            return self.decay
        if images is None or not images > 0:
            raise ValueError(f"EMA.update: with half_life it needs the number of images of the step, got {images}")
        life = self.half_life if self.ramp_up is None else min(self.half_life, self.ramp_up * self.images)
        return 0.5 ** (images / life) if life > 0 else 0.0

    def update(self, images: int | None = None) -> None:
        """Move the shadow towards the module's present weights, after an optimiser step."""
        beta = self.beta(images)
        own = dict(self.source.named_parameters())
        for name, shadow in self.module.named_parameters():
            p, s = own[name].array, shadow.array
            s += (p - s) * s.dtype.type(1 - beta)
            shadow.version_cell[0] += 1
        buffers = dict(self.source.named_buffers())
        for name, shadow in self.module.named_buffers():
            shadow.assign_(buffers[name])
        self.updates += 1
        self.images += images or 0

    def state_dict(self) -> dict:
        """Weights and counters, a tree that `checkpoint.save` takes."""
        return {"module": self.module.state_dict(), "updates": self.updates, "images": self.images}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on exactly where `state_dict` was taken."""
        try:
            weights, updates, images = (state_dict[key] for key in ("module", "updates", "images"))
        except (KeyError, TypeError):
            raise ValueError("EMA.load_state_dict: needs a dict with 'module', 'updates' and 'images'") from None
        self.module.load_state_dict(weights)
        self.updates, self.images = int(updates), int(images)
