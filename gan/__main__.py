"""python -m gan NAME: the list of commands."""

import sys

from minigrad import command

COMMANDS = {
    "dcgan": ("gan.commands.dcgan", "train a DCGAN: digits (or your pictures) from noise"),
    "mlp": ("gan.commands.mlp", "the GAN of 2014: a perceptron draws digits, a maxout network judges them"),
    "progan": ("gan.commands.progan", "two networks that grow from 4 x 4 pixels up; --without leaves an ingredient out"),
    "ablation": ("gan.commands.ablation", "what each ingredient of progan brings: a table of runs with one left out (resumable)"),
    "cyclegan": ("gan.commands.cyclegan", "pictures of one kind become pictures of another, without pairs to learn from"),
    "cartoon": ("gan.commands.cartoon", "photographs become frames of a cartoon, by its edges and their content"),
    "cartoon-ablation": ("gan.commands.cartoon_ablation", "what each part of cartoon does, in one figure"),
    "translate": ("gan.commands.translate", "pictures of your own through a run of cyclegan or cartoon"),
    "toy": ("gan.commands.toy", "two small networks play in the plane, beside the best discriminator (GIF); modes counted"),
    "dirac": ("gan.commands.dirac", "the smallest game, one number against one: which losses come to rest"),
    "losses": ("gan.commands.losses", "minimax and non-saturating loss where the discriminator is sure, and their gradients"),
    "toogood": ("gan.commands.toogood", "a discriminator trained far too well: what gradient reaches the generator, three losses"),
    "curve": ("gan.commands.curve", "does the loss say how good the samples are? rank correlation, GAN against Wasserstein critic"),
    "leak": ("gan.commands.leak", "leaky ReLU, and dead units of a trained critic against its slope"),
    "collapse": ("gan.commands.collapse", "only one digit: a game that collapses, and each remedy from the same seed"),
    "batchnorm": ("gan.commands.batchnorm", "batch norm's two modes: what each does, and what the wrong one costs"),
    "structure": ("gan.commands.structure", "exactly three discs: a rule that a critic of patches cannot teach"),
    "sample": ("gan.commands.sample", "draw from a trained run: a grid and a walk through latent space (GIF)"),
    "modes": ("gan.commands.modes", "stacked digits: how many of 1,000 combinations does a generator draw?"),
    "evaluate": ("gan.commands.evaluate", "judge a run by a classifier: class histogram, confidence, Frechet distance"),
}

if __name__ == "__main__":
    sys.exit(command.main("gan", COMMANDS))
