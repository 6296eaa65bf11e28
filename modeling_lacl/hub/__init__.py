"""Where models come from and go to: bundled models, checkpoints by name, model cards, uploads."""
