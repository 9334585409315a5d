"""Training: one loop for every trainer, recipes in TOML, checkpoints that resume."""
