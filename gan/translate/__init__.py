"""Pictures of one kind into pictures of another, without pairs to learn from.

    cycle       the pool of former translations, and CycleGAN's losses
    cartoon     CartoonGAN's losses and steps
    edges       edges found and smoothed, for CartoonGAN's discriminator
    contrast    whether a translation keeps light and dark, or turns them round
    oracle      on domains whose true pairs are known: how near a translation comes to its partner
"""

from gan.translate.cartoon import Game, adversarial_loss, content_loss, initialise, play
from gan.translate.contrast import contrast_kept
from gan.translate.cycle import Pool, cycle_losses, discriminator_loss
from gan.translate.edges import canny, clear_share, smooth_edges
from gan.translate.oracle import oracle
