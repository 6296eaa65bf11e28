"""The names of types over many corpora: one class for one thing, coarser names, and foreign names."""

import pytest
import yaml

from modeling_lacl import LaclDataError
from modeling_lacl.data import type_names
from modeling_lacl.data.type_names import Families, NameVariants, TypeName

NAMES = """
drug: {names: [medication, name of a medicine], description: a remedy}
hammer: {coarser: [tool]}
saw: {coarser: [tool]}
drill: {coarser: [tool, machine]}
robot: {coarser: [machine]}
shop/place: drug
lab/"it": drug
"""


@pytest.fixture
def names(tmp_path):
    (tmp_path / "names.yaml").write_text(NAMES)
    return NameVariants(tmp_path / "names.yaml")


def test_wordings_of_one_thing_are_one_class(names):
    (drug,) = names.of_corpus("clinic", ["drug"])
    (other,) = names.of_corpus("web", ["Medication"])
    assert drug.key == other.key == names.key("name of a  MEDICINE") == "drug"
    assert drug.variants == ("medication", "name of a medicine", "a remedy")
    assert other.name == "Medication" and other.variants == ("drug", "name of a medicine", "a remedy")
    assert names.of_corpus("web", ["City"]) == [TypeName("city", "City")]


def test_what_a_corpus_tells_apart_stays_apart(names):
    found = names.of_corpus("clinic", ["drug", "medication"])
    assert [one.key for one in found] == ["drug", "medication"] and not any(one.variants for one in found)


def test_a_type_of_one_corpus_is_renamed(names):
    assert names.of_corpus("web", ["place"])[0].name == "place"
    renamed, same = names.of_corpus("shop", ["place", "drug"])
    assert renamed == same and renamed.key == "drug" and renamed.variants[0] == "medication"


def test_a_coarser_name_is_that_of_several_types_and_of_no_other(names):
    def coarser(types):
        return {one.name: [two.name for two in one.coarser] for one in names.of_corpus("web", types)}

    everything = coarser(["hammer", "saw", "drill", "robot"])
    assert everything == {"hammer": ["tool"], "saw": ["tool"], "drill": ["tool"], "robot": []}
    assert not any(coarser(["hammer", "saw"]).values())
    assert not any(coarser(["hammer", "saw", "drill", "tool"]).values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "must map names"),
        ("a: {names: [b]}\nb: {}", "'b' is also a wording of 'a'"),
        ("a: {name: b}", "must have the keys names, description, coarser"),
        ("a: {names: b}", "a list of texts"),
        ("a: {names: [no]}", "in quotes"),
        ("a: {description: 1}", "description is 1"),
        ("1: {names: [b]}", "1: is not a text"),
        ("web/a: {names: [b]}", "given another name, as a text"),
    ],
)
def test_a_bad_table_of_names(tmp_path, text, message):
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(LaclDataError, match=message) as error:
        NameVariants(path)
    assert str(path) in str(error.value)


def test_a_table_that_is_not_there():
    with pytest.raises(LaclDataError, match="name_variants: wild: no such file; give a YAML file, or wide"):
        NameVariants("wild")
    with pytest.raises(LaclDataError, match="families: wild: no such file"):
        Families("wild")


FAMILIES = """
families:
  talk: {domains: [Chat], foreign: [lab]}
  lab: {corpora: [genes, cells], foreign: [talk]}
generic: [cell, date]
"""


def test_foreign_names_are_of_another_family_and_not_generic(tmp_path):
    (tmp_path / "families.yaml").write_text(FAMILIES)
    families = Families(tmp_path / "families.yaml")
    corpora = {
        "genes": ("biology", ["protein", "date", "hotel"]),
        "cells": ("biology", ["cell line", "organelle"]),
        "bot": ("chat: hotels", ["hotel", "Date of a stay", "food"]),
        "news": ("news", ["person"]),
    }
    named = {
        name: (domain, NameVariants().of_corpus(name, types)) for name, (domain, types) in corpora.items()
    }
    found = {name: [one.name for one in types] for name, types in families.foreign(named).items()}
    assert found == {
        "genes": ["food"],
        "cells": ["food", "hotel"],
        "bot": ["organelle", "protein"],
        "news": [],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "must have the keys generic and families"),
        ("families: [a]", "families must map names"),
        ("families: {a: {corpus: [b]}}", "must have the keys corpora, domains, foreign"),
        ("families: {a: {foreign: [b]}}", "'b' is no other family"),
        ("families: {a: {foreign: [a]}}", "'a' is no other family"),
        ("families: {}\ngeneric: word", "generic: must be a list"),
    ],
)
def test_bad_families(tmp_path, text, message):
    (tmp_path / "families.yaml").write_text(text)
    with pytest.raises(LaclDataError, match=message):
        Families(tmp_path / "families.yaml")


def test_a_corpus_in_two_families(tmp_path):
    (tmp_path / "families.yaml").write_text("families: {a: {corpora: [x]}, b: {domains: [chat]}}")
    with pytest.raises(LaclDataError, match="'x' is in the families a and b"):
        Families(tmp_path / "families.yaml").family("x", "Chat rooms")


def test_the_tables_of_the_package():
    folder = type_names._FOLDER
    text = (folder / "wide_name_variants.yaml").read_text()
    NameVariants("wide")
    entries = [line.split(": ")[0] for line in text.splitlines() if line and not line.startswith("#")]
    # YAML takes the last of two equal keys and says nothing.
    assert len(entries) == len(set(entries)) == len(yaml.safe_load(text)) > 250
    families = Families("wide")
    assert families.family("sgd", "") == "everyday" and families.family("jnlpba", "") == "science"
    corpora = yaml.safe_load((folder / "wide_families.yaml").read_text())["families"]
    names = [name for family in corpora.values() for name in family["corpora"]]
    assert len(names) == len(set(names))
    # Whatever may be in any text is never a safe negative.
    common = [
        "person",
        "first name",
        "city",
        "date",
        "price",
        "number",
        "company name",
        "drug",
        "disease",
        "cell type",
    ]
    assert all(map(families.is_generic, common)) and not families.is_generic("playlist owner")
