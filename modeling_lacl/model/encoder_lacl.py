"""What goes into an encoder and what models return: packing, positions, batching, shared label prompts.

Sequences of like length go through the encoder together, so that a short one does not pay for a long one.

With `shared_prompt`, label names do not look at the text, and are encoded once for all sequences of a batch.
In the ordinary layout each sequence is text and label names, and every token sees all others: the names are
encoded again with every text. Shared names go through the encoder alone, and their keys and values in each
attention layer are put behind those of every text. A token of the text sees text and names as before; a name
sees names alone. This hooks into transformers' attention interface, by which an encoder's attention function
can be chosen by name.
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
    """Output of [`LaclModel`], all at the text's own positions.

    Args:
        last_hidden_state: `(B, L, H)`.
        mean, variance: `(B, L, d)` fp32, each token's Gaussian.
        label_mean, label_variance: `(B, K, d)` fp32, each label's Gaussian in its row's prompt; None without
            prompts.
        label_present: `(B, K)` bool, whether the label stands in the row's prompt.
        hidden_states, attentions: as the encoder gives them, over text and prompt packed together.
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
        mean, variance: `(B, L, d)` fp32, each token's Gaussian.
        hidden_states, attentions: as the encoder gives them, over text and prompt packed together.

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
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Packed(NamedTuple):
    """Text and prompt in one row each, without a gap between them.

    `input_ids` and `attention_mask` are `(B, L + P)`; `text_index` `(B, L)` and `prompt_index` `(B, P)` say
    where each token of the text and of the prompt stands (positions of padding are 0).
    """

    input_ids: Tensor
    attention_mask: Tensor
    text_index: Tensor
    prompt_index: Tensor


def pack(
    input_ids: Tensor, attention_mask: Tensor, prompt_ids: Tensor, prompt_labels: Tensor, pad_token_id: int
) -> Packed:
    """Moves each row's text to the left and its prompt directly behind it, so that position ids run on.

    Args:
        input_ids, attention_mask: `(B, L)`, padded on either side.
        prompt_ids, prompt_labels: `(B, P)`; `PADDING_LABEL` marks padding.
        pad_token_id: Fills what remains on the right.
    """
    length, prompt_length = input_ids.shape[1], prompt_ids.shape[1]
    width = length + prompt_length
    is_text = attention_mask.bool()
    is_prompt = prompt_labels != PADDING_LABEL
    text_lengths = is_text.sum(1, keepdim=True)
    text_index = is_text.long().cumsum(1) - 1
    prompt_index = is_prompt.long().cumsum(1) - 1 + text_lengths
    # Padding is scattered to one column past the row, which is then cut off.
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
    """Mean hidden state of each label's words in the prompt.

    Args:
        hidden_states: `(B, P, H)` at the prompt's tokens.
        prompt_labels: `(B, P)`.
        num_labels: K.

    Returns:
        `(B, K, H)`, and `(B, K)` bool: whether the label stands in the row's prompt.
    """
    belongs = prompt_labels.unsqueeze(1) == torch.arange(num_labels, device=prompt_labels.device).unsqueeze(1)
    number = belongs.sum(2)
    weights = belongs.to(hidden_states.dtype) / number.clamp_min(1).unsqueeze(2).to(hidden_states.dtype)
    return weights @ hidden_states, number > 0


def gather_positions(hidden_states: Tensor, index: Tensor) -> Tensor:
    """`(B, T, H)` at `(B, L)` positions -> `(B, L, H)`."""
    return hidden_states.gather(1, index.unsqueeze(-1).expand(-1, -1, hidden_states.shape[-1]))


UNLIMITED = 2**31
"""Stands for the length of a row where positions are relative only, as in XLNet."""


def absolute_positions(encoder: nn.Module) -> int | None:
    """Tokens that an encoder with a table of position embeddings can take; None for one without."""
    table = _position_table(encoder)
    return None if table is None else table.num_embeddings - first_position_id(encoder)


def first_position_id(encoder: nn.Module) -> int:
    """Position id of the first token. RoBERTa and its kin count from behind the padding index."""
    table = _position_table(encoder)
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def encoder_length(encoder: Any) -> int:
    """Tokens that an encoder is made for: at most those that its configuration tells."""
    positions = getattr(encoder.config, "max_position_embeddings", None) or -1
    return UNLIMITED if positions < 0 else int(positions) - first_position_id(encoder)


def _position_table(encoder: nn.Module) -> nn.Embedding | None:
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None


def without_pooling(encoder_class: Any) -> dict[str, Any]:
    """Arguments that spare the encoder a pooling layer, which tagging does not use."""
    parameters = inspect.signature(encoder_class.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


SMALLEST_GROUP = 8
"""Rows; with fewer a matrix product loses more than padding costs."""
WORTH_SPLITTING = 0.9
"""Share of the padded tokens that has to remain at most."""


def length_groups(lengths: Tensor) -> list[Tensor]:
    """Row numbers in groups of like length; one group with all of them where more would save little.

    Args:
        lengths: `(B,)` long, tokens of each row.
    """
    whole = [torch.arange(len(lengths))]
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
    """Last hidden states `(B, L, H)` of right-padded rows, group by group; zeros past a group's width.

    Args:
        encoder: Takes `inputs` and `attention_mask`, and returns a `ModelOutput`.
        groups: Of `length_groups`.
        attention_mask: `(B, L)`, 0 at padding, which stands on the right.
        **inputs: Further arguments of the encoder, `(B, L)` each.
    """
    width = attention_mask.shape[1]
    states = []
    for rows in groups:
        mask = attention_mask[rows]
        longest = int(mask.sum(1).max())
        cut: dict[str, Any] = {name: value[rows, :longest] for name, value in inputs.items()}
        hidden = encoder(attention_mask=mask[:, :longest], return_dict=True, **cut).last_hidden_state
        states.append(nn.functional.pad(hidden, (0, 0, 0, width - longest)))
    back = torch.cat(groups).argsort()
    return torch.cat(states)[back]


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
