"""python -m nets NAME: the list of commands."""

import sys

from minigrad import command

COMMANDS = {
    "classifier": ("nets.classifier", "train a classifier of images and report its test accuracy"),
}

if __name__ == "__main__":
    sys.exit(command.main("nets", COMMANDS))
