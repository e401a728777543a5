"""Classifiers of images: (N, C, H, W) in [-1, 1] -> logits (N, classes)."""
