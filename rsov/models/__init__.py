"""Segmenters: the protocol and one folder per model family."""
