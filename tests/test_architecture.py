"""The import graph: which room may import which, without cycles, and without names that are another's own.

Counts every import that stands anywhere in a module: at the top, inside of a function, for type checkers.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

import modeling_lacl

PACKAGE = Path(modeling_lacl.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in PACKAGE.rglob("*.py")
}

HELPERS = {"files", "metrics", "optional", "reporting", "seqeval_metric", "version"}
"""Modules of the root that every room may use, and that use none."""

MAY_IMPORT = {
    "model": set(),
    "data": {"model"},
    "baselines": {"model", "data"},
    "hub": {"model", "data"},
    "viz": {"model", "data"},
    "integrations": {"model", "data", "hub"},
    "training": {"model", "data", "baselines", "hub"},
    "evaluation": {"model", "data", "baselines", "hub", "training"},
    "cli": {"model", "data", "baselines", "hub", "viz", "integrations", "training", "evaluation"},
    "registration": {"model", "hub"},
}
"""Room -> rooms that it may import, beside itself and, but for `model`, which travels, the helpers."""

LAZY = {"", "registration", "optional"}
"""Modules that import by name: PEP 562's later imports, transformers' own registry, packages of extras."""


def imports(name):
    """(module, imported name) for each import of this package in a module; the name None for a module."""
    path = MODULES[name]
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [part for part in package[: len(package) - node.level + 1] if part]
            target = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                inner = f"{target}.{alias.name}".strip(".")
                found.append((inner, None) if inner in MODULES else (target, alias.name))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            given = [node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            assert not any(str(one).partition(".")[0] == "modeling_lacl" for one in given), (
                f"{name}: relative"
            )
    return found


@cache
def graph():
    return {name: {target for target, _ in imports(name)} - {name} for name in MODULES}


def room(name):
    return name.partition(".")[0]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_point_one_way(name):
    if name == "":  # the package itself names what is public, and nothing imports it
        return
    if name in HELPERS:
        assert {room(target) for target in graph()[name]} <= HELPERS
        return
    allowed = MAY_IMPORT[room(name)] | {room(name)} | (set() if room(name) == "model" else HELPERS)
    assert {room(target) for target in graph()[name]} <= allowed


def test_no_module_imports_itself_by_way_of_others():
    def reached(name):
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for target in graph()[waiting.pop()] - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    assert [name for name in MODULES if name in reached(name)] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_is_private_stays_in_its_module(name):
    private = [one for target, one in imports(name) if one and one.startswith("_") and one != "__version__"]
    assert private == []


def test_nothing_is_imported_by_a_string():
    found = {
        name
        for name, path in MODULES.items()
        if any(
            isinstance(node, ast.Name | ast.Attribute)
            and getattr(node, "id", getattr(node, "attr", "")) in ("import_module", "__import__")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert found == LAZY


def test_the_root_is_small_and_no_module_is_long():
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    long = {name for name, path in MODULES.items() if len(path.read_text("utf-8").splitlines()) > 500}
    assert long == set()
