"""Kernels of whole layers beside convolution: matrix products, LSTM, normalisation, pooling, optimiser steps."""
