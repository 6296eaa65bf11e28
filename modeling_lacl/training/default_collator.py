"""The collator that a model is trained with, if no other is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import DataCollatorForTokenClassification

from ..model.modeling_lacl import LaclForTokenClassification
from .arguments import LaclTrainingArguments
from .collator import LaclDataCollator
from .corpora import TrainingCorpora
from .corpus_collator import CorpusDataCollator


def default_collator(
    model: LaclForTokenClassification,
    args: LaclTrainingArguments,
    coarse_names: Mapping[str, str] | None = None,
    corpora: TrainingCorpora | None = None,
) -> Any:
    """Return the collator for a model: with a sampled prompt, a prompt for each corpus, or padding alone.

    Args:
        model: The model, with its labels.
        args: The training arguments.
        coarse_names: Type -> name of its coarse group.
        corpora: The corpora to train on, if they are many.

    Returns:
        A `LaclDataCollator`, a `CorpusDataCollator` for corpora, or a collator that only pads if the model
        uses no prompts.

    Raises:
        ValueError: With corpora, the model uses no prompts, or prompts are to have fixed labels.
    """
    config: Any = model.config
    seed = args.seed if args.data_seed is None else args.data_seed
    if corpora is not None:
        if not config.use_prompts or args.fixed_labels:
            option = "fixed_labels: true" if config.use_prompts else "use_prompts: false"
            raise ValueError(
                f"corpora need label prompts, since each has its own label set; leave out {option}"
            )
        return CorpusDataCollator(
            model.tokenizer,
            corpora.corpora,
            outside_name=config.outside_name,
            group_size=args.group_size,
            labels_per_prompt=args.labels_per_prompt,
            foreign_labels=args.foreign_labels,
            variant_probability=args.variant_probability,
            coarse_probability=args.coarse_probability,
            label_vector=config.label_vector,
            max_prompt_length=config.max_prompt_length,
            entities=bool(config.max_span_words),
            seed=seed,
        )
    if not config.use_prompts:
        return DataCollatorForTokenClassification(model.tokenizer)
    names = config.label_names
    return LaclDataCollator(
        model.tokenizer,
        [names[config.id2label[label]] for label in range(len(config.id2label))],
        labels_per_prompt=args.labels_per_prompt,
        present_share=args.present_share,
        coarse_names={names[name]: coarse for name, coarse in (coarse_names or {}).items() if name in names},
        coarse_probability=args.coarse_probability,
        episodic=args.sampling == "episodes",
        fixed_labels=args.fixed_labels,
        label_vector=config.label_vector,
        max_prompt_length=config.max_prompt_length,
        seed=seed,
    )
