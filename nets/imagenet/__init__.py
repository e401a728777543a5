"""Networks trained on ImageNet, from files of their weights; `weights` holds what they share."""
