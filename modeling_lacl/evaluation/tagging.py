"""The step shared by all protocols: adapt the source model to a support set and tag sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from ..baselines.classifier import TokenClassifier
from ..data.support import LabelledSupport, encode_support, names_for, read_support
from ..data.tag_schemes import io_to_bio
from ..model.decoding_lacl import outside_scores
from ..model.labels_lacl import with_own_labels
from ..model.modeling_lacl import LaclForTokenClassification
from ..training.word_labels import EncodedWords, decode_words, predict_tags, word_gaussians
from .stages import Stage

# Number of words compared with a support set at once.
_WORDS_AT_ONCE = 2**13


class Tagger:
    """Tags sentences with a source model adapted to one support set after another.

    Args:
        stage: The second stage: `adapt`, or that of a baseline.
        arguments: Further arguments of the second stage.
        model: The source model; it is not modified.
        batch_size: Sentences per forward pass.
    """

    def __init__(
        self,
        stage: Stage,
        arguments: Mapping[str, Any],
        model: LaclForTokenClassification,
        batch_size: int,
    ) -> None:
        self.stage = stage
        self.arguments = arguments
        self.model = model
        self.batch_size = batch_size

    def prepare(self, sentences: Iterable[Sequence[str]]) -> None:
        """Prepare for sentences that will be tagged or used in support sets; a hook for subclasses."""

    def tag(
        self, support: Dataset, label_names: Mapping[str, str], sentences: Sequence[Sequence[str]]
    ) -> list[list[str]]:
        """Tag sentences with the model adapted to a support set.

        Args:
            support: Support sentences from `read_dataset`.
            label_names: Label names of its types.
            sentences: Sentences as lists of words.

        Returns:
            BIO tags of the sentences.
        """
        adapted = self.stage(self.model, support, label_names=label_names, **self.arguments)
        return predict_tags(adapted, sentences, batch_size=self.batch_size)


class EncodedOnceTagger(Tagger):
    """Tagger that encodes every sentence once, for models that adapting does not change; same results.

    Without label prompts and without fine-tuning, the Gaussian of a word does not depend on the support set.
    It is cached, and used both when the sentence is tagged and when it is part of a support set.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.encoded: dict[tuple[str, ...], EncodedWords] = {}
        self.learner = with_own_labels(self.model)

    def prepare(self, sentences: Iterable[Sequence[str]]) -> None:
        new = [key for key in dict.fromkeys(map(tuple, sentences)) if key not in self.encoded]
        words = word_gaussians(self.model, new, batch_size=self.batch_size)
        self.encoded.update(zip(new, words, strict=True))

    @torch.inference_mode()
    def tag(
        self, support: Dataset, label_names: Mapping[str, str], sentences: Sequence[Sequence[str]]
    ) -> list[list[str]]:
        read = read_support(support)
        adapted = self.learner
        adapted.set_labels(read.types, names_for(read.types, label_names))
        adapted.set_support(*self._support(adapted, read))
        self.prepare(sentences)
        scores = self._scores(adapted, [self.encoded[tuple(words)] for words in sentences])
        return io_to_bio(decode_words(adapted.config, sentences, scores), read.types)

    def _support(
        self, adapted: LaclForTokenClassification, support: LabelledSupport
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, variance and label ids of the support tokens, as `encode_support` does."""
        sentences = list(support.dataset["tokens"])
        self.prepare(sentences)
        parts = []
        for number, (words, ids) in enumerate(zip(sentences, support.labels, strict=True)):
            known = self.encoded[tuple(words)]
            if known.windows > 1:  # parts of long support sentences do not overlap
                parts.append(encode_support(adapted, support.dataset.select([number]), self.batch_size)[:3])
            else:
                found = ~known.mean[:, 0].isnan()
                parts.append((known.mean[found], known.variance[found], torch.tensor(ids)[found]))
        mean, variance, label_ids = zip(*parts, strict=True)
        return (
            torch.cat([part.cpu() for part in mean]),
            torch.cat([part.cpu() for part in variance]),
            torch.cat([part.cpu() for part in label_ids]),
        )

    def _scores(self, adapted: LaclForTokenClassification, sentences: Sequence[EncodedWords]) -> list[Tensor]:
        """Return the log-scores of each sentence, `(W, K)`."""
        mean = torch.cat([words.mean for words in sentences])
        variance = torch.cat([words.variance for words in sentences])
        scores = torch.cat(
            [
                adapted.support_similarity(*(part.to(adapted.device).unsqueeze(0) for part in both))
                .squeeze(0)
                .log_softmax(-1)
                .cpu()
                for both in zip(mean.split(_WORDS_AT_ONCE), variance.split(_WORDS_AT_ONCE), strict=True)
            ]
        )
        scores[mean[:, 0].isnan()] = torch.from_numpy(outside_scores(adapted.config.num_labels))
        return list(scores.split([len(words.mean) for words in sentences]))


def make_tagger(
    stage_name: str,
    stage: Stage,
    arguments: Mapping[str, Any],
    model: LaclForTokenClassification,
    batch_size: int,
) -> Tagger:
    """Return a tagger, one that encodes sentences once if model, second stage and arguments allow it."""
    once = (
        stage_name == "lacl"
        and arguments.get("steps") == 0
        and arguments.get("decoding", "gaussian") == "gaussian"
        and not model.config.use_prompts
        and not model.config.max_span_words
        and not isinstance(model, TokenClassifier)  # it has a separate last layer for each label set
    )
    return (EncodedOnceTagger if once else Tagger)(stage, arguments, model, batch_size)
