"""ProtoBERT: an encoder trained to embed tokens near the prototype of their class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..model.configuration_lacl import LaclConfig
from ..model.encoder_lacl import LaclOutput
from ..model.losses_lacl import euclidean, full_precision
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.similarity_lacl import prototypes


class PrototypicalModel(LaclForTokenClassification):
    """Prototypical network over hidden states (Snell et al., 2017; ProtoBERT of Ding et al., ACL 2021).

    Trained on episodes: the sentences of a batch alternate between support set and query set, and a query
    token is classified by its squared Euclidean distance to the prototype of each class, the mean of its
    support tokens. The configuration has `use_prompts=False`, `projection="hidden"`,
    `divergence="euclidean"`, `similarity_temperature=1` and `support_method="prototypes"`, so that decoding
    matches training.
    """

    def __init__(self, config: LaclConfig) -> None:
        if config.use_prompts or config.projection != "hidden" or config.support_method != "prototypes":
            raise ValueError(
                "a prototypical network needs use_prompts=False, projection='hidden' and "
                "support_method='prototypes'"
            )
        super().__init__(config)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> LaclOutput | tuple[Any, ...]:
        """Compute the same as `LaclForTokenClassification`; with `labels`, the prototypical loss instead."""
        if labels is None:
            return super().forward(
                input_ids, attention_mask, token_type_ids, return_dict=return_dict, **kwargs
            )
        states = self.lacl(input_ids, attention_mask, token_type_ids)
        with full_precision(states.mean):
            loss = prototypical_loss(states.mean, labels, self.config.num_labels)
        output = LaclOutput(loss=loss, mean=states.mean, variance=states.variance)
        return output.to_tuple() if return_dict is False else output


def prototypical_loss(states: Tensor, labels: Tensor, num_labels: int) -> Tensor:
    """Return the cross-entropy of query tokens over the support set's classes (Snell et al. 2017, eq. 2).

    Of the sequences of a batch, every other one, from the first, is support; the rest are queries.

    Args:
        states: `(B, L, H)` float.
        labels: `(B, L)` long; labels of −100 are ignored.
        num_labels: K, the number of labels including outside.

    Returns:
        Scalar: the mean over query tokens whose class has a prototype; 0 if there are none.
    """
    is_labelled = labels >= 0
    is_support = (torch.arange(len(labels), device=labels.device) % 2 == 0).unsqueeze(1) & is_labelled
    is_query = is_labelled & ~is_support
    support, query, query_labels = states[is_support], states[is_query], labels[is_query]
    mean, variance, present = prototypes(support, torch.ones_like(support), labels[is_support], num_labels)
    logits = -euclidean((query, torch.ones_like(query)), (mean, variance))
    logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min)
    reachable = present[query_labels]
    if not bool(reachable.any()):
        return (states * 0).sum()
    return torch.nn.functional.cross_entropy(logits[reachable], query_labels[reachable])
