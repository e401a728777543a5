"""python -m nets NAME: the list of commands."""

import sys

from minigrad import command

COMMANDS = {
    "classifier": ("nets.commands.classifier", "train a classifier of images and report its test accuracy"),
    "classify": ("nets.commands.classify", "name what photographs show, by a network trained on ImageNet"),
}

if __name__ == "__main__":
    sys.exit(command.main("nets", COMMANDS))
