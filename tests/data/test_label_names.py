"""Label name maps."""

from pathlib import Path

import pytest

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import label_names_for, load_label_names, shipped_label_names


def test_shipped_maps():
    sizes = {name: len(load_label_names(name)) for name in shipped_label_names()}
    assert sizes == {
        "conll2003": 4,
        "few_nerd": 66,
        "few_nerd_coarse": 66,
        "gum": 11,
        "i2b2_2014": 23,
        "ontonotes": 18,
        "paper": 124,
        "wnut17": 6,
    }


def test_the_names_of_the_paper_are_there_for_every_corpus():
    paper = load_label_names("paper")
    corpora = ["conll2003", "few_nerd", "gum", "i2b2_2014", "ontonotes", "wnut17"]
    types = {name: list(load_label_names(name)) for name in corpora}
    assert set(paper) == {label for some in types.values() for label in some}
    for some in types.values():
        names = [paper[label] for label in some]
        assert len(set(names)) == len(names) and "none" not in names
    # What the authors' files say, and the package's own names do not.
    said = {"NORP": "country", "GPE": "nation", "ORDINAL": "number", "MISC": "miscellaneous", "IDNUM": "id"}
    said |= {"abstract": "abstract", "PATIENT": "people", "location-bodiesofwater": "water"}
    assert {label: paper[label] for label in said} == said


@pytest.mark.parametrize("corpus", ["conll2003", "few_nerd", "gum", "i2b2_2014", "ontonotes", "wnut17"])
def test_names_are_short_and_distinct(corpus):
    names = list(load_label_names(corpus).values())
    assert len({name.lower() for name in names}) == len(names)
    assert all(1 <= len(name.split()) <= 3 and name == name.lower() for name in names)
    assert "none" not in names


def test_coarse_names_follow_the_fine_types():
    fine, coarse = load_label_names("few_nerd"), load_label_names("few_nerd_coarse")
    assert list(fine) == list(coarse)
    groups = {(label.split("-")[0], name) for label, name in coarse.items()}
    assert groups == {
        ("art", "creative work"),
        ("building", "building"),
        ("event", "event"),
        ("location", "location"),
        ("organization", "organization"),
        ("other", "miscellaneous"),
        ("person", "person"),
        ("product", "product"),
    }


def test_user_maps(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("PER: human  being\n'no': norwegian\n", encoding="utf-8-sig")
    expected = {"PER": "human being", "no": "norwegian"}
    assert load_label_names(path) == load_label_names(str(path)) == expected
    assert load_label_names(expected) == expected and load_label_names(expected) is not expected
    assert label_names_for(["PER", "creative-work"], path) == {
        "PER": "human being",
        "creative-work": "creative work",
    }
    assert label_names_for(["product-ship"], "few_nerd") == {"product-ship": "ship"}
    assert label_names_for(["product-ship"]) == {"product-ship": "product ship"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no: norwegian\n", "False: 'norwegian' is not text on both sides; put it in quotes"),
        (b"PER: 1\n", "'PER': 1 is not text"),
        (b"PER: ' '\n", "'PER': ' ' is not text"),
        (b"- PER\n", "expected a map"),
        (b"", "expected a map"),
        (b"PER: [", "not YAML"),
        (b"PER: !!python/object/apply:os.getcwd []", "not YAML"),
        (b"PER: \xff\n", "cannot be read as UTF-8"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "names.yaml"
    path.write_bytes(content)
    with pytest.raises(LaclDataError, match=rf"names\.yaml: .*{message}"):
        load_label_names(path)


def test_missing_file_names_the_shipped_ones():
    with pytest.raises(
        LaclDataError, match="fewnerd: no such file.*few_nerd, few_nerd_coarse, gum, i2b2_2014"
    ):
        load_label_names("fewnerd")


def test_types_of_the_corpora_are_covered():
    folder = Path(__file__).parents[3] / "shared" / "data" / "few-nerd-inter"
    if not folder.is_dir():
        pytest.skip("needs the corpora beside the repository")
    listed = {name for file in folder.glob("labels-*.txt") for name in file.read_text().split()}
    assert len(listed) == 53 and listed <= set(load_label_names("few_nerd"))
