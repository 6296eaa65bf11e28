"""The recipes of the paper's system, from source to table, on tiny corpora in their published layouts."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.cli.app import app
from modeling_lacl.data.label_names import load_label_names

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "training" / "recipes" / "paper"
WORDS = "ana ruiz flew quito york cessna play".split()


def rows(types, prefix="B-", line="{word} {tag}"):
    """A sentence of two words for each type, in columns."""
    sentences = []
    for number, name in enumerate(types):
        cells = [("to", "O"), (WORDS[number % len(WORDS)], prefix + name)]
        sentences.append("\n".join(line.format(word=word, tag=tag) for word, tag in cells) + "\n")
    return "\n".join(sentences)


def conll2012(types):
    lines = ["#begin document (nw/a/00/a_0001); part 000"]
    for number, name in enumerate(types * 6):
        for index, (word, entity) in enumerate([("to", "*"), (WORDS[number % len(WORDS)], f"({name})")]):
            lines.append(f"nw/a/00/a_0001 0 {index} {word} NN * - - - - {entity} -")
        lines.append("")
    return "\n".join([*lines, "#end document", ""])


def i2b2(types):
    text, tags = "", []
    for number, name in enumerate(types):
        word = WORDS[number % len(WORDS)]
        start = len(text) + 3
        text += f"to {word}\n"
        kind = name.replace("_", "-")
        tags.append(
            f'<X id="P{number}" start="{start}" end="{start + len(word)}" text="{word}" TYPE="{kind}" />'
        )
    return f"<deId><TEXT><![CDATA[{text}]]></TEXT>\n<TAGS>\n" + "\n".join(tags) + "\n</TAGS></deId>"


def episode(types):
    """One of FEW-NERD's published episodes."""
    part = {"word": [["to", word] for word in WORDS[:5]], "label": [["O", types[i]] for i in range(5)]}
    more = {"word": [["to", "ana"] for _ in types[5:]], "label": [["O", name] for name in types[5:]]}
    both = {key: part[key] + more[key] for key in part}
    return json.dumps({"support": both, "query": both, "types": types}) + "\n"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def data(tmp_path):
    """The folder that docs/data.md describes, with a few sentences in each file."""
    root = tmp_path / "data"
    types = {name: list(load_label_names(name)) for name in ("ontonotes", "conll2003", "wnut17", "gum")}
    types |= {name: list(load_label_names(name)) for name in ("i2b2_2014", "few_nerd")}
    for split in ("train", "dev", "test"):
        write(root / "ontonotes" / f"{split}.gold_conll", conll2012(types["ontonotes"]))
    columns = "{word} NN B-NP {tag}"
    for split in ("train", "testa", "testb"):
        write(root / "conll2003" / f"eng.{split}", rows(types["conll2003"], line=columns))
    for name in ("wnut17", "gum"):
        write(root / name / "test.conll", rows(types[name]))
    write(root / "i2b2_2014" / "testing-PHI-Gold-fixed" / "110-01.xml", i2b2(types["i2b2_2014"]))
    for name in ("conll2003", "wnut17", "gum", "i2b2_2014"):
        for shots in (1, 5):
            for number in range(10):
                write(root / name / f"support-{shots}shot" / f"{number}.txt", rows(types[name]))
    write(root / "few-nerd-inter" / "train.txt", rows(types["few_nerd"][:20], prefix=""))
    for way in (5, 10):
        for shots in (1, 5):
            file = root / "episode-data" / "inter" / f"test_{way}_{shots}.jsonl"
            write(file, episode(types["few_nerd"][20 : 20 + way]) * 2)
    return root


@pytest.fixture
def recipes(tmp_path):
    """The recipes, without the fifty steps of adapting, each of which takes time."""
    for file in RECIPES.iterdir():
        text = file.read_text(encoding="utf-8")
        assert ("{steps: 50" in text) != file.name.endswith("_bert.yaml")
        write(tmp_path / "recipes" / file.name, text.replace("{steps: 50", "{steps: 0"))
    return tmp_path / "recipes"


@pytest.fixture
def encoder(tiny_tokenizer, tmp_path):
    """As options of `lacl train`: one with room for label names of single letters."""
    torch.manual_seed(0)
    size: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tiny_tokenizer), **size)).save_pretrained(tmp_path / "encoder")
    tiny_tokenizer.save_pretrained(tmp_path / "encoder")
    return {"encoder": str(tmp_path / "encoder"), "max_prompt_length": 300, "use_cpu": True}


def lacl(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("source", "train_file", "evaluation", "folder", "settings"),
    [
        (
            "ontonotes_bert.yaml",
            "ontonotes",
            "transfer.yaml",
            ".",
            [f"{name}, {k}-shot" for name in ("CoNLL-2003", "WNUT-17", "GUM", "I2B2") for k in (1, 5)],
        ),
        (
            "few_nerd_bert.yaml",
            "few-nerd-inter/train.txt",
            "episodes.yaml",
            "episode-data/inter",
            [f"test_{n}_{k}, {n}-way {k}~{2 * k}-shot" for n in (5, 10) for k in (1, 5)],
        ),
    ],
    ids=["transfer", "episodes"],
)
def test_from_source_to_table(
    data, recipes, encoder, tmp_path, source, train_file, evaluation, folder, settings
):
    options = [f"--{key}={value}" for key, value in encoder.items()]
    place = tmp_path / "source"
    lacl("train", recipes / source, "--train_file", data / train_file, "--output_dir", place, *options)
    model = LaclForTokenClassification.from_pretrained(place)
    config, paper = model.config, load_label_names("paper")
    assert config.label_names == {"O": "none"} | {name: paper[name] for name in model.entity_types}
    assert (config.label_vector, config.alpha, config.viterbi) == ("cls", 0.1, False)
    given = ["--checkpoint", place, "--output", tmp_path / "out", "--limit", 1]
    table = lacl("evaluate", recipes / evaluation, "--data_root", data / folder, *given)
    scores = json.loads((tmp_path / "out" / "comparison.json").read_text())["scores"]
    assert {name: list(row) for name, row in scores.items()} == {
        name: settings for name in ("symmetrised KL", "Euclidean")
    }
    assert "| symmetrised KL |" in table and "| Euclidean |" in table
    # The same text is in support and test: decoding by hidden states finds it again.
    assert all(0 < (row.get("pooled") or row["mean"]) for row in scores["symmetrised KL"].values())
    if evaluation == "transfer.yaml":  # and once with all steps
        given[3:] = [tmp_path / "whole", "--limit", 1, "--target", "WNUT-17", "--method", "Euclidean"]
        table = lacl("evaluate", RECIPES / evaluation, "--data_root", data, *given)
        assert "| method | WNUT-17, 1-shot | WNUT-17, 5-shot | average |" in table


def test_tag_set_extension(data, recipes, encoder, tmp_path, monkeypatch, capsys):
    plan = yaml.safe_load((recipes / "tag_set_extension.yaml").read_text())
    ours = yaml.safe_load((ROOT / "training" / "recipes" / "tag_set_extension.yaml").read_text())
    same = ("corpus", "folder", "groups", "shots", "sets")
    assert {key: plan[key] for key in same} == {key: ours[key] for key in same}
    write(recipes / "plan.yaml", yaml.safe_dump({**plan, "source": encoder}))
    program = ROOT / "training" / "extend_tag_set.py"
    given = [recipes / "plan.yaml", "--data_root", data, "--output", tmp_path / "out"]
    given += ["--limit", 1, "--group", "A"]  # one of three, for the time
    monkeypatch.setattr("sys.argv", [str(program), *map(str, given)])
    monkeypatch.syspath_prepend(str(program.parent))
    runpy.run_path(str(program), run_name="__main__")
    assert "| method | group A, 1-shot | group A, 5-shot | average |" in capsys.readouterr().out
    model = LaclForTokenClassification.from_pretrained(tmp_path / "out" / "a" / "source-ontonotes_bert")
    assert "ORG" not in model.config.label2id and len(model.config.label2id or {}) == 13


def test_recipes_that_train_differ_in_their_data_alone():
    one, other = (yaml.safe_load(file.read_text()) for file in sorted(RECIPES.glob("*_bert.yaml")))
    data = ("corpus", "train_file", "output_dir", "dataset_name", "license")
    assert {k: v for k, v in one.items() if k not in data} == {
        k: v for k, v in other.items() if k not in data
    }
    ways = [yaml.safe_load(file.read_text())["methods"] for file in sorted(RECIPES.glob("[et]*.yaml"))]
    stages = [{name: (way["config"], way["adapt"]) for name, way in each.items()} for each in ways]
    assert len(stages) == 3 and stages[0] == stages[1] == stages[2]
