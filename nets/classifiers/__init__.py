"""Classifiers of images: (N, C, H, W) in [-1, 1] -> logits (N, classes); and how one that was trained is taken from its run.

Imports: minigrad.kinds, nets.classifiers.
"""

from minigrad.kinds import RunError, require
from nets.classifiers.lenet import LeNet
from nets.classifiers.strided import Strided

KINDS = ("nets classifier", "attacks train")  # the commands whose runs hold one
NETWORKS = {"lenet": LeNet, "strided": Strided}  # what `trained` can build; a run that names none holds a LeNet


def trained(run):
    """The classifier of a run, in evaluation mode. RunError where the run holds none; it names runs that do."""
    c = run.config
    require(run.path, *KINDS)
    if run.restored is None or "network" not in run.restored:
        raise RunError(run.path, "holds no checkpoint of a classifier; train one with: python -m nets classifier")
    network = NETWORKS[c.get("network", "lenet")](c["channels"], c["classes"], c["size"], c["width"])
    run.restore(dict(network=network))
    return network.eval()
