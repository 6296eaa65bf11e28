"""Inputs of the encoder and outputs of the models: packing, positions, batching, shared label prompts.

Sequences of similar length are encoded together, to reduce padding.

In the ordinary layout a sequence is text and label names, and every token attends to all others. With
`shared_prompt`, label names do not attend to the text: they are encoded once for a batch, and their keys and
values in each attention layer are appended to those of every text, by transformers' attention interface.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils import ModelOutput

from .labels_lacl import PADDING_LABEL


@dataclass
class LaclModelOutput(ModelOutput):
    """Output of [`LaclModel`], at the positions of the text.

    Args:
        last_hidden_state: `(B, L, H)`.
        mean, variance: `(B, L, d)` fp32, the Gaussian of each token.
        label_mean, label_variance: `(B, K, d)` fp32, the Gaussian of each label in the prompt of the
            sequence. None without prompts.
        label_present: `(B, K)` bool, whether the prompt of the sequence contains the label.
        hidden_states, attentions: As returned by the encoder, over the packed text and prompt.
    """

    last_hidden_state: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None
    label_mean: Tensor | None = None
    label_variance: Tensor | None = None
    label_present: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class LaclOutput(ModelOutput):
    """Output of [`LaclForTokenClassification`].

    Args:
        loss: Scalar, `alpha * context_context_loss + (1 - alpha) * context_label_loss`; None without
            `labels`.
        logits: `(B, L, K)` fp32 log-scores over the labels.
        context_context_loss, context_label_loss: Scalars, the parts of `loss`.
        mean, variance: `(B, L, d)` fp32, the Gaussian of each token.
        role_logits: `(B, L, 3, K)` fp32, for a model of spans: logits of the roles start, end and inside, 0
            for outside.
        hidden_states, attentions: As returned by the encoder, over the packed text and prompt.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> model.set_labels(["person", "city"])
        >>> model(**model.tokenizer("Ana flew home.", return_tensors="pt")).logits.shape
        torch.Size([1, 6, 3])
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    context_context_loss: Tensor | None = None
    context_label_loss: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None
    role_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Packed(NamedTuple):
    """Text and prompt packed into one sequence each, without padding between them.

    `input_ids` and `attention_mask` are `(B, L + P)`. `text_index` `(B, L)` and `prompt_index` `(B, P)` are
    the positions of the tokens of text and prompt in the packed sequences (0 for padding).
    """

    input_ids: Tensor
    attention_mask: Tensor
    text_index: Tensor
    prompt_index: Tensor


def pack(
    input_ids: Tensor, attention_mask: Tensor, prompt_ids: Tensor, prompt_labels: Tensor, pad_token_id: int
) -> Packed:
    """Pack each text and its prompt into one left-aligned sequence with consecutive position ids.

    Args:
        input_ids, attention_mask: `(B, L)`, padded on either side.
        prompt_ids, prompt_labels: `(B, P)`; `PADDING_LABEL` marks padding.
        pad_token_id: Padding on the right.
    """
    length, prompt_length = input_ids.shape[1], prompt_ids.shape[1]
    width = length + prompt_length
    is_text = attention_mask.bool()
    is_prompt = prompt_labels != PADDING_LABEL
    text_lengths = is_text.sum(1, keepdim=True)
    text_index = is_text.long().cumsum(1) - 1
    prompt_index = is_prompt.long().cumsum(1) - 1 + text_lengths
    # Padding is scattered to an extra column at the end, which is then removed.
    index = torch.cat(
        [text_index.masked_fill(~is_text, width), prompt_index.masked_fill(~is_prompt, width)], dim=1
    )
    packed = input_ids.new_full((input_ids.shape[0], width + 1), pad_token_id)
    packed = packed.scatter(1, index, torch.cat([input_ids, prompt_ids], dim=1))
    lengths = text_lengths + is_prompt.sum(1, keepdim=True)
    mask = (torch.arange(width, device=input_ids.device) < lengths).to(attention_mask.dtype)
    return Packed(
        packed[:, :width], mask, text_index.masked_fill(~is_text, 0), prompt_index.masked_fill(~is_prompt, 0)
    )


def label_means(hidden_states: Tensor, prompt_labels: Tensor, num_labels: int) -> tuple[Tensor, Tensor]:
    """Return the mean hidden state of each label name in the prompt.

    Args:
        hidden_states: `(B, P, H)` of the prompt.
        prompt_labels: `(B, P)`.
        num_labels: K, the number of labels.

    Returns:
        `(B, K, H)` means, and `(B, K)` bool: whether the prompt of the sequence contains the label.
    """
    belongs = prompt_labels.unsqueeze(1) == torch.arange(num_labels, device=prompt_labels.device).unsqueeze(1)
    number = belongs.sum(2)
    weights = belongs.to(hidden_states.dtype) / number.clamp_min(1).unsqueeze(2).to(hidden_states.dtype)
    return weights @ hidden_states, number > 0


def gather_positions(hidden_states: Tensor, index: Tensor) -> Tensor:
    """Select `(B, L, H)` from hidden states `(B, T, H)` at the positions `(B, L)`."""
    return hidden_states.gather(1, index.unsqueeze(-1).expand(-1, -1, hidden_states.shape[-1]))


UNLIMITED = 2**31
"""Maximum length of a sequence for encoders with relative positions only, such as XLNet."""


def absolute_positions(encoder: nn.Module) -> int | None:
    """Return the number of positions of an encoder with position embeddings; None for other encoders."""
    table = _position_table(encoder)
    return None if table is None else table.num_embeddings - first_position_id(encoder)


def first_position_id(encoder: nn.Module) -> int:
    """Return the position id of the first token. In RoBERTa and similar it follows the padding index."""
    table = _position_table(encoder)
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def encoder_length(encoder: Any) -> int:
    """Return the maximum sequence length of an encoder, according to its configuration."""
    positions = getattr(encoder.config, "max_position_embeddings", None) or -1
    return UNLIMITED if positions < 0 else int(positions) - first_position_id(encoder)


def _position_table(encoder: nn.Module) -> nn.Embedding | None:
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None


def without_pooling(encoder_class: Any) -> dict[str, Any]:
    """Return the arguments that build an encoder without its pooling layer, which tagging does not use."""
    parameters = inspect.signature(encoder_class.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


SMALLEST_GROUP = 8
"""Minimum number of sequences; smaller groups make matrix products slower than padding would."""
WORTH_SPLITTING = 0.9
"""Groups are used if at most this share of the padded tokens remains."""


def length_groups(lengths: Tensor) -> list[Tensor]:
    """Group sequences of similar length, or return one group if more groups would save little padding.

    Args:
        lengths: `(B,)` long, number of tokens of each sequence.

    Returns:
        Indices of the sequences of each group.
    """
    whole = [torch.arange(len(lengths), device=lengths.device)]
    if len(lengths) < 2 * SMALLEST_GROUP:
        return whole
    order = lengths.argsort(stable=True)
    groups = list(order.chunk(len(order) // SMALLEST_GROUP))
    padded = sum(len(group) * int(lengths[group[-1]]) for group in groups)
    if padded > WORTH_SPLITTING * len(order) * int(lengths.max()):
        return whole
    return groups


def encode_in_groups(
    encoder: nn.Module, groups: list[Tensor], attention_mask: Tensor, **inputs: Tensor
) -> Tensor:
    """Return last hidden states `(B, L, H)` of right-padded sequences, encoded group by group.

    States past the longest sequence of a group are 0.

    Args:
        encoder: Takes `inputs` and `attention_mask`, and returns a `ModelOutput`.
        groups: As returned by `length_groups`.
        attention_mask: `(B, L)`, 0 at padding, which is on the right.
        **inputs: Other inputs of the encoder, `(B, L)` each.
    """
    width = attention_mask.shape[1]
    states = []
    for indices in groups:
        mask = attention_mask[indices]
        longest = int(mask.sum(1).max())
        cut: dict[str, Any] = {name: value[indices, :longest] for name, value in inputs.items()}
        hidden = encoder(attention_mask=mask[:, :longest], return_dict=True, **cut).last_hidden_state
        states.append(nn.functional.pad(hidden, (0, 0, 0, width - longest)))
    original_order = torch.cat(groups).argsort()
    return torch.cat(states)[original_order]


ATTENTION = "lacl_shared_prompt"
"""Name under which the attention function is registered in transformers."""


class PromptRecorder:
    """Records the keys and values of prompts in every attention layer, `(R, heads, P, size)` each."""

    def __init__(self) -> None:
        self.kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.complete = False

    def extend(
        self, module: nn.Module, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Record keys and values, and return them and the mask unchanged."""
        if not self.complete:  # afterwards, gradient checkpointing may recompute a layer
            if module in self.kept:
                raise ValueError("shared_prompt does not support encoders whose layers share weights")
            self.kept[module] = (key, value)
        return key, value, mask


class PromptStates:
    """Keys and values of encoded prompts in every attention layer.

    Each is `(R, heads, P, size)`, where R is 1 (one prompt for all sequences) or B (one per sequence).
    """

    def __init__(self, kept: dict[nn.Module, tuple[Tensor, Tensor]], is_prompt: Tensor | None) -> None:
        self.kept = kept
        self.is_prompt = is_prompt  # (R, P) bool, False at padding; None without padding

    def extend(
        self, module: nn.Module, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Append the keys, values and mask of the prompt to those of the texts."""
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
    """Compute scaled dot-product attention, extended to the prompt if `prompt_states` is given."""
    if prompt_states is not None:
        key, value, attention_mask = prompt_states.extend(module, key, value, attention_mask)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def share_prompt(encoder: PreTrainedModel) -> None:
    """Make an encoder accept `prompt_states`.

    Raises:
        ValueError: If the attention function of the encoder cannot be set, or it takes no position ids.
    """
    parameters = inspect.signature(encoder.forward).parameters
    if not encoder._supports_attention_backend or "position_ids" not in parameters:
        raise ValueError(
            f"shared_prompt does not support {type(encoder).__name__}, whose attention cannot be set: "
            "use another encoder, such as BERT, RoBERTa, DistilBERT or ELECTRA, or shared_prompt=False"
        )
    encoder.set_attn_implementation(ATTENTION)


def encode_prompt(
    encoder: nn.Module, prompt_ids: Tensor, prompt_labels: Tensor, first_position: int
) -> tuple[PromptStates, Tensor]:
    """Encode prompts without text.

    Args:
        encoder: Prepared by `share_prompt`.
        prompt_ids, prompt_labels: `(B, P)`. If all prompts are the same, only one is encoded.
        first_position: Position id of the first token.

    Returns:
        The argument `prompt_states` for encoding texts, and the hidden states `(R, P, H)` of the prompts,
        where R is 1 or B.

    Raises:
        ValueError: If the layers of the encoder share weights, its attention function was changed, or it uses
            reentrant gradient checkpointing.
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
            "shared_prompt does not support reentrant gradient checkpointing, which would lose gradients: "
            "set use_reentrant to false in gradient_checkpointing_kwargs"
        )
    return PromptStates(kept, is_prompt), hidden
