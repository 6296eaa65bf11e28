"""Training on many corpora: which are chosen, what they weigh, and a run from the recipe to the card."""

import gzip
import json
from typing import Any

import datasets
import pytest
import torch
import yaml

from modeling_lacl import LaclDataError, LaclForTokenClassification, LaclTrainer, LaclTrainingArguments
from modeling_lacl.training.arguments import DataArguments, ModelArguments, parse_arguments
from modeling_lacl.training.corpora import load_corpora
from modeling_lacl.training.source import train_source

FLAT = {"tokens": ["ana", "flew", "to", "quito"], "ner_tags": ["B-traveller", "O", "O", "B-city"]}
NESTED = {
    "tokens": ["the", "quito", "gene"],
    "entities": [{"start": 0, "end": 3, "label": "gene"}, {"start": 1, "end": 2, "label": "name of it"}],
}
RARE = {"tokens": ["play", "a"], "ner_tags": ["B-song", "I-song"]}
INDEX: list[dict[str, Any]] = [
    {"name": "trips", "domain": "travel", "release": "yes", "types": {"traveller": 9, "city": 9, "hotel": 2}},
    {"name": "genes", "domain": "biology", "release": "no", "types": {"gene": 16, "name of it": 16}},
    {"name": "songs", "domain": "music", "release": "yes", "types": {"song": 1}, "near_test_types": True},
    {"name": "heard", "domain": "music", "release": "yes", "types": {"song": 1}, "role": "development"},
]
CONTENT: dict[str, list[Any]] = {
    "trips": [FLAT] * 9,
    "genes": [NESTED] * 16,
    "songs": [FLAT | RARE] * 4,
    "heard": [RARE],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    """Four corpora of an index, and a file in columns beside them."""
    place = tmp_path / "wide"
    entries = []
    for entry in INDEX:
        name = entry["name"]
        (place / name).mkdir(parents=True)
        lines = "".join(json.dumps(one) + "\n" for one in CONTENT[name])
        (place / name / "train.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        (place / name / "README.md").write_text(f"# {name}\n\n- Attribution: who made {name}\n")
        splits = {"train": {"sentences": len(CONTENT[name])}}
        entries.append({"role": "training", "licence": f"licence of {name}", "splits": splits, **entry})
    (place / "corpora.json").write_text(json.dumps(entries))
    (tmp_path / "news.txt").write_text("Ana\tB-PER\nleft\tO\nOslo\tB-LOC\n\n" * 4)
    return place


def load(tokenizer, *entries, **options):
    return load_corpora(DataArguments(corpora=[json.dumps(one) for one in entries], **options), tokenizer, 32)


def names(corpora):
    return [one.name for one in corpora.corpora]


def test_corpora_are_chosen_by_the_index(tiny_tokenizer, folder):
    def chosen(**filters):
        return names(load(tiny_tokenizer, {"folder": str(folder), **filters}))

    assert chosen() == ["trips", "genes", "songs"]
    assert chosen(role="development") == ["heard"]
    assert chosen(role=["training", "development"], exclude=["trips"]) == ["genes", "songs", "heard"]
    # YAML reads a bare yes as true.
    assert chosen(release=[True]) == chosen(release="yes") == ["trips", "songs"]
    assert chosen(near_test_types=False) == ["trips", "genes"] and chosen(near_test_types=True) == ["songs"]


def test_weights_and_sequences(tiny_tokenizer, folder, tmp_path):
    news = {"file": str(tmp_path / "news.txt"), "type_names": "conll2003", "licence": "CC0"}
    corpora = load(tiny_tokenizer, {"folder": str(folder), "weight": {"songs": 7.5}}, news)
    assert names(corpora) == ["trips", "genes", "songs", "news"]
    assert [one.weight for one in corpora.corpora] == [3.0, 4.0, 7.5, 2.0]
    assert [len(one.lengths) for one in corpora.corpora] == [9, 16, 4, 4]
    assert corpora.sequences["corpus"][:] == ["trips"] * 9 + ["genes"] * 16 + ["songs"] * 4 + ["news"] * 4
    assert corpora.corpora[0].lengths.tolist() == [len(corpora.sequences[0]["input_ids"])] * 9
    assert corpora.sequences[10]["entities"] == [[0, 2, 1], [1, 1, 2]]
    assert [one.name for one in corpora.corpora[3].types] == ["person", "location"]
    assert corpora.sequences[-1]["entities"] == [[0, 0, 1], [2, 2, 2]]
    assert load(tiny_tokenizer, {"folder": str(folder)}, corpus_power=0).corpora[1].weight == 1
    expected = [[label for label in row if label >= 0] for row in corpora.sequences["labels"][:]]
    assert [[label for label in row.tolist() if label >= 0] for row in corpora.label_sequences()] == expected


def test_a_file_with_nested_entities(tiny_tokenizer, folder, tmp_path):
    (tmp_path / "nested.jsonl").write_text(json.dumps(NESTED) + "\n")
    entry = {"file": str(tmp_path / "nested.jsonl")}
    with pytest.raises(LaclDataError, match="nested='keep'"):
        load(tiny_tokenizer, entry)
    corpora = load(tiny_tokenizer, entry | {"nested": "keep"})
    assert names(corpora) == ["nested"] and corpora.sequences["entities"][0] == [[0, 2, 1], [1, 1, 2]]


def test_rare_types_are_outside(tiny_tokenizer, folder):
    corpora = load(tiny_tokenizer, {"folder": str(folder), "exclude": ["genes"], "min_mentions": 9})
    assert [[one.name for one in corpus.types] for corpus in corpora.corpora] == [["traveller", "city"], []]
    assert not any(corpora.sequences["entities"][9:])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"folder": "{wide}", "roles": "x"}, r"corpora, entry 1: unknown key 'roles'; did you mean 'role'\?"),
        ({"folder": "{wide}", "exclude": ["trip"]}, "exclude: .*wide has no corpus 'trip'"),
        ({"folder": "{wide}", "weight": 3}, "map names of corpora to weights"),
        ({"folder": "{wide}", "weight": {"trips": 0}}, "trips: weight is 0; write a number above 0"),
        ({"folder": "{wide}", "release": "never"}, "no corpus of .*wide is left"),
        ({"folder": "{wide}", "near_test_types": "no"}, "near_test_types is 'no'"),
        ({"folder": "{wide}", "min_mentions": "few"}, "min_mentions is 'few'"),
        ({"folder": "{wide}", "role": 1}, "role is 1"),
        ({"file": "{wide}/../news.txt", "name": 1}, "name is 1"),
        ({"file": "{wide}/../news.txt", "folder": "{wide}"}, "either folder or file"),
        ({"file": "{wide}/../news.txt", "name": "trips"}, "trips more than once"),
        ({}, "either folder or file"),
    ],
)
def test_a_bad_entry_is_named(tiny_tokenizer, folder, entry, message):
    given = json.loads(json.dumps(entry).replace("{wide}", str(folder)))
    with pytest.raises(ValueError, match=message):
        load(tiny_tokenizer, given, *([{"folder": str(folder)}] if "name" in given else []))


def test_a_bad_file_is_named(tiny_tokenizer, folder):
    with pytest.raises(FileNotFoundError, match="none.txt"):
        load(tiny_tokenizer, {"file": "none.txt"})
    with pytest.raises(ValueError, match="'nonsense' is not JSON .* write a mapping"):
        load_corpora(DataArguments(corpora=["nonsense"]), tiny_tokenizer, 32)
    (folder / "genes" / "train.jsonl.gz").write_bytes(gzip.compress(b'{"tokens": []}\n'))
    with pytest.raises(LaclDataError, match="genes/train.jsonl.gz:1: neither"):
        load(tiny_tokenizer, {"folder": str(folder)})


def recipe(tmp_path, folder, **options):
    """A recipe file on the corpora."""
    settings = {
        "corpora": [{"folder": str(folder), "release": [True, "no"]}],
        "families": str(tmp_path / "families.yaml"),
        "default_labels": ["person", "city"],
        "output_dir": str(tmp_path / "model"),
        "max_steps": 2,
        "per_device_train_batch_size": 8,
        "group_size": 4,
        "labels_per_prompt": 3,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        **options,
    }
    families = {
        "go": {"corpora": ["trips"], "foreign": ["lab"]},
        "lab": {"corpora": ["genes"], "foreign": ["go"]},
    }
    (tmp_path / "families.yaml").write_text(yaml.safe_dump({"families": families}))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return parse_arguments([str(tmp_path / "recipe.yaml")])


def _encoder(model):
    return list(model.lacl.encoder.parameters())


def test_a_run_from_the_recipe_to_the_card(folder, tmp_path):
    arguments = recipe(
        tmp_path, folder, encoder="minilm", bf16=True, dropout=0, attention="eager", freeze_embeddings=True
    )
    model = train_source(*arguments)
    config: Any = model.config
    assert config.id2label == {0: "O", 1: "person", 2: "city"} and config.viterbi and config.transitions
    saved = json.loads((tmp_path / "model" / "config.json").read_text())
    # The encoder's own, whatever it was trained with.
    assert saved["encoder_config"]["hidden_dropout_prob"] == 0.1
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "model")
    before = LaclForTokenClassification.from_encoder("minilm", model.tokenizer, ["a"])
    same = [torch.equal(one, other) for one, other in zip(_encoder(loaded), _encoder(before), strict=True)]
    assert same[0] and not all(same)  # the word embeddings come first
    card = (tmp_path / "model" / "README.md").read_text()
    assert "3 corpora, listed below; 29 sentences" in card
    for name in ("trips", "genes", "songs"):
        assert f"| {name} |" in card and f"licence of {name} | who made {name} |" in card
    assert "group_size `4`" in card


class Recorder(LaclTrainer):
    """Keeps what the model was given at each step."""

    seen: list[Any] = []

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.seen.append({key: value.clone() for key, value in inputs.items()})
        return super().compute_loss(model, inputs, *args, **kwargs)


def test_a_resumed_run_sees_the_same_batches(folder, tmp_path, tiny_encoder, monkeypatch):
    monkeypatch.setattr("modeling_lacl.training.source.LaclTrainer", Recorder)
    # An epoch has four batches.
    options = {"encoder": str(tiny_encoder), "projection_size": 8, "max_steps": 7, "save_steps": 5}

    def run(**more):
        Recorder.seen = []
        train_source(*recipe(tmp_path, folder, **{**options, "save_strategy": "steps", **more}))
        return Recorder.seen

    unbroken = run()
    for batch in unbroken:
        assert batch["input_ids"].shape[0] == batch["prompt_ids"].shape[0] == 8
        assert "entities" not in batch
    resumed = run(resume_from_checkpoint=str(tmp_path / "model" / "checkpoint-5"))
    assert len(unbroken) == 7 and len(resumed) == 2
    for one, other in zip(unbroken[5:], resumed, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(unbroken[0]["prompt_ids"][0], unbroken[4]["prompt_ids"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_file": "x"}, "either train_file .* or corpora"),
        ({"corpora": []}, "either train_file .* or corpora"),
        ({"held_out_types": ["a"]}, "held_out_types is for train_file; with corpora, leave it out"),
        ({"nested": "keep"}, "nested is for train_file; with corpora, write nested in the entries of files"),
        ({"data_format": "csv"}, "data_format is for train_file; with corpora, write format in the entries"),
        ({"eval_strategy": "steps", "eval_steps": 1}, "eval_strategy is set, but no types are held out of"),
        ({"early_stopping_patience": 1}, "early_stopping_patience is set, but no types are held out of"),
        ({"default_labels": [""]}, "labels has no label|token"),
        ({"per_device_train_batch_size": 9}, "no whole number of groups of 4"),
        ({"group_size": 8}, r"\{'songs': 4\} have fewer sequences than a group, 8"),
        ({"method": "prototypical"}, "train lacl on corpora"),
        ({"use_prompts": False}, "corpora need label prompts"),
        ({"sampling": "episodes"}, "sampling='plain'"),
    ],
)
def test_arguments_that_do_not_go_together(folder, tmp_path, tiny_encoder, options, message):
    with pytest.raises(ValueError, match=message):
        train_source(*recipe(tmp_path, folder, encoder=str(tiny_encoder), **options))


def test_a_trainer_of_corpora_has_no_other_data(tiny_model, tiny_tokenizer, folder, tmp_path):
    corpora = load(tiny_tokenizer, {"folder": str(folder)})
    arguments = LaclTrainingArguments(output_dir=str(tmp_path / "model"), report_to="none")
    with pytest.raises(ValueError, match="without train_dataset"):
        LaclTrainer(tiny_model, arguments, corpora.sequences, corpora=corpora)
    assert ModelArguments().config_kwargs() == {}
