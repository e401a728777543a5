"""Classifiers of images: (N, C, H, W) in [-1, 1] -> logits (N, classes); and how one that was trained is taken from its run.

Imports: minigrad.run, nets.classifiers.
"""

from minigrad.run import RunError
from nets.classifiers.lenet import LeNet
from nets.classifiers.strided import Strided

NETWORKS = {"lenet": LeNet, "strided": Strided}  # what `trained` can build; a run that names none holds a LeNet


def trained(run):
    """The classifier of a run, in evaluation mode. RunError where the run holds none."""
    c = run.config
    if run.restored is None or "network" not in run.restored:
        raise RunError(run.path, "holds no checkpoint of a classifier; train one with: python -m nets classifier")
    network = NETWORKS[c.get("network", "lenet")](c["channels"], c["classes"], c["size"], c["width"])
    network.load_state_dict(run.restored["network"])
    return network.eval()
