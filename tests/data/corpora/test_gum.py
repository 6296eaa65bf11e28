"""GUM's two layers: flattened columns, and nested entities in CoNLL-U, whose outermost ones are kept."""

import logging

import pytest

from modeling_lacl.data.corpora.loading import load_corpus
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.tags import entity_types, gold_tags

HEAD = "# newdoc id = GUM_news_boats\n# global.Entity = GRP-etype-infstat-centering-minspan-link-identity\n"


def conllu(*tokens, sent_id="GUM_news_boats-1"):
    """A sentence from (word, MISC) pairs; a number in the place of the word's gives other kinds of lines."""
    lines = [f"# sent_id = {sent_id}", "# text = # not = a comment of ours"]
    for number, (word, misc) in enumerate(tokens, start=1):
        lines.append("\t".join([str(number), word, *["_"] * 7, misc]))
    return "\n".join([*lines, "", ""])


def read(tmp_path, text, name="en_gum-ud-train.conllu"):
    (tmp_path / name).write_text(text)
    dataset = load_corpus("gum", tmp_path)["train"]
    return dataset, gold_tags(dataset)


def test_outermost_entities_of_nested_brackets(tmp_path):
    # [the captain of [the ship]] saw [Oslo] [[its] harbour]
    dataset, tags = read(
        tmp_path,
        HEAD
        + conllu(
            ("the", "Discourse=x:1->2|Entity=(1-person-new-cf1-2-coref"),
            ("captain", "MSeg=capt-ain"),
            ("of", "_"),
            ("the", "Entity=(2-object-new-cf2-2-sgl"),
            ("ship", "Entity=2)1)|SpaceAfter=No"),
            ("saw", "_"),
            ("Oslo", "Bridge=1<3|Entity=(3-place-new-cf3-1-sgl-Oslo_%28city%29)"),
            ("its", "Entity=(4-place-new-cf4-2-sgl(3-place-giv:act-cf3-1-ana)"),
            ("harbour", "Entity=4)"),
        ),
    )
    assert tags == [
        ["B-person", "I-person", "I-person", "I-person", "I-person", "O", "B-place", "B-place", "I-place"]
    ]
    assert dataset["id"] == ["GUM_news_boats-1"] and dataset["document_id"] == ["GUM_news_boats"]
    assert dataset["tokens"][0][:2] == ["the", "captain"]
    assert len(entity_types(dataset)) == 11


def test_one_entity_inside_another_of_its_group(tmp_path):
    """The inner bracket of a group closes first: [films [films]] has one outermost span of two words."""
    _, tags = read(
        tmp_path, HEAD + conllu(("a", "Entity=(5-object-x"), ("b", "Entity=(5-object-y)5)"), ("c", "_"))
    )
    assert tags == [["B-object", "I-object", "O"]]


def test_of_entities_that_cross_the_first_is_kept(tmp_path):
    text = conllu(("a", "Entity=(1-person"), ("b", "Entity=(2-place"), ("c", "Entity=1)"), ("d", "Entity=2)"))
    assert read(tmp_path, HEAD + text)[1] == [["B-person", "I-person", "I-person", "O"]]


def test_contractions_and_empty_nodes_are_no_words(tmp_path):
    text = conllu(("do", "_"), ("n't", "_"), ("go", "Entity=(1-event-new)"))
    lines = text.splitlines(keepends=True)
    blank = "\t_" * 7
    lines.insert(2, f"1-2\tdon't{blank}\tSpaceAfter=No\n")
    lines.insert(5, f"2.1\tnothing{blank}\tEntity=(9-person-new)\n")
    dataset, tags = read(tmp_path, HEAD + "".join(lines))
    assert dataset["tokens"][0] == ["do", "n't", "go"] and tags == [["O", "O", "B-event"]]


def test_the_head_of_a_document_tells_where_the_type_stands(tmp_path):
    head = "# newdoc id = GUM_old\n# global.Entity = entity-GRP-identity\n"
    text = head + conllu(("Ana", "Entity=(person-1-Ana"), ("Ruiz", "Entity=person-1-Ana)"))
    text += HEAD + conllu(("Oslo", "Entity=(1-place-new)"))
    dataset, tags = read(tmp_path, text)
    assert tags == [["B-person", "I-person"], ["B-place"]]
    assert dataset["document_id"] == ["GUM_old", "GUM_news_boats"]


def test_an_entity_over_the_end_of_a_sentence_is_split_with_a_warning(tmp_path, caplog):
    text = HEAD + conllu(("a", "_"), ("b", "Entity=(1-event-new")) + conllu(("c", "Entity=1)"), ("d", "_"))
    with caplog.at_level(logging.WARNING):
        _, tags = read(tmp_path, text)
    assert tags == [["O", "B-event"], ["B-event", "O"]]
    assert "1 entities run over the end of a sentence and were split there" in caplog.text


def test_sentences_without_words_are_skipped_with_a_warning(tmp_path, caplog):
    text = HEAD + conllu(("___", "Entity=(1-person-new)"), ("_", "_")) + conllu(("Ana", "_"))
    with caplog.at_level(logging.WARNING):
        dataset, _ = read(tmp_path, text)
    assert dataset["tokens"][:] == [["Ana"]]
    assert "1 sentences have underscores in the place of words and were skipped" in caplog.text


def test_flattened_columns(tmp_path):
    (tmp_path / "test.conll").write_text("a\tO\nsmall\tO\n")
    dataset, tags = read(tmp_path, "The\tB-object\nship\tI-object\nsailed\tO\n", name="train.conll")
    assert tags == [["B-object", "I-object", "O"]] and dataset["tokens"][0] == ["The", "ship", "sailed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + conllu(("a", "Entity=1)")), r"train\.conllu:5: the bracket '1\)' closes no open entity"),
        (
            HEAD + conllu(("a", "Entity=(1-person")),
            r"train\.conllu:6: the file ends with an open entity '1-person'",
        ),
        (HEAD + conllu(("a", "Entity=(1-person")) + HEAD, r":7: the document before has an open entity"),
        (HEAD + conllu(("a", "Entity=(1)")), r":5: the entity '1' has no type"),
        (HEAD + conllu(("a", "Entity=(1-person)(")), r":5: .*cannot be read from '\(' on"),
        (HEAD + conllu(("a", "Entity=(1-boat-new)")), r":5: the tag 'B-boat' is none of GUM"),
        (HEAD + "1\ta\tb\n", r":3: 3 columns, but CoNLL-U has 10"),
        ("# global.Entity = GRP-infstat\n", r":1: global\.Entity names no etype"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path, text, message):
    with pytest.raises(LaclDataError, match=message):
        read(tmp_path, text)
