"""ProtoBERT: an encoder trained so that tokens lie near the mean of their class's tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..model.configuration_lacl import LaclConfig
from ..model.decoding_lacl import prototypes
from ..model.encoder_lacl import LaclOutput
from ..model.losses_lacl import euclidean, full_precision
from ..model.modeling_lacl import LaclForTokenClassification


class PrototypicalModel(LaclForTokenClassification):
    """Prototypical network over hidden states (Snell et al., 2017; ProtoBERT of Ding et al., ACL 2021).

    Trained on episodes: the sentences of a batch are by turns support and query, and a query token is
    classified by its squared Euclidean distance to the mean of each class's support tokens. Its
    configuration has `use_prompts=False`, `projection="hidden"`, `divergence="euclidean"`,
    `similarity_temperature=1` and `support_method="prototypes"`, by which it decodes as it was trained.
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
        """As `LaclForTokenClassification`, with the prototypical loss where `labels` are given."""
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
    """Cross-entropy of the odd rows' tokens against the classes of the even rows (Snell et al. 2017, eq. 2).

    Args:
        states: `(B, L, H)` float.
        labels: `(B, L)` long, −100 where a token does not count.
        num_labels: K, outside among them.

    Returns:
        Scalar: the mean over query tokens whose class has a prototype; 0 where there is none.
    """
    counts = labels >= 0
    is_support = (torch.arange(len(labels), device=labels.device) % 2 == 0).unsqueeze(1) & counts
    is_query = counts & ~is_support
    support, query, wanted = states[is_support], states[is_query], labels[is_query]
    mean, variance, present = prototypes(support, torch.ones_like(support), labels[is_support], num_labels)
    logits = -euclidean((query, torch.ones_like(query)), (mean, variance))
    logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min)
    reachable = present[wanted]
    if not bool(reachable.any()):
        return (states * 0).sum()
    return torch.nn.functional.cross_entropy(logits[reachable], wanted[reachable])
