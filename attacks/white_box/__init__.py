"""Attacks that know architecture and weights: they follow gradients."""
