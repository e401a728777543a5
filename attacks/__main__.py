"""python -m attacks NAME: the list of commands."""

import sys

from attacks.commands.helpers.catalogue import ATTACKS
from minigrad import command

COMMANDS = {
    "train": ("attacks.commands.train", "a classifier trained against attacks (or defended in a way that fails)"),
    "defenses": ("attacks.commands.defenses", "defenses that fail, the attack that breaks each, the check that would have told"),
    "goodfellow": ("attacks.commands.goodfellow", "the figures of the paper that named the fast gradient sign, measured anew"),
    "panda": ("attacks.commands.panda", "a photograph, an ImageNet network, and a change that nobody sees"),
    "table": ("attacks.commands.table", "targeted success, every class against every other"),
    "curve": ("attacks.commands.curve", "accuracy against epsilon: FGSM, PGD, random noise"),
    "universal": ("attacks.commands.universal", "one perturbation that fools on images it was not made from"),
    "rho": ("attacks.commands.rho", "DeepFool's measure of robustness, on the network of its paper"),
    "linear": ("attacks.commands.linear", "closed forms: do the attacks find what is known exactly? 200 linear models"),
    "loss": ("attacks.commands.loss", "the loss falls as in training: one loop, many optimisers"),
    "substitute": ("attacks.commands.substitute", "a black box is learnt by asking for labels, and fooled through the copy"),
    "transfer": ("attacks.commands.transfer", "what fools one network, tried on others that are unlike it: the matrix"),
    "extract": ("attacks.commands.extract", "a model is copied through its answers: fidelity and accuracy by questions"),
    "certify": ("attacks.commands.certify", "a radius within which no attack can succeed: randomized smoothing"),
    "evaluate": ("attacks.commands.evaluate", "may a robust accuracy be believed? checks, the strong attacks, curves, a report"),
    **{name: ("attacks.commands.attack", attack.help) for name, attack in ATTACKS.items()},
}


def main(argv=None) -> int:
    """Run a command; one module serves all attacks and is told which by its first argument."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return command.main("attacks", COMMANDS, argv[:1] + argv if argv[:1] and argv[0] in ATTACKS else argv)


if __name__ == "__main__":
    sys.exit(main())
