"""Recipes: what is read, what is refused and how the refusal reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modeling_lacl.evaluation.recipe import TransferRecipe
from modeling_lacl.evaluation.targets import TransferTarget

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
TARGET: dict[str, Any] = {"name": "news", "test": "test.conll", "support": {"1-shot": ["0.txt", "1.txt"]}}


def write(folder, **values):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"checkpoint": "model", "targets": [TARGET], **values}))
    return path


def test_reads_a_recipe(tmp_path):
    recipe = TransferRecipe.from_yaml(write(tmp_path, adapt={"steps": 3}, seed=7))
    assert (recipe.checkpoint, recipe.adapt, recipe.seed) == ("model", {"steps": 3}, 7)
    assert recipe.targets == [TransferTarget(**TARGET)]
    assert recipe.targets[0].support_files(recipe.folder) == {"1-shot": ["0.txt", "1.txt"]}


def test_a_list_of_source_models(tmp_path):
    recipe = TransferRecipe.from_yaml(write(tmp_path, checkpoint=["a/model-0", "a/model-1"], output="out"))
    each = recipe.of_each_source()
    assert [(one.source, one.output) for one in each] == [
        ("a/model-0", "out/a-model-0"),
        ("a/model-1", "out/a-model-1"),
    ]
    assert each[0].targets == recipe.targets and each[0].of_each_source() == [each[0]]
    with pytest.raises(ValueError, match="'checkpoint' lists several models; name one"):
        _ = recipe.source


def test_paths_are_relative_to_the_recipe_or_to_data_root(tmp_path):
    assert TransferRecipe.from_yaml(write(tmp_path)).folder == tmp_path
    assert TransferRecipe.from_yaml(write(tmp_path, data_root="elsewhere")).folder == Path("elsewhere")
    override = TransferRecipe.from_yaml(write(tmp_path, data_root="elsewhere"), data_root=Path("there"))
    assert override.folder == Path("there")


def test_overrides_that_are_none_leave_the_recipe(tmp_path):
    recipe = TransferRecipe.from_yaml(write(tmp_path, limit=2), limit=None, checkpoint="other", output=None)
    assert (recipe.limit, recipe.checkpoint) == (2, "other")


def test_support_folder_in_natural_order(tmp_path):
    folder = tmp_path / "support-5shot"
    folder.mkdir()
    for name in ("10.txt", "2.txt", "0.txt", ".hidden"):
        (folder / name).touch()
    target = TransferTarget(name="a", test="t", support_dir="support-{shots}shot", shots=[5], sets=2)
    assert target.support_files(tmp_path) == {"5-shot": ["support-5shot/0.txt", "support-5shot/2.txt"]}
    target.sets = None
    assert target.support_files(tmp_path)["5-shot"][-1] == "support-5shot/10.txt"
    target.sets = 4
    with pytest.raises(ValueError, match="holds 3 support sets, fewer than the 4 requested"):
        target.support_files(tmp_path)
    with pytest.raises(ValueError, match="no support folder .*--data_root"):
        target.support_files(tmp_path / "missing")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"checkpont": "x"},
            r"recipe.yaml: unknown key 'checkpont' in the recipe; did you mean 'checkpoint'",
        ),
        ({"zzz": 1}, "unknown key 'zzz' in the recipe; known keys: checkpoint, targets"),
        ({"targets": [{**TARGET, "tets": "x"}]}, "unknown key 'tets' in target 1; did you mean 'test'"),
        ({"targets": [{"name": "news", "support": {}}]}, "target 1 lacks the key 'test'"),
        ({"targets": []}, "'targets' or 'episodes' must list at least one target"),
        ({"targets": ["news"]}, "target 1 must be a mapping"),
        ({"targets": [TARGET, TARGET]}, "two targets have the same name: news"),
        ({"targets": [{"name": "a", "test": "t"}]}, "target 'a': nothing to evaluate"),
        ({"targets": [{**TARGET, "support": {"1-shot": "0.txt"}}]}, "must map shots to a list of files"),
        ({"targets": [{**TARGET, "support": {"1-shot": ["a", "a"]}}]}, "lists a file twice under '1-shot'"),
        ({"targets": [{**TARGET, "support": {"zero-shot": ["a"]}}]}, "give 'zero_shot: true'"),
        ({"targets": [{**TARGET, "support_dir": "d"}]}, "'support' or 'support_dir', not both"),
        ({"targets": [{**TARGET, "sets": 3}]}, "'shots' and 'sets' need 'support_dir' or 'sample_from'"),
        (
            {"targets": [{**TARGET, "sample_from": "dev.conll"}]},
            "'sample_from' samples support sets; give no",
        ),
        (
            {"targets": [{"name": "a", "test": "t", "sample_from": "dev.conll"}]},
            "'sample_from' needs 'shots'",
        ),
        ({"targets": [{**TARGET, "corpus": "conll"}]}, "'corpus' must be one of ontonotes, conll2003"),
        ({"targets": [{**TARGET, "types": "person"}]}, "'types' must be a list"),
        ({"targets": [{**TARGET, "sample_seed": -1}]}, "'sample_seed' must be 0 or above"),
        ({"episodes": [{"name": "e", "file": "f", "published": 1}]}, "'published' must be true or false"),
        ({"targets": [{"name": "a", "test": "t", "support_dir": "d"}]}, "'support_dir' needs 'shots'"),
        (
            {"targets": [{"name": "a", "test": "t", "support_dir": "d", "shots": [1, 5]}]},
            r"'support_dir' needs '\{shots\}'",
        ),
        ({"targets": [{**TARGET, "label_names": {"a": 1}}]}, "'label_names' must be"),
        ({"targets": [{**TARGET, "zero_shot": "yes"}]}, "'zero_shot' must be true or false"),
        ({"checkpoint": []}, "'checkpoint' must be the folder .* or a list of them"),
        (
            {"checkpoint": ["a/b", "a b"]},
            "'checkpoint' lists a/b and a b, whose results would share a folder",
        ),
        ({"batch_size": 0}, "'batch_size' must be a whole number above 0"),
        ({"limit": True}, "'limit' must be a whole number"),
        ({"seed": -1}, "'seed' must be"),
        ({"adapt": [20]}, "'adapt' must be a mapping"),
    ],
)
def test_what_is_refused(tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        TransferRecipe.from_yaml(write(tmp_path, **values))


def test_files_that_are_no_recipe(tmp_path):
    with pytest.raises(ValueError, match="cannot read recipe .*missing.yaml: No such file"):
        TransferRecipe.from_yaml(tmp_path / "missing.yaml")
    path = tmp_path / "recipe.yaml"
    path.write_text("targets: [")
    with pytest.raises(ValueError, match="recipe.yaml is not valid YAML"):
        TransferRecipe.from_yaml(path)
    path.write_text("- a list")
    with pytest.raises(ValueError, match="a recipe is a mapping"):
        TransferRecipe.from_yaml(path)
    path.write_text("targets: []")
    with pytest.raises(ValueError, match="the recipe lacks the key 'checkpoint'"):
        TransferRecipe.from_yaml(path)


def test_the_recipe_in_the_repository():
    recipe = TransferRecipe.from_yaml(RECIPES / "transfer_wnut17_gum.yaml")
    assert [(target.name, target.zero_shot) for target in recipe.targets] == [
        ("WNUT-17", True),
        ("GUM", True),
    ]
    assert all((target.shots, target.sets) == ([1, 5], 3) for target in recipe.targets)
