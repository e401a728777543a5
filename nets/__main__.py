"""python -m nets NAME: the list of commands."""

import sys

from minigrad import command

COMMANDS = {
    "classifier": ("nets.commands.classifier", "train a classifier of images and report its test accuracy"),
    "classify": ("nets.commands.classify", "name what photographs show, by a network trained on ImageNet"),
    "autoencoder": ("nets.commands.autoencoder", "train an autoencoder: pictures through a short code and back"),
    "vae": ("nets.commands.vae", "train a variational autoencoder: pictures from codes drawn at random"),
    "charrnn": ("nets.commands.charrnn", "train a network that writes text letter by letter"),
    "generate": ("nets.commands.generate", "let a trained run of these three write or draw"),
    "blur": ("nets.commands.blur", "why autoencoders blur: the squared error predicts the mean"),
}

if __name__ == "__main__":
    sys.exit(command.main("nets", COMMANDS))
