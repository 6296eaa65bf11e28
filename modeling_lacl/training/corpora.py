"""The corpora of a recipe, each with its own label set: chosen, read, tokenised, and named."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc  # type: ignore[import-untyped]
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from ..data.columns import column_of
from ..data.corpora.index import IndexedCorpus, read_index
from ..data.entity_lines import EntitySentence, read_entity_lines
from ..data.entity_sequences import cached_sequences
from ..data.label_names import label_names_for
from ..data.reading import read_dataset
from ..data.tags import entity_spans, entity_types
from ..data.type_names import Families, NameVariants, TypeName
from ..files import sha256
from ..hub.card_facts import CardFacts
from .arguments import DataArguments

_FOLDER_KEYS = ("folder", "role", "release", "exclude", "near_test_types", "min_mentions", "weight")
_READING_KEYS = ("format", "token_column", "tag_column", "scheme", "encoding", "nested")
_FILE_KEYS = ("file", "name", "domain", "licence", "attribution", "type_names", "weight", *_READING_KEYS)


@dataclass(frozen=True)
class TrainingCorpus:
    """A corpus to train on.

    Attributes:
        name: Its name.
        domain: What its texts are about.
        licence: Its licence.
        attribution: Whom to name.
        sentences: Number of its sentences.
        weight: Its share of the groups of a batch is proportional to this.
        types: How the type of each label id can be named: of `types[0]` the id is 1.
        foreign: Types that cannot occur in its texts.
        lengths: Number of tokens of each of its sequences.
    """

    name: str
    domain: str
    licence: str
    attribution: str
    sentences: int
    weight: float
    types: Sequence[TypeName]
    foreign: Sequence[TypeName]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingCorpora:
    """The corpora to train on.

    Attributes:
        corpora: The corpora.
        sequences: Their sequences, those of the first corpus first; see `cached_sequences`.
    """

    corpora: Sequence[TrainingCorpus]
    sequences: Dataset

    def label_sequences(self) -> Iterator[NDArray[np.int64]]:
        """Yield the labels of each sequence, from the memory map."""
        for chunk in self.sequences.with_format("arrow").data.column("labels").chunks:
            flat = chunk.flatten().to_numpy(zero_copy_only=False)
            yield from np.split(flat, np.cumsum(chunk.value_lengths().to_numpy())[:-1])

    def card_facts(self, facts: CardFacts) -> CardFacts:
        """Add the numbers of sentences, and each corpus with its licence and attribution."""
        facts.sentences = sum(one.sentences for one in self.corpora)
        facts.corpora = [
            {
                "name": one.name,
                "domain": one.domain,
                "sentences": one.sentences,
                "licence": one.licence,
                "attribution": one.attribution,
            }
            for one in self.corpora
        ]
        return facts


@dataclass
class _Source:
    """A corpus that was chosen and is not tokenised yet."""

    name: str
    domain: str
    licence: str
    attribution: str
    sentences: int
    weight: float | None
    types: list[str]
    type_ids: dict[str, int]
    content: str
    read: Callable[[], Iterable[EntitySentence]] = field(repr=False)


def load_corpora(
    data_args: DataArguments, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TrainingCorpora:
    """Read the corpora of a recipe.

    Args:
        data_args: The arguments, with `corpora`.
        tokenizer: A fast tokenizer.
        max_length: Maximum number of tokens in a sequence, including special tokens.

    Returns:
        The corpora, tokenised.

    Raises:
        ValueError: An entry has an unknown key or value, or two corpora have one name.
        LaclDataError: A corpus, an index or a table of names cannot be read.
        FileNotFoundError: A file does not exist.

    Example:
        >>> from pathlib import Path
        >>> from modeling_lacl import LaclForTokenClassification
        >>> from modeling_lacl.training.arguments import DataArguments
        >>> tokenizer = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd").tokenizer
        >>> _ = Path("train.txt").write_text("Ana\\tB-person\\nleft\\tO\\nOslo\\tB-city\\n")
        >>> arguments = DataArguments(corpora=['{"file": "train.txt", "name": "travel"}'])
        >>> load_corpora(arguments, tokenizer, 128).sequences["entities"][0]
        [[0, 0, 1], [2, 2, 2]]
    """
    sources: list[_Source] = []
    for number, given in enumerate(data_args.corpora):
        sources += _sources(given, f"corpora, entry {number + 1}")
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"corpora: {', '.join(repeated)} more than once; exclude one, or give it another name"
        )
    variants = NameVariants(data_args.name_variants)
    named = {source.name: variants.of_corpus(source.name, source.types) for source in sources}
    domains = {source.name: source.domain for source in sources}
    foreign = Families(data_args.families).foreign({name: (domains[name], named[name]) for name in names})
    corpora, sequences = [], []
    for source in sources:
        made = cached_sequences(
            source.name, source.read, source.content, source.type_ids, tokenizer, max_length
        )
        sequences.append(made)
        weight = source.sentences**data_args.corpus_power if source.weight is None else source.weight
        corpora.append(
            TrainingCorpus(
                name=source.name,
                domain=source.domain,
                licence=source.licence,
                attribution=source.attribution,
                sentences=source.sentences,
                weight=weight,
                types=named[source.name],
                foreign=foreign[source.name],
                lengths=_lengths(made),
            )
        )
    return TrainingCorpora(corpora, concatenate_datasets(sequences))


def _lengths(sequences: Dataset) -> NDArray[np.int64]:
    column = sequences.with_format("arrow").data.column("input_ids")
    return np.asarray(pc.list_value_length(column).to_numpy(), dtype=np.int64)


def _sources(given: Any, place: str) -> Iterator[_Source]:
    """Yield the corpora of an entry of `corpora`: a mapping, or one written as JSON."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ValueError(
                f"{place}: {given!r} is not JSON ({error}); in a recipe, write a mapping with folder or file"
            ) from error
    if not isinstance(given, Mapping) or ("folder" in given) == ("file" in given):
        raise ValueError(f"{place}: must be a mapping with either folder or file, got {given!r}")
    allowed = _FOLDER_KEYS if "folder" in given else _FILE_KEYS
    for key in given:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"give one of {', '.join(allowed)}"
            raise ValueError(f"{place}: unknown key {key!r}; {hint}")
    if "folder" in given:
        yield from _of_folder(given, place)
    else:
        yield _of_file(given, place)


def _of_folder(given: Mapping[str, Any], place: str) -> Iterator[_Source]:
    folder = Path(str(given["folder"]))
    index = read_index(folder)
    weights = given.get("weight", {})
    if not isinstance(weights, Mapping):
        raise ValueError(f"{place}: weight is {weights!r}; of a folder, map names of corpora to weights")
    excluded = _texts(given, "exclude", [], place)
    for key, names in (("exclude", excluded), ("weight", weights)):
        if unknown := [name for name in names if name not in {corpus.name for corpus in index}]:
            raise ValueError(f"{place}: {key}: {folder} has no corpus {unknown[0]!r}")
    roles = _texts(given, "role", ["training"], place)
    releases = _texts(given, "release", None, place)
    near, fewest = given.get("near_test_types"), given.get("min_mentions", 1)
    if not isinstance(near, bool | None):
        raise ValueError(f"{place}: near_test_types is {near!r}; write true or false, or leave it out")
    if type(fewest) is not int:
        raise ValueError(f"{place}: min_mentions is {fewest!r}; write a whole number")
    chosen = [
        corpus
        for corpus in index
        if corpus.name not in excluded
        and corpus.role in roles
        and (releases is None or corpus.release in releases)
        and near in (None, corpus.near_test_types)
    ]
    if not chosen:
        raise ValueError(f"{place}: no corpus of {folder} is left; name other roles, releases or exclusions")
    for corpus in chosen:
        yield _indexed(corpus, fewest, _weight(weights.get(corpus.name), f"{place}: {corpus.name}"))


def _indexed(corpus: IndexedCorpus, fewest: int, weight: float | None) -> _Source:
    path = corpus.train_file
    types = [name for name, number in corpus.types.items() if number >= fewest]
    return _Source(
        name=corpus.name,
        domain=corpus.domain,
        licence=corpus.licence,
        attribution=corpus.attribution,
        sentences=corpus.sentences,
        weight=weight,
        types=types,
        type_ids={name: types.index(name) + 1 if name in types else 0 for name in corpus.types},
        content=sha256(path),
        read=lambda: read_entity_lines(path),
    )


def _of_file(given: Mapping[str, Any], place: str) -> _Source:
    path = Path(str(given["file"]))
    texts = {key: given.get(key, "") for key in ("name", "domain", "licence", "attribution")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{place}: {key} is {value!r}; write a text")
    reading = {key: given[key] for key in _READING_KEYS if key in given}
    options: dict[str, Any] = {
        key: column_of(str(value)) if key.endswith("_column") else value for key, value in reading.items()
    }
    dataset = read_dataset(path, **options)
    labels = entity_types(dataset)
    names = label_names_for(labels, given.get("type_names"))
    types = list(dict.fromkeys(names.values()))

    def read() -> Iterator[EntitySentence]:
        tokens = dataset.with_format(None)["tokens"]
        for number, (words, spans) in enumerate(zip(tokens, entity_spans(dataset), strict=True)):
            yield EntitySentence(words, spans, f"{path}[{number}]")

    return _Source(
        **{**texts, "name": texts["name"] or path.stem},
        sentences=len(dataset),
        weight=_weight(given.get("weight"), place),
        types=types,
        type_ids={label: types.index(name) + 1 for label, name in names.items()},
        content=sha256(json.dumps([sha256(path), reading], sort_keys=True)),
        read=read,
    )


def _texts(given: Mapping[str, Any], key: str, default: Any, place: str) -> Any:
    """Return a text or a list of texts as a list; YAML reads a bare yes and no as booleans."""
    value = given.get(key)
    if value is None:
        return default
    values = [
        ("yes" if one else "no") if isinstance(one, bool) else one
        for one in (value if isinstance(value, list) else [value])
    ]
    if not all(isinstance(one, str) for one in values):
        raise ValueError(f"{place}: {key} is {value!r}; write a text or a list of texts")
    return values


def _weight(value: Any, place: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"{place}: weight is {value!r}; write a number above 0")
    return float(value)
