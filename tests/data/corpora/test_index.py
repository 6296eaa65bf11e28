"""The index of a folder of corpora."""

import json

import pytest

from modeling_lacl import LaclDataError
from modeling_lacl.data.corpora.index import read_index

ENTRY = {
    "name": "mail",
    "domain": "mail",
    "role": "training",
    "nested": False,
    "licence": "CC0",
    "release": "yes",
    "near_test_types": True,
    "splits": {"train": {"sentences": 2, "mentions": 3}, "dev": {"sentences": 1, "mentions": 1}},
    "types": {"sender  name": 3},
}


@pytest.fixture
def folder(tmp_path):
    def write(*entries):
        (tmp_path / "corpora.json").write_text(json.dumps(entries))
        return tmp_path

    return write


def test_an_index_is_read(folder):
    place = folder(ENTRY, {"name": "web", "types": {}, "splits": {}})
    (place / "mail").mkdir()
    (place / "mail" / "README.md").write_text("# mail\n\n- Attribution: Ana Ruiz, 2020\n")
    mail, web = read_index(place)
    assert (mail.name, mail.domain, mail.licence, mail.near_test_types) == ("mail", "mail", "CC0", True)
    assert mail.sentences == 2 and mail.types == {"sender name": 3} and mail.attribution == "Ana Ruiz, 2020"
    assert web.sentences == 0 and web.role == web.attribution == "" and not web.near_test_types
    with pytest.raises(LaclDataError, match="has no train.jsonl.gz or train.jsonl.* exclude 'mail'"):
        assert mail.train_file
    for name in ("train.jsonl", "train.jsonl.gz"):
        (place / "mail" / name).touch()
        assert mail.train_file.name == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "entry 1: needs a name"),
        ({"name": "../mail"}, "needs a name, which is that of its folder, got '../mail'"),
        ({"licence": 1}, r"entry 1 \(mail\): licence is 1"),
        ({"near_test_types": "no"}, "near_test_types is 'no'"),
        ({"types": ["a"]}, "types must be an object"),
        ({"splits": {"train": 3}}, "splits must have the number of sentences"),
        ({}, "web more than once"),
    ],
)
def test_a_bad_entry_is_named(folder, change, message):
    place = folder({**ENTRY, "name": "web"}, {**ENTRY, **(change or {"name": "web"})})
    with pytest.raises(LaclDataError, match=message) as error:
        read_index(place)
    assert str(error.value).startswith(f"{place / 'corpora.json'}: ")


def test_an_index_that_is_none(tmp_path):
    with pytest.raises(LaclDataError, match="has no corpora.json"):
        read_index(tmp_path)
    for text, message in (("{", "not JSON"), ("{}", "must be a list")):
        (tmp_path / "corpora.json").write_text(text)
        with pytest.raises(LaclDataError, match=message):
            read_index(tmp_path)
