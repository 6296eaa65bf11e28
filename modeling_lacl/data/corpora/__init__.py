"""Corpora for few-shot NER: `load_corpus` loads each by name from the files as its authors publish them."""

from .few_nerd import PublishedEpisode, read_episodes
from .loading import load_corpus
from .registry import CORPORA, Corpus

__all__ = ["CORPORA", "Corpus", "PublishedEpisode", "load_corpus", "read_episodes"]
