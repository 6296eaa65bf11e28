"""The program of tag-set extension, end to end on a tiny corpus and encoder."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import BertConfig, BertModel

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.evaluation.results import read_results

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "training" / "extend_tag_set.py"
RECIPE = ROOT / "training" / "recipes" / "tag_set_extension.yaml"
WORDS = {"PERSON": "ana", "GPE": "quito", "ORG": "cessna", "DATE": "york"}


def conll2012(sentences):
    lines = ["#begin document (nw/a/00/a_0001); part 000"]
    for sentence in sentences:
        for number, (word, entity) in enumerate(sentence):
            lines.append(f"nw/a/00/a_0001 0 {number} {word} NN * - - - - {entity} -")
        lines.append("")
    return "\n".join([*lines, "#end document", ""])


@pytest.fixture
def plan(tmp_path, tiny_tokenizer):
    kinds = list(WORDS)
    sentences = []
    for i in range(24):
        first, second = kinds[i % 4], kinds[i % 3]
        sentences.append(
            [("the", "*"), (WORDS[first], f"({first})"), ("to", "*"), (WORDS[second], f"({second})")]
        )
    (tmp_path / "data" / "ontonotes").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (tmp_path / "data" / "ontonotes" / f"{split}.gold_conll").write_text(conll2012(sentences))
    torch.manual_seed(0)
    size: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = BertConfig(vocab_size=len(tiny_tokenizer), max_position_embeddings=64, **size)
    BertModel(encoder, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    tiny_tokenizer.save_pretrained(tmp_path / "encoder")
    common = {"encoder": str(tmp_path / "encoder"), "train_file": "x", "output_dir": "x", "max_steps": 2}
    common |= {"use_cpu": True, "save_strategy": "no", "report_to": "none", "max_text_length": 32}
    lacl = common | {"coarse_names": "few_nerd_coarse", "type_names": "few_nerd", "projection_size": 8}
    plain = common | {"method": "classifier", "use_prompts": False, "projection": "hidden"}
    (tmp_path / "lacl.yaml").write_text(yaml.safe_dump(lacl))
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(plain | {"divergence": "euclidean"}))
    values = {
        "corpus": "ontonotes",
        "folder": "ontonotes",
        "label_names": "ontonotes",
        "groups": {"A": ["ORG"], "B": ["GPE"], "C": ["PERSON", "DATE"]},
        "shots": [1],
        "sets": 2,
        "source": {"type_names": "ontonotes", "coarse_names": None},
        "methods": {
            "LACL": {"source": "lacl.yaml", "adapt": {"steps": 1}},
            "NNShot": {"source": "plain.yaml", "adapt": {"steps": 0}},
        },
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "plan.yaml"


def test_each_group_is_found_by_models_that_never_saw_it(plan, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    arguments = [str(PROGRAM), str(plan), "--data_root", str(tmp_path / "data"), "--output", str(output)]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.syspath_prepend(str(PROGRAM.parent))  # as Python does for a program
    runpy.run_path(str(PROGRAM), run_name="__main__")
    table = capsys.readouterr().out
    assert "| method | group A, 1-shot | group B, 1-shot | group C, 1-shot | average |" in table
    scores = json.loads((output / "comparison.json").read_text())["scores"]
    assert list(scores) == ["LACL", "NNShot"] and all(len(row) == 3 for row in scores.values())

    trained = {"a": {"GPE", "PERSON", "DATE"}, "b": {"ORG", "PERSON", "DATE"}, "c": {"ORG", "GPE"}}
    tests = {"a": ["ORG"], "b": ["GPE"], "c": ["PERSON", "DATE"]}
    for group, types in trained.items():
        for source in ("source-lacl", "source-plain"):
            model = LaclForTokenClassification.from_pretrained(output / group / source)
            assert set(model.config.label2id) == {"O", *types}
        for method in ("lacl", "nnshot"):
            results = read_results(output / group / method / "results.jsonl")
            assert len(results) == 2 and all(sorted(one.labels) == sorted(tests[group]) for one in results)
            assert all(one.number and not one.unreachable for one in results)

    weights = output / "a" / "source-lacl" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    monkeypatch.setattr("sys.argv", [*arguments, "--group", "A", "--method", "LACL"])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    assert weights.stat().st_mtime_ns == written
    assert "group A, 1-shot | average" in capsys.readouterr().out


def test_the_groups_of_the_recipe_are_all_types_once():
    groups = yaml.safe_load(RECIPE.read_text())["groups"]
    types = [name for group in groups.values() for name in group]
    assert sorted(types) == sorted(load_label_names("ontonotes")) and len(groups) == 3
    methods = yaml.safe_load(RECIPE.read_text())["methods"]
    assert all((RECIPE.parent / method["source"]).is_file() for method in methods.values())
