"""YAML files: aliases stand for what they name, and do not multiply without bound."""

import pytest

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.yaml_files import read_yaml
from modeling_lacl.evaluation.recipe import read_recipe
from modeling_lacl.training.arguments import parse_arguments


def bomb(levels, width=9, as_merge=False):
    lines = ["a0: &a0 " + ("{k: x}" if as_merge else "[lol]")]
    for level in range(1, levels):
        inner = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} " + ("{<<: [" + inner + "]}" if as_merge else f"[{inner}]"))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content", [bomb(9), bomb(30), bomb(12, as_merge=True), "a: &a [*a]\n", "a: &a {b: *a}\n"]
)
@pytest.mark.parametrize(
    "read", [read_yaml, load_label_names, read_recipe, lambda file: parse_arguments([str(file)])]
)
def test_aliases_that_multiply_are_a_short_error(tmp_path, content, read):
    file = tmp_path / "names.yaml"
    file.write_text(content)
    with pytest.raises(LaclDataError, match=r"names\.yaml: its aliases") as caught:
        read(file)
    assert len(str(caught.value)) < 1000


def test_plain_aliases_are_read(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("base: &base {steps: 20, rate: 0.5}\none: *base\ntwo: {<<: *base, steps: 3}\n")
    base = {"steps": 20, "rate": 0.5}
    assert read_yaml(file) == {"base": base, "one": base, "two": {"steps": 3, "rate": 0.5}}


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n"])
def test_a_file_with_nothing_in_it(tmp_path, content):
    file = tmp_path / "x.yaml"
    file.write_text(content)
    assert read_yaml(file) is None
