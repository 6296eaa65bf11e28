"""The corpora of few-shot NER by name: `load_corpus` reads each in the layout that its authors give it."""

from .few_nerd import PublishedEpisode, read_episodes
from .loading import load_corpus
from .registry import CORPORA, Corpus

__all__ = ["CORPORA", "Corpus", "PublishedEpisode", "load_corpus", "read_episodes"]
