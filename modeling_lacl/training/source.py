"""The first stage from end to end: from labelled data to a source-trained checkpoint."""

from __future__ import annotations

import difflib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoTokenizer, EarlyStoppingCallback, TrainerCallback, set_seed

from ..baselines import model_class
from ..data.columns import column_of
from ..data.corpora.loading import load_corpus
from ..data.label_names import label_names_for, load_label_names
from ..data.reading import read_dataset
from ..data.sampling import entity_counts
from ..data.spans import checked_nested
from ..data.tags import entity_spans, entity_types, keep_types, to_io
from ..data.tokenize import tokenize_dataset
from ..hub.bundled import EMBEDDED_NAME, EMBEDDED_ORIGIN, embedded_encoder_path
from ..hub.card_facts import CardFacts, with_data
from ..hub.model_card import keep_changed_card
from ..hub.publishing import publish
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.saving_lacl import CONFIG_FILE
from .arguments import DataArguments, LaclTrainingArguments, ModelArguments
from .corpora import load_corpora
from .encoder_options import encoder_options
from .trainer import LaclTrainer
from .transitions import estimate_transitions

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
STATE_FILE = "trainer_state.json"


@dataclass(frozen=True)
class SourceData:
    """Sentences to train on, and sentences with held-out types to evaluate on.

    Attributes:
        train: Sentences without a held-out type.
        held_out: Sentences with a held-out type, where all other types are labelled as outside; `None` if no
            type is held out.
        types: The types of `train`.
        label_names: Label name of every type of both.
        coarse_names: Type -> name of its coarse group; empty without groups.
    """

    train: Dataset
    held_out: Dataset | None
    types: list[str]
    label_names: dict[str, str]
    coarse_names: dict[str, str]


def train_source(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: LaclTrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
) -> LaclForTokenClassification:
    """Train a model on source data and save it to `training_args.output_dir`.

    During training, `checkpoint-<step>` folders are written there, for `resume_from_checkpoint`. After
    training, the folder gets the model with its tokenizer and its card, `metrics.json` and
    `trainer_state.json`. The file `config.json` is moved there last, so a folder that contains it has a
    complete checkpoint. With `push_to_hub`, everything except pickled files is uploaded as well, in one
    commit.

    Args:
        model_args: The encoder and the options of the model.
        data_args: The labelled source data: one file or corpus, or many corpora.
        training_args: The training arguments.
        callbacks: Further callbacks of the trainer.

    Returns:
        The trained model with its tokenizer; with `load_best_model_at_end`, the best one.

    Raises:
        ValueError: The arguments are inconsistent, or `output_dir` is not empty (see
            `overwrite_output_dir`).
        OSError: With `push_to_hub`, the Hub could not be reached or refused the upload. Saved files are kept.
        LaclDataError: The data cannot be read.
        FloatingPointError: The loss became NaN or infinite. No saved model is overwritten.

    Example:
        >>> from pathlib import Path
        >>> from modeling_lacl import DataArguments, LaclTrainingArguments, ModelArguments, train_source
        >>> _ = Path("train.txt").write_text("Ana\\tperson\\nleft\\tO\\nOslo\\tcity\\n")
        >>> model = train_source(
        ...     ModelArguments(encoder="minilm"),
        ...     DataArguments(train_file="train.txt"),
        ...     LaclTrainingArguments(output_dir="outputs/source", max_steps=1, report_to="none"),
        ... )
        {'loss': ...
        >>> model.entity_types
        ['person', 'city']
    """
    _check_evaluation(data_args, training_args)
    _check_processes(training_args)
    if training_args.process_index == 0:
        clear_output_dir(training_args)
    set_seed(training_args.seed)
    encoder = embedded_encoder_path(model_args.encoder)
    tokenizer = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)  # or it would ask
    facts = _card_facts(model_args, data_args)
    data: dict[str, Any]
    if data_args.corpora:
        model, data = _with_corpora(encoder, tokenizer, model_args, data_args, facts)
    else:
        model, data = _with_one_corpus(encoder, tokenizer, model_args, data_args, facts)
    config: Any = model.config
    config.languages = facts.language or None
    # Viterbi, for tokens, is possible now that there are transitions.
    tokens = not config.max_span_words
    if tokens and config.transitions and model_args.viterbi is None and model_args.method == "lacl":
        config.viterbi = True
    stopping = training_args.early_stopping_patience
    trainer = LaclTrainer(
        model=model,
        args=training_args,
        callbacks=[*callbacks, *([EarlyStoppingCallback(stopping)] if stopping else [])],
        **data,
    )
    with encoder_options(model, model_args):
        metrics = trainer.train(resume_from_checkpoint=_resume(training_args)).metrics
    if trainer.eval_dataset is not None:
        metrics.update(trainer.evaluate())
    if training_args.should_save:
        _save(trainer, metrics)
        if training_args.push_to_hub and trainer.is_world_process_zero():
            trainer.upload()
    trainer.accelerator.wait_for_everyone()
    return model


def _with_one_corpus(
    encoder: str, tokenizer: Any, model_args: ModelArguments, data_args: DataArguments, facts: CardFacts
) -> tuple[LaclForTokenClassification, dict[str, Any]]:
    """Return a model with the types of a file or corpus, and the trainer's arguments about these data."""
    if data_args.nested == "keep" and not model_args.max_span_words:
        raise ValueError(
            "nested 'keep' is for a model of spans, and a word has one label in a model of tokens: set "
            "max_span_words, or give nested as 'outermost' or 'innermost'"
        )
    data = read_source(data_args)
    if model_args.max_span_words:
        _tell_long_entities(data.train, model_args.max_span_words)
    names = {name: data.label_names[name] for name in data.types}
    model = model_class(model_args.method).from_encoder(
        encoder, tokenizer, data.types, names, **model_args.config_kwargs()
    )
    config: Any = model.config
    config.transitions = estimate_transitions(to_io(data.train, data.types, unknown_types="outside"))
    return model, {
        "train_dataset": tokenize_dataset(
            data.train,
            tokenizer,
            data.types,
            config.max_text_length,
            unknown_types="outside",
            entities=bool(config.max_span_words),
        ),
        "eval_dataset": data.held_out,
        "coarse_names": data.coarse_names,
        "eval_label_names": data.label_names,
        "card_facts": with_data(facts, data.train, data.types),
    }


def _tell_long_entities(dataset: Dataset, most: int) -> None:
    """Log how many entities have more words than a model of spans can find."""
    spans = [
        (stop - first, row, first) for row, own in enumerate(entity_spans(dataset)) for first, stop, _ in own
    ]
    long = [one for one in spans if one[0] > most]
    if long:
        length, row, first = max(long)
        logger.warning(
            "%d of %d entities have more than %d words and are not learnt, such as %r: raise max_span_words",
            len(long),
            len(spans),
            most,
            " ".join(dataset[row]["tokens"][first : first + length]),
        )


def _with_corpora(
    encoder: str, tokenizer: Any, model_args: ModelArguments, data_args: DataArguments, facts: CardFacts
) -> tuple[LaclForTokenClassification, dict[str, Any]]:
    """Return a model with the default labels, and the trainer's arguments about the corpora."""
    if model_args.method != "lacl":
        raise ValueError(f"method {model_args.method} has one label set; train lacl on corpora")
    model = LaclForTokenClassification.from_encoder(
        encoder, tokenizer, data_args.default_labels, **model_args.config_kwargs()
    )
    config: Any = model.config
    corpora = load_corpora(data_args, tokenizer, config.max_text_length)
    if not config.max_span_words:  # a model of spans has no transitions
        config.transitions = estimate_transitions(corpora.label_sequences())
    return model, {"corpora": corpora, "card_facts": corpora.card_facts(facts)}


def read_source(data_args: DataArguments) -> SourceData:
    """Read the training file or corpus, and split off the sentences with held-out types.

    Args:
        data_args: The labelled source data.

    Returns:
        The sentences to train on and to evaluate on.

    Raises:
        ValueError: The file does not have one of the types, or no type is left to train on.
        LaclDataError: The file cannot be read.
    """
    if data_args.train_file is None:
        raise ValueError("read_source reads train_file; load_corpora reads corpora")
    if data_args.corpus:
        dataset = load_corpus(data_args.corpus, data_args.train_file, splits=["train"])["train"]
    else:
        dataset = read_dataset(
            data_args.train_file,
            format=data_args.data_format,
            token_column=column_of(data_args.token_column),
            tag_column=column_of(data_args.tag_column),
            scheme=data_args.scheme,
            encoding=data_args.encoding,
            nested=checked_nested(data_args.nested),
        )
    if data_args.train_types:
        _check_types("train_types", data_args.train_types, dataset, data_args.train_file)
        dataset = keep_types(dataset, list(dict.fromkeys(data_args.train_types)))
    everything = entity_types(dataset)
    held_out_types = list(dict.fromkeys(data_args.held_out_types))
    _check_types("held_out_types", held_out_types, dataset, data_args.train_file)
    counts = entity_counts(dataset, everything)
    is_held_out = counts[:, [everything.index(name) + 1 for name in held_out_types]].any(axis=1)
    # A type that only occurs in sentences with held-out types has no sentence left to train on.
    remaining = counts[~is_held_out].sum(axis=0)
    types = [name for label, name in enumerate(everything, start=1) if remaining[label]]
    if not types:
        raise ValueError(
            f"no entity is left in {data_args.train_file} to train on; label entities in it, or hold out "
            "fewer types"
        )
    held_out = None
    if held_out_types:
        held_out = keep_types(dataset.select(np.flatnonzero(is_held_out)), held_out_types)
    coarse_names = load_label_names(data_args.coarse_names) if data_args.coarse_names else {}
    return SourceData(
        train=dataset.select(np.flatnonzero(~is_held_out)),
        held_out=held_out,
        types=types,
        label_names=label_names_for([*types, *held_out_types], data_args.type_names),
        coarse_names={name: coarse for name, coarse in coarse_names.items() if name in types},
    )


def clear_output_dir(training_args: LaclTrainingArguments) -> None:
    """Remove the checkpoints of another run from the output folder, with `overwrite_output_dir`.

    An existing model in the folder is kept until the new one replaces it.

    Args:
        training_args: The training arguments.

    Raises:
        ValueError: The folder is not empty, and neither `overwrite_output_dir` nor `resume_from_checkpoint`
            is set.
    """
    folder = Path(str(training_args.output_dir))
    if training_args.resume_from_checkpoint or not folder.is_dir() or not any(folder.iterdir()):
        return
    if not training_args.overwrite_output_dir:
        raise ValueError(
            f"output_dir {folder} is not empty; give another folder, set overwrite_output_dir to replace "
            "its contents, or resume the run in it with --resume (resume_from_checkpoint: last)"
        )
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _check_evaluation(data_args: DataArguments, training_args: LaclTrainingArguments) -> None:
    evaluates = training_args.eval_strategy != "no"
    if data_args.corpora and (evaluates or training_args.early_stopping_patience):
        option = "eval_strategy" if evaluates else "early_stopping_patience"
        raise ValueError(
            f"{option} is set, but no types are held out of corpora to evaluate on; leave it out, and "
            "evaluate the saved model by lacl evaluate"
        )
    if evaluates and not data_args.held_out_types:
        raise ValueError(
            "eval_strategy is set, but there is nothing to evaluate on; name held_out_types, or set "
            "eval_strategy to 'no'"
        )
    if training_args.early_stopping_patience and not evaluates:
        raise ValueError("early_stopping_patience needs evaluations; set eval_strategy to 'steps' or 'epoch'")


def _check_processes(training_args: LaclTrainingArguments) -> None:
    """Raise `ValueError` for processes that would train separately and overwrite each other's files."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and training_args.world_size == 1:
        raise ValueError(
            f"{started} processes were started, but each would train alone, as there is no GPU; "
            "set use_cpu to true to train on the CPU together"
        )


def _resume(training_args: LaclTrainingArguments) -> str | None:
    """Return the checkpoint to resume from; `last` and `true` mean the last complete one in `output_dir`."""
    given = training_args.resume_from_checkpoint
    if str(given).lower() not in ("last", "true"):
        return given
    folder = Path(str(training_args.output_dir))
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        if is_complete(checkpoint):
            return str(checkpoint)
        logger.warning("saving %s was interrupted: this checkpoint is skipped", checkpoint)
    if (folder / CONFIG_FILE).is_file() and not training_args.overwrite_output_dir:
        raise ValueError(
            f"output_dir {folder} contains a model and no checkpoint to resume from: its training has ended; "
            "give another folder, or set overwrite_output_dir to train again and replace it"
        )
    logger.warning("%s has no checkpoint to resume from yet: training starts from the beginning", folder)
    return None


def _check_types(argument: str, types: Sequence[str], dataset: Dataset, file: str) -> None:
    known = entity_types(dataset)
    for name in types:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its types are {', '.join(known)}"
            raise ValueError(f"{argument}: {file} has no type {name!r}; {hint}")


def _card_facts(model_args: ModelArguments, data_args: DataArguments) -> CardFacts:
    return CardFacts(
        encoder=EMBEDDED_ORIGIN if model_args.encoder == EMBEDDED_NAME else None,
        datasets=[data_args.dataset_name] if data_args.dataset_name else [],
        language=[data_args.language] if data_args.language else [],
        license=data_args.license,
    )


def is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint was saved completely: the trainer writes its state last."""
    try:
        return isinstance(json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _save(trainer: LaclTrainer, metrics: dict[str, Any]) -> None:
    folder = Path(str(trainer.args.output_dir))
    # On the same disk as the destination, so that files are moved by renaming.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
        unfinished = Path(name)
        trainer.model_with_facts().save_pretrained(unfinished)
        (unfinished / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        trainer.state.save_to_json(str(unfinished / STATE_FILE))
        keep_changed_card(unfinished, folder)
        publish(unfinished, folder)
