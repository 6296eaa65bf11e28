"""Baselines in the same framework as LACL: the same data, steps, support sets and prediction.

Most baselines of few-shot NER are a choice of representation, distance and decoding, and thus a configuration
of `LaclForTokenClassification` without prompts:

- NNShot and StructShot (Yang & Katiyar, EMNLP 2020): a `TokenClassifier` trained on the source. The hidden
  states of its encoder are compared with those of the nearest support token; StructShot adds Viterbi.
- Fine-tuning: the same classifier with a new last layer, trained on the support set.
- ProtoBERT (Snell et al., NeurIPS 2017; Ding et al., ACL 2021): a `PrototypicalModel`.
- CONTaiNER (Das et al., ACL 2022): head and loss are options of the configuration; its second stage is
  `evaluation.stages.adapt_container`.
- LACL without label names: `LaclForTokenClassification` with `use_prompts=False`.

Two others know the label names, as LACL does:

- A span scorer in the manner of GLiNER (Zaratiana et al., NAACL 2024): a `GlinerModel`.
- ProML (Chen et al., Findings of ACL 2023): a `PromlModel`; its second stage is
  `evaluation.stages.adapt_proml`.
"""

from __future__ import annotations

from ..model.modeling_lacl import LaclForTokenClassification
from .classifier import TokenClassifier
from .gliner import GlinerModel
from .proml import PromlModel
from .prototypical import PrototypicalModel

MODELS: dict[str, type[LaclForTokenClassification]] = {
    "lacl": LaclForTokenClassification,
    "classifier": TokenClassifier,
    "prototypical": PrototypicalModel,
    "gliner": GlinerModel,
    "proml": PromlModel,
}


def model_class(name: str) -> type[LaclForTokenClassification]:
    """Return the class of a model by its name in recipes.

    Raises:
        ValueError: If there is no class of that name.
    """
    if name not in MODELS:
        raise ValueError(f"method is {name!r}; choose one of {', '.join(MODELS)}")
    return MODELS[name]


__all__ = ["MODELS", "GlinerModel", "PromlModel", "PrototypicalModel", "TokenClassifier", "model_class"]
