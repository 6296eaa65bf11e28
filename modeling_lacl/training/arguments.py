"""The arguments of source training, and their parsing from a recipe file and the command line."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import HfArgumentParser, TrainingArguments

from ..data.yaml_files import read_yaml
from .source_kinds import check_kind_of_source

SAMPLING = ("plain", "episodes")
ATTENTION = ("eager", "sdpa")
ENCODER_OPTIONS = ("dropout", "attention", "freeze_embeddings")
"""Model arguments about the training of the encoder, which are no options of `LaclConfig`."""
DEFAULT_LABELS = ("person", "organization", "location", "date", "event", "product")


def _help(text: str, **metadata: Any) -> dict[str, Any]:
    return {"help": text, **metadata}


@dataclass
class ModelArguments:
    """The encoder and the options of `LaclConfig`; `None` means the default of `LaclConfig`.

    The exception is `viterbi`, which is on by default for the method `lacl`: training estimates the
    transitions that Viterbi decoding needs, and a bare `LaclConfig` has none.

    Example:
        >>> from modeling_lacl import ModelArguments
        >>> ModelArguments(encoder="minilm", max_span_words=12).method
        'lacl'
    """

    encoder: str = field(
        default="minilm",
        metadata=_help(
            "Pretrained encoder: 'minilm' (bundled, no download), a model id on the Hub, or a path."
        ),
    )
    method: str = field(
        default="lacl",
        metadata=_help(
            "Method to train: lacl, or one of the baselines classifier, prototypical, gliner and proml."
        ),
    )
    projection: str | None = field(
        default=None, metadata=_help("Projection head: gaussian, relu_gaussian, hidden or unit_hidden.")
    )
    variance_epsilon: float | None = field(default=None, metadata=_help("Constant added to every variance."))
    projection_size: int | None = field(default=None, metadata=_help("Dimension of the Gaussians."))
    divergence: str | None = field(
        default=None,
        metadata=_help("Distance between tokens: jeffreys, geometric_js, moment_js, euclidean or cosine."),
    )
    similarity_temperature: float | None = field(
        default=None, metadata=_help("Temperature: a similarity is the negative divergence divided by it.")
    )
    loss_type: str | None = field(
        default=None, metadata=_help("Contrastive loss: container, supcon_out or decoupled.")
    )
    alpha: float | None = field(
        default=None,
        metadata=_help("Weight of the context-context loss; the context-label loss has weight 1 - alpha."),
    )
    class_weight_power: float | None = field(
        default=None,
        metadata=_help(
            "Exponent p of the class weights: a token of a class with n tokens has weight n ** -p."
        ),
    )
    outside_attracts: bool | None = field(
        default=None,
        metadata=_help("Whether tokens outside of entities attract each other, as tokens of one type do."),
    )
    use_prompts: bool | None = field(
        default=None, metadata=_help("Whether to append the label names to every text as a prompt.")
    )
    shared_prompt: bool | None = field(
        default=None,
        metadata=_help(
            "Whether label names do not attend to the text, so that they are encoded once per batch."
        ),
    )
    label_vector: str | None = field(
        default=None,
        metadata=_help("State that stands for a label: mean (over its name) or cls (of a [CLS] before it)."),
    )
    outside_name: str | None = field(default=None, metadata=_help("Label name of the label O in the prompt."))
    max_text_length: int | None = field(default=None, metadata=_help("Maximum length of a text in tokens."))
    max_prompt_length: int | None = field(
        default=None, metadata=_help("Maximum length of a prompt in tokens.")
    )
    support_method: str | None = field(
        default=None,
        metadata=_help("Compare with the nearest support tokens (neighbors) or with prototypes."),
    )
    label_weight: float | None = field(
        default=None,
        metadata=_help("Weight of the label similarity when there is a support set, from 0 to 1."),
    )
    max_span_words: int | None = field(
        default=None,
        metadata=_help("Maximum number of words of an entity in a model of spans; 0 for one of tokens."),
    )
    viterbi: bool | None = field(
        default=None, metadata=_help("Whether to decode with Viterbi; by default, only the method lacl does.")
    )
    transition_power: float | None = field(
        default=None,
        metadata=_help("Exponent of the transition probabilities in Viterbi decoding, at least 0."),
    )
    dropout: float | None = field(
        default=None,
        metadata=_help("Dropout of the encoder while it trains; by default, that of its configuration."),
    )
    attention: str | None = field(
        default=None,
        metadata=_help("Attention of the encoder while it trains: eager or sdpa.", choices=ATTENTION),
    )
    freeze_embeddings: bool = field(
        default=False, metadata=_help("Whether the word embeddings of the encoder stay as they are.")
    )

    def __post_init__(self) -> None:
        if self.attention not in (None, *ATTENTION):
            raise ValueError(f"attention is {self.attention!r}; give one of {', '.join(ATTENTION)}")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}; it must be from 0 to below 1")

    def config_kwargs(self) -> dict[str, Any]:
        """Return the options of `LaclConfig` that are set."""
        others = ("encoder", "method", *ENCODER_OPTIONS)
        return {key: value for key, value in vars(self).items() if key not in others and value is not None}


@dataclass
class DataArguments:
    """The labelled source data: one file or corpus, or many corpora with label sets of their own.

    Raises:
        ValueError: Neither `train_file` nor `corpora` is given, or options of one with the other.

    Example:
        >>> from modeling_lacl import DataArguments
        >>> DataArguments(train_file="train.txt", held_out_types=["ship"]).held_out_types
        ['ship']
    """

    train_file: str | None = field(
        default=None,
        metadata=_help(
            "File of labelled sentences (CoNLL-style columns or JSON Lines); with corpus, its folder."
        ),
    )
    corpus: str | None = field(
        default=None,
        metadata=_help("Name of a corpus whose training split is read: ontonotes, conll2003, few_nerd, …"),
    )
    data_format: str | None = field(
        default=None,
        metadata=_help(
            "'columns', 'jsonl', 'json' (an array), 'csv', 'conllu', 'brat', 'spacy', 'parquet' or "
            "'dataset'; detected by default."
        ),
    )
    token_column: str | None = field(
        default=None, metadata=_help("Column of the words (number from 0, or JSON key).")
    )
    tag_column: str | None = field(
        default=None, metadata=_help("Column of the tags (number from 0, or JSON key).")
    )
    scheme: str | None = field(
        default=None,
        metadata=_help("Tagging scheme: IO, IOB1, BIO, BIOES or BILOU; detected by default."),
    )
    encoding: str = field(default="utf-8", metadata=_help("Encoding of train_file."))
    nested: str = field(
        default="error",
        metadata=_help(
            "Of entities that overlap, take the 'outermost' or 'innermost' ones, or 'keep' all, for a model "
            "of spans; 'error' refuses them."
        ),
    )
    type_names: str | None = field(
        default=None,
        metadata=_help(
            "Label names of the types: few_nerd, ontonotes, … or a YAML file; by default, from the labels."
        ),
    )
    coarse_names: str | None = field(
        default=None,
        metadata=_help(
            "Name of the coarse group of each type, for coarse_probability: few_nerd_coarse or a YAML file."
        ),
    )
    train_types: list[str] = field(
        default_factory=list,
        metadata=_help(
            "Types to train on; entities of other types are labelled as outside. All types by default."
        ),
    )
    dataset_name: str | None = field(
        default=None, metadata=_help("Name of the dataset, on the Hub or elsewhere; for the model card.")
    )
    language: str | None = field(
        default=None,
        metadata=_help("Language code (ISO 639-1) of the data, such as en; predict warns of text in others."),
    )
    license: str | None = field(
        default=None,
        metadata=_help("Licence of the model, such as cc-by-sa-4.0; for the model card."),
    )
    held_out_types: list[str] = field(
        default_factory=list,
        metadata=_help(
            "Types to evaluate on during training. Sentences that contain one are not trained on."
        ),
    )
    corpora: list[str] = field(
        default_factory=list,
        metadata=_help(
            "Many corpora in place of train_file: mappings with folder (of an index) or file, see "
            "docs/corpora.md; on the command line each as JSON."
        ),
    )
    corpus_power: float = field(
        default=0.5,
        metadata=_help("A corpus with n sentences has the weight n ** corpus_power, unless it has its own."),
    )
    families: str | None = field(
        default=None,
        metadata=_help(
            "Families of corpora, for foreign_labels: 'wide' (part of the package) or a YAML file."
        ),
    )
    name_variants: str | None = field(
        default=None,
        metadata=_help("Other names of the types of corpora: 'wide' (part of the package) or a YAML file."),
    )
    default_labels: list[str] = field(
        default_factory=lambda: list(DEFAULT_LABELS),
        metadata=_help("With corpora, the label set of the saved model."),
    )

    def __post_init__(self) -> None:
        if bool(self.corpora) == bool(self.train_file):
            raise ValueError("give either train_file (one file or corpus) or corpora (many), and not both")
        check_kind_of_source(self)
        if not self.default_labels:
            raise ValueError("default_labels is empty; name the types of the saved model")


@dataclass
class LaclTrainingArguments(TrainingArguments):
    """`TrainingArguments` with options for label sets, episodes, and few-shot evaluation.

    Defaults that differ from `TrainingArguments` are those of the paper (arXiv 2404.17178, appendix): one
    epoch, batches of 32, weight decay 0.01; `learning_rate` 5e-5 and `max_grad_norm` 1 are the same.

    Raises:
        ValueError: An argument is out of range, or two of them contradict each other.

    Example:
        >>> from modeling_lacl import LaclTrainingArguments
        >>> LaclTrainingArguments(output_dir="outputs", sampling="episodes").n_way
        5
    """

    per_device_train_batch_size: int = field(
        default=32, metadata=_help("Sentences per batch and device (plain sampling).")
    )
    per_device_eval_batch_size: int = field(
        default=32, metadata=_help("Sentences tagged at once during evaluation.")
    )
    num_train_epochs: float = field(default=1.0, metadata=_help("Number of epochs."))
    weight_decay: float = field(default=0.01, metadata=_help("Weight decay of AdamW."))
    logging_steps: float = field(default=20, metadata=_help("Number of steps between two logs."))
    metric_for_best_model: str | None = field(
        default="f1",
        metadata=_help("Metric that selects the best model: f1, precision, recall or f1_<type>."),
    )

    head_learning_rate: float | None = field(
        default=None,
        metadata=_help(
            "Learning rate of the head: what is not encoder, and begins at random; learning_rate by default."
        ),
    )
    fixed_labels: bool = field(
        default=False,
        metadata=_help(
            "Whether every prompt has all types, in one order, as in the paper's code; by default a sample."
        ),
    )
    labels_per_prompt: int = field(
        default=10, metadata=_help("Number of types sampled for the prompt of a batch.")
    )
    present_share: float = field(
        default=0.5, metadata=_help("Share of the sampled types that are taken from the types in the batch.")
    )
    coarse_probability: float = field(
        default=0.5,
        metadata=_help(
            "Probability that the types of a coarse group (see coarse_names) are merged into one in a batch."
        ),
    )
    group_size: int = field(
        default=8,
        metadata=_help("With corpora: number of sentences of one corpus, with one prompt, in a batch."),
    )
    foreign_labels: int = field(
        default=3,
        metadata=_help(
            "With corpora: most labels of another family in a prompt, none of which occurs in the texts."
        ),
    )
    variant_probability: float = field(
        default=0.3,
        metadata=_help("With corpora: probability that a label goes by another of its names."),
    )
    sampling: str = field(
        default="plain",
        metadata=_help(
            "Batches: 'plain' (random sentences) or 'episodes' (N-way K~2K-shot).", choices=SAMPLING
        ),
    )
    n_way: int = field(default=5, metadata=_help("Number of types in an episode."))
    k_shot: int = field(
        default=1, metadata=_help("K: the support set of an episode has K to 2K entities of each type.")
    )
    q_shot: int = field(
        default=5, metadata=_help("Q: the query set of an episode has Q to 2Q entities of each type.")
    )
    eval_k_shot: int = field(
        default=5,
        metadata=_help(
            "K of the evaluation: a support set has K to 2K entities of each held-out type; 0: zero-shot."
        ),
    )
    eval_draws: int = field(
        default=3, metadata=_help("Number of support sets per evaluation; the scores are means over them.")
    )
    eval_query_size: int = field(
        default=300, metadata=_help("Maximum number of sentences tagged with each support set.")
    )
    early_stopping_patience: int = field(
        default=0, metadata=_help("Stop after this many evaluations without improvement; 0: never.")
    )
    overwrite_output_dir: bool = field(
        default=False, metadata=_help("Whether to replace the model and the checkpoints in output_dir.")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Without an accelerator, PyTorch would only warn about pinned memory.
        self.dataloader_pin_memory = self.dataloader_pin_memory and self.device.type != "cpu"
        if self.sampling not in SAMPLING:
            raise ValueError(f"sampling is {self.sampling!r}; give one of {', '.join(SAMPLING)}")
        if self.label_smoothing_factor:
            raise ValueError(
                f"label_smoothing_factor is {self.label_smoothing_factor}: with it, Trainer would compute a "
                "cross-entropy in place of the contrastive loss; leave it out"
            )
        if self.fixed_labels and self.sampling != "plain":
            raise ValueError(
                f"fixed_labels puts all types into every prompt, and sampling {self.sampling!r} those of an "
                "episode; leave one of them out"
            )
        counts = ("labels_per_prompt", "group_size", "n_way", "k_shot", "q_shot", "eval_draws")
        for name in (*counts, "eval_query_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("eval_k_shot", "early_stopping_patience", "foreign_labels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be below 0")
        for name in ("present_share", "coarse_probability", "variant_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        # accelerate 1.3 puts the process index on the CPU device, and torch.load rejects such a device.
        device: torch.device = super().device
        return torch.device("cpu") if device.type == "cpu" else device


ARGUMENT_CLASSES: tuple[Any, ...] = (ModelArguments, DataArguments, LaclTrainingArguments)


class _Parser(HfArgumentParser):
    """A parser that raises instead of exiting, so that all errors are reported in the same way."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _shorthands() -> _Parser:
    """Build the parser of the options that a recipe cannot contain."""
    parser = _Parser([], add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--config",
        metavar="RECIPE.yaml",
        action="append",
        default=[],
        help="Recipe file; the same as giving it as the first argument.",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Resume from the last complete checkpoint in output_dir, or start anew if there is none; "
        "short for --resume_from_checkpoint last.",
    )
    return parser


def argument_parser(program: str) -> HfArgumentParser:
    """Build the parser of all training arguments, which raises `ValueError` instead of exiting."""
    return _Parser(
        list(ARGUMENT_CLASSES),
        allow_abbrev=False,
        prog=program,
        usage="%(prog)s [RECIPE.yaml] [--KEY VALUE …]",
        parents=[_shorthands()],
    )


def parse_arguments(arguments: Sequence[str]) -> tuple[ModelArguments, DataArguments, LaclTrainingArguments]:
    """Parse `[recipe.yaml] [--key value …]`; the command line takes precedence over the recipe.

    A recipe is a flat YAML mapping of argument names to values. The values go through the same parser as the
    command line, which reads `5e-5` as a number, whereas YAML alone reads a string. An empty value means the
    default. `--config recipe.yaml` names the recipe as well, and `--resume` is short for
    `--resume_from_checkpoint last`.

    Raises:
        ValueError: An argument is unknown, a value is invalid or out of range, there are two recipes, or a
            recipe is not a flat mapping.
        FileNotFoundError: The recipe does not exist.
    """
    short, given = _shorthands().parse_known_args(list(arguments))
    recipes = list(short.config)
    if given and not given[0].startswith("-"):
        recipes.append(given.pop(0))
    if len(recipes) > 1:
        raise ValueError(f"{' and '.join(recipes)} are {len(recipes)} recipes; give one")
    if short.resume:
        given = ["--resume_from_checkpoint=last", *given]
    for recipe in recipes:
        given = [*_recipe_arguments(Path(recipe)), *given]
    parsed: tuple[Any, ...] = argument_parser("train").parse_args_into_dataclasses(
        given, return_remaining_strings=True, look_for_args_file=False
    )
    model_args, data_args, training_args, *_, remaining = parsed
    if remaining:
        raise ValueError(_unknown(remaining[0].lstrip("-").split("=")[0], "the command line"))
    return model_args, data_args, training_args


def _recipe_arguments(path: Path) -> list[str]:
    """Return the contents of a recipe as command-line arguments."""
    recipe = read_yaml(path)
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} must be a mapping of argument names to values")
    arguments: list[str] = []
    for key, value in recipe.items():
        if key not in _names():
            raise ValueError(_unknown(str(key), str(path)))
        if value is None or value == []:
            continue
        values = value if isinstance(value, list) else [value]
        # `=` keeps a value that starts with a dash from being read as an argument.
        texts = [json.dumps(item, default=str) if isinstance(item, dict) else str(item) for item in values]
        arguments += [f"--{key}={texts[0]}"] if len(texts) == 1 else [f"--{key}", *texts]
    return arguments


def _names() -> set[str]:
    return {
        item.name for arguments in ARGUMENT_CLASSES for item in dataclasses.fields(arguments) if item.init
    }


def _unknown(name: str, place: str) -> str:
    close = difflib.get_close_matches(name, sorted(_names()), n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see --help for the arguments"
    return f"unknown argument {name!r} in {place}; {hint}"
