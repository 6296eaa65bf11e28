"""YAML files: recipes, plans and label names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .examples import LaclDataError

_MOST_EXPANSION = 10
_SMALL = 1000
"""Characters of a file below which aliases may repeat as much as in one of this size."""


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        OSError: The file is not there or cannot be opened.
        LaclDataError: It is not UTF-8, not YAML, or its aliases repeat themselves without bound; the message
            names it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if _expanded_size(root, {}) > _MOST_EXPANSION * max(len(text), _SMALL):
            raise LaclDataError(
                f"{path}: its aliases (`*name`) repeat themselves to more than {_MOST_EXPANSION} times the "
                "file: write out what they stand for"
            )
        return loader.construct_document(root)
    except LaclDataError:
        raise
    except UnicodeDecodeError as error:
        raise LaclDataError(f"{path}: cannot be read as UTF-8 ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LaclDataError(f"{path} is not valid YAML: {error}") from error


def _expanded_size(node: yaml.Node, known: dict[int, float]) -> float:
    """Return the characters and nodes of a node with every alias written out; infinite if it holds itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        known[id(node)] = 1 + own + sum(_expanded_size(child, known) for child in children)
    return known[id(node)]
