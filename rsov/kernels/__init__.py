"""Numba kernels: pure functions on arrays that know nothing of files or models."""
