"""Label names as natural language, and suffix prompts packed behind the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SEPARATOR_LABEL = -1
"""In `prompt_labels`: a separator, which belongs to no label."""
PADDING_LABEL = -2
"""In `prompt_labels`: padding after a shorter prompt."""

ABBREVIATIONS = {
    "per": "person",
    "pers": "person",
    "loc": "location",
    "org": "organization",
    "misc": "miscellaneous",
    "gpe": "country or city",
    "fac": "facility",
    "norp": "nationality, religion or political group",
    "prod": "product",
    "evt": "event",
    "num": "number",
    "qty": "quantity",
}


def natural_label_name(label: str) -> str:
    """The words a label stands for, by rule: `creative-work` -> `creative work`.

    `-`, `_`, `/` and `.` become spaces; `CamelCase` is split; common abbreviations (`PER`, `GPE`) are written
    out where they are the whole label, or in capitals beside words that are not. A label is a type, without a
    tag's prefix: "U-boat" has none.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    parts = re.sub(r"[\s_/.\-]+", " ", words).split()
    short = [len(parts) == 1 or (part.isupper() and not label.isupper()) for part in parts]
    lower = [part.lower() for part in parts]
    names = [ABBREVIATIONS.get(word, word) if one else word for word, one in zip(lower, short, strict=True)]
    return " ".join(names) or label


def build_prompt(
    label_token_ids: Sequence[Sequence[int]], separator_token_id: int, order: Iterable[int] | None = None
) -> tuple[Tensor, Tensor]:
    """The suffix `none [SEP] person [SEP] …`.

    Args:
        label_token_ids: Tokens of each label's name, by label id.
        separator_token_id: Token after each name.
        order: Label ids in the order in which they stand in the prompt; a subset where some are left out.

    Returns:
        `prompt_ids` and `prompt_labels`, each `(P,)` long: the tokens, and the label id of each, −1 at
        separators.
    """
    ids: list[int] = []
    labels: list[int] = []
    for label in range(len(label_token_ids)) if order is None else order:
        tokens = list(label_token_ids[label])
        ids += [*tokens, separator_token_id]
        labels += [label] * len(tokens) + [SEPARATOR_LABEL]
    return torch.tensor(ids, dtype=torch.long), torch.tensor(labels, dtype=torch.long)


def split_prompt(label_token_ids: Sequence[Sequence[int]], max_length: int) -> list[list[int]]:
    """Groups of label ids, each with outside (0) first, whose prompts have at most `max_length` tokens.

    Groups have about the same length, so that no label stands alone where another fits beside it.

    Raises:
        ValueError: A name, or that of outside, is too long.
    """
    lengths = [len(tokens) + 1 for tokens in label_token_ids]
    room = max_length - lengths[0]
    if room < 0:
        raise ValueError(
            f"the name of outside has {lengths[0] - 1} tokens, too many for a prompt of {max_length}: "
            "give it a shorter one, or raise max_prompt_length"
        )
    longest = max(lengths[1:], default=0)
    if longest > room:
        raise ValueError(
            f"label {lengths.index(longest, 1)} has a name of {longest - 1} tokens, and a prompt of at most "
            f"{max_length} has room for {max(room - 1, 0)}: give it a shorter one, or raise "
            "max_prompt_length"
        )
    number = max(1, -(-sum(lengths[1:]) // max(room, 1)))
    while True:
        groups = _fill(lengths, number, room)
        if groups is not None:
            return groups
        number += 1


def _fill(lengths: Sequence[int], number: int, room: int) -> list[list[int]] | None:
    """`lengths[1:]` dealt in order to `number` groups of about equal length; None if one outgrows `room`."""
    target = sum(lengths[1:]) / number
    groups: list[list[int]] = [[0]]
    used = 0.0
    total = 0.0
    for label, length in enumerate(lengths[1:], start=1):
        if len(groups) < number and len(groups[-1]) > 1 and total + length / 2 > target * len(groups):
            groups.append([0])
            used = 0
        used += length
        total += length
        if used > room:
            return None
        groups[-1].append(label)
    return groups


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
