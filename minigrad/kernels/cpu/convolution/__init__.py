"""Convolution's algorithms. `choice` picks one for each shape, `plans` makes the tables that it walks, the others are kernels."""
