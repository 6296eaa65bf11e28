"""Arguments from recipes and the command line, and the errors for invalid ones."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import TrainingArguments

from modeling_lacl import LaclConfig
from modeling_lacl.training.arguments import (
    ENCODER_OPTIONS,
    DataArguments,
    LaclTrainingArguments,
    ModelArguments,
    parse_arguments,
)

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(f"output_dir: {tmp_path}/out\ntrain_file: train.txt\n{text}", encoding="utf-8")
        return str(path)

    return write


def test_defaults_are_those_of_the_paper(tmp_path):
    args = LaclTrainingArguments(output_dir=str(tmp_path))
    assert args.learning_rate == 5e-5 and args.max_grad_norm == 1.0
    assert args.per_device_train_batch_size == 32 and args.weight_decay == 0.01
    assert args.num_train_epochs == 1 and args.metric_for_best_model == "f1" and args.greater_is_better


def test_a_recipe_is_read_with_every_kind_of_value(recipe):
    model_args, data_args, training_args = parse_arguments(
        [
            recipe(
                "learning_rate: 5e-5\nheld_out_types: [person-actor, 'on']\nuse_prompts: false\n"
                "max_steps: -1\nlr_scheduler_type: cosine\nlr_scheduler_kwargs: {num_cycles: 2}\n"
                "projection_size:\nalpha: 0.25\nload_best_model_at_end: true\nsave_strategy: steps\n"
                "eval_strategy: steps\ntype_names: few_nerd\n"
            )
        ]
    )
    # YAML alone would read 5e-5 as text.
    assert training_args.learning_rate == 5e-5 and training_args.max_steps == -1
    assert training_args.lr_scheduler_kwargs == {"num_cycles": 2}
    assert training_args.load_best_model_at_end is True
    assert data_args.held_out_types == ["person-actor", "on"] and data_args.type_names == "few_nerd"
    assert model_args.config_kwargs() == {"use_prompts": False, "alpha": 0.25}


def test_the_command_line_goes_before_the_recipe(recipe):
    path = recipe("max_steps: 100\nheld_out_types: [a, b]\nsampling: plain\n")
    _, data_args, training_args = parse_arguments(
        [path, "--max_steps", "7", "--sampling=episodes", "--held_out_types", "c", "--bf16", "false"]
    )
    assert training_args.max_steps == 7 and training_args.sampling == "episodes" and not training_args.bf16
    assert data_args.held_out_types == ["c"]


@pytest.mark.parametrize("own", ["train_file", "corpora"])
def test_every_argument_about_data_goes_with_one_kind_of_source_or_with_both(own):
    source: Any = {"corpora": ['{"file": "x"}']} if own == "corpora" else {"train_file": "x"}
    given: Any = {"nested": "keep", "encoding": "utf-16", "corpus_power": 1.0, "default_labels": ["a"]}
    refused = set()
    for name in set(vars(DataArguments(train_file="x"))) - {"train_file", "corpora"}:
        value = given.get(name, ["a"] if name.endswith("_types") else "a")
        try:
            DataArguments(**source, **{name: value})
        except ValueError as error:
            assert str(error).startswith(f"{name} is for ")
            refused.add(name)
    both = {"dataset_name", "language", "license"}
    of_corpora = {"corpus_power", "families", "name_variants", "default_labels"}
    of_file = set(vars(DataArguments(train_file="x"))) - both - of_corpora - {"train_file", "corpora"}
    assert refused == (of_file if own == "corpora" else of_corpora)


def test_no_recipe_is_needed(tmp_path):
    _, data_args, _ = parse_arguments(["--train_file", "x.txt", "--output_dir", str(tmp_path)])
    assert data_args.train_file == "x.txt" and data_args.held_out_types == []


@pytest.mark.parametrize(
    "options", [["--config", "{}"], ["--config={}"], ["--resume", "{}"], ["{}", "--resume"]]
)
def test_other_ways_to_name_a_recipe_and_to_resume(recipe, options):
    path = recipe("max_steps: 100\nresume_from_checkpoint: elsewhere\n")
    given = [*(option.format(path) for option in options), "--seed", "3"]
    _, data_args, training_args = parse_arguments(given)
    assert data_args.train_file == "train.txt" and (training_args.max_steps, training_args.seed) == (100, 3)
    resumed = "last" if "--resume" in options else "elsewhere"
    assert training_args.resume_from_checkpoint == resumed


def test_one_recipe_alone(recipe):
    path = recipe("")
    with pytest.raises(ValueError, match=r"recipe.yaml and .*recipe.yaml are 2 recipes; give one"):
        parse_arguments([path, "--config", path])
    with pytest.raises(ValueError, match="--config: expected one argument"):
        parse_arguments(["--config"])


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("alfa: 1\n", [], r"unknown argument 'alfa' in .*recipe.yaml; did you mean 'alpha'\?"),
        ("zzzzzz: 1\n", [], "unknown argument 'zzzzzz'"),
        ("", ["--alfa", "1"], r"unknown argument 'alfa' in the command line; did you mean 'alpha'\?"),
        ("", ["--alph", "1"], "unknown argument 'alph'"),
        ("max_steps: many\n", [], "max_steps.*invalid int value: 'many'"),
        ("use_prompts: perhaps\n", [], "use_prompts"),
        ("sampling: both\n", [], "sampling.*invalid choice: 'both'"),
        ("n_way: 0\n", [], "n_way is 0; it must be at least 1"),
        ("eval_k_shot: -1\n", [], "eval_k_shot is -1"),
        ("label_smoothing_factor: 0.1\n", [], "label_smoothing_factor is 0.1: .*contrastive loss"),
        ("foreign_labels: -1\n", [], "foreign_labels is -1"),
        ("group_size: 0\n", [], "group_size is 0; it must be at least 1"),
        ("variant_probability: 2\n", [], "variant_probability is 2.0; it must be from 0 to 1"),
        ("dropout: 1\n", [], "dropout is 1.0; it must be from 0 to below 1"),
        ("attention: fast\n", [], "attention.*invalid choice: 'fast'"),
        ("corpora: [{file: x}]\n", [], "either train_file .* or corpora .*, and not both"),
        ("coarse_probability: 2\n", [], "coarse_probability is 2.0; it must be from 0 to 1"),
        ("a: [1\n", [], "recipe.yaml is not valid YAML"),
    ],
)
def test_bad_arguments(recipe, text, more, message):
    with pytest.raises(ValueError, match=message):
        parse_arguments([recipe(text), *more])


def test_corpora_are_mappings_in_a_recipe_and_json_on_the_command_line(tmp_path):
    entries = [{"folder": "wide", "release": ["yes", True], "weight": {"a": 2}}, {"file": "x: y.txt"}]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"corpora": entries}), encoding="utf-8")
    out = ["--output_dir", str(tmp_path)]
    for given in (
        [str(path)],
        ["--corpora", *map(json.dumps, entries)],
        [str(path), f"--corpora={json.dumps(entries[1])}"],
    ):
        _, data_args, _ = parse_arguments([*given, *out])
        expected = entries[1:] if len(given) == 2 and given[0] == str(path) else entries
        assert [json.loads(one) for one in data_args.corpora] == expected
    assert data_args.train_file is None and data_args.default_labels[0] == "person"


def test_a_recipe_must_be_a_mapping(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- a\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must be a mapping"):
        parse_arguments([str(path)])
    with pytest.raises(FileNotFoundError):
        parse_arguments([str(tmp_path / "none.yaml")])


def test_a_training_file_is_required():
    with pytest.raises(ValueError, match="train_file"):
        parse_arguments([])


def test_model_options_are_options_of_the_configuration():
    options = set(vars(ModelArguments())) - {"encoder", "method", *ENCODER_OPTIONS}
    assert options <= set(inspect.signature(LaclConfig.__init__).parameters)


def test_no_argument_hides_another():
    classes = [set(vars(ModelArguments())), set(vars(DataArguments(train_file="train.txt")))]
    training = {name for name in TrainingArguments.__dataclass_fields__}
    assert not classes[0] & training and not classes[1] & training


@pytest.mark.parametrize(
    "path", [*RECIPES.glob("few_nerd*.yaml"), RECIPES / "wide_minilm.yaml"], ids=lambda path: path.name
)
def test_the_recipes_of_the_repository_can_be_read(path, tmp_path):
    parse_arguments([str(path), "--output_dir", str(tmp_path)])
