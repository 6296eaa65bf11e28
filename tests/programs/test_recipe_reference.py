"""docs/recipes.md is what the code says."""

import dataclasses
import runpy
from pathlib import Path

import pytest

from modeling_lacl.evaluation.targets import EpisodeTarget, TransferTarget
from modeling_lacl.training.arguments import ModelArguments

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program():
    return runpy.run_path(str(ROOT / "scripts" / "recipe_reference.py"))


def test_the_page_is_current(program):
    written = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert written == program["reference"](), "run python scripts/recipe_reference.py"


def test_every_key_has_its_default_and_a_meaning(program):
    rows = [line.split(" | ") for line in program["reference"]().splitlines() if line.startswith("| `")]
    assert all(len(row) == 3 and row[2].strip(" |") for row in rows)
    found = {row[0].strip("| `"): row[1].strip("`") for row in rows}
    for described in (ModelArguments, TransferTarget, EpisodeTarget):
        assert {field.name for field in dataclasses.fields(described)} <= set(found)
    assert found["test"] == "required" and found["published"] == "false" and found["viterbi"] == "false"


def test_descriptions_of_a_docstring(program):
    class Described:
        """One.

        Args:
            a, b (`int`): Of [`X`],
                in two lines: so.
            c: As in [`TransferRecipe`].

        Raises:
            ValueError: No.
        """

    assert program["described_arguments"](Described) == {
        "a": "Of `X`, in two lines: so.",
        "b": "Of `X`, in two lines: so.",
        "c": "As in [a recipe of one method](#a-recipe-of-one-method).",
    }
