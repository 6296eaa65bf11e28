"""Label names: maps shipped for known corpora, the user's own, and a rule for all other types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..model.labels_lacl import default_label_name
from .examples import LaclDataError
from .yaml_files import read_yaml

_FOLDER = Path(__file__).with_name("label_names")


def shipped_label_names() -> list[str]:
    """Return the names of the shipped maps, which `load_label_names` loads by name."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def load_label_names(source: str | Path | Mapping[str, str]) -> dict[str, str]:
    """Load a map from entity types to label names.

    Args:
        source: Name of a shipped map ("few_nerd", "ontonotes", …; see `shipped_label_names`), path of a YAML
            file with ``type: name`` lines, or a mapping, which is checked and copied.

    Raises:
        LaclDataError: There is no such shipped map or file, the file does not contain a mapping, or a label
            name is not text.
        TypeError: `source` is neither a name, a path nor a mapping.
    """
    if isinstance(source, Mapping):
        return _checked(source, "label_names")
    if not isinstance(source, str | Path):
        raise TypeError(
            f"label_names is {source!r}: give a mapping such as {{'GPE': 'country or city'}}, a YAML file, "
            f"or one of {', '.join(shipped_label_names())}"
        )
    path = Path(source)
    if str(source) in shipped_label_names():
        path = _FOLDER / f"{source}.yaml"
    elif not path.exists() or path.is_dir():
        raise LaclDataError(
            f"{source}: no such file of label names; give a YAML file or one of "
            f"{', '.join(shipped_label_names())}"
        )
    try:
        content = read_yaml(path)
    except LaclDataError as error:
        raise LaclDataError(f"{source}: not YAML with one 'type: name' per line ({error})") from error
    return _checked(content, str(source))


def label_names_for(
    types: Iterable[str], source: str | Path | Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return a label name for every type: from `source` if it has one, otherwise by rule."""
    given = {} if source is None else load_label_names(source)
    return {name: given.get(name) or default_label_name(name) for name in types}


def _checked(names: object, place: str) -> dict[str, str]:
    if not isinstance(names, Mapping) or not names:
        raise LaclDataError(
            f"{place}: expected a map of entity types to names; write one 'type: name' per line"
        )
    for label, name in names.items():
        if not isinstance(label, str) or not isinstance(name, str) or not name.strip():
            # YAML reads no, on and 1 as false, true and a number.
            raise LaclDataError(f"{place}: {label!r}: {name!r} is not text on both sides; put it in quotes")
    return {label: " ".join(name.split()) for label, name in names.items()}
