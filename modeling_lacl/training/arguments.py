"""The arguments of source training, and how a recipe file and the command line fill them."""

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

SAMPLING = ("plain", "episodes")


def _help(text: str, **metadata: Any) -> dict[str, Any]:
    return {"help": text, **metadata}


@dataclass
class ModelArguments:
    """The encoder, and what `LaclConfig` takes; `None` leaves an option at the default of `LaclConfig`.

    `viterbi` is then true for the method `lacl`; `LaclConfig` alone has no transitions to decode with.
    """

    encoder: str = field(
        default="minilm",
        metadata=_help("Pretrained encoder: 'minilm' (embedded, no download), a Hub name, or a path."),
    )
    method: str = field(
        default="lacl",
        metadata=_help("What to train: lacl, or a baseline: classifier, prototypical (see baselines)."),
    )
    projection: str | None = field(
        default=None, metadata=_help("gaussian, relu_gaussian, hidden or unit_hidden (see LaclConfig).")
    )
    variance_epsilon: float | None = field(default=None, metadata=_help("Added to every variance."))
    projection_size: int | None = field(default=None, metadata=_help("Dimension of the Gaussians."))
    divergence: str | None = field(
        default=None,
        metadata=_help("Distance: jeffreys, geometric_js, moment_js, euclidean or cosine."),
    )
    similarity_temperature: float | None = field(
        default=None, metadata=_help("A similarity is minus the divergence, divided by this.")
    )
    loss_type: str | None = field(
        default=None, metadata=_help("Contrastive objective: container, supcon_out or decoupled.")
    )
    alpha: float | None = field(
        default=None,
        metadata=_help("Weight of the context-context loss; context-label weighs 1 - alpha."),
    )
    class_weight_power: float | None = field(
        default=None, metadata=_help("A token of a class with n tokens weighs n ** -class_weight_power.")
    )
    outside_attracts: bool | None = field(
        default=None, metadata=_help("Tokens outside of entities attract each other, as those of a type do.")
    )
    use_prompts: bool | None = field(default=None, metadata=_help("Append label names to every text."))
    shared_prompt: bool | None = field(
        default=None, metadata=_help("Label names do not look at the text, and are encoded once a batch.")
    )
    outside_name: str | None = field(default=None, metadata=_help("The words for 'no entity' in the prompt."))
    max_text_length: int | None = field(default=None, metadata=_help("Longest text in tokens."))
    max_prompt_length: int | None = field(default=None, metadata=_help("Longest prompt in tokens."))
    support_method: str | None = field(
        default=None, metadata=_help("Decode by nearest support token (neighbors) or prototypes.")
    )
    label_weight: float | None = field(
        default=None, metadata=_help("Weight of label similarity beside a support set, from 0 to 1.")
    )
    viterbi: bool | None = field(
        default=None, metadata=_help("Decode by Viterbi; by default a model of method lacl does.")
    )
    transition_power: float | None = field(
        default=None, metadata=_help("Power of the transition probabilities in Viterbi, 0 or more.")
    )

    def config_kwargs(self) -> dict[str, Any]:
        """The options of `LaclConfig` that are set."""
        values = {key: value for key, value in vars(self).items() if key not in ("encoder", "method")}
        return {key: value for key, value in values.items() if value is not None}


@dataclass
class DataArguments:
    """The labelled source data."""

    train_file: str = field(
        metadata=_help("Labelled sentences: CoNLL-style columns or JSON Lines; with corpus, its folder.")
    )
    corpus: str | None = field(
        default=None,
        metadata=_help("Corpus by name, whose training split is read: ontonotes, conll2003, few_nerd, …."),
    )
    data_format: str | None = field(
        default=None, metadata=_help("'columns', 'jsonl' or 'json' (an array); found out by default.")
    )
    token_column: str | None = field(
        default=None, metadata=_help("Column of the words (number from 0, or JSON key).")
    )
    tag_column: str | None = field(
        default=None, metadata=_help("Column of the tags (number from 0, or JSON key).")
    )
    scheme: str | None = field(
        default=None,
        metadata=_help("Scheme of the tags: IO, IOB1, BIO, BIOES or BILOU; found out by default."),
    )
    encoding: str = field(default="utf-8", metadata=_help("Encoding of train_file."))
    type_names: str | None = field(
        default=None,
        metadata=_help(
            "Natural-language names of the types: few_nerd, ontonotes, …, or a YAML file; by rule otherwise."
        ),
    )
    coarse_names: str | None = field(
        default=None,
        metadata=_help(
            "Name of each type's coarse group, for coarse_probability: few_nerd_coarse or a YAML file."
        ),
    )
    train_types: list[str] = field(
        default_factory=list,
        metadata=_help("Train on these types alone: entities of others count as outside. All by default."),
    )
    dataset_name: str | None = field(
        default=None, metadata=_help("What the data are called, on the Hub or not; for the model card.")
    )
    language: str | None = field(
        default=None, metadata=_help("Code of the language of the data, such as en; for the model card.")
    )
    license: str | None = field(
        default=None,
        metadata=_help("Licence of the model, as the data demand it, such as cc-by-sa-4.0; for its card."),
    )
    held_out_types: list[str] = field(
        default_factory=list,
        metadata=_help(
            "Types to evaluate on during training. Sentences that hold one are kept out of training."
        ),
    )


@dataclass
class LaclTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the label sets of the batches, episodes, and few-shot evaluation.

    Defaults that differ from `TrainingArguments` are those of the paper (arXiv 2404.17178, appendix): one
    epoch, batches of 32, weight decay 0.01; `learning_rate` 5e-5 and `max_grad_norm` 1 are the same.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from modeling_lacl import LaclTrainingArguments
        >>> LaclTrainingArguments(output_dir="outputs", sampling="episodes").n_way
        5
    """

    per_device_train_batch_size: int = field(
        default=32, metadata=_help("Sentences in a batch of one device (plain sampling).")
    )
    per_device_eval_batch_size: int = field(
        default=32, metadata=_help("Sentences that are tagged at once during evaluation.")
    )
    num_train_epochs: float = field(default=1.0, metadata=_help("Number of epochs."))
    weight_decay: float = field(default=0.01, metadata=_help("Weight decay of AdamW."))
    logging_steps: float = field(default=20, metadata=_help("Log every so many steps."))
    metric_for_best_model: str | None = field(
        default="f1", metadata=_help("Metric of the best model: f1, precision, recall, f1_<type>.")
    )

    head_learning_rate: float | None = field(
        default=None,
        metadata=_help(
            "Learning rate of the projection head, which starts from nothing; learning_rate by default."
        ),
    )
    labels_per_prompt: int = field(default=10, metadata=_help("Types drawn for the prompt of a batch."))
    present_share: float = field(
        default=0.5, metadata=_help("Share of the drawn types that are taken from those in the batch.")
    )
    coarse_probability: float = field(
        default=0.5,
        metadata=_help(
            "Probability that the types of a coarse group (see coarse_names) appear as one label in a batch."
        ),
    )
    sampling: str = field(
        default="plain",
        metadata=_help(
            "Batches: 'plain' (sentences at random) or 'episodes' (N-way K~2K-shot).", choices=SAMPLING
        ),
    )
    n_way: int = field(default=5, metadata=_help("Types in an episode."))
    k_shot: int = field(
        default=1, metadata=_help("Entities of each type in an episode's support set: K to 2K.")
    )
    q_shot: int = field(
        default=5, metadata=_help("Entities of each type in an episode's query set: Q to 2Q.")
    )
    eval_k_shot: int = field(
        default=5,
        metadata=_help("Entities of each held-out type in a support set of the evaluation; 0: zero-shot."),
    )
    eval_draws: int = field(default=3, metadata=_help("Support sets of an evaluation; the scores are means."))
    eval_query_size: int = field(
        default=300, metadata=_help("Sentences tagged with each of the support sets.")
    )
    early_stopping_patience: int = field(
        default=0, metadata=_help("Stop after so many evaluations without a better metric; 0: never.")
    )
    overwrite_output_dir: bool = field(
        default=False, metadata=_help("Replace the model and the checkpoints in output_dir.")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Without an accelerator PyTorch would only warn about it.
        self.dataloader_pin_memory = self.dataloader_pin_memory and self.device.type != "cpu"
        if self.sampling not in SAMPLING:
            raise ValueError(f"sampling is {self.sampling!r}; give one of {', '.join(SAMPLING)}")
        for name in ("labels_per_prompt", "n_way", "k_shot", "q_shot", "eval_draws", "eval_query_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("eval_k_shot", "early_stopping_patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be below 0")
        for name in ("present_share", "coarse_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        # accelerate 1.3 gives the CPU the number of the process, with which torch.load knows no CPU.
        device: torch.device = super().device
        return torch.device("cpu") if device.type == "cpu" else device


ARGUMENT_CLASSES: tuple[Any, ...] = (ModelArguments, DataArguments, LaclTrainingArguments)


class _Parser(HfArgumentParser):
    """Raises instead of ending the process, so that the command line and programs tell errors in one way."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _shorthands() -> _Parser:
    """What is no argument of a recipe."""
    parser = _Parser([], add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--config",
        metavar="RECIPE.yaml",
        action="append",
        default=[],
        help="The recipe, as if it stood first.",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on from the last whole checkpoint in output_dir, or begin where there is none: short for "
        "--resume_from_checkpoint last.",
    )
    return parser


def argument_parser(program: str) -> HfArgumentParser:
    """All arguments of training; raises `ValueError` where argparse would end the process."""
    return _Parser(
        list(ARGUMENT_CLASSES),
        allow_abbrev=False,
        prog=program,
        usage="%(prog)s [RECIPE.yaml] [--KEY VALUE …]",
        parents=[_shorthands()],
    )


def parse_arguments(arguments: Sequence[str]) -> tuple[ModelArguments, DataArguments, LaclTrainingArguments]:
    """Reads `[recipe.yaml] [--key value …]`; the command line goes before the recipe.

    A recipe is a flat YAML mapping of argument names. Its values pass through the same parser as the command
    line, which reads `5e-5` as a number, where YAML alone reads a string. An empty value leaves the default.
    `--config recipe.yaml` names the recipe, too, and `--resume` is `--resume_from_checkpoint last`.

    Raises:
        ValueError: an unknown argument, a value of the wrong kind or out of its range, two recipes, or a
            recipe that is not a flat mapping.
        FileNotFoundError: the recipe is not there.
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
    """The contents of a recipe as command-line arguments."""
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
        if isinstance(value, dict):
            values = [json.dumps(value)]
        # `=` keeps a value that starts with a dash from being read as an argument.
        texts = [str(item) for item in values]
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
