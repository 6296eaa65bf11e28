"""Natural-language names of labels: maps shipped for known corpora, the user's own, a rule for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

import yaml

from ..model.labels_lacl import default_label_name
from .examples import LaclDataError

_FOLDER = "label_names"


def shipped_label_names() -> list[str]:
    """The names that `load_label_names` knows without a file."""
    folder = resources.files(__package__) / _FOLDER
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_label_names(source: str | Path | Mapping[str, str]) -> dict[str, str]:
    """A map from entity type to natural-language name.

    Args:
        source: the name of a shipped map ("few_nerd", "ontonotes", …; see `shipped_label_names`), the path of
            a YAML file with ``type: name`` lines, or a mapping, which is checked and copied.

    Raises:
        LaclDataError: neither a shipped map nor a file, not a mapping, or a name that is not text.
        TypeError: neither a name, a path nor a mapping.
    """
    if isinstance(source, Mapping):
        return _checked(source, "label_names")
    if not isinstance(source, str | Path):
        raise TypeError(
            f"label_names is {source!r}: give a mapping such as {{'GPE': 'country or city'}}, a YAML file, "
            f"or one of {', '.join(shipped_label_names())}"
        )
    if str(source) in shipped_label_names():
        text = (resources.files(__package__) / _FOLDER / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        path = Path(source)
        if not path.is_file():
            raise LaclDataError(
                f"{source}: no such file of label names; give a YAML file or one of "
                f"{', '.join(shipped_label_names())}"
            )
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise LaclDataError(f"{source}: cannot be read as UTF-8 ({error}); save it as UTF-8") from error
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LaclDataError(f"{source}: not YAML ({error}); write one 'type: name' a line") from error
    return _checked(content, str(source))


def label_names_for(
    types: Iterable[str], source: str | Path | Mapping[str, str] | None = None
) -> dict[str, str]:
    """A natural-language name for every type: from `source` if it has one, by rule otherwise."""
    given = {} if source is None else load_label_names(source)
    return {name: given.get(name) or default_label_name(name) for name in types}


def _checked(names: object, place: str) -> dict[str, str]:
    if not isinstance(names, Mapping) or not names:
        raise LaclDataError(
            f"{place}: expected a map of entity types to names; write one 'type: name' a line"
        )
    for label, name in names.items():
        if not isinstance(label, str) or not isinstance(name, str) or not name.strip():
            # YAML reads no, on and 1 as false, true and a number.
            raise LaclDataError(f"{place}: {label!r}: {name!r} is not text on both sides; put it in quotes")
    return {label: " ".join(name.split()) for label, name in names.items()}
