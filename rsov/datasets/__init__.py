"""Labelled data sets: one reader of every `dataset.toml`, picture cache, crops for training."""
