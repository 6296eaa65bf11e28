"""A plain token classifier: what NNShot and StructShot start from, and fine-tuning itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..model.configuration_lacl import LaclConfig
from ..model.encoder_lacl import LaclOutput
from ..model.modeling_lacl import LaclForTokenClassification


class TokenClassifier(LaclForTokenClassification):
    """Encoder, dropout, linear layer and cross-entropy, over the first piece of every word.

    As every token-classification model of transformers, with types as labels (IO). Another label set gets
    another last layer. Its configuration has `use_prompts=False` and `projection="hidden"`, so that the same
    checkpoint loaded as `LaclForTokenClassification` decodes by nearest support token: NNShot.
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
        """True: what it has learnt of its labels is in the last layer."""
        return True

    def set_labels(self, labels: Sequence[str], label_names: Mapping[str, str] | None = None) -> None:
        """Gives the model another label set, and an untrained last layer for it."""
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
        """Log-probabilities `(B, L, K)`; with `labels`, −100 where a token does not count, the loss."""
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
