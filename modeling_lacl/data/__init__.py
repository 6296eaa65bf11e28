"""Labelled data: reading all formats and tag schemes, label names, tokenising, sampling, support sets."""
