"""Classifiers of images: (N, C, H, W) in [-1, 1] -> logits (N, classes); and how one that was trained is taken from its run.

Imports: minigrad.kinds, nets.classifiers.
"""

from minigrad.kinds import RunError, require
from nets.classifiers.lenet import LeNet
from nets.classifiers.strided import Strided

KINDS = ("nets classifier", "attacks train")  # the commands whose runs hold one
NETWORKS = {"lenet": LeNet, "strided": Strided}  # what `trained` can build; a run that names none holds a LeNet


def trained(run, turns: bool = False):
    """The classifier of a run, in evaluation mode. RunError where the run holds none; it names runs that do.

    turns: one that knows only how far a picture is turned (`nets classifier --turns`) will do, because its features are wanted."""
    c = run.config
    require(run.path, *KINDS)
    if c.get("turns") and not turns:
        raise RunError(run.path, "tells how far a picture is turned, not what it shows (--turns); train a classifier of the labels "
                       f"with: python -m nets classifier --data {c['data']}")
    if run.restored is None or "network" not in run.restored:
        raise RunError(run.path, "holds no checkpoint of a classifier; train one with: python -m nets classifier")
    network = NETWORKS[c.get("network", "lenet")](c["channels"], c["classes"], c["size"], c["width"])
    run.restore(dict(network=network))
    return network.eval()
