"""A token classifier: the source model of NNShot and StructShot, and the fine-tuning baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..model.configuration_lacl import LaclConfig
from ..model.encoder_lacl import LaclOutput
from ..model.modeling_lacl import LaclForTokenClassification


class TokenClassifier(LaclForTokenClassification):
    """Encoder, dropout, linear layer and cross-entropy over first subwords.

    The same as a token-classification model of transformers, with IO tags. A new label set gets a new last
    layer. The configuration has `use_prompts=False` and `projection="hidden"`, so that the same checkpoint
    loaded as `LaclForTokenClassification` decodes by the nearest support token, as in NNShot.
    """

    def __init__(self, config: LaclConfig) -> None:
        if config.use_prompts or config.projection != "hidden":
            raise ValueError("a token classifier needs use_prompts=False and projection='hidden'")
        super().__init__(config)
        self.dropout = nn.Dropout(getattr(config.encoder_config, "hidden_dropout_prob", 0.1))
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label or ()))
        self._init_weights(self.classifier)

    @property
    def has_support(self) -> bool:
        """Whether the model can predict: always True, as the last layer replaces a support set."""
        return True

    def set_labels(
        self,
        labels: Sequence[str] | Mapping[str, str],
        label_names: Mapping[str, str] | None = None,
    ) -> None:
        """Replace the label set of the model, and the last layer with an untrained one."""
        super().set_labels(labels, label_names)
        weight = self.classifier.weight
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels).to(weight)
        self._init_weights(self.classifier)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> LaclOutput | tuple[Any, ...]:
        """Compute log-probabilities `(B, L, K)`; with `labels` the loss, where labels of −100 are ignored."""
        states = self.lacl(input_ids, attention_mask, token_type_ids)
        logits = self.classifier(self.dropout(states.mean.to(self.classifier.weight.dtype)))
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        output = LaclOutput(
            loss=loss,
            logits=logits.float().log_softmax(-1),
            mean=states.mean,
            variance=torch.ones_like(states.mean),
        )
        return output.to_tuple() if return_dict is False else output
