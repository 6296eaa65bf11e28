"""Write docs/recipes.md, the keys of recipes, from the dataclasses and functions that take them.

python scripts/recipe_reference.py
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modeling_lacl.evaluation.recipe import CONFIG_OPTIONS, ComparisonRecipe, TransferRecipe
from modeling_lacl.evaluation.stages import STAGES
from modeling_lacl.evaluation.targets import EpisodeTarget, TransferTarget
from modeling_lacl.evaluation.transfer import stage_arguments
from modeling_lacl.model.configuration_lacl import LaclConfig
from modeling_lacl.reporting import markdown_table
from modeling_lacl.training.adaptation import adapt
from modeling_lacl.training.arguments import DataArguments, LaclTrainingArguments, ModelArguments

FILE = Path(__file__).parents[1] / "docs" / "recipes.md"

HEAD = """\
# Keys of recipes

Made by `python scripts/recipe_reference.py` from the code; edit the descriptions there. A recipe is a YAML
file. A key that is left out, or has no value, has its default.

- [Training](#training): `lacl train RECIPE.yaml`, where every key is also an option of the command, as in
  `--alpha 0.3`.
- [Evaluation](#evaluation): `lacl evaluate RECIPE.yaml`.
- The recipes of the repository are in [training/recipes/](../training/recipes). Those of the other programs
  in `training/` have keys of their own, which the programs name (`--help`).
"""

LINKS = {
    "`TransferRecipe`": "[a recipe of one method](#a-recipe-of-one-method)",
    "those in `CONFIG_OPTIONS`": "[these](#options-of-the-model-keys-of-config)",
}
"""What docstrings say by the names of the code, and this page by its sections."""


def main() -> None:
    FILE.write_text(reference(), encoding="utf-8")


def reference() -> str:
    """Return the text of docs/recipes.md."""
    parts = [
        HEAD,
        "## Training\n",
        "### The model\n",
        "The options of the configuration have the defaults of `LaclConfig`, whose docstring says more.\n",
        *help_table(ModelArguments, {**dataclasses.asdict(LaclConfig()), "viterbi": None}),
        "### The data\n",
        *help_table(DataArguments),
        "What an entry of `corpora` has, see [corpora.md](corpora.md).\n",
        "### The training arguments of this package\n",
        "All others are [those of transformers](https://huggingface.co/docs/transformers/main_classes/trainer):",
        "`learning_rate`, `max_steps`, `bf16`, … Here are also those with another default.\n",
        *help_table(LaclTrainingArguments),
        "## Evaluation\n",
        "### A recipe of one method\n",
        *docstring_table(TransferRecipe),
        "### A recipe of several methods\n",
        *docstring_table(ComparisonRecipe),
        "### A target: an entry of `targets`\n",
        *docstring_table(TransferTarget),
        "### Episodes: an entry of `episodes`\n",
        *docstring_table(EpisodeTarget),
        "### Options of the model: keys of `config`\n",
        "In the place of those that the source model was trained with, in adapting and in decoding.\n",
        *config_table(),
        *adapt_tables(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def help_table(arguments: Any, defaults: Mapping[str, Any] | None = None) -> list[str]:
    """Return a table of the fields of a class of arguments that the class itself has, not its parents."""
    own = inspect.get_annotations(arguments)
    rows = []
    for field in dataclasses.fields(arguments):
        if field.name in own and field.init:
            default = default_of(field)
            if default is None and defaults:
                default = defaults.get(field.name)
            rows.append([f"`{field.name}`", shown(default), str(field.metadata["help"])])
    return table(rows)


def docstring_table(described: Any) -> list[str]:
    """Return a table of the fields of a dataclass, with what its docstring says of them."""
    meanings = described_arguments(described)
    return table(
        [f"`{field.name}`", shown(default_of(field)), meanings[field.name]]
        for field in dataclasses.fields(described)
    )


def config_table() -> list[str]:
    """Return a table of the options of a configuration that an evaluation may replace."""
    meanings, defaults = described_arguments(LaclConfig), dataclasses.asdict(LaclConfig())
    return table([f"`{name}`", shown(defaults[name]), meanings[name]] for name in CONFIG_OPTIONS)


def adapt_tables() -> list[str]:
    """Return the tables of the arguments of each second stage."""
    lines = []
    for name, stage in STAGES.items():
        meanings = described_arguments(adapt) | described_arguments(stage)
        taken = stage_arguments(stage, {})
        lines += [f"### Arguments of adapting: keys of `adapt` with `stage: {name}`\n"]
        lines += table([f"`{key}`", shown(value), meanings[key]] for key, value in taken.items())
    return lines


def described_arguments(described: Any) -> dict[str, str]:
    """Return what the docstring of a class or function says of each of its arguments.

    A description that several arguments share is that of each.
    """
    text = inspect.getdoc(described) or ""
    section = re.split(r"^(?:Args|Attributes):\n", text, maxsplit=1, flags=re.MULTILINE)[-1]
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    found: dict[str, str] = {}
    for names, meaning in re.findall(
        r"^    ([\w, `]+?)(?: \([^\n]*?\))?: (.*?)(?=^    \S|\Z)", section, flags=re.MULTILINE | re.DOTALL
    ):
        meaning = " ".join(re.sub(r"\[(`[^`]+`)\]", r"\1", meaning).split())
        for words, link in LINKS.items():
            meaning = meaning.replace(words, link)
        found |= dict.fromkeys(names.split(", "), meaning)
    return found


def default_of(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else ...


def shown(default: Any) -> str:
    """Return a default as YAML has it; `...` is a key that must be given."""
    if default is ...:
        return "required"
    if default is None or default in ("", [], {}):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{', '.join(map(str, default))}`" if isinstance(default, list) else f"`{default}`"


def table(rows: Iterable[list[str]]) -> list[str]:
    return [*markdown_table(["key", "default", "meaning"], list(rows), numbers=()), ""]


if __name__ == "__main__":
    main()
