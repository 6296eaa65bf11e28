"""The numbers behind the plots against scikit-learn and by hand, and the files that come out."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix

from modeling_lacl import adapt, cli, read_dataset
from modeling_lacl.viz.plots import (
    confusion,
    embedding_space,
    learning_curves,
    plot_confusion,
    plot_embedding_space,
    plot_learning_curves,
    principal_components,
)

STATE = {
    "log_history": [
        {"loss": 2.0, "context_label_loss": 1.5, "learning_rate": 5e-5, "epoch": 0.5, "step": 10},
        {"eval_loss": 1.8, "eval_f1": 0.25, "eval_runtime": 3.0, "epoch": 0.5, "step": 10},
        {"loss": 1.0, "context_label_loss": 0.5, "learning_rate": 2e-5, "epoch": 1.0, "step": 20},
        {"eval_loss": 1.2, "eval_f1": 0.5, "eval_runtime": 3.0, "epoch": 1.0, "step": 20},
        {"train_loss": 1.5, "train_runtime": 9.0, "total_flos": 1.0, "epoch": 1.0, "step": 20},
    ]
}
SUPPORT = [
    {
        "tokens": ["ana", "ruiz", "flew", "to", "quito"],
        "ner_tags": ["B-a$b$", "I-a$b$", "O", "O", "B-location"],
    },
]
QUERY = [
    {"tokens": ["york", "and", "the", "play"], "ner_tags": ["B-location", "O", "O", "B-other"]},
    {"tokens": ["cessna"], "ner_tags": ["B-a$b$"]},
]


def svg_text(file):
    """All texts of an SVG file."""
    root = ElementTree.parse(file).getroot()
    assert root.tag.endswith("svg") and file.stat().st_size < 150_000
    return ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("}text")]


def test_learning_curves(tmp_path):
    curves = learning_curves(STATE)
    assert curves["loss"] == ([10, 20], [2.0, 1.0])
    assert curves["eval_f1"] == ([10, 20], [0.25, 0.5])
    assert not {"step", "epoch", "total_flos"} & set(curves)
    (tmp_path / "trainer_state.json").write_text(json.dumps(STATE))
    assert learning_curves(tmp_path) == learning_curves(tmp_path / "trainer_state.json") == curves
    plot_learning_curves(tmp_path, tmp_path / "curves.svg")
    text = svg_text(tmp_path / "curves.svg")
    assert {"loss", "context_label_loss", "eval_loss", "eval_f1", "score", "step"} <= set(text)
    assert not {"learning_rate", "train_loss", "eval_runtime"} & set(text)


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no logged values"):
        learning_curves({"log_history": []})
    with pytest.raises(ValueError, match="neither losses nor scores, only learning_rate"):
        plot_learning_curves({"log_history": [{"learning_rate": 1.0, "step": 1}]}, tmp_path / "x.svg")


def test_principal_components_equal_scikit_learns():
    points = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points *= torch.arange(1, 7)
    expected = PCA(2).fit_transform(points.numpy())
    found = principal_components(points).numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)  # the sign is free


def test_embedding_space(make_tiny_model, tmp_path):
    model = make_tiny_model()
    query = read_dataset(QUERY)
    with pytest.raises(ValueError, match="no support"):
        embedding_space(model, query)
    adapted = adapt(model, SUPPORT, steps=0)
    space = embedding_space(adapted, query)
    names = adapted.config.id2label
    assert [names[label] for label in space["support"][1].tolist()] == ["a$b$", "a$b$", "O", "O", "location"]
    assert [names[label] for label in space["query"][1].tolist()] == ["location", "O", "O", "O", "a$b$"]
    # The words of the support set as a query stand where the support does.
    same = embedding_space(adapted, read_dataset(SUPPORT))
    torch.testing.assert_close(same["support"][0], same["query"][0], atol=1e-5, rtol=1e-5)
    unit = torch.nn.functional.normalize(adapted.support_mean.double(), dim=-1)
    expected = PCA(2).fit_transform(torch.cat([unit, unit]).numpy())[: len(unit)]
    np.testing.assert_allclose(same["support"][0].abs().numpy(), np.abs(expected), atol=1e-5)
    plot_embedding_space(adapted, query, tmp_path / "space.png")
    assert matplotlib.image.imread(tmp_path / "space.png").std() > 0.01
    plot_embedding_space(adapted, query, tmp_path / "space.svg")
    text = {text.replace("\\", "") for text in svg_text(tmp_path / "space.svg")}
    assert {"a$b$", "location", "O (outside of entities)"} <= text
    assert {"word of the support set", "word of the sentences", "first component", "second component"} <= text


def test_confusion_equals_scikit_learns(tmp_path):
    random = np.random.default_rng(0)
    tags = ["O", "B-person", "I-person", "B-creative-work", "I-creative-work", "B-$x$"]
    references = [random.choice(tags, 7).tolist() for _ in range(30)]
    predictions = [random.choice(tags, 7).tolist() for _ in range(30)]
    labels, counts = confusion(references, predictions)
    assert labels == ["O", "$x$", "creative-work", "person"]

    def types(sentences):
        return [tag.partition("-")[2] or "O" for tags in sentences for tag in tags]

    assert counts.tolist() == confusion_matrix(types(references), types(predictions), labels=labels).tolist()
    plot_confusion(references, predictions, tmp_path / "confusion.svg")
    text = [line.replace("\\", "") for line in svg_text(tmp_path / "confusion.svg")]
    for expected in (*labels, *map(str, counts[counts > 0].tolist())):
        assert expected in text


def test_pictures_of_much_data_are_small(tmp_path):
    """Long curves are drawn as pixels; a large matrix has no more than a page, and no zeros."""
    random = np.random.default_rng(0)
    log = [{"loss": loss, "grad_norm": loss, "step": step} for step, loss in enumerate(random.random(6_000))]
    plot_learning_curves({"log_history": log}, tmp_path / "curves.svg")
    assert {"loss", "grad_norm", "step"} <= set(svg_text(tmp_path / "curves.svg"))
    types = [f"type-{number}" for number in range(30)]
    plot_confusion([[f"B-{one}" for one in types]], [["B-type-0"] * 30], tmp_path / "confusion.svg")
    text = svg_text(tmp_path / "confusion.svg")
    assert set(types) <= set(text) and text.count("1") == 30


def test_confusion_of_a_known_case():
    labels, counts = confusion([["B-a", "I-a", "O"]], [["B-a", "B-b", "O"]])
    assert (labels, counts.tolist()) == (["O", "a", "b"], [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    assert confusion([], [])[1].tolist() == [[0]]
    with pytest.raises(ValueError, match="differ in shape"):
        confusion([["O"]], [["O", "O"]])


def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"not installed: `pip install '\.\[plot\]'`"):
        plot_learning_curves(STATE, tmp_path / "x.svg")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lacl", "plot", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0


def test_the_command(make_tiny_model, tmp_path, monkeypatch, capfd):
    """Each kind of `lacl plot` draws what its function draws, from files alone."""
    model = make_tiny_model()
    adapt(model, SUPPORT, steps=0).save_pretrained(tmp_path / "ner")
    with (tmp_path / "dev.jsonl").open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in QUERY)
    (tmp_path / "trainer_state.json").write_text(json.dumps(STATE))
    for arguments, expected in (
        (["curves", tmp_path], {"context_label_loss", "eval_f1"}),
        (["space", tmp_path / "ner", tmp_path / "dev.jsonl"], {"location", "first component"}),
        (["confusion", tmp_path / "ner", tmp_path / "dev.jsonl"], {"other", "predicted type of words"}),
    ):
        output = tmp_path / f"{arguments[0]}.svg"
        assert run(monkeypatch, *arguments, "--output", output) == 0, capfd.readouterr().err
        assert expected <= set(svg_text(output))
        assert f"Saved to {output}" in capfd.readouterr().err
    (tmp_path / "dev.txt").write_text("B-location york\nO and\n", encoding="utf-16")
    output = tmp_path / "told.svg"
    reading = ["--tag-column", "0", "--scheme", "BIO", "--encoding", "utf-16"]
    arguments = [tmp_path / "ner", tmp_path / "dev.txt", "--output", output, *reading]
    assert run(monkeypatch, "confusion", *arguments) == 0, capfd.readouterr().err
    assert "location" in svg_text(output)


def test_the_command_tells_what_is_wrong(tmp_path, monkeypatch, capfd):
    assert run(monkeypatch, "curves", tmp_path, "--output", tmp_path / "x.svg") == 2
    assert "trainer_state.json: no such file" in capfd.readouterr().err
    (tmp_path / "trainer_state.json").write_text("{")
    assert run(monkeypatch, "curves", tmp_path, "--output", tmp_path / "x.svg") == 2
    assert "trainer_state.json: not JSON" in capfd.readouterr().err
    (tmp_path / "trainer_state.json").write_text("{}")
    assert run(monkeypatch, "curves", tmp_path, "--output", tmp_path / "x.svg") == 2
    assert f"{tmp_path / 'trainer_state.json'} has no logged values" in capfd.readouterr().err
    assert run(monkeypatch, "curves", tmp_path, "--output", tmp_path / "x.nonsense") == 2
    assert run(monkeypatch, "curves", tmp_path, "--output", tmp_path / "x") == 2
    assert "x has no extension that determines the format: name it" in capfd.readouterr().err
    assert not list(tmp_path.glob("x*"))
