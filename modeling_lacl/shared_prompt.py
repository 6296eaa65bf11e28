"""Label names that do not look at the text, and so are encoded once for all rows of a batch.

In the ordinary layout each row is text and label names, and every token sees all others: the names are
encoded again with every text. Here they go through the encoder alone, and their keys and values in each
attention layer are put behind those of every text. A token of the text sees text and names as before; a
name sees names alone.

It hooks into transformers' attention interface, by which an encoder's attention function can be chosen by
name.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .prompts import PADDING_LABEL

ATTENTION = "lacl_shared_prompt"
"""Name of the attention function among those of transformers."""


class PromptRecorder:
    """Keeps the keys and values of prompts that go through the encoder, `(R, heads, P, size)` each."""

    def __init__(self) -> None:
        self.kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.complete = False

    def extend(
        self, module: nn.Module, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and mask as they are."""
        if not self.complete:  # or else gradient checkpointing computes a layer again
            if module in self.kept:
                raise ValueError("shared_prompt does not go with layers that share their weights")
            self.kept[module] = (key, value)
        return key, value, mask


class PromptStates:
    """Keys and values of encoded prompts in every attention layer.

    Kept as `(R, heads, P, size)` each, with R the number of prompts: one for all rows, or one for each row.
    """

    def __init__(self, kept: dict[nn.Module, tuple[Tensor, Tensor]], is_prompt: Tensor | None) -> None:
        self.kept = kept
        self.is_prompt = is_prompt  # (R, P) bool, False at padding; None without padding

    def extend(
        self, module: nn.Module, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and mask of texts with those of the prompt behind them."""
        kept = [part.expand(key.shape[0], -1, -1, -1) for part in self.kept[module]]
        if mask is not None or self.is_prompt is not None:
            shape = (key.shape[0], 1, key.shape[2] if mask is None else mask.shape[-2])
            if mask is None:
                mask = key.new_ones((*shape, key.shape[2]), dtype=torch.bool)
            is_prompt = mask.new_ones((1, kept[0].shape[2])) if self.is_prompt is None else self.is_prompt
            mask = torch.cat([mask, is_prompt[:, None, None].expand(*shape, -1)], dim=-1)
        return torch.cat([key, kept[0]], dim=2), torch.cat([value, kept[1]], dim=2), mask


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prompt_states: PromptRecorder | PromptStates | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function: scaled dot products, with the prompt in view if there is one."""
    if prompt_states is not None:
        key, value, attention_mask = prompt_states.extend(module, key, value, attention_mask)
    result: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    return result


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def share_prompt(encoder: PreTrainedModel) -> None:
    """Has an encoder take `prompt_states`.

    Raises:
        ValueError: It has an attention of its own, or takes no position ids.
    """
    parameters = inspect.signature(encoder.forward).parameters
    if not encoder._supports_attention_backend or "position_ids" not in parameters:
        raise ValueError(
            f"shared_prompt does not go with {type(encoder).__name__}, whose attention cannot be chosen: "
            "take another encoder, such as BERT, RoBERTa, DistilBERT or ELECTRA, or shared_prompt=False"
        )
    encoder.set_attn_implementation(ATTENTION)


def encode_prompt(
    encoder: nn.Module, prompt_ids: Tensor, prompt_labels: Tensor, first_position: int
) -> tuple[PromptStates, Tensor]:
    """Encodes prompts alone.

    Args:
        encoder: One that `share_prompt` has prepared.
        prompt_ids, prompt_labels: `(B, P)`. Where all rows are the same, one is encoded.
        first_position: Position id of the first token.

    Returns:
        The states for a call of the encoder with text, as its argument `prompt_states`; and hidden states
        `(R, P, H)`, R either 1 or B.

    Raises:
        ValueError: The encoder shares weights between its layers, has another attention function, or is
            under reentrant gradient checkpointing.
    """
    is_prompt = None
    if prompt_ids.stride(0) == 0 or bool((prompt_ids == prompt_ids[:1]).all()):
        prompt_ids, prompt_labels = prompt_ids[:1], prompt_labels[:1]
    else:
        is_prompt = prompt_labels != PADDING_LABEL
    recorder = PromptRecorder()
    positions = torch.arange(first_position, first_position + prompt_ids.shape[1], device=prompt_ids.device)
    encoded = encoder(
        input_ids=prompt_ids,
        attention_mask=None if is_prompt is None else is_prompt.long(),
        position_ids=positions.unsqueeze(0).expand_as(prompt_ids),
        prompt_states=recorder,
        return_dict=True,
    )
    recorder.complete = True
    kept = recorder.kept
    if not kept:
        raise ValueError(
            f"the encoder's attention function was changed, but shared_prompt needs {ATTENTION!r}: "
            "leave out attn_implementation"
        )
    hidden: Tensor = encoded.last_hidden_state
    lost = hidden.requires_grad and not any(key.requires_grad for key, _ in kept.values())
    if lost and getattr(encoder, "is_gradient_checkpointing", False):
        raise ValueError(
            "shared_prompt does not go with reentrant gradient checkpointing, which would lose gradients: "
            "set use_reentrant to false in gradient_checkpointing_kwargs"
        )
    return PromptStates(kept, is_prompt), hidden
