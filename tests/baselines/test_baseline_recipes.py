"""The recipes of the comparison: from training to a score, and what the tables name."""

from pathlib import Path

import pytest

from modeling_lacl.baselines import MODELS
from modeling_lacl.evaluation.recipe import CONFIG_OPTIONS, ComparisonRecipe, TransferRecipe
from modeling_lacl.evaluation.stages import second_stage
from modeling_lacl.evaluation.targets import TransferTarget
from modeling_lacl.evaluation.transfer import evaluate_transfer, stage_arguments
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
TYPES = ["person-actor", "location-GPE", "building-hotel", "product-food", "art-film"]
SHORTER = (
    "--max_steps 2 --save_strategy no --per_device_train_batch_size 4 --k_shot 1 --q_shot 1 --use_cpu true"
)


@pytest.mark.parametrize("name", ["lacl_without_names", "gliner", "proml"])
def test_from_training_by_a_recipe_to_a_score(name, tiny_encoder, tmp_path):
    sentences = [
        f"the\tO\n{word}\t{kind}\nin\tO\nflew\tO\n" for kind in TYPES for word in ("ana", "york", "play")
    ]
    (tmp_path / "train.txt").write_text("\n".join(sentences))
    (tmp_path / "test.txt").write_text("ana\tpilot\nflew\tO\nto\tO\nyork\ttown\n")
    given = (
        f"--encoder {tiny_encoder} --train_file {tmp_path / 'train.txt'} --output_dir {tmp_path / 'source'}"
    )
    recipe = RECIPES / "baselines" / f"{name}.yaml"
    source = train_source(*parse_arguments([str(recipe), *given.split(), *SHORTER.split()]))
    method = name if name in MODELS else "lacl"
    assert type(source) is MODELS[method] and source.config.transitions
    (row,) = [
        {**one, "checkpoint": str(tmp_path / "source")}
        for one in ComparisonRecipe.from_yaml(RECIPES / "compare_minilm.yaml").methods.values()
        if str(one["checkpoint"]).startswith(f"['outputs/{name.replace('_', '-')}-minilm")
    ]
    report = evaluate_transfer(
        TransferRecipe(
            **{**row, "adapt": {"steps": 2}},
            targets=[TransferTarget(name="news", test="test.txt", support={"1-shot": ["test.txt"]})],
            data_root=str(tmp_path),
            output=str(tmp_path / "out"),
        )
    )
    (result,) = report.results
    assert result.labels == ["pilot", "town"] and result.number == 2 and 0 <= result.f1 <= 1


@pytest.mark.parametrize("name", ["compare_minilm", "baseline_ends"])
def test_the_tables_name_what_is_there(name):
    """Each model, second stage, option and argument; and each source model is made by a recipe."""
    made = {
        parse_arguments([str(path)])[2].output_dir: parse_arguments([str(path)])[0].method
        for path in [RECIPES / "few_nerd_inter_minilm.yaml", *(RECIPES / "baselines").glob("*.yaml")]
    }
    made["outputs/lacl-minilm"] = "lacl"  # that of few_nerd_inter_minilm.yaml, by seed
    for method, recipe in ComparisonRecipe.from_yaml(RECIPES / f"{name}.yaml").recipes().items():
        stage_arguments(second_stage(recipe.stage), recipe.adapt)
        assert recipe.config.keys() <= set(CONFIG_OPTIONS), method
        for one in recipe.of_each_source():
            if one.source == "lacl-minilm-fewnerd":
                continue
            folder = one.source.partition("/checkpoint-")[0]
            folder = folder.rpartition("-")[0] if folder[-1].isdecimal() else folder
            assert folder in made, method
            # A classifier is NNShot's model as well.
            assert made[folder] in {recipe.method, "classifier"}, method
