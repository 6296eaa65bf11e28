"""Loading and publishing models: bundled models, checkpoints by name, model cards, uploads."""
