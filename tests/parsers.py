"""Every command of the three packages, and the parser of each without running it."""

import importlib

import pytest

from attacks import __main__ as attacks_main
from gan import __main__ as gan_main
from minigrad import command
from nets import __main__ as nets_main

PACKAGES = {"nets": nets_main.COMMANDS, "gan": gan_main.COMMANDS, "attacks": attacks_main.COMMANDS}
COMMANDS = [(package, name) for package, commands in PACKAGES.items() for name in commands]


class Caught(Exception):
    """Carries the parser of a command, in place of parsing."""


def parser_of(package, name):
    """The Parser that a command makes. Fails for a command that makes none."""
    def parse(self, argv=None):
        raise Caught(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.Parser, "parse", parse)
        module = importlib.import_module(PACKAGES[package][name][0])
        with pytest.raises(Caught) as caught:
            module.main([name] if module.__name__ == "attacks.commands.attack" else [])
    return caught.value.args[0]
