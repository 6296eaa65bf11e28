"""Labelled data: readers for every format and tag scheme, label names, tokenisation."""

from ..errors import LaclDataError
from ..schemes import io_to_bio, to_bio
from .corpora import load_corpus
from .labels import entity_types, to_io
from .names import label_names_for, load_label_names, shipped_label_names
from .reading import read_dataset
from .tokenize import tokenize_dataset

__all__ = [
    "LaclDataError",
    "entity_types",
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
