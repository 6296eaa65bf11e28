"""`lacl adapt`: the model that it saves, what it tells, and which files it reads."""

import inspect
import json
import re
from pathlib import Path

import torch

import modeling_lacl
from modeling_lacl import LaclForTokenClassification
from modeling_lacl.training import adaptation

SUPPORT = Path(modeling_lacl.__file__).parent / "samples" / "wnut17_support_5shot.txt"


def test_adapt_saves_a_model_of_the_new_types(lacl, checkpoint, tmp_path):
    code, _, err = lacl(
        "adapt", checkpoint, SUPPORT, "-o", tmp_path / "ner", "--steps", 1, "--label-names", "wnut17"
    )
    assert code == 0
    assert f"lacl predict {tmp_path / 'ner'} FILE" in err
    adapted = LaclForTokenClassification.from_pretrained(tmp_path / "ner")
    assert adapted.has_support
    types = {"person", "location", "corporation", "product", "creative-work", "group"}
    assert set(adapted.config.label2id or ()) == {"O", *types}
    code, out, _ = lacl("predict", tmp_path / "ner", "--text", "ana flew")
    assert code == 0
    assert json.loads(out)["text"] == "ana flew"


def test_adapt_estimates_and_says_what_it_did(lacl, checkpoint, tmp_path):
    support = tmp_path / "support.jsonl"
    rows = [{"tokens": ["ana", "flew"], "ner_tags": ["B-person", "O"]}] * 2
    support.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = lacl("adapt", checkpoint, support, "-o", tmp_path / "n", "--steps", "1", "--estimate")
    assert code == 0
    told, estimate, where, _ = err.splitlines()
    assert re.match(r"Adapted in [\d.]+ s: 1 steps, loss .* ended as all planned steps were done", told)
    assert re.match(
        r"Estimate by cross-validation on the examples: precision [\d.]+, recall .*, F1 ", estimate
    )
    assert where.startswith("Saved to")


def test_adapt_reads_the_given_format(lacl, checkpoint, tmp_path):
    support = tmp_path / "support.data"
    support.write_text(json.dumps({"tokens": ["ana", "flew"], "ner_tags": ["B-person", "O"]}) + "\n")
    code, _, _ = lacl("adapt", checkpoint, support, "-o", tmp_path / "n", "--steps", "0", "--format", "jsonl")
    assert code == 0


def test_adapt_makes_no_folder_for_examples_that_cannot_be_read(lacl, checkpoint, tmp_path):
    (tmp_path / "support.txt").write_text("ana\n")
    assert lacl("adapt", checkpoint, tmp_path / "support.txt", "-o", tmp_path / "ner")[0] == 2
    assert not (tmp_path / "ner").exists()


def test_adapt_takes_what_its_errors_name(lacl, checkpoint, tmp_path):
    """Each remedy in a message of the readers is an option of the command."""
    support = tmp_path / "support.txt"
    support.write_text("B-x ana person\nO flew O\n", encoding="utf-16")
    arguments = ["adapt", checkpoint, support, "-o", tmp_path / "ner", "--steps", "0"]
    code, _, err = lacl(*arguments)
    assert (
        code == 2 and "the file is UTF-16; save it as UTF-8, or give the encoding: --encoding utf-16" in err
    )
    code, _, err = lacl(*arguments, "--encoding", "utf-16", "--token_column", "1", "--tag_column", "0")
    assert code == 0 and f"Saved to {tmp_path / 'ner'}: x" in err
    support.write_text("ana B-x\nflew y\n")
    code, _, err = lacl(*arguments)
    assert code == 2 and "the scheme IO" in err
    assert lacl(*arguments, "--scheme", "IO")[0] == 0


def test_every_argument_of_adapt_is_an_option(lacl, checkpoint, tmp_path, monkeypatch):
    support = tmp_path / "support.jsonl"
    support.write_text(json.dumps({"tokens": ["ana", "flew"], "ner_tags": ["B-person", "O"]}) + "\n")
    given, adapt = [], adaptation.adapt

    def recorded(*arguments, **options):
        given.append({name: value for name, value in options.items() if name != "callbacks"})
        return adapt(*arguments, **options)

    monkeypatch.setattr(adaptation, "adapt", recorded)
    arguments = ["adapt", checkpoint, support, "-o", tmp_path / "n", "--steps", "1"]
    options = (
        "--learning-rate 1e-3 --weight-decay 0.1 --batch-size 2 --fixed-labels --decoding hidden --seed 3"
    )
    assert lacl(*arguments)[0] == 0 and lacl(*arguments, *options.split())[0] == 0
    wanted = {
        "steps": 1,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "batch_size": 2,
        "fixed_labels": True,
        "decoding": "hidden",
        "seed": 3,
    }
    assert given == [{"steps": 1, "fixed_labels": False, "seed": 0}, wanted]
    parameters = inspect.signature(adapt).parameters.values()
    by_keyword = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert by_keyword - {"callbacks"} == wanted.keys()
    ner = LaclForTokenClassification.from_pretrained(tmp_path / "n")
    assert ner.config.projection == "hidden" and ner.has_support
    code, _, err = lacl(*arguments, "--decoding", "cosine")
    assert code == 2 and "decoding is 'cosine': give one of gaussian, unit_hidden, hidden" in err


def nested_file(folder):
    """A sentence with an organisation in which there is a country."""
    path = folder / "nested.jsonl"
    spans = [{"start": 0, "end": 15, "label": "organization"}, {"start": 8, "end": 15, "label": "country"}]
    path.write_text(json.dumps({"text": "bank of england sank", "entities": spans}) + "\n")
    return path


def test_nested_entities_are_kept_for_a_model_of_spans(lacl, make_tiny_model, tmp_path):
    """Without an option, as in Python; `lacl evaluate` counts both of them, too."""
    make_tiny_model(max_span_words=4).save_pretrained(tmp_path / "spans")
    file = nested_file(tmp_path)
    arguments = ["adapt", tmp_path / "spans", file, "-o", tmp_path / "ner", "--steps", "0"]
    assert lacl(*arguments)[0] == 0
    adapted = LaclForTokenClassification.from_pretrained(tmp_path / "ner")
    in_python = modeling_lacl.adapt(
        LaclForTokenClassification.from_pretrained(tmp_path / "spans"), file, steps=0
    )
    assert adapted.entity_types == in_python.entity_types == ["organization", "country"]
    assert torch.equal(adapted.support_labels, in_python.support_labels)
    for options, number in (([], 2), (["--nested", "outermost"], 1)):
        results = tmp_path / "results.json"
        assert lacl("evaluate", tmp_path / "ner", file, "--output", results, *options)[0] == 0
        assert json.loads(results.read_text())["scores"]["number"] == number
    assert lacl(*arguments, "--nested", "outermost")[0] == 0
    assert LaclForTokenClassification.from_pretrained(tmp_path / "ner").entity_types == ["organization"]
    code, _, err = lacl(*arguments, "--nested", "error")
    assert code == 2 and "overlap" in err


def test_nested_entities_are_an_error_for_a_model_of_tokens(lacl, checkpoint, tmp_path):
    file = nested_file(tmp_path)
    arguments = ["adapt", checkpoint, file, "-o", tmp_path / "ner", "--steps", "0"]
    for options in ([], ["--nested", "keep"]):
        code, _, err = lacl(*arguments, *options)
        assert code == 2 and "overlap" in err and "--nested outermost or innermost" in err
    assert lacl("evaluate", checkpoint, file)[0] == 2
    assert lacl(*arguments, "--nested", "innermost")[0] == 0
