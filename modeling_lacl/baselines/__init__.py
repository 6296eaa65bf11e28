"""What LACL is compared with, in the same framework: the same data, steps, support sets and prediction.

Most of few-shot NER's baselines are a choice of representation, distance and decoding, and so a configuration
of `LaclForTokenClassification` without prompts:

- NNShot and StructShot (Yang & Katiyar, EMNLP 2020): a `TokenClassifier` trained on the source; the hidden
  states of its encoder serve to find the nearest support token, and StructShot adds Viterbi.
- Plain fine-tuning: the same classifier, with a new last layer, trained on the support set.
- ProtoBERT (Snell et al., NeurIPS 2017; Ding et al., ACL 2021): a `PrototypicalModel`.
- CONTaiNER (Das et al., ACL 2022): its head and loss are options of the configuration; `adapt_container` is
  its second stage.
"""

from __future__ import annotations

from collections.abc import Callable

from ..modeling_lacl import LaclForTokenClassification
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


def adapting(name: str) -> Callable[..., LaclForTokenClassification]:
    """The second stage by the name that recipes give it: `lacl` or `container`.

    Raises:
        ValueError: There is none of that name.
    """
    # Imported now: adapting imports the trainer, and source training this package.
    from ..adaptation import adapt
    from .container import adapt_container

    stages = {"lacl": adapt, "container": adapt_container}
    if name not in stages:
        raise ValueError(f"adapting is {name!r}; choose one of {', '.join(stages)}")
    return stages[name]


__all__ = ["MODELS", "PrototypicalModel", "TokenClassifier", "adapting", "model_class"]
