"""The LACL models: an encoder over text and label names, a Gaussian head and contrastive objectives."""

from __future__ import annotations

import copy
import inspect
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.compiler import is_compiling
from transformers import MODEL_MAPPING, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from .configuration_lacl import LaclConfig, hub_name
from .decoding_lacl import ROLES
from .encoder_lacl import (
    LaclModelOutput,
    LaclOutput,
    absolute_positions,
    encode_in_groups,
    encode_prompt,
    encoder_length,
    first_position_id,
    gather_positions,
    label_means,
    length_groups,
    pack,
    share_prompt,
    without_pooling,
)
from .labels_lacl import LabelSetMixin
from .losses_lacl import GaussianProjection, Gaussians, HiddenStates, full_precision
from .prediction_lacl import PredictMixin
from .saving_lacl import PLACE_ARGUMENTS, LaclPreTrainedModel, package
from .similarity_lacl import SimilarityMixin
from .words_lacl import free_in_child

_lock = threading.Lock()
# Number of active predictions per module that was in training mode. Models can share modules.
_users: Counter[nn.Module] = Counter()
free_in_child(_lock)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set the model to evaluation mode inside the context, and restore the mode of each module afterwards.

    Modules that threads share return to training mode when the last one leaves.
    """
    with _lock:
        parts = [part for part in model.modules() if part.training or part in _users]
        for part in parts:
            part.training = False
        _users.update(parts)
    try:
        yield
    finally:
        with _lock:
            for part in parts:
                _users[part] -= 1
                if not _users[part]:
                    del _users[part]
                    part.training = True


class LaclModel(LaclPreTrainedModel):
    """Encoder over `[CLS] text [SEP] none [SEP] person [SEP] …`, with a Gaussian for each token and label.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification
        >>> whole = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> model = whole.lacl  # a LaclModel
        >>> model(**whole.tokenizer("Ana flew home.", return_tensors="pt")).mean.shape
        torch.Size([1, 6, 128])
    """

    # Weights of `LaclForTokenClassification`, whose checkpoints a bare `LaclModel` can load as well.
    _keys_to_ignore_on_load_unexpected = [r"^support_(mean|variance|labels)$"]

    def __init__(self, config: LaclConfig) -> None:
        super().__init__(config)
        encoder_class = MODEL_MAPPING[type(config.encoder_config)]
        # In the dtype of this model, not the one that the checkpoint of the encoder was stored in.
        self.encoder = AutoModel.from_config(
            config.encoder_config, dtype=torch.get_default_dtype(), **without_pooling(encoder_class)
        )
        head = GaussianProjection if config.projection.endswith("gaussian") else HiddenStates
        self.projection = head(config)
        parameters = inspect.signature(self.encoder.forward).parameters
        self._takes_token_types = "token_type_ids" in parameters
        self._positions = absolute_positions(self.encoder)
        if config.shared_prompt:
            share_prompt(self.encoder)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        prompt_ids: Tensor | None = None,
        prompt_labels: Tensor | None = None,
        num_labels: int | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> LaclModelOutput:
        """Encode text and prompt: in one sequence, or separately if `config.shared_prompt`.

        Args:
            input_ids: `(B, L)` long, tokenised text with special tokens.
            attention_mask: `(B, L)`, 0 at padding on either side; all ones if None.
            token_type_ids: `(B, L)`, ignored if the encoder does not use them. The prompt gets type 0.
            prompt_ids: `(B, P)` long, tokens of the prompt; None for text only.
            prompt_labels: `(B, P)` long, label id of each prompt token, −1 at separators, −2 at padding.
            num_labels: K; by default one more than the largest label in `prompt_labels`.
            output_hidden_states, output_attentions: As in transformers.

        Raises:
            ValueError: If only one of `prompt_ids` and `prompt_labels` is given, or text and prompt have more
                tokens than the encoder has positions.
        """
        if (prompt_ids is None) != (prompt_labels is None):
            raise ValueError("prompt_ids and prompt_labels go together: give both or neither")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if prompt_ids is None or prompt_labels is None:
            prompt_ids = prompt_labels = input_ids.new_zeros((input_ids.shape[0], 0))
        requested = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        options: dict[str, Any] = {name: value for name, value in requested.items() if value is not None}
        prompt_hidden = None
        suffix = (prompt_ids, prompt_labels)
        if self.config.shared_prompt and prompt_ids.shape[1]:
            first = self._first_prompt_position(prompt_ids.shape[1])
            options["prompt_states"], prompt_hidden = encode_prompt(self.encoder, *suffix, first)
            prompt_labels = prompt_labels[: prompt_hidden.shape[0]]
            suffix = (prompt_ids[:, :0], prompt_ids[:, :0])
        packed = pack(input_ids, attention_mask, *suffix, self.config.pad_token_id or 0)
        width = self._width(packed.attention_mask)
        inputs = {"input_ids": packed.input_ids[:, :width]}
        if token_type_ids is not None and self._takes_token_types:
            types = pack(token_type_ids, attention_mask, torch.zeros_like(suffix[0]), suffix[1], 0)
            inputs["token_type_ids"] = types.input_ids[:, :width]
        encoded, hidden = self._encode(packed.attention_mask[:, :width], inputs, options)
        text = gather_positions(hidden, packed.text_index)
        with full_precision(hidden):
            mean, variance = self.projection(text.float())
        label_outputs: dict[str, Tensor] = {}
        if prompt_ids.shape[1]:
            if prompt_hidden is None:
                prompt_hidden = gather_positions(hidden, packed.prompt_index)
            label_outputs = self._label_gaussians(
                prompt_hidden, prompt_labels, num_labels, input_ids.shape[0]
            )
        return LaclModelOutput(
            last_hidden_state=text,
            mean=mean,
            variance=variance,
            **label_outputs,
            hidden_states=getattr(encoded, "hidden_states", None),
            attentions=getattr(encoded, "attentions", None),
        )

    def _label_gaussians(
        self, prompt_hidden: Tensor, prompt_labels: Tensor, num_labels: int | None, batch_size: int
    ) -> dict[str, Tensor]:
        """Return the outputs of the labels for `batch_size` sequences, which may share one prompt."""
        if num_labels is None:
            num_labels = int(prompt_labels.max()) + 1
        with full_precision(prompt_hidden):
            names, present = label_means(prompt_hidden.float(), prompt_labels, num_labels)
            mean, variance = (part.expand(batch_size, -1, -1) for part in self.projection(names))
        return {
            "label_mean": mean,
            "label_variance": variance,
            "label_present": present.expand(batch_size, -1),
        }

    def _encode(
        self, attention_mask: Tensor, inputs: dict[str, Tensor], options: dict[str, Any]
    ) -> tuple[Any, Tensor]:
        """Return the encoder's output (None if encoded in groups of sequences) and its last hidden states."""
        # On a CPU the time depends on the number of padded tokens. Batches sorted by length are one group.
        if attention_mask.device.type == "cpu" and not options and not is_compiling():
            groups = length_groups(attention_mask.sum(1))
            if len(groups) > 1:
                return None, encode_in_groups(self.encoder, groups, attention_mask, **inputs)
        encoded = self.encoder(attention_mask=attention_mask, return_dict=True, **inputs, **options)
        return encoded, encoded.last_hidden_state

    def _first_prompt_position(self, length: int) -> int:
        """Return the position id of a shared prompt's first token: after the longest possible text."""
        if self._positions is None:
            return int(self.config.max_text_length)
        first = min(int(self.config.max_text_length), self._positions - length)
        if first < 1:
            raise ValueError(
                f"label names take {length} tokens, the encoder has {self._positions} positions: "
                "shorten them, or lower max_prompt_length"
            )
        return first + first_position_id(self.encoder)

    def _width(self, attention_mask: Tensor) -> int:
        """Return the number of columns of the packed sequences to encode: all if the encoder allows it."""
        width = attention_mask.shape[1]
        if self._positions is None or width <= self._positions:
            return width
        longest = int(attention_mask.sum(1).max())
        if longest > self._positions:
            raise ValueError(
                f"text and label names take {longest} tokens, the encoder has {self._positions} positions: "
                "cut the text into windows (predict does), shorten label names, or lower max_prompt_length"
            )
        return longest


class LaclForTokenClassification(LabelSetMixin, SimilarityMixin, PredictMixin, LaclPreTrainedModel):
    """Named entity recognition by similarity to label names, to a support set, or to both.

    The model contains its label set (`config.id2label`, `config.label_names`, their tokens) and, once
    adapted, its support set, so that a saved checkpoint is self-contained. Labels are entity types without
    tag prefixes; outside (`O`) is label 0.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> entities = model.predict("Ana Ruiz lives in Quito.", labels=["person", "city"])
        >>> [(entity["entity_group"], entity["word"]) for entity in entities]
        [('person', 'Ana Ruiz'), ('city', 'Quito')]
    """

    accepts_loss_kwargs = False
    """Tells `Trainer` that the loss is a mean over the batch, not over the items of accumulated batches."""
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]  # a token classifier's, loaded as its encoder

    def __init__(self, config: LaclConfig) -> None:
        super().__init__(config)
        self.lacl = LaclModel(config)
        shape = (config.support_size, config.gaussian_size)
        self.register_buffer("support_mean", torch.zeros(shape))
        self.register_buffer("support_variance", torch.ones(shape))
        of_roles = (config.support_size, len(ROLES))[: 2 if config.max_span_words else 1]
        self.register_buffer("support_labels", torch.zeros(of_roles, dtype=torch.long))
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self.tokenizer_arguments: dict[str, Any] = {}
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        encoder: str | os.PathLike[str] | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str] | Mapping[str, str],
        label_names: Mapping[str, str] | None = None,
        **config_kwargs: Any,
    ) -> LaclForTokenClassification:
        """Build a model from a pretrained encoder, with a randomly initialised projection head.

        Args:
            encoder: Name or path of a pretrained encoder, `"minilm"` for the bundled one, or the encoder
                itself.
            tokenizer: The tokenizer of the encoder.
            labels: The labels, without `O`, or a mapping from labels to names.
            label_names: Label names, by label. Defaults to `default_label_name` where one is missing.
            **config_kwargs: Other arguments of [`LaclConfig`].

        Raises:
            ValueError: If the weights of the encoder are not those that `AutoModel` expects, or as in
                `set_labels`.
        """
        if not isinstance(encoder, PreTrainedModel):
            place = package().encoder_path(str(encoder))
            package().check_files(place)
            # Without an answer about remote code, transformers would ask on standard input.
            loaded: Any = AutoModel.from_pretrained(place, use_safetensors=True, trust_remote_code=False)
            encoder = cast(PreTrainedModel, loaded)
        encoder_config = copy.deepcopy(encoder.config)
        encoder_config.name_or_path = hub_name(encoder_config.name_or_path)
        model = cls(LaclConfig(encoder_config=encoder_config, **config_kwargs))
        missing, unexpected = model.lacl.encoder.load_state_dict(encoder.state_dict(), strict=False)
        unexpected = [name for name in unexpected if not name.startswith("pooler.")]
        if missing or unexpected:
            raise ValueError(
                f"{type(encoder).__name__} does not fit {type(model.lacl.encoder).__name__}: missing weights "
                f"{missing[:3]}, unexpected {unexpected[:3]}; give the bare encoder, as built by AutoModel"
            )
        model.tokenizer = tokenizer
        model.set_labels(labels, label_names)
        return model.eval()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *model_args: Any, **kwargs: Any
    ) -> LaclForTokenClassification:
        """Load a checkpoint as in transformers, or a model bundled with the package by its name."""
        name = pretrained_model_name_or_path
        if name is not None and (bundled := package().load_bundled(cls, name, **kwargs)) is not None:
            return cast(LaclForTokenClassification, bundled)
        loaded: Any = super().from_pretrained(name, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # a pair with `output_loading_info`
        model.tokenizer_arguments = {key: kwargs[key] for key in PLACE_ARGUMENTS if key in kwargs}
        return cast(LaclForTokenClassification, loaded)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        entities: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        across_processes: bool = False,
        **prompt: Tensor | None,
    ) -> LaclOutput | tuple[Any, ...]:
        """Compute log-scores of every token for every label; with `labels`, the loss as well.

        Args:
            input_ids: `(B, L)` long, tokenised text.
            attention_mask: `(B, L)`, 0 at padding.
            token_type_ids: `(B, L)`, ignored if the encoder does not use them.
            labels: `(B, L)` long. Labels of −100 are ignored (all tokens except first subwords).
            entities: `(B, E, 3)` long, for a model of spans: first word, last word and label id of each
                entity, where words are counted among those with a label; −1 in rows of padding. Entities may
                nest. By default each run of words with the same label is one.
            output_hidden_states, output_attentions, return_dict: As in transformers.
            across_processes: Whether the losses treat the batches of all `torch.distributed` processes as one
                batch, whose loss is the mean over the processes. A label id must mean the same on every
                process, and every process must use this argument.
            **prompt: Prompts of another label set (see `build_prompt`) as `prompt_ids` and `prompt_labels`,
                `(B, P)` each: tokens, and their label ids, −1 at separators, −2 at padding. Defaults to the
                label set of the model. Not named in the signature, where `Trainer` looks for labels.

        Returns:
            [`LaclOutput`]. `logits` combine label similarity and support similarity by `config.label_weight`.
            For a model of spans they are those of the role inside; `role_logits` are those of all roles.
            With `prompt_ids` or `labels` they are label similarities only. A label that is missing from the
            prompt of a sequence has the lowest finite logit.

        Raises:
            ValueError: If the model has no labels, `labels` has an id that is not in the prompt,
                `across_processes` is used without torch.distributed, or as in [`LaclModel`].
        """
        own_labels = all(part is None for part in prompt.values())
        prompts = self._prompts(input_ids) if own_labels else [prompt]
        passes = [
            self.lacl(
                input_ids,
                attention_mask,
                token_type_ids,
                **one,
                num_labels=self.config.num_labels if own_labels else None,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
            )
            for one in prompts
        ]
        with full_precision(passes[0].mean):
            mean, variance = _mean_of_passes(passes)
            similarity, present = self.label_similarity(passes)
            loss = context_context = context_label = role_logits = None
            spans = bool(self.config.max_span_words)
            if labels is not None:
                rest = (similarity, present, across_processes)
                loss, context_context, context_label = (
                    self.span_losses((mean, variance), labels, entities, *rest)
                    if spans
                    else self.token_losses((mean, variance), labels, *rest)
                )
            # The support set belongs to the label set of the model, and is not used in training.
            support = (mean, variance) if own_labels and self.has_support and labels is None else None
            if spans:
                role_logits = self.role_scores(similarity, support)
                logits = None if role_logits is None else role_logits[:, :, -1].log_softmax(-1)
            else:
                logits = self.log_scores(similarity, support)
        # Set all fields at once: a field set to None here and filled later is no item of a ModelOutput.
        output = LaclOutput(
            loss=loss,
            logits=logits,
            context_context_loss=context_context,
            context_label_loss=context_label,
            mean=mean,
            variance=variance,
            role_logits=role_logits,
            hidden_states=passes[0].hidden_states,
            attentions=passes[0].attentions,
        )
        if return_dict is False or (return_dict is None and not self.config.return_dict):
            return output.to_tuple()
        return output

    @property
    def encoder_positions(self) -> int:
        """Longest sequence of text and label names that the encoder takes, in tokens."""
        return encoder_length(self.lacl.encoder)

    @property
    def max_sequence_length(self) -> int:
        """Longest text, in tokens with the special ones, that the encoder takes with the label names."""
        prompts = self.label_prompts
        room = self.encoder_positions - (prompts.length if prompts else 0)
        return int(min(self.config.max_text_length, room))

    def _prompts(self, input_ids: Tensor) -> list[dict[str, Tensor | None]]:
        """Return the prompts of the label set for these sequences: several if it is too long for one."""
        if not self.config.use_prompts:
            return [{}]
        label_prompts = self.label_prompts
        if label_prompts is None:
            raise ValueError("the model has no labels: call set_labels, or give prompt_ids and prompt_labels")
        size = input_ids.shape[0]  # len() would become a constant in an exported graph
        return [
            {"prompt_ids": ids.expand(size, -1), "prompt_labels": labels.expand(size, -1)}
            for ids, labels in label_prompts.prompts
        ]

    def read_tokens(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        rows: NDArray[np.int64],
        tokens: NDArray[np.int64],
        values: str | Callable[[Tensor, Tensor], Tensor] = "logits",
    ) -> NDArray[np.float32]:
        """Return what the model makes of some tokens of a batch, in evaluation mode and without gradients.

        Args:
            input_ids, attention_mask: Tokenised text, `(B, L)`.
            rows, tokens: `(N,)` each, row and position of every token.
            values: Name of an output, or a function from token ids and mask to `(B, L, …)`.

        Returns:
            `(N, X)`, all values of a token in one row.
        """
        with evaluating(self), torch.inference_mode():
            ids, mask = (torch.from_numpy(part).to(self.device) for part in (input_ids, attention_mask))
            found = (
                self(ids, mask, return_dict=True)[values] if isinstance(values, str) else values(ids, mask)
            )
            read: NDArray[np.float32] = found[rows, tokens].flatten(1).float().cpu().numpy()
        return read

    def check_language(self, texts: Sequence[str]) -> None:
        """Log a warning of texts in a language that the model was not trained on; see `Package`."""
        package().check_language(self, texts)

    def with_support(
        self,
        support: Any,
        label_names: Sequence[str] | Mapping[str, str] | None = None,
        batch_size: int | None = None,
    ) -> LaclForTokenClassification:
        """Return a model on the same weights with another support set, encoded without fine-tuning.

        The arguments are those of [`LaclForTokenClassification.predict`]. Needs the installed package.
        """
        return cast(
            LaclForTokenClassification, package().with_support(self, support, label_names, batch_size)
        )


def _mean_of_passes(passes: Sequence[LaclModelOutput]) -> Gaussians:
    """Return mean and variance of each token, `(B, L, d)`; with several prompts, averaged over them."""
    if len(passes) == 1:
        return cast(Gaussians, (passes[0].mean, passes[0].variance))
    mean = torch.stack([cast(Tensor, one.mean) for one in passes]).mean(0)
    return mean, torch.stack([cast(Tensor, one.variance) for one in passes]).mean(0)
