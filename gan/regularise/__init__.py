"""Remedies beside the loss: what is done to the networks and to their batches so that the game stays fair.

    minibatch   the discriminator sees several samples at once: their standard deviation as a feature, or packed into one
    noise       instance noise on what the discriminator sees; one-sided label smoothing
    augment     adaptive augmentation: it never sees an image as it is, so it cannot learn them by heart
    unroll      the generator looks ahead: it plays against the discriminator as it will be some steps later

Penalties on gradients are in `gan.penalties`; weight averaging is `minigrad.optim.EMA`.
"""

from gan.regularise.augment import Adaptive, augment
from gan.regularise.minibatch import MinibatchStddev, minibatch_stddev, pack
from gan.regularise.noise import add_noise, falling, one_sided
from gan.regularise.unroll import substituted, unrolled
