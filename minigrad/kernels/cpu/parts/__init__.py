"""Parts that several kernels use: layout of arrays, BLAS, long sums (A^T B), bias and activation."""
