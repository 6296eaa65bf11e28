"""What LACL is compared with, in the same framework: the same data, steps, support sets and prediction.

Most of few-shot NER's baselines are a choice of representation, distance and decoding, and so a configuration
of `LaclForTokenClassification` without prompts:

- NNShot and StructShot (Yang & Katiyar, EMNLP 2020): a `TokenClassifier` trained on the source; the hidden
  states of its encoder serve to find the nearest support token, and StructShot adds Viterbi.
- Plain fine-tuning: the same classifier, with a new last layer, trained on the support set.
- ProtoBERT (Snell et al., NeurIPS 2017; Ding et al., ACL 2021): a `PrototypicalModel`.
- CONTaiNER (Das et al., ACL 2022): its head and loss are options of the configuration;
  `evaluation.stages.adapt_container` is its second stage.
"""

from __future__ import annotations

from ..model.modeling_lacl import LaclForTokenClassification
from .classifier import TokenClassifier
from .prototypical import PrototypicalModel

MODELS: dict[str, type[LaclForTokenClassification]] = {
    "lacl": LaclForTokenClassification,
    "classifier": TokenClassifier,
    "prototypical": PrototypicalModel,
}


def model_class(name: str) -> type[LaclForTokenClassification]:
    """The class of a model by the name that recipes give it.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in MODELS:
        raise ValueError(f"method is {name!r}; choose one of {', '.join(MODELS)}")
    return MODELS[name]


__all__ = ["MODELS", "PrototypicalModel", "TokenClassifier", "model_class"]
