"""Tag schemes: detect IO, IOB1, BIO, BIOES and BILOU, and convert them to BIO.

Schemes differ only in how they mark where entities begin. One rule on flat arrays covers all of them: a token
of type *t* begins an entity if its prefix says so (B, S, U), or if the token before it has another type, is
outside, is in another sentence, or ends its entity (E, S, L, U).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.decoding_lacl import OUTSIDE
from .examples import LaclDataError

SCHEMES = ("IO", "IOB1", "BIO", "BIOES", "BILOU")
# For errors: where to say how tags are read, since not every function that reads labelled data takes it.
TAG_COLUMN = "--tag-column, in Python read_dataset(…, tag_column=…)"
SCHEME_OPTION = "--scheme, in Python read_dataset(…, scheme=…)"
_PREFIXED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
# The prefix in another spelling: b-person, B_person.
_LENIENT_PREFIXED = re.compile(r"([BIESLU])[-_](.+)", re.DOTALL | re.IGNORECASE)
# The prefix behind the type. In capitals only: vitamin-b is a type.
_SUFFIXED = re.compile(r"(.+)[-_]([BIESLU])", re.DOTALL)
# Tags that are more likely a mistake in a scheme than the name of a type.
_DOUBTFUL = re.compile(r"[BI]([-_].*)?|[O0]", re.DOTALL | re.IGNORECASE)
# What other programs write for outside, in lower case: names of no type, and names that some type may have.
_NO_TYPES = frozenset(("_", "-", "*", "none", "null", "outside"))
_RARE_TYPES = frozenset(("other", "out", "nil", "na", "n/a", "x", "0", "o"))


@dataclass(frozen=True)
class NormalizedTags:
    """Tags of N tokens as types and entity starts.

    Attributes:
        scheme: The scheme that was detected or given.
        types: Entity types in order of first appearance in the list of tags.
        type_ids: (N,) int, index into `types`, −1 for outside.
        starts: (N,) bool, whether the token begins an entity.
        repaired: Positions of tokens whose tag continues an entity that was never begun (an I- without its
            B-); they begin one.
        respelt: Tags that were read as tags of a scheme although their prefix is spelt otherwise (b-person).
        doubtful: Tags that were read literally as types although they look like mistakes (b-person without
            i-person, a lower-case o).
    """

    scheme: str
    types: list[str]
    type_ids: NDArray[np.int64]
    starts: NDArray[np.bool_]
    repaired: NDArray[np.int64]
    respelt: list[str]
    doubtful: list[str]

    def bio_ids(self) -> NDArray[np.int64]:
        """Return the BIO ids, (N,), as indices into `bio_tags(self.types)`."""
        return np.where(self.type_ids < 0, 0, 2 * self.type_ids + np.where(self.starts, 1, 2))


def split_tag(tag: str) -> tuple[str, str]:
    """Split ``B-person`` into ("B", "person"), and a tag without a prefix into ("", tag)."""
    match = _PREFIXED.fullmatch(tag)
    return (match[1], match[2]) if match else ("", tag)


def is_quoted(value: str) -> bool:
    """Return whether a value stands in double quotes, as some programs write tables."""
    return len(value) > 1 and value[0] == value[-1] == '"'


def looks_like_tag(tag: str) -> bool:
    """Return whether a string is clearly a tag by its form: ``O``, or the prefix of a scheme and a type."""
    return tag == OUTSIDE or _PREFIXED.fullmatch(tag) is not None


def may_be_tag(tag: str) -> bool:
    """Return whether a string looks like a tag in another spelling: ``o``, ``b-person``, ``B_person``."""
    return tag.upper() == OUTSIDE or _LENIENT_PREFIXED.fullmatch(tag) is not None


def means_outside(tag: str) -> bool:
    """Return whether a tag is likely to mean outside, by its name alone: ``_``, ``None``, ``OTHER``."""
    return tag.lower() in _NO_TYPES | _RARE_TYPES


def spelt_like_scheme(tags: Sequence[str], scheme: str | None = None) -> list[str]:
    """Return the distinct tags of a source in the usual spelling: ``b-person``, ``B_person`` as ``B-person``.

    Tags of which all stand in quotes lose them. The prefixes M and W of BMES and BMEWO become I and S. Where
    no tag is ``O``, ``_`` or ``None`` is; ``OTHER`` or ``0`` only beside tags with prefixes.

    The spelling of prefixes is changed if a scheme is given. Otherwise it is changed only if no tag has the
    usual spelling, and either some type has a B and a further prefix, or there are several types and all have
    a B: ``e-mail`` and ``i-phone`` are types. With the prefix behind the type (``person-B``), some type must
    have both B and I.
    """
    if scheme == "IO":
        return list(tags)
    spelt = [tag[1:-1] for tag in tags] if tags and all(map(is_quoted, tags)) else list(tags)
    spelt = _with_inside(spelt)
    if not any(split_tag(tag)[0] in ("B", "I") for tag in spelt):
        spelt = _with_usual_prefixes(spelt, scheme)
    if OUTSIDE not in spelt:
        has_prefixes = any(split_tag(tag)[0] in ("B", "I") for tag in spelt)
        outside = _NO_TYPES | _RARE_TYPES if has_prefixes else _NO_TYPES
        spelt = [OUTSIDE if tag.lower() in outside else tag for tag in spelt]
    return spelt


def _with_inside(tags: list[str]) -> list[str]:
    """Return tags of BMES and BMEWO with I for M and S for W, and any others as they are."""
    matches = [re.fullmatch(r"([BIMESW])-(.+)", tag, re.DOTALL) for tag in tags]
    prefixes: dict[str, set[str]] = {}
    for match in filter(None, matches):
        prefixes.setdefault(match[2], set()).add(match[1])
    found = set().union(*prefixes.values())
    middle = any("M" in own and own & {"B", "E"} for own in prefixes.values())
    if "I" in found or not (middle or {"B", "E", "W"} <= found):
        return tags
    usual = {"M": "I", "W": "S"}
    return [
        f"{usual.get(match[1], match[1])}-{match[2]}" if match else tag
        for tag, match in zip(tags, matches, strict=True)
    ]


def _with_usual_prefixes(tags: list[str], scheme: str | None) -> list[str]:
    """Return tags with their prefixes as ``B-``, if they have them in another spelling or behind the type."""
    entities = sum(tag.lower() not in _NO_TYPES | {OUTSIDE.lower()} for tag in tags)
    for pattern, prefix_group in ((_LENIENT_PREFIXED, 1), (_SUFFIXED, 2)):
        matches = [pattern.fullmatch(tag) for tag in tags]
        prefixes: dict[str, set[str]] = {}
        for match in filter(None, matches):
            prefixes.setdefault(match[3 - prefix_group], set()).add(match[prefix_group].upper())
        if prefix_group == 1:
            paired = any("B" in found and len(found) > 1 for found in prefixes.values())
            all_begin = len(prefixes) == entities > 1 and all(found == {"B"} for found in prefixes.values())
            certain = paired or all_begin or (scheme is not None and bool(prefixes))
        else:
            certain = sum(map(bool, matches)) == entities and any(
                {"B", "I"} <= found for found in prefixes.values()
            )
        if certain:
            tags = [
                f"{match[prefix_group].upper()}-{match[3 - prefix_group]}" if match else tag
                for tag, match in zip(tags, matches, strict=True)
            ]
            break
    if certain or scheme is not None:
        tags = [OUTSIDE if tag == OUTSIDE.lower() else tag for tag in tags]
    return tags


def bio_tags(types: Iterable[str]) -> list[str]:
    """Return the class names of a dataset with these types: ["O", "B-x", "I-x", "B-y", …]."""
    return [OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI")]


def normalize(
    tags: Sequence[str],
    tag_ids: NDArray[np.integer],
    sentence_starts: NDArray[np.bool_],
    scheme: str | None = None,
    place: Callable[[str], str] = lambda tag: "tags",
) -> NormalizedTags:
    """Convert the tags of a whole dataset to types and entity starts.

    Args:
        tags: The distinct tags.
        tag_ids: (N,) index into `tags` of each token.
        sentence_starts: (N,) bool, whether the token is the first of its sentence.
        scheme: One of `SCHEMES`; None detects it. With "IO", tags are types: an ``I-`` is removed if all of
            them have it, and any other prefix is part of the type.
        place: Returns the place where a tag appears first, for error messages.

    Raises:
        LaclDataError: There are tags with and without a prefix, prefixes of different schemes, or a tag
            without a type.
        ValueError: The scheme is unknown.
    """
    if scheme is not None and scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    spelt = spelt_like_scheme(tags, scheme)
    prefixes, names = _parse(tags, spelt, scheme, place)
    types = list(dict.fromkeys(name for name in names if name != OUTSIDE))
    type_index = {name: index for index, name in enumerate(types)} | {OUTSIDE: -1}
    type_ids = np.array([type_index[name] for name in names], dtype=np.int64)[tag_ids]
    prefix = np.array(prefixes, dtype="U1")[tag_ids]

    previous_type = np.where(sentence_starts, -1, np.concatenate(([-1], type_ids[:-1])))
    previous_prefix = np.concatenate((np.array([""], dtype="U1"), prefix[:-1]))
    inside = type_ids >= 0
    begins = inside & np.isin(prefix, ("B", "S", "U"))
    follows = inside & (previous_type == type_ids)
    continues = follows & ~np.isin(previous_prefix, ("E", "S", "L", "U"))
    never_begun = inside & ~begins & ~continues

    doubtful = _doubtful(spelt) if scheme is None and not any(prefixes) else []
    if scheme is None:
        scheme = _detect(set(prefixes), never_begun, begins, follows)
    repaired = (
        np.flatnonzero(never_begun) if scheme in ("BIO", "BIOES", "BILOU") else np.empty(0, dtype=np.int64)
    )
    respelt = [tag for tag, other in zip(tags, spelt, strict=True) if tag != other]
    return NormalizedTags(scheme, types, type_ids, begins | never_begun, repaired, respelt, doubtful)


def _doubtful(tags: Sequence[str]) -> list[str]:
    """Return the tags read as types that look like mistakes, unless other types look plain."""
    types = [tag for tag in tags if tag != OUTSIDE]
    found = [tag for tag in types if _DOUBTFUL.fullmatch(tag) and tag not in "o0"]
    outside = _NO_TYPES if OUTSIDE in tags else _NO_TYPES | _RARE_TYPES
    suffixed = types if types and all(map(_SUFFIXED.fullmatch, types)) else []
    unlikely = [tag for tag in types if tag in "o0" or tag.lower() in outside]
    doubtful = {*unlikely, *suffixed, *(found if len(found) + len(unlikely) == len(types) else ())}
    return [tag for tag in types if tag in doubtful]


def _detect(
    prefixes: set[str], never_begun: NDArray[np.bool_], begins: NDArray[np.bool_], follows: NDArray[np.bool_]
) -> str:
    if prefixes & set("ES"):
        return "BIOES"
    if prefixes & set("LU"):
        return "BILOU"
    if "B" not in prefixes:
        return "IO"
    # In IOB1, a B- only separates adjacent entities of the same type; in BIO, every entity begins with one.
    if never_begun.any() and begins.any() and bool(follows[begins].all()):
        return "IOB1"
    return "BIO"


def _parse(
    tags: Sequence[str], spelt: Sequence[str], scheme: str | None, place: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Return the prefix ("" for none) and the type ("O" for outside) of each distinct tag.

    Args:
        tags: The distinct tags.
        spelt: The same tags from `spelt_like_scheme`.
        scheme: One of `SCHEMES`, or None.
        place: Returns the place where a tag appears first, for error messages.
    """
    entity = [index for index, tag in enumerate(spelt) if tag != OUTSIDE]
    pairs = [("", OUTSIDE) if tag == OUTSIDE else split_tag(tag) for tag in spelt]
    prefixes = {pairs[index][0] for index in entity}
    bare = _are_bare_types(prefixes, scheme)
    if bare:
        pairs = [("", tag) for tag in spelt]
    allowed = _allowed_prefixes(prefixes, scheme)
    for index in entity:
        tag, (prefix, name) = tags[index], pairs[index]
        if tag in ("B", "I", "B-", "I-", ""):
            problem = f"the tag {tag!r} names no entity type; write it as 'B-person'"
        elif scheme is None and (tag[:1] == "(" or (tag[-1:] == ")" and "(" not in tag)):
            problem = (
                f"the tag {tag!r} has brackets, in which CoNLL-2012 writes entities and coreference; write "
                f"B-, I- and O, or name the column of tags: {TAG_COLUMN}"
            )
        elif name == OUTSIDE:
            problem = f"the tag {tag!r} names a type 'O', which means outside; rename the type"
        elif bare or (prefix and prefix in allowed):
            continue
        elif prefix:
            problem = (
                f"the tag {tag!r} does not belong to {scheme or 'the scheme of the other tags'} "
                f"(prefixes {', '.join(allowed)}); correct it, or name the scheme: {SCHEME_OPTION}"
            )
        else:
            problem = (
                f"the tag {tag!r} has no scheme prefix (B-, I-, …) as the other tags have; correct it, "
                f"name the column of tags ({TAG_COLUMN}), or the scheme IO if tags are types without a "
                f"prefix ({SCHEME_OPTION})"
            )
        raise LaclDataError(f"{place(tag)}: {problem}")
    return [prefix for prefix, _ in pairs], [name for _, name in pairs]


def _are_bare_types(prefixes: set[str], scheme: str | None) -> bool:
    """Return whether tags are types without a prefix; `prefixes` are those found by `split_tag`."""
    if scheme == "IO":
        return prefixes != {"I"}
    # E-, S-, L- or U- can be the beginning of a type (E-mail); B- and I- always mean a scheme.
    return scheme is None and "" in prefixes and not prefixes & {"B", "I"}


def _allowed_prefixes(prefixes: set[str], scheme: str | None) -> str:
    if scheme in ("BIO", "IOB1"):
        return "BI"
    if scheme == "BILOU" or (scheme is None and prefixes & set("LU") and not prefixes & set("ES")):
        return "BILU"
    return "BIES"


def to_bio(sequences: Sequence[Sequence[str]], scheme: str | None = None) -> list[list[str]]:
    """Convert the tag sequences of a dataset from any scheme to BIO.

    Args:
        sequences: Tags of each sentence.
        scheme: "IO", "IOB1", "BIO", "BIOES" or "BILOU"; None detects it.

    Raises:
        LaclDataError: The tags do not belong to one scheme, or a tag has no type.
        ValueError: The scheme is unknown.
    """
    flat = [tag for sequence in sequences for tag in sequence]
    tags = list(dict.fromkeys(flat))
    index = {tag: position for position, tag in enumerate(tags)}
    lengths = [len(sequence) for sequence in sequences]
    tag_ids = np.array([index[tag] for tag in flat], dtype=np.int64)
    normalized = normalize(tags, tag_ids, sentence_starts(lengths), scheme)
    return _strings(normalized.bio_ids(), bio_tags(normalized.types), lengths)


def io_to_bio(label_ids: Sequence[Sequence[int]], types: Sequence[str]) -> list[list[str]]:
    """Convert IO label ids to BIO tags; consecutive words with the same label are one entity.

    Args:
        label_ids: Label ids of each sentence, 0 for outside and i + 1 for `types[i]`.
        types: Entity types.

    Raises:
        ValueError: A label id is not in 0 … len(types).
    """
    lengths = [len(sequence) for sequence in label_ids]
    flat = np.array([label for sequence in label_ids for label in sequence], dtype=np.int64)
    if flat.size and not (0 <= flat.min() and flat.max() <= len(types)):
        raise ValueError(
            f"label ids must be 0 to {len(types)} for {len(types)} types, got {flat.min()} to {flat.max()}"
        )
    begins = sentence_starts(lengths) | (flat != np.concatenate(([0], flat[:-1])))
    bio = np.where(flat == 0, 0, 2 * (flat - 1) + np.where(begins, 1, 2))
    return _strings(bio, bio_tags(types), lengths)


def sentence_starts(lengths: Sequence[int] | NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return a mask, (sum of lengths,) bool, of the first token of each sentence."""
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
    starts = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=bool)
    first = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    starts[first[first < len(starts)]] = True
    return starts


def _strings(ids: NDArray[np.int64], names: Sequence[str], lengths: Sequence[int]) -> list[list[str]]:
    flat = np.array(names, dtype=object)[ids].tolist()
    ends = np.cumsum([0, *lengths]).tolist()
    return [flat[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]
