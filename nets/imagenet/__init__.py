"""Networks trained on ImageNet, from files of their weights; `weights` holds what they share."""

from nets.imagenet import efficientnet_lite, squeezenet

NETWORKS = {"squeezenet": squeezenet.load, "efficientnet-lite0": efficientnet_lite.load}
