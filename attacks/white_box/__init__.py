"""Attacks that know architecture and weights: they follow gradients.

    gradient, apgd   the largest loss within a given radius          carlini, deepfool, fab, jsma   the smallest perturbation
    universal        one perturbation for all pictures
"""
