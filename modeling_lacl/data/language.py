"""Whether texts are in a language that a model knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from transformers.utils import logging

from ..model.words_lacl import tokenizer_lock

logger = logging.get_logger(__name__)

_SAMPLE_TEXTS, _SAMPLE_LETTERS = 50, 4000
"""Texts, and characters in all, by which the language is told."""
_FEWEST_LETTERS = 40
"""Number of letters from which a language can be told."""
_PIECES = 1.4
"""Tokens per word from which a text may be in another language. Everyday English has 1.0 to 1.3 by BERT's
uncased tokenizer, biomedical English up to 1.5, French and Spanish 1.5 to 1.7, German 2.3. Only such texts
are identified, since loading the identifier takes about a second."""
_SURE = 0.9
"""Least probability of a language to be named."""


def check_language(model: Any, texts: Sequence[str]) -> None:
    """Log a warning if texts to tag seem to be in a language that the model was not trained on.

    The first texts are looked at. The same warning is logged once a process.

    Args:
        model: A model; without `config.languages` nothing is checked.
        texts: Texts to tag.
    """
    known = model.config.languages
    if not known:
        return
    sample = " ".join(text[:_SAMPLE_LETTERS] for text in texts[:_SAMPLE_TEXTS])[:_SAMPLE_LETTERS]
    words = re.findall(r"[^\W\d_]+", sample)
    if sum(map(len, words)) < _FEWEST_LETTERS:
        return
    with tokenizer_lock:  # a call changes settings of the tokenizer, which threads share
        pieces = model.tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False)
    if len(pieces["input_ids"]) < _PIECES * len(words):
        return
    language, probability = identify(sample)
    if language not in known and probability >= _SURE:
        logger.warning_once(
            f"the texts seem to be in another language ({language}) than the model was trained on "
            f"({', '.join(known)}): do not rely on the entities"
        )


def identify(text: str) -> tuple[str, float]:
    """Return the most likely language of a text (ISO 639-1) and its probability.

    Example:
        >>> from modeling_lacl.data.language import identify
        >>> identify("Gestern besuchte die Ministerin das neue Werk in der Nähe von München.")[0]
        'de'
    """
    language, probability = _identifier().classify(text)
    return str(language), float(probability)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_modelpath(MODEL_DIR / MODEL_FILE, norm_probs=True)
