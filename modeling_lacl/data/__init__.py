"""Labelled data: reading all formats and tag schemes, label names, tokenising, sampling, support sets."""

from .corpora import load_corpus
from .examples import LaclDataError
from .label_names import label_names_for, load_label_names, shipped_label_names
from .reading import read_dataset
from .tag_schemes import io_to_bio, to_bio
from .tags import entity_types, gold_tags, to_io
from .tokenize import tokenize_dataset

__all__ = [
    "LaclDataError",
    "entity_types",
    "gold_tags",
    "io_to_bio",
    "label_names_for",
    "load_corpus",
    "load_label_names",
    "read_dataset",
    "shipped_label_names",
    "to_bio",
    "to_io",
    "tokenize_dataset",
]
