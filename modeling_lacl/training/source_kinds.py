"""Which arguments about data are for one file or corpus, and which for many corpora."""

from __future__ import annotations

import dataclasses
from typing import Any

ENTRY_KEYS = {
    "data_format": "format",
    **{name: name for name in ("token_column", "tag_column", "scheme", "encoding", "nested", "type_names")},
}
"""Data arguments of `train_file` -> keys that an entry of `corpora` has in their place."""
OF_TRAIN_FILE = ("corpus", "coarse_names", "train_types", "held_out_types", *ENTRY_KEYS)
OF_CORPORA = ("corpus_power", "families", "name_variants", "default_labels")


def check_kind_of_source(arguments: Any) -> None:
    """Check that `DataArguments` have no argument of the kind of source that is not given.

    Raises:
        ValueError: One differs from its default. The message says where it belongs.
    """
    own, other = ("corpora", "train_file") if arguments.corpora else ("train_file", "corpora")
    for name in OF_TRAIN_FILE if arguments.corpora else OF_CORPORA:
        if getattr(arguments, name) != _default(arguments, name):
            remedy = "leave it out"
            if arguments.corpora and name in ENTRY_KEYS:
                remedy = f"write {ENTRY_KEYS[name]} in the entries of files that need it"
            raise ValueError(f"{name} is for {other}; with {own}, {remedy}")


def _default(arguments: Any, name: str) -> Any:
    """Return the default of an argument that has one."""
    field_of = {one.name: one for one in dataclasses.fields(arguments)}[name]
    made = field_of.default_factory
    return field_of.default if made is dataclasses.MISSING else made()
